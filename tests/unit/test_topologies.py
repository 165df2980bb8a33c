"""What the topologies decide without a fabric: addresses, what a sandbox needs, how the faulty server misbehaves."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from topologies import sandbox
from topologies.addressing import CORE, EDGE, SPINE, dpid, host_address, host_mac
from topologies.faulty_server import FaultyServer


def test_dpids_are_16_hex_digits_and_tell_the_layers_apart() -> None:
    assert dpid(EDGE, 1) == "0000000000000101"
    assert dpid(SPINE, 2) == "0000000000000202"
    assert dpid(CORE, 255) == "00000000000003ff"


@pytest.mark.parametrize("index", [0, 256])
def test_a_dpid_never_runs_into_the_next_layer(index: int) -> None:
    with pytest.raises(ValueError, match=f"switch index {index} is not in 1–255"):
        dpid(EDGE, index)


def test_hosts_leave_the_first_24_for_vips() -> None:
    assert host_address(1, 1) == "10.0.1.1"
    assert host_mac(2, 17) == "02:00:0a:00:02:11"
    for edge, place in [(0, 1), (1, 0), (1, 255), (256, 1)]:
        with pytest.raises(ValueError, match="not in"):
            host_address(edge, place)


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sandbox, "_SBIN", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "program ovs-vswitchd" in sandbox.missing()


def test_a_leaked_mark_is_no_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(sandbox.MARK, "pid:[1]")
    assert not sandbox.inside()


async def _request(port: int) -> str:
    """What a client of the server sees: its answer's body, or the name of the error."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 0.5)
        writer.close()
    except (ConnectionRefusedError, ConnectionResetError, TimeoutError) as error:
        return type(error).__name__
    return answer.partition(b"\r\n\r\n")[2].decode()


async def _order(control: Path, **order: Any) -> dict[str, int]:
    reader, writer = await asyncio.open_unix_connection(control)
    writer.write(json.dumps(order).encode() + b"\n")
    counts: dict[str, int] = json.loads(await reader.readline())
    writer.close()
    return counts


def _with_server(tmp_path: Path, unused_port: int, scene: Callable[[int, Path], Awaitable[None]]) -> None:
    async def play() -> None:
        control = tmp_path / "control"
        server = asyncio.create_task(FaultyServer("web-1", unused_port).run(str(control)))
        while not control.exists():
            await asyncio.sleep(0.01)
        await scene(unused_port, control)
        server.cancel()

    asyncio.run(play())


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ("none", "web-1"),
        ("refuse", "ConnectionRefusedError"),
        ("reset-on-accept", "ConnectionResetError"),
        ("reset-on-request", "ConnectionResetError"),
        ("reset-in-response", "ConnectionResetError"),
        ("hang", "TimeoutError"),
    ],
)
def test_a_fault_shows_to_the_client_as_its_name_says_and_ends(
    tmp_path: Path, unused_port: int, fault: str, seen: str
) -> None:
    async def scene(port: int, control: Path) -> None:
        await _order(control, fault=fault)
        assert await _request(port) == seen
        await _order(control, fault="none")
        assert await _request(port) == "web-1"

    _with_server(tmp_path, unused_port, scene)


def test_a_gray_server_resets_only_its_share_and_counts_both(tmp_path: Path, unused_port: int) -> None:
    async def scene(port: int, control: Path) -> None:
        await _order(control, fault="reset-on-accept", share=0.3)
        seen = [await _request(port) for _ in range(200)]
        resets = seen.count("ConnectionResetError")
        assert 30 < resets < 90
        assert await _order(control) == {"accepted": 200, "served": 200 - resets, "faulted": resets}

    _with_server(tmp_path, unused_port, scene)


def test_an_overloaded_server_resets_what_exceeds_its_limit(tmp_path: Path, unused_port: int) -> None:
    async def scene(port: int, control: Path) -> None:
        await _order(control, limit=5, delay_s=0.2)
        seen = await asyncio.gather(*(_request(port) for _ in range(20)))
        assert sorted(seen) == ["ConnectionResetError"] * 15 + ["web-1"] * 5
        assert await _request(port) == "web-1"

    _with_server(tmp_path, unused_port, scene)


@pytest.fixture
def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
