"""Resets that are added up weigh as much as the same resets one by one."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from model_frames import ABORT, ANSWER_TO_ACK, ANSWER_TO_SYN, segment_frame

from controller.bulk import Bulk, Reading
from controller.core import Core
from controller.diagnosis.evidence import Tally
from controller.diagnosis.patterns import Pattern
from controller.events import PacketSeen, PolicyChanged, Port, ResetsSummed, SwitchConnected, Tick
from controller.flows import Purpose
from controller.pipeline import CLIENT_DATA_SEEN, EST, FIN_SEEN, KNOWN, MEMBER_DATA_SEEN, RPL, SYN_ACK_SEEN, VIP_SHIFT
from controller.policy import parse_policy
from controller.resets import Recent
from controller.segments import Style, facts_of, read_segment

VIP = 0x0A000064
POLICY = {
    "version": 1,
    "pools": {"web": {"members": [{"name": f"m{n}", "address": f"10.0.2.{n}", "port": 8080} for n in (1, 2)]}},
    "vips": {"web": {"address": "10.0.0.100", "port": 80, "pool": "web"}},
}
ASKED = KNOWN | SYN_ACK_SEEN | CLIENT_DATA_SEEN
MARKS = [KNOWN, KNOWN | SYN_ACK_SEEN, ASKED, ASKED | MEMBER_DATA_SEEN, ASKED | MEMBER_DATA_SEEN | FIN_SEEN]
RESETS = st.lists(
    st.tuples(
        st.sampled_from(MARKS), st.integers(0, 2), st.sampled_from([EST, EST | RPL]),
        st.sampled_from([ABORT, ANSWER_TO_ACK, ANSWER_TO_SYN]), st.booleans(),
    ),
    max_size=40,
)  # fmt: skip


def core() -> Core:
    made = Core(lldp_key=bytes(32), rng=random.Random(1))
    made.handle(PolicyChanged(parse_policy(POLICY)), 100.0)
    made.handle(SwitchConnected(1, (Port(1, "e1", 1, True),)), 100.0)
    return made


def seen(number: int, mark: int, member: int, state: int, style: int, forged: bool) -> PacketSeen:
    client, mark = (0x0B000000 + number, 1024 + number), mark | (1 << VIP_SHIFT | member if member else 0)
    ends = ((VIP, 80), client) if state & RPL else (client, (VIP, 80))
    fields = {"in_port": 1}
    if not forged:
        fields |= {"ct_state": state, "ct_mark": mark, "ct_nw_src": client[0], "ct_tp_src": client[1],
                   "ct_nw_dst": VIP, "ct_tp_dst": 80}  # fmt: skip
    purpose = Purpose.INJECTED if forged else Purpose.RESET
    return PacketSeen(1, purpose, fields, segment_frame(*ends[0], *ends[1], style))


def reading(event: PacketSeen) -> Reading:
    segment = read_segment(event.frame)
    assert segment is not None
    word, said = int.from_bytes, event.fields
    ends = (word(segment.src), segment.src_port, word(segment.dst), segment.dst_port)
    if "ct_nw_src" in said:
        ends = said["ct_nw_src"], said["ct_tp_src"], said["ct_nw_dst"], said["ct_tp_dst"]
    passive = facts_of(segment).style is Style.PASSIVE
    return Reading(event.purpose, 1, said.get("ct_state", 0), said.get("ct_mark", 0), *ends, passive)


def told(tally: Tally, now: float) -> tuple[object, ...]:
    weights = {pattern: round(count.value(now), 6) for pattern, count in tally.patterns.items()}
    return tally.total, tally.bad_total, tally.burst, tally.fresh, weights


@settings(max_examples=100, deadline=None)
@given(RESETS)
def test_sums_weigh_as_much_as_what_they_are_of(resets: list[tuple[int, int, int, int, bool]]) -> None:
    one_by_one, summed, bulk = core(), core(), Bulk(Recent())
    bulk.renew(101.0)
    for number, reset in enumerate(resets):
        event = seen(number, *reset)
        one_by_one.handle(event, 101.0)
        kind = bulk.kind_of(1, reading(event))
        assert kind is not None
        if not bulk.add(kind, reading(event).src, reading(event).src_port):
            summed.handle(event, 101.0)
    summed.handle(ResetsSummed(tuple(bulk.collect())), 101.0)
    apart, together = (made.investigation.evidence for made in (one_by_one, summed))
    assert apart.members.keys() == together.members.keys()
    for number in apart.members:
        assert told(apart.member(number).tally, 101.0) == told(together.member(number).tally, 101.0)
    for port, evidence in apart.ports.items():
        assert told(evidence.tally, 101.0) == told(together.port(port).tally, 101.0)
        assert evidence.injected == together.port(port).injected
    aborts = [
        [made.activity.active(member) for member in made.services.pools.members.values()]
        for made in (one_by_one, summed)
    ]
    assert aborts[0] == aborts[1]


def test_a_guilty_members_flood_is_found_by_its_sums_alone() -> None:
    made, now = core(), 101.0
    mark = ASKED | 1 << VIP_SHIFT | 1
    for _ in range(20):
        bulk = Bulk(Recent())
        bulk.renew(now)
        kind = bulk.kind_of(1, Reading(Purpose.RESET, 1, EST | RPL, mark, 1, 1, VIP, 80, False))
        assert kind is not None
        kind.prompt = 0
        assert all(bulk.add(kind, 0x0B000000 + number, 1024 + number) for number in range(500))
        made.handle(ResetsSummed(tuple(bulk.collect())), now)
        made.handle(Tick(), now)
        now += 0.25
    assert [subject.id for subject in made.investigation.incidents.open] == ["web/m1"]
    assert made.investigation.evidence.member(1).tally.dominant(now) is Pattern.MEMBER_EARLY
