"""What switches count: when they are asked, and what the answers add to.

Reading counters must leave time for resets: tables are read every second or two, thousands of rules more seldom than a few, and of a
reply only the entries in it are looked up.
"""

from __future__ import annotations

from controller.counting import Counted, Counters
from controller.decisions import Decision, RequestCounters, RequestMeterCounters
from controller.events import FlowCounted, MeterCounted
from controller.full_trackers import UNTRACKED
from controller.inspection import Inspector
from controller.metering import MeterDrops
from controller.parts import Planned
from controller.pipeline import Table
from controller.rulebook import Rulebook

INTERVAL_S, OFTEN_S, CLOSELY_S = 2.0, 1.0, 0.5
RULES_PER_S = 4000.0
"""Of each switch, on average."""
TABLES = (Table.ADMISSION, Table.TRACK, Table.RESETS, Table.BALANCE, Table.OPENED, Table.COUNT)
_BY_PORT = frozenset({"injected", "syn"})
"""What is told apart by switch: it is about a port."""
_BY_SWITCH = frozenset({UNTRACKED})
"""And what is about a switch itself."""


class Readings:
    """Totals and rates of flow entries (`counters`), and what meters dropped (`dropped`)."""

    def __init__(self) -> None:
        self.counters = Counters()
        self.dropped = MeterDrops()
        self.closely = False
        """How many connections members have open is asked for more often than all else."""
        self._next = self._next_rules = self._next_closely = 0.0

    def next_deadline(self) -> float:
        """When switches are asked again."""
        return min(self._next, self._next_closely) if self.closely else self._next

    def requests_closely(self, edges: list[int], now: float) -> list[Decision]:
        """Ask for what begins and ends connections, if somebody looks closely and it is time."""
        if not self.closely or now < self._next_closely:
            return []
        self._next_closely = now + CLOSELY_S
        return [RequestCounters(dpid, Table.RESETS) for dpid in edges]

    def requests(
        self, edges: list[int], switches: list[int], rulebook: Rulebook, attentive: bool, now: float
    ) -> list[Decision]:
        """Ask, if it is time: edge switches for entries, all of them for meters. `attentive`: something goes on."""
        if now < self._next:
            return []
        self._next = now + (OFTEN_S if attentive else INTERVAL_S)
        tables = self._tables(rulebook, now)
        asked: list[Decision] = [RequestCounters(dpid, table) for table in tables for dpid in edges]
        return asked + [RequestMeterCounters(dpid) for dpid in switches]

    def _tables(self, rulebook: Rulebook, now: float) -> list[Table]:
        tables = list(TABLES)
        if now >= self._next_rules:
            self._next_rules = now + len(rulebook.part.flows) / RULES_PER_S
            tables.append(Table.FIREWALL)
        return [*tables, Table.OBSERVE] if rulebook.observing else tables

    def on_entries(self, event: FlowCounted, planned: Planned, inspector: Inspector, now: float) -> None:
        """Take in what the entries of one table have counted."""
        if self.counters.same_again(event, now):
            return
        verdicts = dict(inspector.meaning(event.dpid)) if event.table_id == Table.FIREWALL else {}
        meaning: dict[int, Counted] = {}
        for cookie in event.packets:
            counts = planned.meaning.get(cookie)
            if counts is None and cookie in verdicts:
                counts = verdicts[cookie].counts
            if counts is not None:
                meaning[cookie] = _placed(counts, event.dpid)
        self.counters.take(event, meaning, now)

    def on_meters(self, event: MeterCounted) -> None:
        """Take in what one switch's meters have dropped."""
        self.dropped.take(event)


def _placed(counts: Counted, dpid: int) -> Counted:
    """What an entry counts, told apart by switch where that matters."""
    if counts[0] in _BY_SWITCH:
        return (counts[0], f"{dpid:016x}")
    return (counts[0], f"{dpid:016x}:{counts[1]}") if counts[0] in _BY_PORT else counts
