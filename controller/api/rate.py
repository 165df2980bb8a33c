"""How many requests one caller may make: a token bucket each, for at most so many callers."""

import math
from collections import OrderedDict
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address

from controller.api.problem import RefusedError

BURST_S = 2.0
"""A caller may spend so many seconds' worth at once."""
MAX_CALLERS = 4_096
WRONG_TOKENS_PER_S = 1.0
WRONG_TOKENS_AT_ONCE = 20.0


@dataclass(slots=True)
class _Bucket:
    level: float
    time: float


class Buckets:
    """Token buckets by caller. Beyond `MAX_CALLERS` the one who was silent longest starts anew."""

    def __init__(self, per_s: float, at_once: float) -> None:
        """Take the rate, and how much a full bucket holds."""
        self._per_s, self._at_once = per_s, at_once
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def wait_s(self, caller: str, now: float) -> float:
        """How long until the bucket holds one; 0 when it does."""
        level = self._fill(caller, now).level
        return 0.0 if level >= 1.0 else (1.0 - level) / self._per_s

    def take(self, caller: str, now: float) -> None:
        """Take one out."""
        self._fill(caller, now).level -= 1.0

    def _fill(self, caller: str, now: float) -> _Bucket:
        bucket = self._buckets.get(caller)
        if bucket is None:
            bucket = self._buckets[caller] = _Bucket(self._at_once, now)
            if len(self._buckets) > MAX_CALLERS:
                self._buckets.popitem(last=False)
        # The wall clock may be set back.
        bucket.level = min(self._at_once, bucket.level + max(0.0, now - bucket.time) * self._per_s)
        bucket.time = now
        self._buckets.move_to_end(caller)
        return bucket


class RateLimit:
    """Requests of one caller, and guesses at tokens from one address."""

    def __init__(self, requests_per_s: float = 0.0) -> None:
        """Take the limit; 0: none."""
        self._requests = Buckets(requests_per_s, max(1.0, BURST_S * requests_per_s)) if requests_per_s else None
        self._wrong_tokens = Buckets(WRONG_TOKENS_PER_S, WRONG_TOKENS_AT_ONCE)

    def check_guesses(self, address: str, now: float) -> None:
        """Refuse an address that has shown too many wrong tokens; raises RefusedError."""
        _refuse(self._wrong_tokens.wait_s(address, now), "Authorization: too many wrong tokens from this address")

    def note_wrong_token(self, address: str, now: float) -> None:
        """Somebody there showed a token that is none."""
        self._wrong_tokens.take(address, now)

    def check(self, caller: str, now: float) -> None:
        """Count a request; raises RefusedError when there were too many."""
        if self._requests is None:
            return
        _refuse(self._requests.wait_s(caller, now), "request: too many from this caller")
        self._requests.take(caller, now)


def _refuse(wait_s: float, detail: str) -> None:
    if wait_s > 0:
        seconds = max(1, math.ceil(wait_s))
        raise RefusedError(
            HTTPStatus.TOO_MANY_REQUESTS, f"{detail}; try again in {seconds} s", {"Retry-After": str(seconds)}
        )


def caller_of(address: str | None) -> str:
    """Whom an address stands for: an IPv6 host has a /64 to choose from; a Unix socket has none."""
    try:
        parsed = ip_address(address or "")
    except ValueError:
        return "local"
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or f"{IPv6Address(int(parsed) >> 64 << 64)}/64")
    return str(parsed)
