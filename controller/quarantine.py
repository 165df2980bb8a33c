"""Who is kept out for a time, and for how long: the entries' lives. What an entry does at a switch is `isolation.py`.

An automatic entry names the port its client lived at: whoever spoofs that address elsewhere has nobody else put away, and the entry
does not follow the address to another port. Entries and offences outlive the controller in the store. A repeated offender stays out
twice as long each time; one offence is forgiven for each quiet hour.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields

from controller import addresses
from controller.decisions import Announce, Decision, Persist
from controller.policy.quarantine import QuarantineSettings

FIRST_TTL_S = 300
LONGEST_TTL_S = 86_400
FORGIVEN_AFTER_S = 3600.0
"""One offence is forgiven for each such span since the last one ended."""
MAX_OFFENDERS = 20_000


@dataclass(frozen=True, slots=True)
class Quarantined:
    """An entry: `client` is an address or prefix as text, `vip` an address (None: everything); times on the core's clock.

    With `dst`, `protocol` or `dst_port` it is about that flow only. `place` is the port (`"0000000000000011:3"`) it bites at, None:
    wherever the client lives.
    """

    id: str
    client: str
    action: str
    vip: str | None
    vip_address: int | None
    ttl_s: int
    since: float
    reason: str
    incident: str | None
    dst: str | None = None
    protocol: str | None = None
    dst_port: int | None = None
    place: str | None = None
    automatic: bool = False

    @property
    def until(self) -> float:
        """When it ends."""
        return self.since + self.ttl_s

    @property
    def target(self) -> tuple[object, ...]:
        """What it is about: there is one entry for the same."""
        return self.client, self.vip, self.dst, self.protocol, self.dst_port

    def covers(self, address: int) -> bool:
        """Whether an address (integer) is meant."""
        return addresses.within(address, self.client)


class QuarantineError(ValueError):
    """An entry that cannot be made; the text says why."""


class Quarantine:
    """The entries in force, at most as many as the policy lets there be."""

    def __init__(self) -> None:
        self.entries: dict[str, Quarantined] = {}
        self.settings = QuarantineSettings()
        self.changed = False
        self._offences: dict[str, tuple[int, float]] = {}
        """(how many, when the last one's entry ends) by client."""
        self._serial = 0

    def restore(self, entries: dict[str, object], offences: dict[str, object], serials: dict[str, object]) -> None:
        """Take back what the store held."""
        known = {field.name for field in fields(Quarantined)}
        for key, value in entries.items():
            if isinstance(value, dict) and value.keys() <= known:
                self.entries[key] = Quarantined(**value)
                self._serial = max(self._serial, int(key.removeprefix("q")))
        for client, offence in offences.items():
            if isinstance(offence, list):
                self._offences[client] = int(offence[0]), float(offence[1])
        last = serials.get("quarantine", 0)
        self._serial = max(self._serial, last if isinstance(last, int) else 0)
        self.changed = True

    def follow(self, values: Mapping[str, Mapping[str, object]]) -> None:
        """Take what another controller recorded; None: it let the client go."""
        entries, offences = values.get("quarantine", {}), values.get("offences", {})
        for key in [key for key, value in entries.items() if value is None]:
            self.changed |= self.entries.pop(key, None) is not None
        for client in [client for client, value in offences.items() if value is None]:
            self._offences.pop(client, None)
        if entries or offences:
            self.restore(dict(entries), dict(offences), dict(values.get("serials", {})))

    def apply(self, settings: QuarantineSettings) -> list[Decision]:
        """Take the policy's settings; who is on the allow-list now is let go."""
        self.changed |= settings != self.settings
        self.settings = settings
        freed = [entry for entry in self.entries.values() if _first_within(entry.client, settings.allow_list)]
        return [decision for entry in freed for decision in self.remove(entry.id) or []]

    def allowed(self, client: str) -> str | None:
        """What of the allow-list the client (address or prefix) meets; None when nothing speaks against quarantine."""
        return _first_overlap(client, self.settings.allow_list)

    def ttl_for(self, client: str, now: float) -> int:
        """How long an automatic entry lasts: doubled for each offence that is not forgiven yet."""
        return min(LONGEST_TTL_S, FIRST_TTL_S << min(self._unforgiven(client, now), 16))

    def _unforgiven(self, client: str, now: float) -> int:
        count, ended = self._offences.get(client, (0, now))
        return max(0, count - int(max(0.0, now - ended) // FORGIVEN_AFTER_S))

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
        dst: str | None = None,
        protocol: str | None = None,
        dst_port: int | None = None,
        place: str | None = None,
        automatic: bool = False,
    ) -> tuple[Quarantined, list[Decision]]:
        """Put a client away. Raises QuarantineError: full, already there, on the allow-list, or nowhere to be isolated to."""
        ttl_s = self.ttl_for(client, now) if ttl_s is None else ttl_s
        entry = Quarantined(f"q{self._serial + 1}", client, action, vip, vip_address, ttl_s, now, reason, incident,
                            dst, protocol, dst_port, place, automatic)  # fmt: skip
        self._check(entry)
        decisions = self._make_room()
        self._serial += 1
        self.entries[entry.id] = entry
        self.changed = True
        said: dict[str, object] = {
            "id": entry.id,
            "client": client,
            "action": action,
            "ttl_s": ttl_s,
            "incident": incident,
        }
        text = f"{client} is in quarantine for {ttl_s} s ({action}): {reason or 'by hand'}"
        return entry, [
            *decisions,
            *self._note_offence(client, entry.until, now),
            Persist("serials", "quarantine", self._serial),
            Persist("quarantine", entry.id, asdict(entry)),
            Announce("quarantine", text, said),
        ]

    def _check(self, entry: Quarantined) -> None:
        client = entry.client
        met = self.allowed(client)
        if met is not None:
            raise QuarantineError(f"client: {client} meets {met} of quarantine.allow_list, which is never quarantined")
        if entry.action == "isolate" and not self.settings.remediation:
            raise QuarantineError("action: isolate needs an address in quarantine.remediation of the policy")
        if any(other.target == entry.target for other in self.entries.values()):
            raise QuarantineError(f"client: {client} is in quarantine already")

    def _make_room(self) -> list[Decision]:
        """At the cap the oldest automatic entry goes: what an operator put there stays."""
        if len(self.entries) < self.settings.max_entries:
            return []
        oldest = next((entry for entry in self.entries.values() if entry.automatic), None)
        if oldest is None:
            raise QuarantineError(f"there are {len(self.entries)} entries already, none of them automatic")
        text = f"quarantine is full: {oldest.client} ({oldest.id}) makes room before its time"
        evicted = Announce("quarantine-evicted", text, {"id": oldest.id, "client": oldest.client})
        return [evicted, *(self.remove(oldest.id) or [])]

    def evict(self, count: int) -> list[Decision]:
        """Let the oldest so many automatic entries go before their time."""
        oldest = [entry for entry in self.entries.values() if entry.automatic][:count]
        return [decision for entry in oldest for decision in self.remove(entry.id) or []]

    def _note_offence(self, client: str, until: float, now: float) -> list[Decision]:
        count = self._unforgiven(client, now) + 1
        self._offences.pop(client, None)
        self._offences[client] = count, until
        decisions: list[Decision] = [Persist("offences", client, [count, until])]
        if len(self._offences) > MAX_OFFENDERS:
            first = next(iter(self._offences))
            del self._offences[first]
            decisions.append(Persist("offences", first, None))
        return decisions

    def remove(self, entry_id: str) -> list[Decision] | None:
        """Let a client go; None when there is no such entry."""
        entry = self.entries.pop(entry_id, None)
        if entry is None:
            return None
        self.changed = True
        text = f"{entry.client} is out of quarantine"
        return [
            Persist("quarantine", entry_id, None),
            Announce(
                "quarantine",
                text,
                {"id": entry_id, "client": entry.client, "action": "released", "incident": entry.incident},
            ),
        ]

    def on_tick(self, now: float) -> list[Decision]:
        """Entries whose time is over, and offenders who are forgiven everything."""
        decisions: list[Decision] = []
        for entry in [entry for entry in self.entries.values() if now >= entry.until]:
            decisions += self.remove(entry.id) or []
        # The first ones are the oldest: enough to keep the store from filling up with who came once.
        first = next(iter(self._offences), None)
        if first is not None and self._unforgiven(first, now) == 0:
            del self._offences[first]
            decisions.append(Persist("offences", first, None))
        return decisions

    def next_deadline(self) -> float | None:
        """When the next entry ends."""
        return min((entry.until for entry in self.entries.values()), default=None)


def _networks(
    client: str, prefixes: Iterable[str]
) -> Iterable[tuple[str, ipaddress.IPv4Network, ipaddress.IPv4Network]]:
    """(text, prefix, client) for the prefixes of the client's family."""
    own = ipaddress.ip_network(client, strict=False)
    for text in prefixes:
        network = ipaddress.ip_network(text, strict=False)
        if network.version == own.version:
            yield text, network, own  # type: ignore[misc]


def _first_overlap(client: str, prefixes: Iterable[str]) -> str | None:
    return next((text for text, network, own in _networks(client, prefixes) if network.overlaps(own)), None)


def _first_within(client: str, prefixes: Iterable[str]) -> str | None:
    return next((text for text, network, own in _networks(client, prefixes) if own.subnet_of(network)), None)
