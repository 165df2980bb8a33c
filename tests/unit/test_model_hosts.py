"""Hosts answer on the wire as Linux does: open, closed, silent and faulty ports, retransmission, resets."""

import random
from collections.abc import Callable

import pytest
from model_traffic import MASK

from topologies.model.application import End
from topologies.model.headers import ACK, FIN, RST, SYN, Tcp
from topologies.model.hosts import Attempt, Host
from topologies.model.packet import Packet
from topologies.model.servers import Behaviour, Gray, ResetAfterRequest, ResetOnAccept, Serve, Silent, settle
from topologies.model.tcp_options import timestamps

CLIENT, SERVER = 0x0A000001, 0x0A000002
ONE_WAY_S = 0.001


class Cable:
    """Two hosts on one wire; `seen` are all packets with their times. `fate` may drop or change a packet (None: dropped)."""

    def __init__(self, fate: Callable[[Packet], Packet | None] = lambda packet: packet) -> None:
        self.client, self.server = Host(0x020000000001, CLIENT), Host(0x020000000002, SERVER)
        self.seen: list[tuple[float, Packet]] = []
        self.now = 0.0
        self.fate = fate

    def run(self, until: float) -> None:
        while True:
            frames = [(host, frame) for host in (self.client, self.server) for frame in host.frames]
            self.client.frames, self.server.frames = [], []
            if frames:
                self.now += ONE_WAY_S
                for sender, frame in frames:
                    self._deliver(sender, frame)
                continue
            due = min(
                (at for host in (self.client, self.server) if (at := host.next_deadline()) is not None), default=until
            )
            if due > until or due == until == self.now:
                self.now = until
                return
            self.now = max(self.now, due)
            self.client.wake(self.now)
            self.server.wake(self.now)

    def _deliver(self, sender: Host, frame: bytes) -> None:
        self.seen.append((self.now, Packet.from_bytes(frame)))
        packet = self.fate(Packet.from_bytes(frame))
        if packet is not None:
            (self.server if sender is self.client else self.client).receive(packet.to_bytes(), self.now)

    def connect(self, behaviour: Behaviour | None, until: float = 1.0, **options: object) -> Attempt:
        if behaviour is not None:
            self.server.listen(80, behaviour)
        attempt = self.client.connect(SERVER, 80, self.now, **options)
        self.run(until)
        return attempt

    def sent_by(self, address: int) -> list[Tcp]:
        return [packet.tcp for _, packet in self.seen if packet.tcp and packet.ip and packet.ip.src == address]


def test_a_request_is_served_and_both_sides_close() -> None:
    cable = Cable()
    attempt = cable.connect(Serve(5000))
    assert (attempt.end, attempt.received, attempt.syns_sent) == (End.CLOSED, 5000, 1)
    assert attempt.connected == pytest.approx(4 * ONE_WAY_S)  # ARP, then the handshake.
    flags = [tcp.flags for tcp in cable.sent_by(CLIENT)]
    assert flags[:2] == [SYN, ACK] and flags.count(FIN | ACK) == 1


def test_a_closed_port_answers_with_a_bare_reset() -> None:
    cable = Cable()
    attempt = cable.connect(None)
    assert attempt.end is End.REFUSED and attempt.connected is None
    (answer,) = [packet for _, packet in cable.seen if packet.tcp and packet.ip and packet.ip.src == SERVER]
    assert answer.tcp == Tcp(80, attempt.endpoint.port, 0, (attempt.endpoint.iss + 1) & MASK, RST | ACK, window=0)
    assert answer.ip and answer.ip.ident == 0


def test_a_syn_is_sent_again_after_1_3_and_7_seconds() -> None:
    cable = Cable()
    attempt = cable.connect(Silent(), until=10.0)
    times = [at for at, packet in cable.seen if packet.tcp]
    assert [round(at - times[0], 2) for at in times] == [0, 1, 3, 7]
    assert len({tcp.seq for tcp in cable.sent_by(CLIENT)}) == 1
    cable.run(200.0)
    assert attempt.end is End.TIMEOUT
    assert attempt.ended == pytest.approx(127, abs=0.1)


def test_a_program_that_aborts_resets_with_its_numbers_a_window_and_timestamps() -> None:
    cable = Cable()
    attempt = cable.connect(ResetAfterRequest(), request=b"GET /")
    assert attempt.end is End.RESET and attempt.connected is not None
    reset = cable.sent_by(SERVER)[-1]
    assert reset.flags == RST | ACK and reset.window > 0 and timestamps(reset.options) is not None
    assert reset.ack == (attempt.endpoint.iss + 6) & MASK
    assert reset.seq == (cable.sent_by(SERVER)[0].seq + 1) & MASK


def test_a_reset_on_accept_comes_behind_the_handshake() -> None:
    attempt = Cable().connect(ResetOnAccept())
    assert attempt.end is End.RESET and attempt.connected is not None and attempt.received == 0


def test_a_client_may_abort() -> None:
    cable = Cable()
    attempt = cable.connect(Serve(10, keep_alive=True))
    cable.client.act(attempt, lambda endpoint: endpoint.abort(cable.now), cable.now)
    cable.run(2.0)
    assert attempt.end is End.ABORTED
    assert cable.sent_by(CLIENT)[-1].flags == RST | ACK


def test_a_kept_connection_serves_again() -> None:
    cable = Cable()
    attempt = cable.connect(Serve(10, keep_alive=True))
    cable.client.act(attempt, lambda endpoint: endpoint.send(b"again", cable.now), cable.now)
    cable.run(2.0)
    assert attempt.received == 20 and attempt.end is None


def test_an_answer_may_take_its_time() -> None:
    cable = Cable()
    attempt = cable.connect(Serve(10, delay_s=0.5), until=0.4)
    assert attempt.received == 0
    cable.run(1.0)
    assert attempt.received == 10


def test_what_is_lost_is_sent_again() -> None:
    chance = random.Random(1)
    cable = Cable(lambda packet: None if packet.tcp and chance.random() < 0.2 else packet)
    attempt = cable.connect(Serve(20_000), until=300.0)
    assert (attempt.end, attempt.received) == (End.CLOSED, 20_000)


def test_a_gray_server_fails_part_of_the_time() -> None:
    chance = random.Random(1)
    kinds = [type(settle(Gray(0.3), chance)) for _ in range(1000)]
    assert kinds.count(ResetOnAccept) == pytest.approx(300, rel=0.2)
    assert set(kinds) == {ResetOnAccept, Serve}


def test_a_reset_with_the_wrong_number_is_challenged_and_changes_nothing() -> None:
    cable = Cable()
    attempt = cable.connect(Serve(10, keep_alive=True))
    last = cable.sent_by(SERVER)[-1]
    for off, answered in ((1, 1), (1 << 30, 0)):
        forged = Packet(cable.client.mac, cable.server.mac, 0x0800)
        forged.ip = next(packet.ip for _, packet in cable.seen if packet.ip and packet.ip.src == SERVER)
        forged.tcp = Tcp(80, attempt.endpoint.port, (cable.sent_by(CLIENT)[-1].ack + off) & MASK, 0, RST)
        before = len(cable.client.frames)
        cable.client.receive(forged.to_bytes(), cable.now)
        assert len(cable.client.frames) - before == answered
    assert attempt.end is None and last.flags & ACK


def test_a_segment_of_no_connection_is_answered_with_its_own_acknowledgment() -> None:
    cable = Cable()
    attempt = cable.connect(Serve(10, keep_alive=True))
    cable.server._endpoints.clear()
    cable.client.act(attempt, lambda endpoint: endpoint.send(b"anyone?", cable.now), cable.now)
    cable.run(2.0)
    asked, answer = cable.sent_by(CLIENT)[-1], cable.sent_by(SERVER)[-1]
    assert (answer.flags, answer.seq, answer.window) == (RST, asked.ack, 0)
    assert attempt.end is End.RESET


def test_an_invented_timestamp_is_not_believed() -> None:
    def invent(packet: Packet) -> Packet:
        if packet.tcp and packet.tcp.flags & (SYN | ACK) == SYN | ACK:
            stamped = packet.tcp.options.index(b"\x08\x0a")
            echo = slice(stamped + 6, stamped + 10)
            options = packet.tcp.options[: echo.start] + b"\xff\xff\xff\xff" + packet.tcp.options[echo.stop :]
            packet.tcp = packet.tcp._replace(options=options)
        return packet

    cable = Cable(invent)
    attempt = cable.connect(Serve(10), until=0.5)
    assert attempt.connected is None
    assert cable.sent_by(CLIENT)[-1].flags == RST


def test_a_rebuilt_syn_without_options_opens_a_plain_connection() -> None:
    def rebuild(packet: Packet) -> Packet:
        if packet.tcp and packet.tcp.flags == SYN:
            packet.tcp = packet.tcp._replace(options=b"\x02\x04\x05\xb4")
        return packet

    cable = Cable(rebuild)
    attempt = cable.connect(Serve(100_000), until=5.0)
    assert (attempt.end, attempt.received) == (End.CLOSED, 100_000)
    assert all(timestamps(tcp.options) is None for tcp in cable.sent_by(SERVER))


def test_a_port_in_time_wait_takes_a_later_syn_and_no_earlier_one() -> None:
    cable = Cable()
    first = cable.connect(Serve(10), src_port=40000)
    assert first.end is End.CLOSED
    endpoint = cable.server._endpoints[80, CLIENT, 40000]
    newer = Tcp(40000, 80, (first.endpoint.iss + 10_000) & MASK, 0, SYN)
    assert endpoint.gives_way_to(newer)
    assert not endpoint.gives_way_to(newer._replace(seq=(first.endpoint.iss - 10_000) & MASK))


def test_a_ping_is_answered_and_a_closed_udp_port_is_unreachable() -> None:
    cable = Cable()
    ping = cable.client.ping(SERVER, 0.0)
    cable.client.send_udp(SERVER, 40000, 53, b"question", 0.0)
    cable.run(1.0)
    assert ping.answered == pytest.approx(4 * ONE_WAY_S)
    (error,) = cable.client.unreachable
    assert error.icmp and (error.icmp.type, error.icmp.code) == (3, 3)


def test_udp_is_echoed_by_who_does_that() -> None:
    cable = Cable()
    cable.server.udp_echo.add(7)
    cable.client.send_udp(SERVER, 40000, 7, b"hello", 0.0)
    cable.run(1.0)
    assert cable.client.datagrams == [(SERVER, 7, 40000, b"hello")]


def test_nobody_answers_for_an_address_that_is_not_there() -> None:
    cable = Cable()
    attempt = cable.client.connect(0x0A0000FF, 80, 0.0)
    cable.run(10.0)
    assert attempt.end is End.UNREACHABLE and attempt.ended == pytest.approx(3.0, abs=0.01)
    assert len(cable.seen) == 3


def test_the_same_seed_gives_the_same_numbers() -> None:
    def numbers(seed: int) -> tuple[int, int]:
        endpoint = Host(1, CLIENT, seed).connect(SERVER, 80, 0.0).endpoint
        return endpoint.port, endpoint.iss

    assert numbers(1) == numbers(1) != numbers(2)
