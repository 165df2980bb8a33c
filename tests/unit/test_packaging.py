"""Wheel and source distribution hold what they need; what they hold runs, in an environment with nothing else in it."""

import json
import os
import shlex
import shutil
import struct
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Sequence
from configparser import RawConfigParser
from pathlib import Path

import pytest
import typer

from controller.cli.app import app

ROOT = Path(__file__).parents[2]
PACKAGES = ("controller", "apps", "topologies")
UNITS = ("resetlb.service", "resetlb.socket")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="the build backend is not installed")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder), "-t", "wheel", "-t", "sdist"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


def kept(*folders: str) -> set[str]:
    """The files of these folders that version control keeps."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", *folders], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    return {name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()}


def test_the_wheel_has_every_file_of_the_packages_and_no_leftovers(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert kept(*PACKAGES) - names == set()
    top = {name.split("/")[0] for name in names}
    assert top - set(PACKAGES) == {
        name for name in top if name.startswith("resetlb-") and name.endswith((".dist-info", ".data"))
    }
    assert [name for name in names if "__pycache__" in name or name.endswith((".pyc", ".sqlite3"))] == []


def test_the_wheel_brings_units_licence_and_the_command(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    held = {name.partition("/")[2]: name for name in archive.namelist() if name.startswith("resetlb-")}
    assert {f"data/share/resetlb/{unit}" for unit in UNITS} | {"licenses/LICENSE"} <= held.keys()
    assert "resetlb = controller.cli:main" in archive.read(held["entry_points.txt"]).decode()
    metadata = archive.read(held["METADATA"]).decode()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"\nVersion: {project['version']}\n" in metadata
    assert "\nLicense-Expression: Apache-2.0\n" in metadata


def test_wheel_and_source_distribution_carry_the_dashboards_libraries(built: Path, wheel: Path) -> None:
    locked = json.loads((ROOT / "scripts/lib/web/libraries.json").read_text())
    wanted = {
        f"controller/api/static/vendor/{library['folder']}/{name}"
        for library in locked.values()
        for name in library["files"]
    }
    assert {path for path in wanted if path.endswith("LICENSE")}, "with their licences"
    archive = zipfile.ZipFile(wheel)
    assert wanted - set(archive.namelist()) == set()
    assert "d3js.org" in archive.read("controller/api/static/vendor/d3/dist/d3.min.js")[:100].decode()
    (source,) = built.glob("*.tar.gz")
    with tarfile.open(source) as packed:
        assert wanted - {name.partition("/")[2] for name in packed.getnames()} == set()


def test_the_source_distribution_can_be_tested_and_built_again(built: Path) -> None:
    (source,) = built.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = kept(*PACKAGES, "tests", "docs", "scripts", ".ci")
    wanted |= {"pyproject.toml", "uv.lock", "constraints.txt", "README.md", "CHANGELOG.md", "LICENSE", "mkdocs.yml"}
    assert wanted - names == set()


def test_the_unit_starts_a_command_that_exists() -> None:
    unit = RawConfigParser(strict=False, interpolation=None)
    unit.read(ROOT / "scripts/systemd/resetlb.service")
    program, command, *options = shlex.split(unit["Service"]["ExecStart"])
    assert Path(program).name == "resetlb"
    known = {option for parameter in typer.main.get_command(app).commands[command].params for option in parameter.opts}
    given = {option for option in options if option.startswith("--")}
    assert "--state-dir" in given
    assert given - known == set()
    assert unit["Service"]["StateDirectory"] == Path(options[options.index("--state-dir") + 1]).name


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd")
def test_the_unit_is_hardened() -> None:
    argv = [
        "systemd-analyze",
        "security",
        "--offline=true",
        "--threshold=15",
        str(ROOT / "scripts/systemd/resetlb.service"),
    ]
    rated = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert rated.returncode == 0, rated.stdout + rated.stderr


# --- installed -----------------------------------------------------------------------------------------------------------------

SYN, ACK, RST = 0x02, 0x10, 0x04


def segment(src: int, dst: int, ports: tuple[int, int], seq: int, ack: int, flags: int) -> bytes:
    """A bare TCP segment in Ethernet between 10.0.0.src and 10.0.0.dst."""
    tcp = struct.pack("!HHIIBBHHH", *ports, seq, ack, 0x50, flags, 0, 0, 0)
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, 6, 0, bytes([10, 0, 0, src]), bytes([10, 0, 0, dst]))
    return bytes(12) + b"\x08\x00" + ip + tcp


def refused_connection() -> bytes:
    """A capture of one SYN and the RST that refuses it (pcap, libpcap's file format)."""
    packets = [segment(1, 2, (40000, 80), 1000, 0, SYN), segment(2, 1, (80, 40000), 0, 1001, RST | ACK)]
    records = [
        struct.pack("<IIII", 1, place, len(packet), len(packet)) + packet for place, packet in enumerate(packets)
    ]
    return struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1) + b"".join(records)


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    uv = next((path for path in (str(ROOT / ".uv/bin/uv"), shutil.which("uv")) if path and Path(path).exists()), None)
    if uv is None:
        pytest.skip("needs uv, which scripts/test puts into .uv")
    folder = tmp_path_factory.mktemp("installed") / "venv"
    constraints = str(ROOT / "constraints.txt")
    for command in (
        [uv, "venv", "--quiet", "--python", sys.executable, str(folder)],
        [uv, "pip", "install", "--quiet", "--python", str(folder / "bin/python"), "--constraint", constraints,
         "--build-constraints", constraints, str(wheel)],
    ):  # fmt: skip
        done = subprocess.run(
            command, env={"UV_SYSTEM_CERTS": "1", **os.environ}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.soak
class TestInstalled:
    """From the wheel into a new environment, with the versions of constraints.txt. Takes half a minute, and the package index."""

    def run(self, environment: Path, arguments: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
        clean = {"PATH": "/usr/bin:/bin", "HOME": str(folder)}
        command = [str(environment / "bin/resetlb"), *arguments]
        return subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, check=False)

    def test_help_lists_the_commands(self, environment: Path, tmp_path: Path) -> None:
        shown = self.run(environment, ["--help"], tmp_path)
        assert shown.returncode == 0, shown.stderr
        assert {"run", "status", "policy", "pcap"} <= set(shown.stdout.split())

    def test_a_capture_is_explained(self, environment: Path, tmp_path: Path) -> None:
        (tmp_path / "refused.pcap").write_bytes(refused_connection())
        shown = self.run(environment, ["pcap", "refused.pcap", "--json"], tmp_path)
        assert shown.returncode == 0, shown.stderr
        assert '"kind": "refused"' in shown.stdout
        assert '"server": "10.0.0.2"' in shown.stdout

    def test_a_policy_is_checked(self, environment: Path, tmp_path: Path) -> None:
        (tmp_path / "policy.yaml").write_text("version: 1\nvips: {web: {address: 10.0.0.1, port: 80, pool: web}}\n")
        checked = self.run(environment, ["policy", "check", "policy.yaml"], tmp_path)
        assert (checked.returncode, "there is no pool web" in checked.stderr) == (2, True)

    def test_the_units_are_beside_it(self, environment: Path) -> None:
        assert {path.name for path in (environment / "share/resetlb").iterdir()} == set(UNITS)
