"""What the demo promises, held against what happened."""

from typing import Any, NamedTuple

from topologies.demo.tally import Tally

RETRANSMITTED_MS = 500.0
"""A connect that took longer waited for a retransmission, at the earliest after 1 s (RFC 6298 §2.1)."""
TARGET_MS = 50.0
MAX_RESETS = 3
MIN_REFUSED_WITHOUT = 100


class Expectation(NamedTuple):
    """Something promised. A target that is not `required` may be missed on a busy machine."""

    text: str
    found: str
    met: bool
    required: bool = True

    def document(self) -> dict[str, Any]:
        """The expectation as JSON."""
        return self._asdict()


def judge(handled: Tally, unhandled: Tally) -> list[Expectation]:
    """Every expectation of a run with reset handling and one without."""
    on, off = handled.total, unhandled.total
    slowest = f"{on.slowest_connect_ms:.1f} ms"
    return [
        Expectation("handling on: no connection refused", f"{on.refused} of {on.tried}", on.refused == 0),
        Expectation("handling on: no connection timed out", f"{on.timed_out} of {on.tried}", on.timed_out == 0),
        Expectation("handling on: no connect slower than 500 ms (a retransmission)", slowest,
                    on.slowest_connect_ms < RETRANSMITTED_MS),
        Expectation("handling on: no connect slower than 50 ms", slowest, on.slowest_connect_ms < TARGET_MS, False),
        Expectation("handling on: at most 3 resets seen by clients", str(on.reset), on.reset <= MAX_RESETS),
        Expectation("handling off: hundreds refused", f"{off.refused} of {off.tried}",
                    off.refused >= MIN_REFUSED_WITHOUT),
        _nothing_broken(handled, unhandled),
    ]  # fmt: skip


def _nothing_broken(handled: Tally, unhandled: Tally) -> Expectation:
    could_break = [tally.kept - tally.kept_own for tally in (handled, unhandled)]
    broken = handled.broken + unhandled.broken
    found = f"{len(broken)} of {sum(could_break)}"
    if broken:
        found += f" ({', '.join(sorted(set(broken)))})"
    # A load that died early would have nothing to break.
    return Expectation("no established connection broken by weight changes", found, all(could_break) and not broken)
