"""Which rules apply when: schedules on the wall clock of their time zones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from controller.policy import Firewall, Rule, Schedule

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def is_active(schedule: Schedule | None, now: float) -> bool:
    """Whether a rule with this schedule applies at a time (s since the epoch)."""
    if schedule is None:
        return True
    local = datetime.fromtimestamp(now, UTC).astimezone(ZoneInfo(schedule.timezone))
    minutes = local.strftime("%H:%M")
    overnight = schedule.end < schedule.start
    if overnight and minutes < schedule.end:
        day = local - timedelta(days=1)
    elif (overnight and minutes >= schedule.start) or (not overnight and schedule.start <= minutes < schedule.end):
        day = local
    else:
        return False
    return not schedule.days or _DAYS[day.weekday()] in schedule.days


def active_rules(firewall: Firewall, now: float) -> tuple[Rule, ...]:
    """The rules whose schedule lets them apply."""
    return tuple(rule for rule in firewall.rules if is_active(rule.schedule, now))
