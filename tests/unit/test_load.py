"""The load tells what became of each connection: held against servers that do exactly one thing, on the loopback."""

import asyncio
import contextlib
import json
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Awaitable, Callable

import pytest

from topologies.load import Attempt, Kept, Load, Outcome

Server = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh2"


def _reset(writer: asyncio.StreamWriter) -> None:
    linger_zero = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_zero)
    writer.transport.abort()


def _answers(*parts: bytes, then: Callable[[asyncio.StreamWriter], None] = asyncio.StreamWriter.close) -> Server:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(part)
            await asyncio.sleep(0.02)  # a reset at once would discard what was written
        then(writer)

    return serve


async def _resets_on_accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    _reset(writer)


async def _hangs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def _serves_for_ever(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError):
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(WHOLE)
    writer.close()


def _met_by(server: Server, do: Callable[[Load], Awaitable[object]]) -> list[Attempt | Kept]:
    """What the load tells when it does something against this server."""

    async def meet() -> list[Attempt | Kept]:
        told: list[Attempt | Kept] = []
        listener = await asyncio.start_server(server, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        await do(Load("127.0.0.1", port, told.append, timeout_s=0.4))
        listener.close()
        return told

    return asyncio.run(meet())


async def _one(load: Load) -> None:
    await load.attempt(asyncio.get_running_loop().time())


@pytest.mark.parametrize(
    ("server", "outcome"),
    [
        pytest.param(_answers(WHOLE), Outcome.OK, id="whole-answer"),
        pytest.param(_resets_on_accept, Outcome.RESET, id="reset-on-accept"),
        pytest.param(_answers(then=asyncio.StreamWriter.close), Outcome.RESET, id="closed-without-answer"),
        pytest.param(_answers(WHOLE[:-1], then=_reset), Outcome.CUT, id="reset-in-the-answer"),
        pytest.param(_answers(WHOLE[:-1]), Outcome.CUT, id="closed-in-the-answer"),
        pytest.param(_answers(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"), Outcome.CUT, id="another-status"),
        pytest.param(_hangs, Outcome.TIMED_OUT, id="no-answer"),
    ],
)
def test_an_established_connection_is_told_by_how_it_ended(server: Server, outcome: Outcome) -> None:
    (attempt,) = _met_by(server, _one)
    assert isinstance(attempt, Attempt)
    assert attempt.outcome is outcome
    assert attempt.connected is not None
    assert attempt.started <= attempt.connected <= attempt.ended
    assert attempt.member == ("h2" if outcome is Outcome.OK else None)


def test_a_closed_port_is_a_refusal_and_nothing_was_established() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    told: list[Attempt | Kept] = []
    asyncio.run(_one(Load("127.0.0.1", port, told.append)))
    assert [(attempt.outcome, attempt.connected) for attempt in told] == [(Outcome.REFUSED, None)]


def test_a_slow_server_meets_no_less_load() -> None:
    async def half_a_second(load: Load) -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(0.5, stop.set)
        await load.run(rate=100, kept=0, stop=stop)

    told = _met_by(_hangs, half_a_second)
    assert {attempt.outcome for attempt in told} == {Outcome.TIMED_OUT}
    # Had each waited for the one before, there would be two.
    assert 40 <= len(told) <= 51


@pytest.mark.parametrize(
    ("server", "outcome", "member"),
    [
        pytest.param(_serves_for_ever, Outcome.KEPT, "h2", id="lasts"),
        pytest.param(_answers(WHOLE, then=_reset), Outcome.RESET, "h2", id="reset"),
        pytest.param(_answers(WHOLE), Outcome.RESET, "h2", id="closed"),
        pytest.param(_answers(WHOLE, WHOLE.replace(b"h2", b"h4")), Outcome.MOVED, "h2", id="another-server-answers"),
        pytest.param(_hangs, Outcome.TIMED_OUT, None, id="no-answer"),
    ],
)
def test_a_connection_that_is_meant_to_last_is_told_by_how_it_ended(
    server: Server, outcome: Outcome, member: str | None
) -> None:
    async def a_while(load: Load) -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(0.7, stop.set)
        await load.run(rate=0.1, kept=1, stop=stop)

    (kept,) = [connection for connection in _met_by(server, a_while) if isinstance(connection, Kept)]
    assert (kept.outcome, kept.member) == (outcome, member)


def test_the_program_tells_everything_before_it_ends_on_sigterm() -> None:
    async def run() -> list[dict[str, object]]:
        listener = await asyncio.start_server(_serves_for_ever, "127.0.0.1", 0)
        port = str(listener.sockets[0].getsockname()[1])
        argv = ["-m", "topologies.load", "c1", "127.0.0.1", port, "--rate", "50", "--kept", "2", "--timeout", "0.2"]
        program = await asyncio.create_subprocess_exec(sys.executable, *argv, stdout=subprocess.PIPE)
        assert program.stdout is not None
        first = await program.stdout.readline()
        program.send_signal(signal.SIGTERM)
        rest, _ = await program.communicate()
        assert program.returncode == 0
        listener.close()
        return [json.loads(line) for line in [first, *rest.splitlines()]]

    lines = asyncio.run(run())
    assert {line["load"] for line in lines} == {"c1"}
    assert sorted(line["number"] for line in lines if line["outcome"] == "kept") == [0, 1]


def test_its_own_ports_are_used_in_turn() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        ports = one.getsockname()[1], other.getsockname()[1]
    seen: list[int] = []

    async def whose(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("peername")[1])
        _reset(writer)  # no TIME-WAIT: the next one with this port need not wait

    async def meet() -> None:
        listener = await asyncio.start_server(whose, "127.0.0.1", 0)
        load = Load("127.0.0.1", listener.sockets[0].getsockname()[1], lambda _: None, own_ports=ports)
        for _ in range(3):
            await _one(load)
        listener.close()

    asyncio.run(meet())
    assert seen == [*ports, ports[0]]
