"""What is observed of a member, added up over the VIPs that lead to it. What no switch has counted is None, never 0."""

from __future__ import annotations

from collections.abc import Iterable

from controller.agent_check import NEVER_SPOKE
from controller.api.service import JsonObject, MemberStatus
from controller.api.times import rfc3339
from controller.core import Core
from controller.pools import MemberState

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
        connections_active=core.activity.active(state),
        connections_per_s=None if rate is None else round(rate, 2),
        resets_per_s={kind: round(per_s, 2) for kind, per_s in resets.items() if per_s is not None},
        handshake_ms=core.activity.handshake_ms(state, now),
        handshake_ratio=core.activity.handshake_ratio(state),
        bytes_to=core.activity.bytes_to(state),
        bytes_from=core.activity.bytes_from(state),
        load=state.load,
        agent=_agent(core, state),
    )


def _sum(values: Iterable[float | None]) -> float | None:
    """The sum of what is known; None when nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _agent(core: Core, member: MemberState) -> JsonObject | None:
    """What a member's agent makes of it; None when it never said anything and is not asked."""
    check = core.services.pools.settings[member.pool].health_check
    if member.agent == NEVER_SPOKE and (check is None or check.agent_port is None):
        return None
    said, heard = member.agent, member.agent_heard
    return {
        "state": said.state,
        "percent": said.percent,
        "maxconn": said.maxconn,
        "description": said.description,
        "heard": None if heard is None else rfc3339(heard),
        "trouble": member.agent_trouble,
    }
