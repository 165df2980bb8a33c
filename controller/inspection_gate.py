"""Table 11: first packets that wait for a verdict, and what becomes of them when nobody is there to give one.

The entry that sends them up expires unless it is renewed, as the one that holds refusals does: when the controller dies, inspected
traffic soon passes (`fail_mode: open`) or is dropped (`closed`) by the entry below it.
"""

from __future__ import annotations

from collections.abc import Iterator

from controller.addresses import FAMILIES
from controller.flows import FlowEntry, Punt, Purpose, Resubmit, match
from controller.pipeline import Meter, Table

RENEWAL_S, TIMEOUT_S = 0.5, 2
_WHOLE_FRAME = 0xFFFF


def gate() -> Iterator[FlowEntry]:
    """To the controller, and nowhere else, for as long as it renews this."""
    for family in FAMILIES:
        actions = (Punt(Meter.INSPECT, _WHOLE_FRAME),)
        yield FlowEntry(Table.INSPECT, 10, family.match(), Purpose.WAITING, actions, hard_timeout_s=TIMEOUT_S)


def without_controller(fail_mode: str) -> Iterator[FlowEntry]:
    """What becomes of inspected traffic when the gate has expired."""
    actions = (Resubmit(Table.BALANCE),) if fail_mode == "open" else ()
    for family in FAMILIES:
        yield FlowEntry(Table.INSPECT, 0, match(eth_type=family.eth_type), Purpose.FIREWALL, actions)
