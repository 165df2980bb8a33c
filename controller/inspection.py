"""First packets judged by the core, and the verdicts that switches keep of it.

A rule that is `inspect`ed, or that gives each source a budget, has its first packets shown to the controller (table 11). The core
decides by the rules, and the switch keeps the decision as the widest flow that is still right (`widening.py`), or as a flow and a meter for
one source, so only the first of many packets comes up. A verdict goes when nothing uses it, when the rules change, and when there are
too many.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from controller import addresses, firewall, inspection_gate
from controller.classifier import FirstPacket, between
from controller.decisions import Announce, Decision, InstallFlow, RemoveFlow, RemoveMeter, SendPacket, SetMeter
from controller.events import PacketSeen
from controller.flows import FlowEntry, Match, MeterEntry, Punt, Purpose
from controller.observation import PASSING, decide
from controller.pipeline import ACK, EST, FROM_HOST, HAD_VERDICT, NEW, RST, SYN, TCP, UDP, Meter, MeterRange, Table
from controller.policy import Rule
from controller.rulebook import Rulebook
from controller.widening import Region, widest
from controller.zoning import FROM, TO

PRIORITY = 60_500
"""Above every rule: a verdict meets none that says something else."""
MAX_VERDICTS = 2_000
"""On one switch."""
BUDGET_S = 300
"""How long a source's budget stands before the source is judged anew."""
NEW_ENTRY_S = 5.0
ON_ITS_WAY_S = 0.5
OVER_BUDGET_SAID_S = 60.0


@dataclass(slots=True)
class Verdict:
    """What a switch keeps: entries and meters, made at a time, of a rule (None: the default)."""

    rule: Rule | None
    entries: tuple[FlowEntry, ...]
    meters: tuple[MeterEntry, ...]
    made: float
    sent: float
    source: int | None
    counted: tuple[float, int] | None = None
    said: float = float("-inf")


class Inspector:
    """The verdicts in force, by switch and region."""

    def __init__(self) -> None:
        self.verdicts: dict[int, OrderedDict[Region, Verdict]] = {}
        self._meters: set[int] = set()

    def judge(
        self, event: PacketSeen, packet: FirstPacket, book: Rulebook, now: float
    ) -> tuple[list[Decision], Rule | None, str]:
        """(what to do, the rule that decided, its action): the verdict for the switch, and the packet on its way if it passes."""
        rule, action = decide(book.enforced, book.firewall.default, packet)
        region = self._region(packet, rule, action, book)
        here = self.verdicts.setdefault(event.dpid, OrderedDict())
        decisions: list[Decision] = []
        if region in here:
            decisions += _once_more(event.dpid, here[region], now)
        else:
            decisions += self._keep(event.dpid, region, self._verdict(region, rule, action, packet, book, now))
        # One that comes up although it was let in has no way to go: the switch has no room for the entry that has it pass.
        if action in PASSING and event.fields.get(inspection_gate.MARK) != HAD_VERDICT:
            decisions.append(
                SendPacket(event.dpid, event.frame, inspection_gate.LET_IN, event.fields.get("in_port", 0))
            )
        return decisions, rule, action

    def _region(self, packet: FirstPacket, rule: Rule | None, action: str, book: Rulebook) -> Region:
        before = book.enforced.rules[: book.enforced.place(packet)]
        others = (other for other in before if between(other, packet) and not _says_the_same(other, rule, action))
        region = widest(packet, rule, others, any_source=rule is None or not rule.has_budget)
        return region._replace(zones=(packet.from_zone, packet.to_zone)) if book.enforced.zoned else region

    def _keep(self, dpid: int, region: Region, verdict: Verdict) -> list[Decision]:
        here = self.verdicts[dpid]
        decisions = self.evict(dpid, len(here) - MAX_VERDICTS + 1)
        here[region] = verdict
        decisions += [SetMeter(dpid, meter, exists=False) for meter in verdict.meters]
        return decisions + [InstallFlow(dpid, entry) for entry in verdict.entries]

    # --- what a verdict is at a switch -----------------------------------------------------------------------------------------

    def _verdict(
        self, region: Region, rule: Rule | None, action: str, packet: FirstPacket, book: Rulebook, now: float
    ) -> Verdict:
        idle = book.firewall.verdict_idle_s
        counts = ("rule", rule.id if rule else firewall.DEFAULT_ID)
        if action not in PASSING:
            purpose, punt = (Purpose.REJECTED, (Punt(Meter.FIREWALL),)) if action == "reject" else (Purpose.VERDICT, ())
            fields = _first(region, packet, (0, ACK | RST))
            entry = FlowEntry(Table.FIREWALL, PRIORITY, fields, purpose, punt, idle_timeout_s=idle, counts=counts)
            return Verdict(rule, (entry,), (), now, now, None)
        meters = self._budget_meters(rule)
        by_name = dict(zip(("connections", "packets"), meters, strict=True))
        limited = book.priorities[rule.id] if rule is not None and rule.action == "limit" else None
        first = by_name["connections"] or by_name["packets"]
        hard = BUDGET_S if any(meters) else 0
        begun = FlowEntry(
            Table.FIREWALL, PRIORITY, _first(region, packet, (SYN, SYN | ACK | RST)), Purpose.VERDICT, (), Table.BALANCE,
            first.meter_id if first else limited, idle, hard, counts,
        )  # fmt: skip
        entries = [begun]
        if (of_packets := by_name["packets"]) is not None:
            entries.append(FlowEntry(
                Table.FIREWALL, PRIORITY, _open(region, packet), Purpose.VERDICT, (), Table.RESETS, of_packets.meter_id, 0, hard, counts,
            ))  # fmt: skip
        own = tuple(meter for meter in meters if meter is not None)
        return Verdict(rule, tuple(entries), own, now, now, packet.src if own else None)

    def _budget_meters(self, rule: Rule | None) -> tuple[MeterEntry | None, MeterEntry | None]:
        """(of new connections, of packets) of one source."""
        if rule is None:
            return None, None
        return self._meter(rule.per_source_connections_per_s), self._meter(rule.per_source_pps)

    def _meter(self, rate: int | None) -> MeterEntry | None:
        if rate is None:
            return None
        number = next(n for n in range(MeterRange.SOURCE, MeterRange.SOURCE + (1 << 17)) if n not in self._meters)
        self._meters.add(number)
        return MeterEntry(number, rate, max(1, rate // 10))

    # --- how it ends -----------------------------------------------------------------------------------------------------------

    def evict(self, dpid: int, count: int) -> list[Decision]:
        """Take back the oldest so many verdicts of a switch."""
        here = self.verdicts.get(dpid, OrderedDict())
        return [one for _ in range(min(count, len(here))) for one in self._end(dpid, next(iter(here)))]

    def revoke(self) -> list[Decision]:
        """Take back all verdicts: the rules changed."""
        return [one for dpid, here in self.verdicts.items() for region in list(here) for one in self._end(dpid, region)]

    def forget(self, dpid: int) -> None:
        """A switch that connects is cleared of its verdicts by others; nothing is known of it."""
        for verdict in self.verdicts.pop(dpid, {}).values():
            self._meters -= {meter.meter_id for meter in verdict.meters}

    def _end(self, dpid: int, region: Region) -> list[Decision]:
        verdict = self.verdicts[dpid].pop(region)
        self._meters -= {meter.meter_id for meter in verdict.meters}
        flows: list[Decision] = [RemoveFlow(dpid, entry.cookie, table_id=entry.table_id) for entry in verdict.entries]
        return flows + [RemoveMeter(dpid, meter.meter_id) for meter in verdict.meters]

    def on_tick(self, now: float) -> list[Decision]:
        """Budgets whose time is over: their entries have expired, their meters go."""
        over = [(dpid, region) for dpid, here in self.verdicts.items() for region, verdict in here.items()
                if verdict.meters and now - verdict.made >= BUDGET_S]  # fmt: skip
        return [one for dpid, region in over for one in self._end(dpid, region)]

    def on_counted(self, dpid: int, packets: Mapping[int, int], now: float) -> list[Decision]:
        """What the switch still has: verdicts that nothing used are gone; a source above its budget is named."""
        decisions: list[Decision] = []
        for region, verdict in list(self.verdicts.get(dpid, {}).items()):
            found = packets.get(verdict.entries[0].cookie)
            if found is None and now - verdict.sent > NEW_ENTRY_S:
                decisions += self._end(dpid, region)
            elif found is not None and verdict.source is not None:
                decisions += self._over_budget(verdict, found, now)
        return decisions

    def _over_budget(self, verdict: Verdict, packets: int, now: float) -> list[Decision]:
        before, verdict.counted = verdict.counted, (now, packets)
        if before is None or verdict.source is None or verdict.rule is None or now - verdict.said < OVER_BUDGET_SAID_S:
            return []
        rate, allowed = (packets - before[1]) / max(now - before[0], 1e-3), verdict.meters[0].rate_pps
        if rate <= 1.2 * allowed:
            return []
        verdict.said = now
        source = addresses.text(verdict.source)
        text = f"{source} is over its budget: {rate:.0f}/s where rule {verdict.rule.id} allows {allowed}/s"
        return [
            Announce("over-budget", text, {"client": source, "rule": verdict.rule.id, "rate_per_s": round(rate, 1)})
        ]

    def meaning(self, dpid: int) -> Iterator[tuple[int, FlowEntry]]:
        """(cookie, entry) of the verdicts of a switch."""
        for verdict in self.verdicts.get(dpid, {}).values():
            yield from ((entry.cookie, entry) for entry in verdict.entries)


def _once_more(dpid: int, verdict: Verdict, now: float) -> list[Decision]:
    """A packet came up although there is a verdict: it was on its way when that was sent, or the switch has let it expire."""
    if now - verdict.sent < ON_ITS_WAY_S:
        return []
    verdict.sent = now
    return [InstallFlow(dpid, entry) for entry in verdict.entries]


def _says_the_same(other: Rule, rule: Rule | None, action: str) -> bool:
    """Whether a packet fares the same under an earlier rule: it needs no meter, no budget and no line in the log of its own."""
    plain = [one is None or not (one.log or one.has_budget or one.action == "limit") for one in (other, rule)]
    return all(plain) and other.action.value == action


def _first(region: Region, packet: FirstPacket, flags: tuple[int, int]) -> Match:
    """What begins connections of the region."""
    fields = _ends(region, "src", "dst") | {"ip_proto": region.protocol}
    if region.protocol == TCP:
        fields["tcp_flags"] = flags
    if region.protocol in (TCP, UDP) and region.dst_port[1]:
        fields["tcp_dst" if region.protocol == TCP else "udp_dst"] = region.dst_port
    return addresses.family_of(packet.dst).match(reg0=FROM_HOST, ct_state=(NEW, NEW), **fields)


def _open(region: Region, packet: FirstPacket) -> Match:
    """Both directions of open connections of the region."""
    fields = _ends(region, "ct_src", "ct_dst") | {"ct_nw_proto": region.protocol}
    if region.protocol in (TCP, UDP) and region.dst_port[1]:
        fields["ct_tp_dst"] = region.dst_port
    return addresses.family_of(packet.dst).match(ct_state=(EST, EST), **fields)


def _ends(region: Region, source: str, destination: str) -> addresses.Fields:
    sides = {source: region.src, destination: region.dst}
    zones = dict(zip((FROM, TO), region.zones, strict=True)) if region.zones is not None else {}
    return {name: prefix for name, prefix in sides.items() if prefix[1]} | zones
