"""Whom the gate lets in, and that nobody fills the log at it. TLS itself: tests/fabric/test_channel.py."""

import contextlib
import logging
import socket
from pathlib import Path

import pytest

from apps import gate as gate_module
from apps.gate import Certificates, Gate, GateError

PEER = ("192.0.2.7", 40000)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "resetlb.openflow")
    return caplog


def test_without_a_list_every_dpid_may_connect(said: pytest.LogCaptureFixture) -> None:
    assert Gate().admits(0xDEAD, PEER)
    assert said.messages == []


def test_an_empty_list_is_a_list_of_nobody() -> None:
    assert not Gate(dpids=frozenset()).admits(0x11, PEER)


def test_a_dpid_that_is_not_listed_is_refused_by_name(said: pytest.LogCaptureFixture) -> None:
    gate = Gate(dpids=frozenset({0x11}))
    assert gate.admits(0x11, PEER)
    assert not gate.admits(0x12, PEER)
    assert said.messages == ["switch 192.0.2.7:40000 refused: dpid 0000000000000012 is not allowed (--allow-dpid)"]


def test_who_comes_again_and_again_gets_a_line_a_second(
    said: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(gate_module.time, "monotonic", lambda: now[0])
    gate = Gate(dpids=frozenset())
    for _ in range(1000):
        gate.admits(1, PEER)
    now[0] += gate_module.SAID_EVERY_S
    gate.admits(1, PEER)
    assert len(said.messages) == 2
    assert said.messages[1].endswith("(999 more were refused since the last such line)")


@pytest.mark.parametrize(
    ("begins", "words"), [(b"\x16\x03", "needs --ofp-tls-cert"), (b"GE", "does not speak OpenFlow")]
)
def test_what_cannot_be_openflow_is_named(begins: bytes, words: str, said: pytest.LogCaptureFixture) -> None:
    Gate().complain(PEER, begins)
    assert words in said.text


def test_files_that_are_no_certificates_are_an_error_that_names_them(tmp_path: Path) -> None:
    text = tmp_path / "text.pem"
    text.write_text("not a certificate")
    with pytest.raises(GateError, match=r"--ofp-tls-cert .*text\.pem.*not a PEM file"):
        Gate(Certificates(text, text, text))
    with pytest.raises(GateError, match=r"--ofp-tls-cert .*none\.pem.*No such file"):
        Gate(Certificates(tmp_path / "none.pem", text, text))


def test_who_connects_without_end_is_turned_away_until_there_is_room_again(
    said: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(gate_module.time, "monotonic", lambda: now[0])
    gate = Gate()

    def taken(count: int) -> int:
        peers = [socket.socket() for _ in range(count)]
        inside = [peer for peer in peers if gate.enter(peer, PEER) is peer]
        assert all(peer.fileno() == -1 for peer in peers if peer not in inside), "closed"
        for peer in inside:
            peer.close()
        return len(inside)

    monkeypatch.setattr(gate_module, "PEERS_AT_ONCE", 20.0)
    assert taken(50) == 20
    assert "too many connections at once" in said.text
    now[0] += 0.2
    assert taken(50) == round(0.2 * gate_module.PEERS_PER_S)


def test_who_left_makes_room_and_refusals_are_counted_by_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.gate.INSIDE_AT_MOST", 2)
    gate = Gate(dpids=frozenset())
    with contextlib.ExitStack() as stack:
        first, second, third = (stack.enter_context(socket.socket()) for _ in range(3))
        assert gate.enter(first, PEER) and gate.enter(second, PEER)
        assert gate.enter(third, PEER) is None
        gate.leave()
        assert gate.enter(stack.enter_context(socket.socket()), PEER)
    gate.admits(1, PEER)
    gate.complain(PEER, b"GE")
    counted = {one.labels["reason"]: one.value for one in gate.measurements()}
    assert (counted["crowd"], counted["dpid"], counted["malformed"], counted["late"]) == (1, 1, 1, 0)
