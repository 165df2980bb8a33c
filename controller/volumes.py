"""Tables 13 to 15: what each member is given and gives back, counted exactly, and a sample of handshakes shown to the controller.

A packet of a connection to a VIP is looked up here and goes on as if it had not been. Entries match the connection's mark alone, so they
count whatever the address family is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from controller.addresses import FAMILIES
from controller.flows import FlowEntry, MeterEntry, Punt, Purpose, Resubmit, match
from controller.full_trackers import UNTRACKED
from controller.mirror import Pinned
from controller.pipeline import ACK, KNOWN, METER_RATES, NEW, PINNED_MASK, RPL, SYN, TCP, VIP_SHIFT, Meter, Table

SAMPLED_PORTS = (0x0006, 0x000E)
"""One in eight of the clients' ports, even and odd ones: Linux prefers even ports for connect()."""
LEAST_SAMPLES_PER_S = 5
TO_MEMBER, FROM_MEMBER, ATTEMPT = "to-member", "from-member", "attempt"


def entries(pairs: Iterable[Pinned], edges: int) -> Iterator[FlowEntry | MeterEntry]:
    """Tables 13 to 15 of one of so many edge switches."""
    yield sample_meter(edges)
    onward = (Resubmit(Table.COUNT), Resubmit(Table.ROUTE))
    yield FlowEntry(Table.OPENED, 0, match(), Purpose.COUNT, onward)
    # The tracker was full: the connection is not known. What no translation has reached has no route either.
    unknown, way = match(ct_state=(NEW, NEW), ct_mark=(0, KNOWN)), (Resubmit(Table.ROUTE),)
    yield FlowEntry(Table.OPENED, 10, unknown, Purpose.COUNT, way, counts=(UNTRACKED,))
    for pair in pairs:
        mark, names = (pair.vip << VIP_SHIFT | pair.member, PINNED_MASK), (pair.vip_name, pair.member_name)
        for priority, state, actions, counted in (
            (30, (NEW, NEW), (Resubmit(Table.SAMPLE),), ATTEMPT),
            (20, (0, RPL), (), TO_MEMBER),
            (20, (RPL, RPL), (), FROM_MEMBER),
        ):
            fields = match(ct_state=state, ct_mark=mark)
            yield FlowEntry(Table.COUNT, priority, fields, Purpose.COUNT, actions, counts=(counted, *names))
    show = (Punt(Meter.SAMPLE, max_len=128),)
    for family in FAMILIES:
        syn = family.match(ip_proto=TCP, tcp_flags=(SYN, SYN | ACK), tcp_src=SAMPLED_PORTS)
        syn_ack = family.match(ip_proto=TCP, tcp_flags=(SYN | ACK, SYN | ACK), tcp_dst=SAMPLED_PORTS)
        for fields in (syn, syn_ack):
            yield FlowEntry(Table.SAMPLE, 10, fields, Purpose.SAMPLED, show)


def sample_meter(edges: int) -> MeterEntry:
    """What one of so many edge switches may show of its handshakes: the fabric's whole budget, shared."""
    budget, burst = METER_RATES[Meter.SAMPLE]
    rate = max(LEAST_SAMPLES_PER_S, budget // max(1, edges))
    return MeterEntry(Meter.SAMPLE, rate, min(burst, rate))
