"""Table 11: first packets that wait for a verdict, those that had it, and what becomes of them when nobody is there to give one.

The entry that sends them up expires unless it is renewed, as the one that holds refusals does: when the controller dies, inspected
traffic soon passes (`fail_mode: open`) or is dropped (`closed`) by the entry below it.

A packet that is let in again is marked. Without a mark it would come up again for as long as the data path forwards by what it remembers
of the packet before (tens of milliseconds on a busy switch), or for ever where the tables have no room for its verdict.
"""

from __future__ import annotations

from collections.abc import Iterator

from controller.addresses import FAMILIES
from controller.flows import TO_TABLE, Action, FlowEntry, Output, Punt, Purpose, Resubmit, SetField, match
from controller.pipeline import HAD_VERDICT, Meter, Table

RENEWAL_S, TIMEOUT_S = 0.5, 2
MARK = "reg6"
LET_IN: tuple[Action, ...] = (SetField(MARK, HAD_VERDICT), Output(TO_TABLE))
_WHOLE_FRAME = 0xFFFF


def gate() -> Iterator[FlowEntry]:
    """To the controller, and nowhere else, for as long as it renews this."""
    for family in FAMILIES:
        actions = (Punt(Meter.INSPECT, _WHOLE_FRAME),)
        yield FlowEntry(Table.INSPECT, 10, family.match(), Purpose.WAITING, actions, hard_timeout_s=TIMEOUT_S)


def beside(fail_mode: str) -> Iterator[FlowEntry]:
    """What was judged goes on; what becomes of the rest when the gate has expired."""
    on = (Resubmit(Table.BALANCE),)
    for family in FAMILIES:
        yield FlowEntry(Table.INSPECT, 20, family.match(**{MARK: HAD_VERDICT}), Purpose.FIREWALL, on)
        actions = on if fail_mode == "open" else ()
        yield FlowEntry(Table.INSPECT, 0, match(eth_type=family.eth_type), Purpose.FIREWALL, actions)
