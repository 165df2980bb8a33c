"""What is recorded of members, so that a restart, or another controller, gives nobody more than it had: ejections, cut weights, drains."""

from __future__ import annotations

from collections.abc import Mapping

from controller.decisions import Decision, Persist
from controller.policy import AdminState
from controller.pools import SMALLEST_SHARE, Ejection, Health, MemberState, Pools


class MemberRecords:
    """Puts records into effect when the policy names their members, and says what changed. Names are `pool/member`."""

    def __init__(self, pools: Pools) -> None:
        self.pools = pools
        self._ejections: dict[str, object] = {}
        self._drains: dict[str, object] = {}
        self._restored_weights: dict[str, object] = {}
        self._weights: dict[str, object] = {}
        """What the store holds of members that have less than their weight."""

    def restore(self, values: Mapping[str, Mapping[str, object]]) -> None:
        """The last run's."""
        self._ejections = dict(values.get("ejections", {}))
        self._drains = dict(values.get("drains", {}))
        self._restored_weights = self._weights = dict(values.get("weights", {}))

    def follow(self, values: Mapping[str, Mapping[str, object]], now: float) -> None:
        """Another controller's, as it changes them; None ends a record."""
        for name, ejection in values.get("ejections", {}).items():
            member = self._named(name)
            if member is not None and ejection is None and member.ejection is not None:
                self.pools.readmit(member, now)
        self._ejections = {name: value for name, value in values.get("ejections", {}).items() if value is not None}
        for name, value in values.get("weights", {}).items():
            member = self._named(name)
            if member is not None and value is None:
                member.share, member.slow_start_from = 1.0, None
        self._restored_weights = {name: value for name, value in values.get("weights", {}).items() if value is not None}
        known = {**self._weights, **values.get("weights", {})}
        self._weights = {name: value for name, value in known.items() if value is not None}
        for name, since in values.get("drains", {}).items():
            member = self._named(name)
            if member is not None and member.draining_since is not None and isinstance(since, (int, float)):
                member.draining_since = float(since)

    def _named(self, name: str) -> MemberState | None:
        pool, _, member = name.partition("/")
        return self.pools.members.get((pool, member))

    def readopt(self) -> None:
        """Put what was restored into effect, where a record's number says that it is still the same server."""
        for name, value in self._ejections.items():
            member = self._named(name)
            if member is not None and isinstance(value, dict) and value.get("number") == member.number:
                since, until = float(value["since"]), float(value["until"])
                member.ejection = Ejection(
                    since,
                    str(value["reason"]),
                    bool(value["confirmed"]),
                    until,
                    int(value["count"]),
                    int(value.get("proofs", 0)),
                )
                member.ejections = member.ejection.count
                member.health = Health.DOWN
        self._ejections = {}
        for name, value in self._restored_weights.items():
            member = self._named(name)
            if member is not None and isinstance(value, dict) and value.get("number") == member.number:
                began = value["slow_start_from"]
                member.share = min(1.0, max(SMALLEST_SHARE, float(value["share"])))
                member.slow_start_from = None if began is None else float(began)
                if member.ejection is None:
                    member.health = Health.DEGRADED
        self._restored_weights = {}

    def note_weights(self) -> list[Decision]:
        """Cut weights and slow starts that changed since the last time."""
        held: dict[str, object] = {
            _name(member): {
                "number": member.number,
                "share": member.share,
                "slow_start_from": member.slow_start_from,
            }
            for member in self.pools.members.values()
            if member.share < 1.0 or member.slow_start_from is not None
        }
        changed = [name for name in {**self._weights, **held} if self._weights.get(name) != held.get(name)]
        self._weights = held
        return [Persist("weights", name, held.get(name)) for name in changed]

    def note_drains(self, now: float) -> list[Decision]:
        """When each drain began, so that it ends in time whoever restarts in between."""
        recorded: list[Decision] = []
        for member in self.pools.members.values():
            since = member.draining_since
            if member.policy.admin_state is not AdminState.DRAINING:
                member.draining_since = None
            elif since is None:
                known = self._drains.get(_name(member))
                member.draining_since = float(known) if isinstance(known, (int, float)) else now
            if member.draining_since != since:
                recorded.append(Persist("drains", _name(member), member.draining_since))
        self._drains = {}
        return recorded


def ejection_record(member: MemberState) -> Persist:
    """The durable form of a member's ejection, or its deletion."""
    ejection = member.ejection
    value = None
    if ejection is not None:
        value = {"number": member.number, "since": ejection.since, "until": ejection.until, "reason": ejection.reason,
                 "confirmed": ejection.confirmed, "count": ejection.count, "proofs": ejection.proofs}  # fmt: skip
    return Persist("ejections", _name(member), value)


def _name(member: MemberState) -> str:
    return f"{member.pool}/{member.policy.name}"
