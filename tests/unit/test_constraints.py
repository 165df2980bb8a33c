"""constraints.txt, for installing with pip, names the versions that were tested."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_constraint_is_a_locked_version_and_every_dependency_has_one() -> None:
    locked: dict[str, set[str]] = {}
    for package in tomllib.loads((ROOT / "uv.lock").read_text())["package"]:
        locked.setdefault(package["name"], set()).add(package.get("version", ""))
    lines = [line.partition(";")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines()]
    pinned = [line.split("==") for line in lines if "==" in line and not line.startswith("#")]
    assert {name: version for name, version in pinned if version not in locked.get(name, ())} == {}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {requirement.replace(">", "=").partition("=")[0] for requirement in project["dependencies"]}
    assert names - {name for name, _ in pinned} == set()


def test_ryu_meets_a_setuptools_that_still_builds_it() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]
    (constraint,) = settings["build-constraint-dependencies"]
    assert (ROOT / "constraints.txt").read_text().splitlines()[-1] == constraint
