"""Own probes of a member, spoken by packet-out, against the model of a host."""

import random

import pytest

from controller.decisions import Decision, SendPacket
from controller.frames import vip_mac
from controller.health import GRACE_S, HELD_UP_S, LINGER_S, Outcome, Prober, ProbeResult, Target
from controller.pipeline import PROBE_PORT_COUNT, PROBE_PORT_FIRST
from controller.policy import HealthCheck
from controller.segments import read_segment
from controller.topology import Host
from topologies.model.application import Application
from topologies.model.hosts import Host as ModelHost
from topologies.model.neighbours import BROADCAST
from topologies.model.packet import Packet
from topologies.model.servers import Behaviour, ResetAfterRequest, ResetOnAccept, Serve, Silent

PROBER_ADDRESS, PORT = 0x0A000064, 8080
PLACE = Host(0x0A000101, 0x020000000101, 1, 2)
TARGET = Target(("web", "web-1"), PLACE, PORT, PROBER_ADDRESS)
TCP_CHECK = HealthCheck(timeout_s=0.5)
HTTP_CHECK = HealthCheck(type="http", path="/health", timeout_s=0.5)


class Wire:
    """A prober and a member, with nothing but a delay between them."""

    def __init__(self, behaviour: Behaviour | None, delay_s: float = 0.001) -> None:
        self.now, self.delay_s = 0.0, delay_s
        self.prober = Prober(random.Random(1))
        self.member = ModelHost(PLACE.mac, PLACE.ip)
        self.member._neighbours._known[PROBER_ADDRESS] = vip_mac(PROBER_ADDRESS)
        if behaviour is not None:
            self.member.listen(PORT, behaviour)
        self.results: list[tuple[float, ProbeResult]] = []
        self.sent: list[bytes] = []

    def carry(self, decisions: list[Decision]) -> None:
        while decisions:
            (decision, *decisions) = decisions
            assert isinstance(decision, SendPacket)
            assert (decision.dpid, decision.actions[0].port) == (PLACE.dpid, PLACE.port_no)
            self.sent.append(decision.frame)
            self.now += self.delay_s
            self.member.receive(decision.frame, self.now)
            decisions = decisions + self.answers()

    def answers(self) -> list[Decision]:
        frames, self.member.frames = self.member.frames, []
        decisions: list[Decision] = []
        for frame in frames:
            assert Packet.from_bytes(frame).eth_dst != BROADCAST
            segment = read_segment(frame)
            assert segment is not None
            more, results = self.prober.on_segment(segment, frame, self.now)
            decisions += more
            self.results += [(self.now, result) for result in results]
        return decisions

    def run(self, check: HealthCheck, until: float = 2.0) -> ProbeResult:
        self.carry(self.prober.start(TARGET, check, self.now))
        while (deadline := self.prober.next_deadline()) is not None and deadline < until:
            self.now = deadline
            decisions, results = self.prober.on_tick(self.now)
            self.results += [(self.now, result) for result in results]
            self.carry(decisions)
        ((_, result),) = self.results
        assert self.prober.in_flight(TARGET.member) == 0
        return result


def test_a_listener_that_keeps_the_connection_for_a_moment_is_well() -> None:
    wire = Wire(Serve())
    result = wire.run(TCP_CHECK)
    assert (result.outcome, result.member) == (Outcome.SUCCEEDED, ("web", "web-1"))
    assert result.handshake_ms == pytest.approx(1.0)
    assert wire.results[0][0] == pytest.approx(0.001 + LINGER_S)
    assert not wire.member._endpoints, "the probe ended its connection with a RST that the member took"


@pytest.mark.parametrize(
    ("behaviour", "outcome"),
    [(None, Outcome.REFUSED), (Silent(), Outcome.TIMED_OUT), (ResetOnAccept(), Outcome.RESET)],
)
def test_what_goes_wrong_is_named(behaviour: Behaviour | None, outcome: Outcome) -> None:
    wire = Wire(behaviour)
    result = wire.run(TCP_CHECK)
    assert result.outcome is outcome
    assert (result.handshake_ms is None) == (outcome is Outcome.TIMED_OUT)


def test_a_probe_that_gets_no_answer_waits_as_long_as_the_check_says() -> None:
    wire = Wire(Silent())
    wire.run(TCP_CHECK)
    assert wire.results[0][0] == pytest.approx(0.5)


def test_a_controller_that_was_held_up_reads_the_answers_first() -> None:
    prober = Prober(random.Random(1))
    prober.start(TARGET, TCP_CHECK, 0.0)
    late = TCP_CHECK.timeout_s + 2 * HELD_UP_S
    assert prober.on_tick(late) == ([], []), "an answer may wait to be read"
    (result,) = prober.on_tick(late + GRACE_S)[1]
    assert result.outcome is Outcome.TIMED_OUT


def http_server(answer: bytes) -> Application:
    return Application(on_data=lambda endpoint, now: endpoint.send(answer, now))


@pytest.mark.parametrize(
    ("answer", "outcome", "text"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", Outcome.SUCCEEDED, "200"),
        (b"HTTP/1.0 200 OK\r\n\r\n", Outcome.SUCCEEDED, "200"),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", Outcome.WRONG_ANSWER, "503"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", Outcome.WRONG_ANSWER, "no HTTP"),
        (b"HTTP/1.", Outcome.WRONG_ANSWER, ""),
        (b"\x00" * 40, Outcome.WRONG_ANSWER, "no HTTP"),
    ],
)
def test_an_http_check_reads_the_status(
    answer: bytes, outcome: Outcome, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("topologies.model.hosts.application", lambda *_: http_server(answer))
    wire = Wire(Serve())
    result = wire.run(HTTP_CHECK)
    assert (result.outcome, result.text) == (outcome, text)
    request = Packet.from_bytes(wire.sent[1]).payload
    assert request.startswith(b"GET /health HTTP/1.1\r\nHost: 10.0.0.100\r\n") and request.endswith(b"\r\n\r\n")


def test_a_member_that_resets_the_request_fails_an_http_check() -> None:
    assert Wire(ResetAfterRequest()).run(HTTP_CHECK).outcome is Outcome.RESET
    assert Wire(ResetAfterRequest()).run(TCP_CHECK).outcome is Outcome.SUCCEEDED, "which asks for nothing"


def test_probes_in_flight_use_ports_of_their_own_and_end_when_there_are_none_left() -> None:
    prober = Prober(random.Random(1))
    ports = set()
    for _ in range(PROBE_PORT_COUNT):
        (syn,) = prober.start(TARGET, TCP_CHECK, 0.0)
        segment = read_segment(syn.frame)
        assert segment is not None
        ports.add(segment.src_port)
    assert ports == set(range(PROBE_PORT_FIRST, PROBE_PORT_FIRST + PROBE_PORT_COUNT))
    assert prober.start(TARGET, TCP_CHECK, 0.0) == []
    _, results = prober.on_tick(0.5)
    assert len(results) == PROBE_PORT_COUNT and prober.next_deadline() is None
    assert prober.start(TARGET, TCP_CHECK, 1.0) != []


def test_answers_that_nobody_asked_for_are_passed_over() -> None:
    wire = Wire(Serve())
    (syn,) = wire.prober.start(TARGET, TCP_CHECK, 0.0)
    segment = read_segment(syn.frame)
    assert segment is not None
    stranger = segment._replace(
        src=segment.dst, dst=segment.src, src_port=PORT, dst_port=segment.src_port ^ 1, flags=0x14
    )
    assert wire.prober.on_segment(stranger, b"", 0.0) == ([], [])
    early = stranger._replace(dst_port=segment.src_port, flags=0x10, payload_bytes=5)
    assert wire.prober.on_segment(early, b"HTTP/1.1 200", 0.0) == ([], []), "data before the handshake"
