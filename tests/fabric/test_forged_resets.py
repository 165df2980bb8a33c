"""Resets that are not what they claim: dropped, counted and named, and never held against a member."""

import re
import time
from collections.abc import Callable, Iterator

import pytest
from bed import MEMBER_PORT, VIP, VIP_PORT, Bed, FramePort, mac_number, one_vip, outcomes, packed, pool, shares
from running_controller import soon

from controller.frames import Tcp, edge_mac, mss, tcp, vip_mac
from controller.pipeline import ACK, FIN, PSH, RST, SYN
from controller.segments import Segment
from topologies import openvswitch
from topologies.leaf_spine import LeafSpineTopo

ATTACKS = True
TOPOLOGY = LeafSpineTopo(spines=1, leaves=2, hosts=3)
CLIENT, ATTACKER = "h1", "h3"
MEMBERS = ("h2", "h5")
"""On the client's leaf and on the other one; the attacker is on the client's, and another, h6, on the other one."""
FAR_ATTACKER = "h6"


@pytest.fixture(autouse=True)
def all_well(bed: Bed) -> None:
    bed.serve(*MEMBERS)
    bed.apply(one_vip(pool(bed, *MEMBERS)))


@pytest.fixture
def talking(bed: Bed) -> Iterator["Talk"]:
    with bed.frames(CLIENT) as port, bed.keep(CLIENT, 1, interval_s=0.05) as kept:
        yield Talk(bed, port, kept)


class Talk:
    """One connection that is in use, seen from its client's interface."""

    def __init__(self, bed: Bed, port: FramePort, kept) -> None:
        self.bed = bed
        self.port = port
        self._kept = kept
        self.port.expect("an answer", lambda segment: segment.src_port == VIP_PORT and segment.payload_bytes > 0)

    def last_answer(self) -> Segment:
        """The last segment with data that the client got."""
        answers = [
            segment for segment in self.port.segments() if segment.src_port == VIP_PORT and segment.payload_bytes
        ]
        return answers[-1]

    def still_works(self) -> bool:
        """Whether requests go on being answered."""
        since = len(self.port.look())
        self.port.expect("a further answer", lambda segment: segment.payload_bytes > 0, since=since)
        return True

    def finish(self) -> dict:
        """The connection's report."""
        (connection,) = self._kept.finish()
        return connection

    def member(self) -> str:
        """Who answers: the answers name it."""
        frames = [frame for direction, frame in self.port.look() if direction == "in" and b"\r\n\r\n" in frame]
        return frames[-1].rpartition(b"\r\n\r\n")[2].rstrip(b"\0").decode()

    @property
    def client_port(self) -> int:
        """Its client's port."""
        return self.last_answer().dst_port


def forged(sender: tuple[str, int], receiver: tuple[str, int], seq: int, flags: int = RST, ack: int = 0) -> Tcp:
    """A reset in somebody's name."""
    return Tcp(packed(sender[0]), sender[1], packed(receiver[0]), receiver[1], flags, seq, ack)


def place_of(bed: Bed, host: str) -> str:
    """The port a host is attached to, as the API writes it."""
    leaf = "leaf1" if host in ("h1", "h2", "h3") else "leaf2"
    return f"{bed.fabric.dpid(leaf)}:{bed.fabric.port_no(leaf, host)}"


def injected(bed: Bed) -> list[dict]:
    """The recorded resets that did not come from whom they claim."""
    return [reset for reset in bed.controller.resets() if reset["sender"] == "injected"]


@pytest.mark.parametrize("attacker", [ATTACKER, FAR_ATTACKER])
@pytest.mark.parametrize("name", ["a member's", "the vip's", "the client's"])
def test_a_reset_that_enters_at_the_wrong_port_is_dropped_and_named(
    bed: Bed, talking: Talk, attacker: str, name: str
) -> None:
    """With the exact sequence number: only the port tells."""
    before = bed.controller.moment()
    answer, client = talking.last_answer(), bed.fabric.address(CLIENT)
    next_seq = answer.seq + answer.payload_bytes
    fabric = bed.fabric
    if name == "a member's":
        segments = [
            forged((fabric.address(m), MEMBER_PORT), (client, talking.client_port), next_seq + i)
            for m in MEMBERS
            for i in (0, 1)
        ]
    elif name == "the vip's":
        segments = [forged((VIP, VIP_PORT), (client, talking.client_port), next_seq + i) for i in (0, 1)]
    else:
        segments = [forged((client, talking.client_port), (VIP, VIP_PORT), answer.ack + i) for i in (0, 1)]
    known = len(injected(bed))
    mac = mac_number(fabric.mac(attacker))
    with bed.frames(attacker) as port:
        for segment in segments:
            to = mac_number(fabric.mac(CLIENT)) if name != "the client's" else vip_mac(packed(VIP))
            port.send(tcp(segment, to, mac))
        soon("they are recorded", lambda: len(injected(bed)) - known == len(segments), 3, lambda: injected(bed)[:5])
    assert {reset["entry_port"] for reset in injected(bed)[: len(segments)]} == {place_of(bed, attacker)}
    assert talking.still_works()
    assert talking.finish()["outcome"] == "ok"
    assert not [segment for segment in talking.port.segments() if segment.is_reset]
    assert bed.controller.announced("eject", since=before) == []


def test_a_reset_outside_the_window_is_dropped_and_the_connection_lives(bed: Bed, talking: Talk) -> None:
    """Off-path, but from the member's own port: a compromised member, or one that shares its host with the attacker."""
    answer, client = talking.last_answer(), bed.fabric.address(CLIENT)
    member = talking.member()
    sender = (bed.fabric.address(member), MEMBER_PORT)

    def of_this() -> list[dict]:
        resets = bed.controller.resets(client=client)
        return [one for one in resets if one["kind"] == "out-of-window" and one["client_port"] == talking.client_port]

    # Far behind and far ahead of every window.
    segments = [forged(sender, (client, talking.client_port), answer.seq + off) for off in (-(1 << 30), 1 << 30)]
    with bed.frames(member) as port:
        mac = mac_number(bed.fabric.mac(member))
        port.send(*(tcp(segment, mac_number(bed.fabric.mac(CLIENT)), mac) for segment in segments))
        soon("they are recorded", lambda: len(of_this()) == 2, 3, lambda: bed.controller.resets()[:5])
    assert {reset["member"] for reset in of_this()} == {bed.member(member)}
    assert {reset["entry_port"] for reset in of_this()} == {place_of(bed, member)}
    assert talking.still_works()
    assert talking.finish()["outcome"] == "ok"
    assert bed.controller.taking() == set(MEMBERS)
    assert not [segment for segment in talking.port.segments() if segment.is_reset]


def test_spoofed_refusals_eject_nobody(bed: Bed) -> None:
    """Refusals of real SYNs, in the members' names, from the attacker's port, as fast as the machine sends them."""
    moment = bed.controller.moment()
    client = bed.fabric.address(CLIENT)
    victims = [(bed.fabric.address(member), MEMBER_PORT) for member in MEMBERS]
    flood = [
        forged(victim, (client, port), 0, RST | ACK, ack)
        for victim in victims
        for port in range(32768, 33268)
        for ack in (1,)
    ]
    mac, to = mac_number(bed.fabric.mac(ATTACKER)), mac_number(bed.fabric.mac(CLIENT))
    with bed.frames(ATTACKER) as port, bed.load(CLIENT, 50) as clients:
        for _ in range(5):
            port.send(*(tcp(segment, to, mac) for segment in flood))
        bed.ask(CLIENT, 60)
        connections = clients.finish()
    assert outcomes(connections) == {"ok": len(connections)}
    assert bed.controller.taking() == set(MEMBERS)
    assert bed.controller.announced("eject", since=moment) == []
    assert len(injected(bed)) > 20, "seen, until the attacker was put away"


def test_false_resets_are_counted_exactly_when_the_mirror_drops_copies(bed: Bed) -> None:
    """More at once than the mirror passes: copies are lost, counts are not. Frozen, or the attacker is quarantined."""
    bed.controller.put("automation", {"mode": "frozen"})
    count = 6_000
    place = {"port": f"{bed.fabric.dpid('leaf1')}:{bed.fabric.port_no('leaf1', ATTACKER)}"}

    def counted() -> int:
        return bed.controller.counted("resetlb_resets_injected_total", **place)

    def copies() -> int:
        """What the meter let through, looked at or added up, and what it dropped."""
        return shown() + bed.controller.counted("resetlb_metered_drops_total", meter="mirror")

    def shown() -> int:
        return bed.controller.counted("resetlb_packet_ins_total", purpose="injected")

    soon("earlier ones are counted", lambda: stays(counted, 2.5), 20)
    before, shown_before, copies_before = counted(), shown(), copies()
    segment = forged((bed.fabric.address(MEMBERS[0]), MEMBER_PORT), (bed.fabric.address(CLIENT), 40_000), 1)
    frame = tcp(segment, mac_number(bed.fabric.mac(CLIENT)), mac_number(bed.fabric.mac(ATTACKER)))
    with bed.frames(ATTACKER) as port:
        sent = 0
        # A busy machine may send them so slowly that the meter has nothing to drop.
        while sent == 0 or (shown() - shown_before >= sent and sent < 5 * count):
            send_without_loss(port, frame, count)
            sent += count
            soon("every one is counted", lambda sent=sent: counted() - before >= sent, 20, lambda: counted() - before)
    assert counted() - before == sent
    assert 0 < shown() - shown_before < sent, "the meter dropped some copies"
    soon("each copy was shown or is known to have been dropped", lambda: copies() - copies_before >= sent, 10, copies)


def send_without_loss(port: FramePort, frame: bytes, count: int, batch: int = 200) -> None:
    """As fast as the switch takes them in: the socket it reads a port by holds about 270 small frames."""
    began = taken_in()
    for sent in range(batch, count + 1, batch):
        port.send(*[frame] * batch)
        soon("the switch has them", lambda: taken_in() - began >= sent, 10)  # noqa: B023 - called at once


def taken_in() -> int:
    """Packets that the datapath has read so far, from all ports."""
    return int(re.search(r"packets received: (\d+)", openvswitch.appctl("dpif-netdev/pmd-stats-show"))[1])


def test_every_reset_of_a_member_is_counted(bed: Bed) -> None:
    """As many as its clients' interface has seen: an abort can take several segments."""
    labels = {"vip": "web", "member": "h5", "sender": "member"}
    bed.apply(one_vip(pool(bed, *MEMBERS, max_ejection_percent=0)))
    before = bed.controller.counted("resetlb_resets_total", **labels)
    bed.servers["h5"].behave("reset-on-request")
    with bed.frames(CLIENT) as port:
        connections = bed.ask(CLIENT, 60)
        reset = outcomes(connections)["reset"]
        assert reset > 10, "half of 60, give or take"
        seen = sum(segment.is_reset and segment.src_port == VIP_PORT for segment in port.segments())
        assert seen >= reset

        def counted() -> int:
            return bed.controller.counted("resetlb_resets_total", **labels) - before

        soon("every one is counted", lambda: counted() >= seen, 10, counted)
    assert stays(counted, 2.5)
    assert counted() == seen


def stays(value: Callable[[], int], for_s: float) -> bool:
    """Whether it is the same after a time (counters come every 2 s and lag by one)."""
    before = value()
    time.sleep(for_s)
    return value() == before


def test_stray_segments_reach_no_member_and_open_nothing(bed: Bed) -> None:
    client = bed.fabric.address(CLIENT)
    strays = {
        "rst": RST,
        "rst-ack": RST | ACK,
        "fin": FIN,
        "fin-ack": FIN | ACK,
        "data": PSH | ACK,
        "ack": ACK,
        "syn-ack": SYN | ACK,
    }
    frames = [
        tcp(
            Tcp(
                packed(client),
                20_000 + 10 * number + n,
                packed(VIP),
                VIP_PORT,
                flags,
                7,
                7,
                1000,
                payload=b"x" * (flags == PSH | ACK),
            ),
            vip_mac(packed(VIP)),
            mac_number(bed.fabric.mac(CLIENT)),
        )
        for number, flags in enumerate(strays.values())
        for n in range(10)
    ]
    with bed.frames(MEMBERS[0]) as near, bed.frames(MEMBERS[1]) as far, bed.frames(CLIENT) as port:
        port.send(*frames)
        connections = bed.ask(CLIENT, 20)
        ours = [
            segment
            for end in (near, far)
            for segment in end.segments()
            if 20_000 <= segment.src_port < 20_100 or 20_000 <= segment.dst_port < 20_100
        ]
    assert outcomes(connections) == {"ok": 20}, "which came after them, so they have been through"
    assert ours == []
    assert [line for line in bed.fabric.conntrack() if "sport=200" in line] == []
    assert set(shares(connections)) == set(MEMBERS)


def test_a_frame_for_the_fabrics_inside_from_a_host_is_not_trusted(bed: Bed) -> None:
    """Addressed to an edge switch's own MAC, as if another switch had sent it."""
    client, member = bed.fabric.address(CLIENT), bed.fabric.address("h5")
    zones = {switch["dpid"]: switch["zone"] for switch in bed.controller.get("switches")["items"]}
    mac = mac_number(bed.fabric.mac(ATTACKER))
    segments = [
        forged((member, MEMBER_PORT), (client, 30_000 + n), 5, flags, 5)
        for n in range(5)
        for flags in (RST, ACK, SYN | ACK)
    ]
    with bed.frames(CLIENT) as seen, bed.frames(ATTACKER) as port:
        for zone in zones.values():
            port.send(*(tcp(segment, edge_mac(zone), mac) for segment in segments))
        assert outcomes(bed.ask(CLIENT, 10)) == {"ok": 10}
        got = [segment for segment in seen.segments() if 30_000 <= segment.dst_port < 30_005]
    assert got == []


def test_clients_that_abort_eject_nobody(bed: Bed) -> None:
    moment = bed.controller.moment()
    aborts = bed.ask(CLIENT, 200, abort=True) + bed.ask("h4", 200, abort=True)
    assert outcomes(aborts) == {"ok": 400}
    soon("they are recorded", lambda: len(bed.controller.resets(client=bed.fabric.address("h4"))) >= 200, 5)
    kinds = {(reset["sender"], reset["kind"]) for reset in bed.controller.resets(client=bed.fabric.address("h4"))}
    assert {sender for sender, _ in kinds} == {"client"}, kinds
    assert bed.controller.taking() == set(MEMBERS)
    assert bed.controller.announced("eject", "quarantine", since=moment) == []


def test_resets_that_clients_provoke_eject_nobody(bed: Bed) -> None:
    """A stack resets who acknowledges what it never sent (RFC 9293 §3.10.7.4). The attacker does it in many clients' names."""
    moment = bed.controller.moment()
    vip, mac = (packed(VIP), VIP_PORT), mac_number(bed.fabric.mac(ATTACKER))
    to_vip = vip_mac(packed(VIP))
    with bed.frames(ATTACKER) as port:
        for number in range(40):
            client = packed(f"10.0.1.{100 + number % 8}"), 31_000 + number
            since = len(port.look())
            port.send(tcp(Tcp(*client, *vip, SYN, 1000, window=64000, options=mss(client[0])), to_vip, mac))
            answer = port.expect(
                "its SYN-ACK",
                lambda segment, to=client: segment.dst_port == to[1] and segment.flags == SYN | ACK,
                since=since,
            )
            port.send(tcp(Tcp(*client, *vip, ACK, 1001, answer.seq + 101, 64000), to_vip, mac))
        soon("members reset some", lambda: len(provoked(bed)) >= 8, 3, lambda: bed.controller.resets()[:5])
    assert outcomes(bed.ask(CLIENT, 40)) == {"ok": 40}
    assert bed.controller.taking() == set(MEMBERS)
    assert bed.controller.announced("eject", since=moment) == []


def provoked(bed: Bed) -> list[dict]:
    return [reset for reset in bed.controller.resets() if 31_000 <= reset["client_port"] < 31_040]
