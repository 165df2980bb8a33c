"""Members that become slow get less before they reset anybody; equal ones are left alone; shares settle."""

import itertools
import random

import pytest
from model_world import leaf_spine, policy_of
from static_fabric import core_that_knows

from controller.anticipation import LEAST_EASE, STEP_DOWN
from controller.core import Core
from controller.decisions import Announce
from controller.events import LoadReported
from controller.pools import MemberState
from controller.readings import CLOSELY_S

MEMBERS = ["10.0.1.2", "10.0.2.2", "10.0.3.2"]
OFFERED_PER_S = 240.0
LOOK_S = 2.0
"""As often as members are counted while nobody stands out."""
STEP_S = 0.005


class Pool:
    """Three members as queues: each serves so many at a time, each for so long; connections come by weight, with some noise."""

    def __init__(self, *service_s: float, workers: int = 4, seed: int = 1) -> None:
        self.core: Core = core_that_knows(leaf_spine(), policy_of(MEMBERS))
        self.members = [self.core.services.pools.members["web", f"web-{number}"] for number in (1, 2, 3)]
        self.service_s = list(service_s)
        self.workers, self.noise, self.now = workers, random.Random(seed), 0.0
        self.open = [0.0] * 3
        self.rates = [0.0] * 3
        self.said: list[Announce] = []
        self.moments: list[float] = []
        """Of the looks."""
        self.core.anticipation.activity = self  # type: ignore[assignment]
        self.handshakes = self
        self.summed_at, self.closely = 0.0, False
        self.slow_ms: dict[int, float] = {}

    def connections_per_s(self, member: MemberState) -> float:
        return self.rates[self.members.index(member)]

    def median_ms(self, number: int, now: float) -> float:
        return self.slow_ms.get(number, 0.5)

    def run(self, seconds: float, offered_per_s: float = OFFERED_PER_S) -> list[tuple[float, ...]]:
        """The shares at each look."""
        shares, until = [], self.now + seconds
        while self.now < until - STEP_S:
            elapsed_s = CLOSELY_S if self.core.anticipation.watching else LOOK_S
            for _ in range(round(elapsed_s / STEP_S)):
                self._serve(offered_per_s, STEP_S)
            self.now += elapsed_s
            shares.append(self.look())
        return shares

    def look(self) -> tuple[float, ...]:
        """The shares after a look at what is open."""
        self.summed_at = self.now
        for member, count in zip(self.members, self.open, strict=True):
            member.connections_active = round(count)
        said = self.core.anticipation.on_tick(self.now, acting=True)
        self.said += [one for one in said if isinstance(one, Announce)]
        self.moments.append(self.now)
        return tuple(member.ease for member in self.members)

    def _serve(self, offered_per_s: float, elapsed_s: float) -> None:
        weights = [member.ease for member in self.members]
        for index, weight in enumerate(weights):
            rate = offered_per_s * weight / sum(weights) * self.noise.uniform(0.9, 1.1)
            self.rates[index] += 0.01 * (rate - self.rates[index])
            capacity = self.workers / self.service_s[index]
            leaving = min(capacity, self.open[index] / self.service_s[index])
            self.open[index] = max(
                0.0, self.open[index] + self._by_chance(rate * elapsed_s) - self._by_chance(leaving * elapsed_s)
            )

    def _by_chance(self, mean: float) -> int:
        """Binomial, nearly Poisson."""
        return sum(self.noise.random() < mean / 8 for _ in range(8))


@pytest.mark.parametrize("seed", range(5))
def test_members_alike_are_left_alone(seed: int) -> None:
    pool = Pool(0.02, 0.02, 0.02, seed=seed)
    assert set(pool.run(300)) == {(1.0, 1.0, 1.0)} and not pool.said


@pytest.mark.parametrize("seed", range(5))
def test_one_that_is_slowed_to_a_third_gets_what_it_can_serve_and_the_shares_settle(seed: int) -> None:
    pool = Pool(0.02, 0.02, 0.02, seed=seed)
    pool.run(60)
    pool.service_s[0] = 0.06
    shares = pool.run(300)
    assert max(shares[10:])[0] < 0.6 and all(share[1:] == (1.0, 1.0) for share in shares)
    assert pool.open[0] < 3 * pool.open[1] + 5, "it has no queue any more"
    looks = sum(moment >= pool.now - 60 for moment in pool.moments)
    last = [share[0] / sum(share) for share in shares[-looks:]]
    moved = sum(abs(after - before) for before, after in itertools.pairwise(last))
    assert moved < 0.05, "of all new connections, over the last minute"


def test_who_stood_still_for_a_moment_loses_a_step_or_two_and_gets_them_back() -> None:
    pool = Pool(0.02, 0.02, 0.02)
    pool.run(60)
    pool.open[0] += 30
    pool.now += CLOSELY_S
    shares = [pool.look()[0], *(share[0] for share in pool.run(60))]
    assert min(shares) >= STEP_DOWN**2 - 1e-3 and shares[-1] == 1.0


def test_no_step_is_more_than_allowed_and_all_comes_back() -> None:
    pool = Pool(0.02, 0.02, 0.02)
    pool.run(20)
    pool.service_s[0] = 0.5
    shares = [share[0] for share in pool.run(120)]
    assert min(shares) == LEAST_EASE
    assert all(after >= before * STEP_DOWN - 1e-3 for before, after in itertools.pairwise(shares))
    pool.service_s[0] = 0.02
    assert pool.run(120)[-1] == (1.0, 1.0, 1.0)


def test_slow_answers_to_syns_are_enough_and_are_measured_against_its_own_habit() -> None:
    pool = Pool(0.02, 0.02, 0.02)
    pool.slow_ms = {pool.members[1].number: 8.0}
    assert pool.run(60)[-1] == (1.0, 1.0, 1.0), "it has always been that far away"
    pool.slow_ms = {pool.members[1].number: 80.0}
    assert pool.run(20)[-1][1] < 0.5
    assert "SYNs" in pool.said[-1].text


def test_a_load_that_its_agent_reports_lowers_its_share() -> None:
    pool = Pool(0.02, 0.02, 0.02)
    pool.core.handle(LoadReported("web", "web-3", 0.99, "up"), 0.0)
    assert pool.run(20)[-1][2] < 0.6


def test_connections_that_are_meant_to_stay_say_nothing() -> None:
    pool = Pool(60.0, 60.0, 600.0, workers=100_000)
    assert pool.run(600, offered_per_s=30.0)[-1] == (1.0, 1.0, 1.0)


def test_unknown_is_not_zero() -> None:
    pool = Pool(0.02, 0.02, 0.02)
    pool.run(10)
    for member in pool.members:
        member.connections_active = None
    pool.core.anticipation.on_tick(pool.now + LOOK_S, acting=True)
    assert all(member.ease == 1.0 for member in pool.members)


def test_the_last_one_that_takes_connections_keeps_all_of_its_weight() -> None:
    pool = Pool(0.5, 0.02, 0.02)
    pool.run(60)
    assert pool.members[0].ease < 1.0
    for member in pool.members[1:]:
        pool.core.handle(LoadReported("web", member.policy.name, 0.1, "drain"), pool.now)
    pool.run(10)
    assert pool.members[0].ease == 1.0


def test_who_is_let_in_slowly_is_not_slow_for_the_connections_that_outlived_its_absence() -> None:
    pool = Pool(0.02, 0.02, 0.02)
    pool.run(20)
    back = pool.members[2]
    back.slow_start_from = pool.now
    for _ in range(10):
        pool.open[2], pool.rates[2] = 14.0, 4.0
        pool.now += LOOK_S
        pool.look()
    assert back.ease == 1.0


def test_connections_that_outlived_its_absence_take_nothing_from_a_member() -> None:
    """Its peers have none of the kind."""
    pool = Pool(0.02, 0.02, 0.02)
    pool.run(20)
    for rate in (0.0, 0.0, 8.0, 15.0, *[30.0] * 20):
        pool.open, pool.rates[2] = [0.7, 0.7, 20.7], rate
        pool.now += LOOK_S
        pool.look()
    assert pool.members[2].ease == 1.0


def test_who_happens_to_have_more_that_last_is_not_slow_when_its_peers_come_back() -> None:
    pool = Pool(0.02, 0.02, 0.02)
    for rates in (*[(80.0,) * 3] * 5, *[(240.0, 0.0, 0.0)] * 4, *[(80.0,) * 3] * 20):
        pool.open, pool.rates = [16.7, 8.7, 9.7], list(rates)
        pool.now += LOOK_S
        pool.look()
    assert [member.ease for member in pool.members] == [1.0, 1.0, 1.0]


def test_a_queue_shows_also_beside_connections_that_last() -> None:
    pool = Pool(0.02, 0.02, 0.02)
    alike = (80.0,) * 3
    for rates, queue in (*[((240.0, 0.0, 0.0), 0.0)] * 4, *[(alike, 0.0)] * 5, *[(alike, 40.0)] * 5):
        pool.open, pool.rates = [10.7 + queue, 8.7, 9.7], list(rates)
        pool.now += LOOK_S
        pool.look()
    assert pool.members[0].ease < 0.5


def test_connections_that_neither_come_nor_go_are_no_queue() -> None:
    """A client's own pool of connections, say, all of which one member happened to get."""
    pool = Pool(0.02, 0.02, 0.02)
    for _ in range(30):
        pool.open, pool.rates = [30.7, 0.7, 0.7], [80.0] * 3
        pool.now += LOOK_S
        pool.look()
    assert [member.ease for member in pool.members] == [1.0, 1.0, 1.0]
