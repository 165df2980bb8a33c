"""Times that an earlier run recorded on a clock that was ahead of this one's, as a machine's is until it is set.

Taken as they stand, they would keep a member out, or a client in quarantine, until the clock has caught up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

Values = dict[str, dict[str, object]]


def not_ahead(values: Values, now: float) -> Values:
    """What the store held, by namespace and key; what began after `now` begins now, and lasts as long as it was meant to."""
    mended = dict(values)
    for namespace, mend in _MENDING.items():
        if namespace in mended:
            mended[namespace] = {key: mend(value, now) for key, value in mended[namespace].items()}
    return mended


def _record(value: object, now: float) -> object:
    """With `since`, and perhaps `until` (s since the epoch)."""
    if not isinstance(value, Mapping) or not isinstance(since := value.get("since"), int | float) or since <= now:
        return value
    until = value.get("until")
    end = {"until": until - (since - now)} if isinstance(until, int | float) else {}
    return {**value, "since": now, **end}


def _slow_start(value: object, now: float) -> object:
    began = value.get("slow_start_from") if isinstance(value, Mapping) else None
    if not isinstance(value, Mapping) or not isinstance(began, int | float):
        return value
    return {**value, "slow_start_from": min(began, now)}


def _moment(value: object, now: float) -> object:
    return min(value, now) if isinstance(value, int | float) else value


_MENDING: dict[str, Callable[[object, float], object]] = {
    "ejections": _record,
    "quarantine": _record,
    "weights": _slow_start,
    "drains": _moment,
}
