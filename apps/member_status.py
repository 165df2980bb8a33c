"""What is observed of a member, added up over the VIPs that lead to it. What no switch has counted is None, never 0."""

from __future__ import annotations

from collections.abc import Iterable

from controller.api.service import MemberStatus
from controller.core import Core

_KINDS = ("refused", "aborted-by-member", "aborted-by-client")


def member_status(core: Core, pool: str, member: str, now: float) -> MemberStatus:
    """The status of a member of the policy in force."""
    state = core.services.pools.members[pool, member]
    ejection = state.ejection
    vips = core.services.vips_of.get(pool, [])
    resets = {kind: _sum(core.counters.rate("reset", vip, member, kind) for vip in vips) for kind in _KINDS}
    rate = _sum(core.counters.rate("handshake", vip, member) for vip in vips)
    return MemberStatus(
        health=state.health.value,
        effective_weight=state.effective_weight(now, core.services.pools.settings[pool].slow_start_s),
        ejected_until=ejection.until if ejection else None,
        connections_active=_active(core, vips, member),
        connections_per_s=None if rate is None else round(rate, 2),
        resets_per_s={kind: round(per_s, 2) for kind, per_s in resets.items() if per_s is not None},
        handshake_ms=state.handshake_ms,
        load=state.load,
    )


def _active(core: Core, vips: list[str], member: str) -> int | None:
    """Connections that began, less those that said FIN or were aborted."""
    opened = _sum(core.counters.total("handshake", vip, member) for vip in vips)
    if opened is None:
        return None
    ended = [core.counters.total("closed", vip, member) for vip in vips]
    ended += [core.counters.total("reset", vip, member, kind) for vip in vips for kind in _KINDS if kind != "refused"]
    return max(0, int(opened - (_sum(ended) or 0)))


def _sum(values: Iterable[float | None]) -> float | None:
    """The sum of what is known; None when nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None
