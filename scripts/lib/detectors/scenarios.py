"""The scenarios: usual lives without any fault, and faults of every shape on top of them."""

from __future__ import annotations

import math

from controller.diagnosis.patterns import Pattern
from detectors.series import Curve, Fault, Scenario

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
BROWSER = 6
"""Connections a browser opens to one host, and resets together when its tab is closed."""
WARM_UP_S = 20 * MINUTE


def steady(value: float) -> Curve:
    """The same all the time."""
    return lambda _t: value


def daily(least: float, most: float, peak_hour: float) -> Curve:
    """A day's swing."""
    middle, swing = (least + most) / 2, (most - least) / 2
    return lambda t: middle + swing * math.cos(2 * math.pi * (t / HOUR - peak_hour) / 24)


def ramps(least: float, most: float, period_s: float) -> Curve:
    """Up and down in straight lines."""
    return lambda t: least + (most - least) * (1 - abs(2 * (t % period_s) / period_s - 1))


def bursts(usual: float, factor: float, every_s: float, length_s: float) -> Curve:
    """Usual, and now and then a crowd."""
    return lambda t: usual * (factor if t % every_s >= every_s - length_s else 1.0)


def _step(share: float) -> Scenario:
    return Scenario(
        f"step: {share:.0%} of connections", Pattern.MEMBER_EARLY, WARM_UP_S + 10 * MINUTE, steady(50), steady(0.001),
        faults=(Fault(WARM_UP_S, WARM_UP_S + 2 * MINUTE, steady(share)),), moves=MINUTE,
    )  # fmt: skip


def _step_on_aborts(share: float) -> Scenario:
    return Scenario(
        f"step: +{share:.0%} on 5% of aborts", Pattern.CLIENT_LATE, WARM_UP_S + 15 * MINUTE, steady(50), steady(0.05),
        clump=BROWSER, faults=(Fault(WARM_UP_S, WARM_UP_S + 5 * MINUTE, steady(share)),), moves=MINUTE,
    )  # fmt: skip


BENIGN = (
    Scenario("aborts, 0.2/s", Pattern.CLIENT_LATE, 4 * HOUR, steady(10), steady(0.02), clump=BROWSER),
    Scenario("aborts, 2/s", Pattern.CLIENT_LATE, 2 * HOUR, steady(40), steady(0.05), clump=BROWSER),
    Scenario("aborts, 20/s", Pattern.CLIENT_LATE, HOUR, steady(200), steady(0.10), clump=BROWSER),
    Scenario("aborts in crowds of 40, 2/s", Pattern.CLIENT_LATE, 2 * HOUR, steady(40), steady(0.05), clump=40),
    Scenario("aborts one by one, 20/s", Pattern.CLIENT_LATE, HOUR, steady(200), steady(0.10)),
    Scenario("aborts, 200/s", Pattern.CLIENT_LATE, HOUR / 2, steady(2000), steady(0.10), clump=BROWSER),
    Scenario("load ramps ×10", Pattern.CLIENT_LATE, 2 * HOUR, ramps(20, 200, 10 * MINUTE), steady(0.05), clump=BROWSER),
    Scenario(
        "load bursts ×5", Pattern.CLIENT_LATE, 2 * HOUR, bursts(20, 5, 10 * MINUTE, MINUTE), steady(0.05), clump=BROWSER
    ),
    Scenario("quiet pool", Pattern.CLIENT_LATE, 12 * HOUR, steady(0.05), steady(0.2), clump=3, others_per_s=0.0),
)
DAYS = Scenario(
    "two days", Pattern.CLIENT_LATE, 2 * DAY, daily(2, 30, 20.0), daily(0.02, 0.06, 13.0), clump=BROWSER
)  # fmt: skip
"""Load and the share of aborts swing apart: neither explains the other."""
WEIGHED = BENIGN[1]
"""What costs are measured on."""

FAULTY = (
    *(_step(share) for share in (0.01, 0.03, 0.1, 0.5)),
    *(_step_on_aborts(share) for share in (0.05, 0.15)),
    Scenario(
        "slow rise: to 10% in 10 min", Pattern.MEMBER_EARLY, WARM_UP_S + 17 * MINUTE, steady(50), steady(0.001),
        faults=(Fault(WARM_UP_S, WARM_UP_S + 10 * MINUTE, lambda t: 0.1 * t / (10 * MINUTE)),), moves=MINUTE,
    ),
    Scenario(
        "spikes: 30 at once", Pattern.MEMBER_LATE, WARM_UP_S + 30 * MINUTE, steady(50), steady(0.005),
        spikes=(WARM_UP_S, WARM_UP_S + 10 * MINUTE, WARM_UP_S + 20 * MINUTE), moves=MINUTE,
    ),
    Scenario(
        "flapping: 10 s of every 30 s", Pattern.MEMBER_EARLY, WARM_UP_S + 10 * MINUTE, steady(50), steady(0.001),
        faults=tuple(Fault(WARM_UP_S + 30 * i, WARM_UP_S + 30 * i + 10, steady(0.2)) for i in range(10)), moves=MINUTE,
    ),
    Scenario(
        "quiet pool, all refused", Pattern.REFUSED, WARM_UP_S + 10 * MINUTE, steady(0.5), steady(0.0), others_per_s=0.0,
        faults=(Fault(WARM_UP_S, WARM_UP_S + 2 * MINUTE, steady(1.0)),), moves=MINUTE,
    ),
    Scenario(
        "first minute, all refused", Pattern.REFUSED, 6 * MINUTE, steady(20), steady(0.0),
        faults=(Fault(2.0, 50.0, steady(1.0)),), moves=8.0,
    ),
    Scenario(
        "first minute, 20%", Pattern.MEMBER_EARLY, 6 * MINUTE, steady(50), steady(0.001),
        faults=(Fault(2.0, 50.0, steady(0.2)),), moves=8.0,
    ),
)  # fmt: skip
