"""Clients that are kept out for a time: entries with a deadline, as flow entries before everything else.

An entry bites at the port where the client lives, on its address and MAC: whoever spoofs that address elsewhere has nobody else put
away. Entries outlive the controller in the store; a repeated offender stays out twice as long each time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

from controller import addresses
from controller.addresses import family_of
from controller.decisions import Announce, Decision, Persist
from controller.flows import FlowEntry, Purpose, match
from controller.pipeline import Table
from controller.topology import Host

FIRST_TTL_S = 300
LONGEST_TTL_S = 86_400
FORGIVEN_AFTER_S = 3600.0
MAX_ENTRIES = 1000


@dataclass(frozen=True, slots=True)
class Quarantined:
    """An entry: `client` is an address or prefix as text, `vip` an address (None: everything); times on the core's clock."""

    id: str
    client: str
    action: str
    vip: str | None
    vip_address: int | None
    ttl_s: int
    since: float
    reason: str
    incident: str | None

    @property
    def until(self) -> float:
        """When it ends."""
        return self.since + self.ttl_s

    def covers(self, address: int) -> bool:
        """Whether an address (integer) is meant."""
        return addresses.within(address, self.client)


class QuarantineError(ValueError):
    """An entry that cannot be made; the text says why."""


class Quarantine:
    """The entries in force, at most `MAX_ENTRIES`."""

    def __init__(self) -> None:
        self.entries: dict[str, Quarantined] = {}
        self.changed = False
        self._offences: dict[str, tuple[int, float]] = {}
        self._serial = 0

    def restore(self, values: dict[str, object]) -> None:
        """Take back what the store held."""
        for key, value in values.items():
            if isinstance(value, dict):
                self.entries[key] = Quarantined(**value)
                self._serial = max(self._serial, int(key.removeprefix("q")))
        self.changed = True

    def ttl_for(self, client: str, now: float) -> int:
        """How long an automatic entry lasts: doubled for each offence that is not forgiven yet."""
        return min(LONGEST_TTL_S, FIRST_TTL_S << min(self._unforgiven(client, now), 16))

    def _unforgiven(self, client: str, now: float) -> int:
        count, last = self._offences.get(client, (0, now))
        return 0 if now - last > FORGIVEN_AFTER_S else count

    def add(
        self,
        client: str,
        action: str,
        now: float,
        *,
        vip: str | None = None,
        vip_address: int | None = None,
        ttl_s: int | None = None,
        reason: str = "",
        incident: str | None = None,
    ) -> tuple[Quarantined, list[Decision]]:
        """Put a client away. Raises QuarantineError: full, already there, or something this version does not carry out."""
        if action != "drop":
            raise QuarantineError(f"action: {action} is not carried out by this version; use drop")
        if any(entry.client == client and entry.vip == vip for entry in self.entries.values()):
            raise QuarantineError(f"client: {client} is in quarantine already")
        if len(self.entries) >= MAX_ENTRIES:
            raise QuarantineError(f"there are {MAX_ENTRIES} entries already")
        ttl_s = self.ttl_for(client, now) if ttl_s is None else ttl_s
        self._offences[client] = self._unforgiven(client, now) + 1, now
        if len(self._offences) > 2 * MAX_ENTRIES:
            self._offences.pop(next(iter(self._offences)))
        self._serial += 1
        entry = Quarantined(f"q{self._serial}", client, action, vip, vip_address, ttl_s, now, reason, incident)
        self.entries[entry.id] = entry
        self.changed = True
        fields: dict[str, object] = {
            "id": entry.id,
            "client": client,
            "action": action,
            "ttl_s": ttl_s,
            "incident": incident,
        }
        text = f"{client} is in quarantine for {ttl_s} s: {reason or 'by hand'}"
        return entry, [Persist("quarantine", entry.id, asdict(entry)), Announce("quarantine", text, fields)]

    def remove(self, entry_id: str) -> list[Decision] | None:
        """Let a client go; None when there is no such entry."""
        entry = self.entries.pop(entry_id, None)
        if entry is None:
            return None
        self.changed = True
        text = f"{entry.client} is out of quarantine"
        return [
            Persist("quarantine", entry_id, None),
            Announce("quarantine", text, {"id": entry_id, "client": entry.client, "action": "released"}),
        ]

    def on_tick(self, now: float) -> list[Decision]:
        """Entries whose time is over."""
        decisions: list[Decision] = []
        for entry in [entry for entry in self.entries.values() if now >= entry.until]:
            decisions += self.remove(entry.id) or []
        return decisions

    def next_deadline(self) -> float | None:
        """When the next entry ends."""
        return min((entry.until for entry in self.entries.values()), default=None)

    def flows(self, hosts: Iterable[Host]) -> Iterator[FlowEntry]:
        """The entries' flows for the hosts of one switch."""
        for host in hosts:
            for entry in self.entries.values():
                if entry.covers(host.ip) and family_of(entry.vip_address or host.ip) is family_of(host.ip):
                    family = family_of(host.ip)
                    fields = family.fields(in_port=host.port_no, eth_src=host.mac, src=host.ip)
                    if entry.vip_address is not None:
                        fields |= family.fields(dst=entry.vip_address)
                    yield FlowEntry(
                        Table.ADMISSION, 95, match(**fields), Purpose.QUARANTINE, counts=("quarantine", entry.id)
                    )
