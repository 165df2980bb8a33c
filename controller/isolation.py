"""What a quarantine entry does at the switch its client is attached to: flow entries in tables 0 and 5.

On the way in it bites at the client's own port, on its MAC and address; on the way out before the packet is handed to that port. So
both directions of an open connection stop at once, whichever side opened it. An entry that ends while the controller is away ends by
its hard timeout.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from controller import addresses
from controller.flows import FlowEntry, Match, MeterEntry, Output, Purpose, SetField
from controller.hosts import place_name
from controller.pipeline import FROM_HOST, TCP, UDP, MeterRange, Table
from controller.quarantine import Quarantine, Quarantined
from controller.topology import Host

LIMIT, ISOLATE, REMEDIATION, DROP = 85, 86, 87, 88
"""Priorities in both tables: of two entries about one client the harder one counts. Neighbour discovery stands above."""
_PROTOCOLS = {"tcp": TCP, "udp": UDP}
_LONGEST_TIMEOUT_S = 0xFFFF


def flows(quarantine: Quarantine, hosts: Iterable[Host]) -> Iterator[FlowEntry]:
    """The entries of one switch's hosts, each match once."""
    seen: set[tuple[int, int, Match]] = set()
    allowed = _Prefixes((text, None) for text in quarantine.settings.allow_list)
    about = _Prefixes((entry.client, entry) for entry in quarantine.entries.values())
    for host in hosts:
        if any(True for _ in allowed.about(host.ip)):
            continue
        for entry in about.about(host.ip):
            if entry is None or _is_elsewhere(entry, host) or entry.place not in (None, place_name(host.endpoint)):
                continue
            for flow in _entry_flows(entry, host, quarantine.settings.remediation):
                if flow.key not in seen:
                    seen.add(flow.key)
                    yield flow


def content(quarantine: Quarantine, hosts: Iterable[Host]) -> Iterator[FlowEntry | MeterEntry]:
    """The entries of one switch's hosts, and the meters they refer to."""
    found = list(flows(quarantine, hosts))
    used = {flow.meter_id for flow in found}
    yield from (meter for meter in meters(quarantine) if meter.meter_id in used)
    yield from found


def kept_from(quarantine: Quarantine, host: Host, target: int, dst_port: int) -> Quarantined | None:
    """The entry that keeps a host from opening a TCP connection to an address and port; one that only limits keeps it from nothing."""
    opening: dict[str, int] = {"dst": target, "tcp_dst": dst_port, "ip_proto": TCP, "in_port": host.port_no}
    opening |= {"eth_src": host.mac, "src": host.ip}
    packet = dict(addresses.family_of(host.ip).match(**opening).fields)
    about = [flow for flow in flows(quarantine, [host]) if flow.table_id == Table.ADMISSION and _meets(flow, packet)]
    first = max(about, key=lambda flow: flow.priority, default=None)
    if first is None or first.goto is not None or first.counts is None:
        return None
    return quarantine.entries[first.counts[1]]


def _meets(flow: FlowEntry, packet: addresses.Fields) -> bool:
    found = {name: value for name, value in packet.items() if isinstance(value, int)}
    return all(
        found.get(name, -1) & mask == value
        for name, whole in flow.match.fields
        for value, mask in [whole if isinstance(whole, tuple) else (whole, -1)]
    )


def meters(quarantine: Quarantine) -> Iterator[MeterEntry]:
    """Two meters for each entry that limits: what a client sends must not use up what it may get."""
    rate = quarantine.settings.limit_pps
    for entry in quarantine.entries.values():
        if entry.action == "limit":
            for meter in _meter_ids(entry):
                yield MeterEntry(meter, rate, max(1, rate // 10))


def _meter_ids(entry: Quarantined) -> tuple[int, int]:
    """From the client and to it. Ids come again after ten thousand entries; by then the first is long over, or it shares its limit."""
    first = MeterRange.QUARANTINE + int(entry.id.removeprefix("q")) % MeterRange.SIZE
    return first, first + MeterRange.SIZE


class _Prefixes:
    """Values by prefix: single addresses are looked up, wider ones are few."""

    def __init__(self, items: Iterable[tuple[str, Quarantined | None]]) -> None:
        self._single: dict[int, list[Quarantined | None]] = {}
        self._wide: list[tuple[bool, int, int, Quarantined | None]] = []
        for text, value in items:
            if "/" in text:
                self._wide.append((":" in text, *addresses.prefix(text), value))
            else:
                self._single.setdefault(addresses.number(text), []).append(value)

    def about(self, address: int) -> Iterator[Quarantined | None]:
        yield from self._single.get(address, ())
        for is_ipv6, network, mask, value in self._wide:
            if address & mask == network and addresses.is_ipv6(address) == is_ipv6:
                yield value


def _is_elsewhere(entry: Quarantined, host: Host) -> bool:
    """Whether what the client may not talk to is of the other address family than the host."""
    if entry.vip_address is not None:
        return addresses.is_ipv6(entry.vip_address) != addresses.is_ipv6(host.ip)
    return entry.dst is not None and (":" in entry.dst) != addresses.is_ipv6(host.ip)


def _entry_flows(entry: Quarantined, host: Host, remediation: tuple[str, ...]) -> Iterator[FlowEntry]:
    if entry.action == "limit":
        yield from _pair(entry, host, LIMIT, _far_side(entry), passes=True, meters=_meter_ids(entry))
    elif entry.action == "isolate":
        yield from _pair(entry, host, ISOLATE, {}, passes=False)
        for address in map(addresses.number, remediation):
            if addresses.is_ipv6(address) == addresses.is_ipv6(host.ip):
                yield from _pair(entry, host, REMEDIATION, {"": address}, passes=True)
    else:
        yield from _pair(entry, host, DROP, _far_side(entry), passes=False)


def _far_side(entry: Quarantined) -> addresses.Fields:
    """Whom and what the client may not talk to: the address under "", protocol and port by name; empty: everything."""
    far: addresses.Fields = {}
    if entry.vip_address is not None:
        far[""] = entry.vip_address
    elif entry.dst is not None:
        far[""] = addresses.prefix(entry.dst)
    if entry.protocol is not None:
        far["ip_proto"] = _PROTOCOLS[entry.protocol]
        if entry.dst_port is not None:
            far[entry.protocol] = entry.dst_port
    return far


def _pair(
    entry: Quarantined,
    host: Host,
    priority: int,
    far: addresses.Fields,
    *,
    passes: bool,
    meters: tuple[int | None, int | None] = (None, None),
) -> Iterator[FlowEntry]:
    """From the client at its own port, and to it."""
    timeout = entry.ttl_s if entry.ttl_s <= _LONGEST_TIMEOUT_S else 0
    family = addresses.family_of(host.ip)
    outgoing = family.match(in_port=host.port_no, eth_src=host.mac, src=host.ip, **_sides(far, "dst"))
    yield FlowEntry(
        Table.ADMISSION, priority, outgoing, Purpose.QUARANTINE, (SetField("reg0", FROM_HOST),) if passes else (),
        Table.TRACK if passes else None, meters[0], hard_timeout_s=timeout, counts=("quarantine", entry.id),
    )  # fmt: skip
    to_client = family.match(dst=host.ip, **_sides(far, "src"))
    deliver = (SetField("eth_dst", host.mac), Output(host.port_no)) if passes else ()
    yield FlowEntry(
        Table.ROUTE, priority, to_client, Purpose.QUARANTINE, deliver, None, meters[1], hard_timeout_s=timeout
    )


def _sides(far: addresses.Fields, side: str) -> addresses.Fields:
    """The far side as match fields: it is the destination of what the client sends and the source of what it gets."""
    names = {"": side, "tcp": f"tcp_{side}", "udp": f"udp_{side}"}
    return {names.get(name, name): value for name, value in far.items()}
