"""A switch that forwards nothing: it keeps what the core installed and answers what it is asked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from controller import frames
from controller.decisions import InstallFlow, RemoveFlow, RemoveGroup, SetGroup, SetMeter
from controller.events import Port, PortCounters
from controller.flows import FlowEntry, GroupEntry, Output, Punt, Purpose, SetField
from controller.pipeline import ARP_TYPE, IPV4, LINK_PROBE_TYPE, LLDP_TYPE, PINNED_MASK, Table
from topologies.model.meters import Meter

EXACT = (1 << 64) - 1
_SHOWN_FOR = {LLDP_TYPE: Purpose.LLDP, LINK_PROBE_TYPE: Purpose.LINK_PROBE, ARP_TYPE: Purpose.ARP}
Counted = tuple[str, ...]


class FlowSwitch:
    """Groups, meters, and of each entry its cookie, its packets and, where it punts or counts, what and what for."""

    def __init__(self, dpid: int, ports: Iterable[int]) -> None:
        self.dpid = dpid
        self.up = dict.fromkeys(sorted(ports), True)
        self.speed_bps: dict[int, int] = {}
        self.packets: dict[int, dict[int, int]] = defaultdict(dict)
        """table → cookie → packets."""
        self.groups: dict[int, GroupEntry] = {}
        self.meters: dict[int, Meter] = {}
        self.counting: dict[Counted, tuple[int, int]] = {}
        """What is counted → (table, cookie)."""
        self.sent = dict.fromkeys(self.up, 0)
        self.received = dict.fromkeys(self.up, 0)
        self._punts: dict[int, tuple[int | None, int, Purpose]] = {}
        self._probed: dict[int, bytes] = {}
        self._answers: dict[int, int] = {}
        self._labels: dict[int, Counted] = {}
        self._names: dict[int, Counted] = {}
        self.held_until = 0.0

    # --- what it is told -------------------------------------------------------------------------------------------------------

    def install(self, decision: InstallFlow, now: float) -> None:
        """Take an entry."""
        entry = decision.entry
        self.packets[entry.table_id].setdefault(entry.cookie, 0)
        if entry.counts is not None:
            self.counting[entry.counts] = entry.table_id, entry.cookie
            self._labels[entry.cookie] = entry.counts
            mark = entry.match.get("ct_mark")
            if isinstance(mark, tuple) and mark[1] & PINNED_MASK == PINNED_MASK:
                self._names[mark[0] & PINNED_MASK] = entry.counts[1:3]
        if entry.purpose is Purpose.HELD:
            self.held_until = now + entry.hard_timeout_s
        elif entry.purpose is Purpose.PROBE:
            self._probed[entry.cookie] = _address(entry, "ipv4_src") + _address(entry, "ipv4_dst")
        elif entry.table_id == Table.NEIGHBOUR and entry.actions and isinstance(entry.actions[-1], Output):
            target, mac = entry.match.get("arp_tpa"), next(a.value for a in entry.actions if isinstance(a, SetField))
            if isinstance(target, int):
                self._answers[target] = mac
        elif entry.table_id == Table.ADMISSION and any(isinstance(action, Punt) for action in entry.actions):
            self._punts[entry.cookie] = _punted(entry)

    def remove(self, decision: RemoveFlow) -> None:
        """Delete entries by cookie."""
        if decision.cookie_mask != EXACT:
            return
        self.packets[decision.table_id].pop(decision.cookie, None)
        self._punts.pop(decision.cookie, None)
        self._probed.pop(decision.cookie, None)
        label = self._labels.pop(decision.cookie, None)
        if label is not None and self.counting.get(label) == (decision.table_id, decision.cookie):
            del self.counting[label]

    def set_group(self, decision: SetGroup) -> None:
        """Create or change a group."""
        self.groups[decision.entry.group_id] = decision.entry

    def remove_group(self, decision: RemoveGroup) -> None:
        """Delete a group."""
        self.groups.pop(decision.group_id, None)

    def set_meter(self, decision: SetMeter, now: float) -> None:
        """Create or change a meter."""
        self.meters[decision.entry.meter_id] = Meter(decision.entry, now)

    # --- what it tells ---------------------------------------------------------------------------------------------------------

    def port(self, number: int) -> Port:
        """A port as its description says."""
        mac = 0x02 << 40 | (self.dpid & 0xFFFFFF) << 16 | number
        return Port(number, f"s{self.dpid:x}-eth{number}", mac, self.up[number], self.speed_bps.get(number, 0))

    def port_counters(self, now: float) -> dict[int, PortCounters]:
        """Port statistics; packets are not modelled."""
        return {
            number: PortCounters(self.received[number], self.sent[number], None, None, 0, now) for number in self.up
        }

    def shows(self, in_port: int, frame: bytes) -> Purpose | None:
        """What the first table sends such a frame to the controller for; None: it does not."""
        eth_type = int.from_bytes(frame[12:14])
        if eth_type == IPV4:
            # Of IP only answers to the controller's own probes: everything else is counted, not sent.
            return Purpose.PROBE if frame[26:34] in self._probed.values() else None
        places = [port for port, kind, _ in self._punts.values() if kind == eth_type and port in (None, in_port)]
        return _SHOWN_FOR.get(eth_type) if places else None

    def answer(self, question: frames.Arp) -> int | None:
        """The MAC that the switch itself answers with, by ARP entries for VIPs and known hosts."""
        asks = question.op == frames.ARP_REQUEST and question.spa in self._answers
        return self._answers.get(question.tpa) if asks else None

    def names(self, mark: int) -> Counted:
        """(VIP, member) that a mark pins a connection to, by the entries that count its resets."""
        return self._names.get(mark & PINNED_MASK, ())

    def count(self, *counted: str, packets: int = 1) -> None:
        """So many packets met the entry that counts this."""
        place = self.counting.get(counted)
        if place is not None:
            self.packets[place[0]][place[1]] += packets

    def passes(self, meter_id: int, now: float) -> bool:
        """Whether a meter lets one more packet up to the controller."""
        meter = self.meters.get(meter_id)
        return meter is None or meter.passes(now)


def _address(entry: FlowEntry, field: str) -> bytes:
    value = entry.match.get(field)
    assert isinstance(value, int)
    return value.to_bytes(4, "big")


def _punted(entry: FlowEntry) -> tuple[int | None, int, Purpose]:
    in_port, eth_type = entry.match.get("in_port"), entry.match.get("eth_type")
    assert isinstance(eth_type, int)
    return in_port if isinstance(in_port, int) else None, eth_type, entry.purpose
