"""Whatever befalls the members of a pool, somebody is left, and not too many are out."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from controller.agent_check import parse
from controller.policy import AdminState, Policy, parse_policy
from controller.pools import EJECTION_CAP_S, FORGIVEN_AFTER_S, HEAVIEST, Health, MemberState, Pools

STATES = st.sampled_from(["active", "draining", "disabled"])
AGENT_STATES = st.sampled_from(["up ready", "drain", "down#why", "maint", "0%", "50%", "900%", "maxconn:5", "nonsense"])


def policy_of(weights: list[tuple[int, str]], **settings: object) -> Policy:
    members = [
        {"name": f"m{number}", "address": f"10.0.1.{number + 1}", "port": 80, "weight": weight, "admin_state": state}
        for number, (weight, state) in enumerate(weights)
    ]
    return parse_policy({"version": 1, "pools": {"web": {"members": members, **settings}}})


class PoolLife(RuleBasedStateMachine):
    """Ejections, readmissions, agents' words and an operator's changes, in any order."""

    @initialize(
        weights=st.lists(st.tuples(st.sampled_from([0, 1, 100]), STATES), min_size=1, max_size=8),
        percent=st.integers(0, 100),
        slow_start_s=st.sampled_from([0.0, 10.0]),
    )
    def begin(self, weights: list[tuple[int, str]], percent: int, slow_start_s: float) -> None:
        self.now = 1000.0
        self.pools = Pools()
        self.weights = weights
        self.settings = {"max_ejection_percent": percent, "slow_start_s": slow_start_s, "ejection_time_s": 30.0}
        self._apply()

    def _apply(self) -> None:
        policy = policy_of(self.weights, **self.settings)
        keys = [("web", member.name) for member in policy.pools["web"].members]
        self.pools.apply(policy, {key: number for number, key in enumerate(keys, 1)}, dict.fromkeys(keys, 1))

    def _member(self, choice: int) -> MemberState:
        return list(self.pools.members.values())[choice % len(self.pools.members)]

    @rule(choice=st.integers(0, 7), confirmed=st.booleans())
    def eject(self, choice: int, confirmed: bool) -> None:
        member = self._member(choice)
        if member.ejection is not None or not self.pools.may_eject(member):
            return
        before = member.ejections
        self.pools.eject(member, "a test", confirmed, self.now)
        active = [other for other in self.pools.of("web") if other.policy.admin_state is AdminState.ACTIVE]
        out = [other for other in active if other.ejection is not None]
        allowed = max(1, len(active) * self.settings["max_ejection_percent"] // 100)  # type: ignore[operator]
        assert len(out) <= allowed and self.settings["max_ejection_percent"]
        assert any(other.accepts_new for other in self.pools.of("web")), "never the last"
        assert member.ejection is not None and member.health is Health.DOWN
        lasts = member.ejection.until - self.now
        assert lasts == pytest.approx(min(EJECTION_CAP_S, 30.0 * (before + 1)))

    @rule(choice=st.integers(0, 7))
    def readmit(self, choice: int) -> None:
        member = self._member(choice)
        if member.ejection is not None:
            self.pools.readmit(member, self.now)
            slow = self.settings["slow_start_s"]
            if member.accepts_new and slow:
                assert member.effective_weight(self.now, 10.0) == max(1, int(member.policy.weight * member.share) // 10)

    @rule(choice=st.integers(0, 7), state=AGENT_STATES)
    def agent_says(self, choice: int, state: str) -> None:
        member = self._member(choice)
        member.agent = parse(state.encode(), member.agent).agent

    @rule(choice=st.integers(0, 7), weight=st.sampled_from([0, 1, 100]), state=STATES)
    def operator_changes(self, choice: int, weight: int, state: str) -> None:
        known = {key: member.ejection for key, member in self.pools.members.items()}
        self.weights[choice % len(self.weights)] = weight, state
        self._apply()
        assert {key: member.ejection for key, member in self.pools.members.items()} == known

    @rule(choice=st.integers(0, 7))
    def overload(self, choice: int) -> None:
        self.pools.cut(self._member(choice))

    @rule(choice=st.integers(0, 7))
    def recover(self, choice: int) -> None:
        self.pools.grow(self._member(choice))

    @rule(seconds=st.floats(0.0, 100.0))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: any(member.ejection is None for member in self.pools.members.values()))
    @rule(choice=st.integers(0, 7))
    def a_probe_succeeds(self, choice: int) -> None:
        member = self._member(choice)
        if member.ejection is None:
            before = member.ejections
            self.pools.seen_well(member, self.now)
            assert before - 1 <= member.ejections <= before

    @invariant()
    def weights_are_sane(self) -> None:
        for member in self.pools.members.values():
            weight = member.effective_weight(self.now, float(self.settings["slow_start_s"]))  # type: ignore[arg-type]
            assert (weight > 0) == member.accepts_new
            assert weight <= max(1, min(HEAVIEST, member.agent.scaled(member.policy.weight)))
            assert 0.1 <= member.share <= 1.0

    @invariant()
    def panic_is_when_too_few_are_left(self) -> None:
        active = [member for member in self.pools.of("web") if member.policy.admin_state is AdminState.ACTIVE]
        left = [member for member in active if member.accepts_new]
        assert self.pools.panicking("web") == (bool(active) and 2 * len(left) < len(active))


PoolLife.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestPoolLife = PoolLife.TestCase


def pool_of(count: int, **settings: object) -> tuple[Pools, list[MemberState]]:
    pools = Pools()
    policy = policy_of([(100, "active")] * count, **settings)
    keys = [("web", member.name) for member in policy.pools["web"].members]
    pools.apply(policy, {key: number for number, key in enumerate(keys, 1)}, dict.fromkeys(keys, 1))
    return pools, list(pools.members.values())


def test_a_returning_member_gets_a_tenth_more_at_each_tenth_of_its_slow_start() -> None:
    pools, (member, _) = pool_of(2, slow_start_s=10.0)
    pools.eject(member, "a test", confirmed=True, now=0.3)
    pools.readmit(member, 50.7)
    weights = [member.effective_weight(50.7 + second, 10.0) for second in range(12)]
    assert weights == [10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 100, 100]


def test_a_tick_at_a_step_of_a_slow_start_always_takes_the_step() -> None:
    pools, (member, _) = pool_of(2)
    for began in (0.1, 1 / 3, 1.7e9 + 0.123456):
        for slow_start_s in (10.0, 7.3, 1 / 3):
            pools.readmit(member, began)
            step = 1
            while step < 10:
                due = member.slow_start_ends(slow_start_s, step)
                assert member.slow_start_step(due, slow_start_s) == step + 1
                step += 1


def test_ejections_are_forgiven_one_by_one() -> None:
    pools, (member, _) = pool_of(2)
    for _ in range(3):
        pools.eject(member, "a test", confirmed=True, now=0.0)
        pools.readmit(member, 0.0)
    now, left = 0.0, []
    for _ in range(5):
        pools.seen_well(member, now)
        left.append(member.ejections)
        now += FORGIVEN_AFTER_S
    assert left == [3, 2, 1, 0, 0]


def test_another_server_under_the_same_name_begins_anew() -> None:
    pools, (member, _) = pool_of(2)
    pools.eject(member, "a test", confirmed=True, now=0.0)
    policy = policy_of([(100, "active")] * 2)
    pools.apply(policy, {("web", "m0"): 7, ("web", "m1"): 2}, {("web", "m0"): 1, ("web", "m1"): 1})
    assert pools.members["web", "m0"].ejection is None
