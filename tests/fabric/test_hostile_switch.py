"""A peer on the OpenFlow port that is no switch, or a hostile one: it is cut off, counted, named seldom, and no other switch notices."""

import contextlib
import socket
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bed import Bed, one_vip, outcomes, pool, slowest_connect_ms
from running_controller import Controller, soon

from apps.codec import OUR_XID
from topologies.single import SingleTopo

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lib"))

from bench.switch import Switch, message

TOPOLOGY = SingleTopo(hosts=3)
CLIENT, MEMBERS = "h1", ("h2", "h3")
LISTEN = "127.0.0.1", 6653
HELLO, FEATURES = message(0), message(6, struct.pack("!QIBB2xII", 0xBAD, 0, 254, 0, 0x4F, 0))
FLOWS_XID = OUR_XID | 0x00F00000
BIG = 0xFFFF
SLOWEST_MS = 2500.0
"""The controller goes first here, before the switch: a SYN may have to be sent twice, after 1 s, but not three times (RFC 6298 §2.1)."""


def header(version: int, kind: int, length: int) -> bytes:
    """Of an OpenFlow message, whatever it says."""
    return struct.pack("!BBHI", version, kind, length, 1)


IN_THE_HANDSHAKE = {
    "no length": header(4, 0, 0),
    "a length within the header": header(4, 0, 4),
    "a version that there is not": header(99, 0, 8),
    "no OpenFlow": b"GET / HTTP/1.1\r\n\r\n",
    "an element without a length": message(0, bytes((0, 1, 0, 0, 0, 0, 0, 0))),
    "elements without an end": message(0, bytes((0, 1, 0, 12, 0, 0, 0, 16))),
    "a huge hello": header(4, 0, BIG) + bytes(BIG - 8),
    "a hello of another version, then a type in it": header(1, 0, 8) + header(1, 17, 12) + bytes(4),
    "features cut short": HELLO + message(6, bytes(3)),
    "an error cut short": HELLO + message(1, bytes(1)),
    "ports cut short": HELLO + FEATURES + message(19, struct.pack("!HH4x", 13, 0) + bytes(63)),
    "features twice": HELLO + FEATURES * 2,
    "more ports than there are": HELLO + FEATURES + b"".join(
        message(19, struct.pack("!HH4x", 13, 1) + b"".join(
            struct.pack("!I60x", port) for port in range(first, first + 1000)
        )) for first in range(1, 6001, 1000)
    ),
}  # fmt: skip
ONCE_CONNECTED = {
    "no length": header(4, 10, 0),
    "another version": header(1, 10, 8),
    "a packet-in cut short": message(10, bytes(3)),
    "statistics cut short": message(19, bytes(3), FLOWS_XID),
    "a port status cut short": message(12, bytes(9)),
    "a port status too long": message(12, bytes(73)),
    "an error of ours cut short": message(1, b"", OUR_XID),
    "statistics without an end": message(19, struct.pack("!HH4x", 1, 1) + bytes(56) * 1000, FLOWS_XID) * 700,
}
TOLERATED = {
    "records that fit nothing": message(19, b"\xff" * 100, FLOWS_XID),
    "a reply nobody asked for": message(19, struct.pack("!HH4x", 1, 0) + bytes(56), 7),
    "a reply to a question that there is not": message(19, bytes(30), OUR_XID | 0x123456),
    "a barrier nobody set": message(21, b"", OUR_XID | 0x123456),
    "a type that there is not": message(200, b"x" * 100),
    "an experimenter's message": message(4, b"\xff" * 20),
    "a port that makes no sense": message(12, b"\xff" * 72),
    "a packet of ours with any fields": message(10, b"\xff" * 15 + b"\xff" * 200),
}


@pytest.fixture(scope="module", autouse=True)
def silent(bed: Bed) -> Iterator[list[socket.socket]]:
    """Peers that say nothing, or only half of what they should."""
    peers = [socket.create_connection(LISTEN) for _ in range(20)]
    for peer in peers[10:]:
        peer.sendall(HELLO[:5])
    yield peers
    for peer in peers:
        peer.close()


@pytest.fixture(scope="module", autouse=True)
def served(bed: Bed) -> None:
    bed.serve(*MEMBERS)
    bed.apply(one_vip(pool(bed, *MEMBERS)))


@pytest.fixture(autouse=True)
def nobody_else_notices(bed: Bed) -> Iterator[None]:
    """The real switch stays connected, new connections and answers are as quick as ever, the log is short."""
    moment = bed.controller.moment()
    began = time.monotonic()
    with bed.load(CLIENT, 50) as clients:
        yield
        bed.ask(CLIENT, 10)
        connections = clients.finish()
    assert outcomes(connections) == {"ok": len(connections)}
    assert slowest_connect_ms(connections) < SLOWEST_MS
    (dpid,) = bed.dpids
    said = bed.controller.announced("switch", since=moment)
    assert [line for line in said if line["dpid"] == dpid] == []
    assert bed.controller.connected() >= {dpid}
    named = [line for line in bed.controller.lines(since=moment) if " refused: " in line]
    assert len(named) <= time.monotonic() - began + 2


def refused(controller: Controller, reason: str) -> int:
    """How many connections were refused or ended for this reason."""
    return controller.counted("resetlb_switch_refusals_total", reason=reason)


def ended(peer: socket.socket, within_s: float = 5.0) -> bool:
    """Whether the controller ends the connection."""
    peer.settimeout(within_s)
    try:
        while peer.recv(65536):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


def test_what_is_no_handshake_ends_it(bed: Bed) -> None:
    before = refused(bed.controller, "malformed")
    for name, octets in IN_THE_HANDSHAKE.items():
        with socket.create_connection(LISTEN) as peer:
            peer.sendall(octets)
            assert ended(peer), name
    assert refused(bed.controller, "malformed") == before + len(IN_THE_HANDSHAKE)


def connected(bed: Bed, dpid: int) -> Switch:
    """A switch that has finished its handshake."""
    peer = Switch(LISTEN, dpid)
    name = f"{dpid:016x}"
    soon("it is connected", lambda: name in bed.controller.connected(), 5)
    return peer


def test_what_cannot_be_read_ends_the_connection(bed: Bed) -> None:
    before = refused(bed.controller, "malformed")
    for name, octets in ONCE_CONNECTED.items():
        peer = connected(bed, 0xBAD)
        with contextlib.suppress(ConnectionError):
            peer.send(octets)
        soon(f"{name}: it is cut off", lambda: f"{0xBAD:016x}" not in bed.controller.connected(), 5)
        peer.close()
    assert refused(bed.controller, "malformed") == before + len(ONCE_CONNECTED)


def test_what_means_nothing_is_passed_over(bed: Bed) -> None:
    peer = connected(bed, 0xBAD)
    for octets in TOLERATED.values():
        peer.until_taken_in(octets, 5)
    assert f"{0xBAD:016x}" in bed.controller.connected()
    peer.close()


def test_a_switch_that_asks_and_never_listens_is_cut_off_before_memory_is(bed: Bed) -> None:
    before = bed.controller.memory_mb
    with socket.create_connection(LISTEN) as peer:
        peer.settimeout(10)
        with pytest.raises(ConnectionError):
            for _ in range(4000):
                peer.sendall(HELLO + message(2, bytes(60000)))
    assert bed.controller.memory_mb < before + 150


def test_who_claims_the_dpid_of_a_switch_that_is_there_is_refused(bed: Bed) -> None:
    (dpid,) = bed.dpids
    before = refused(bed.controller, "dpid")
    with socket.create_connection(LISTEN) as peer:
        peer.sendall(HELLO + message(6, struct.pack("!QIBB2xII", int(dpid, 16), 0, 254, 0, 0x4F, 0)))
        assert ended(peer)
    assert refused(bed.controller, "dpid") == before + 1


def test_a_switch_that_comes_back_takes_the_place_of_its_dead_connection(bed: Bed) -> None:
    with socket.create_connection(LISTEN) as dead:
        dead.sendall(HELLO + message(6, struct.pack("!QIBB2xII", 0xBAD, 0, 254, 0, 0x4F, 0)))
        dead.sendall(message(19, struct.pack("!HH4x", 13, 0)))
        time.sleep(0.3)
        alive = connected(bed, 0xBAD)
        assert ended(dead)
        alive.until_taken_in(b"", 5)
        alive.close()


def test_a_storm_of_fifty_switches_that_come_and_go(bed: Bed) -> None:
    before = bed.controller.memory_mb, bed.controller.files
    for _ in range(4):
        peers = [Switch(LISTEN, 0x2000 + number) for number in range(50)]
        time.sleep(0.3)
        for peer in peers:
            peer.close()
    peers = [Switch(LISTEN, 0x2000 + number) for number in range(50)]
    wanted = {f"{0x2000 + number:016x}" for number in range(50)}
    soon("all are in order", lambda: wanted <= bed.controller.connected(), 20)
    for peer in peers:
        peer.close()
    soon("all are gone", lambda: not wanted & bed.controller.connected(), 10)
    soon("their files are closed", lambda: bed.controller.files <= before[1] + 5, 5, lambda: bed.controller.files)
    assert bed.controller.memory_mb < before[0] + 30


def test_who_never_finishes_its_handshake_is_cut_off(bed: Bed, silent: list[Any]) -> None:
    """Opened when the module began, so most of the time is over."""
    soon("all are refused", lambda: refused(bed.controller, "late") >= len(silent), 20)
    assert all(ended(peer) for peer in silent)
