"""Whatever stalls, is cut off or runs at another rate: there are never two who may write to one switch."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from controller.cluster.mastership import GATHERED_AFTER_S, TURN_S, UNREACHED_S, Claim, Mastership, Node

TTL_S, RENEW_S, STEP_S = 2.0, 0.4, 0.1
SWITCHES = (1, 2, 3)
NAMES = ("a", "b", "c")
EVERYTHING = frozenset(SWITCHES)


@dataclass
class ModelStore:
    """etcd, as far as leases go: one clock, a revision that only grows, keys that end with their lease. Independent of our code."""

    now: float = 0.0
    revision: int = 0
    leases: dict[str, float] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    claims: dict[int, Claim] = field(default_factory=dict)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for name in [name for name, until in self.leases.items() if self.now >= until]:
            del self.leases[name], self.nodes[name]
            self.claims = {dpid: claim for dpid, claim in self.claims.items() if claim.node != name}

    def join(self, name: str, reaches: frozenset[int]) -> None:
        if name not in self.leases:
            self.revision += 1
            self.leases[name] = self.now + TTL_S
            self.nodes[name] = Node(name, self.revision, reaches)

    def renew(self, name: str) -> bool:
        if name in self.leases:
            self.leases[name] = self.now + TTL_S
        return name in self.leases

    def claim(self, name: str, dpid: int) -> None:
        if name in self.leases and dpid not in self.claims:
            self.revision += 1
            self.claims[dpid] = Claim(name, self.revision)

    def give_up(self, name: str, dpid: int) -> None:
        if dpid in self.claims and self.claims[dpid].node == name:
            del self.claims[dpid]


class ModelController:
    """One that asks, is answered later, hears of the others later still, and has a clock of its own."""

    def __init__(self, name: str, store: ModelStore, rate: float, offset: float) -> None:
        self.name, self.store, self.rate, self.offset = name, store, rate, offset
        self.state = Mastership(name)
        self.joined = False
        self.asked: float | None = None
        """When the renewal was asked for whose answer is on its way."""

    @property
    def clock(self) -> float:
        return self.offset + self.store.now * self.rate

    def may_write(self) -> set[int]:
        return {dpid for dpid in SWITCHES if self.state.may_write(dpid, self.clock)}

    def turn(self, reaches: frozenset[int], *, cut_off: bool, answer_late: bool) -> None:
        if not self.state.lease.holds(self.clock) and self.joined and self.asked is None:
            self.state.lose(self.clock)
            self.joined = False
        if cut_off:
            self.asked = None
            return
        if self.asked is not None:
            if not answer_late:
                self._answered()
            return  # what others did is heard of later than that
        if not self.joined:
            self.store.join(self.name, reaches)
        if self.store.renew(self.name):
            self.asked = self.clock
        self._hear()
        for dpid in self.state.to_yield(self.clock):
            self.state.on_claim(dpid, None, self.clock)
            self.store.give_up(self.name, dpid)
        for dpid in self.state.to_take(self.clock):
            self.store.claim(self.name, dpid)

    def _answered(self) -> None:
        assert self.asked is not None
        self.state.lease.renewed(self.asked, TTL_S)
        self.joined, self.asked = True, None

    def _hear(self) -> None:
        for name in {*self.state.nodes, *self.store.nodes}:
            self.state.on_node(name, self.store.nodes.get(name))
        for dpid in SWITCHES:
            claim = self.store.claims.get(dpid)
            if claim is None and dpid in self.state.claims:
                self.state.on_claim(dpid, None, self.clock)
            elif claim is not None:
                self.state.on_claim(dpid, claim, self.clock)


spells = st.lists(
    st.tuples(st.sampled_from(("well", "well", "stalled", "cut off", "late")), st.integers(1, 40)),
    min_size=4,
    max_size=12,
)
"""What a controller goes through, and for how many steps."""
clock = st.tuples(st.floats(0.95, 1.05), st.floats(0, 1e6))
"""(rate, offset)."""


@given(st.tuples(*[spells for _ in NAMES]), st.tuples(*[clock for _ in NAMES]))
def test_there_are_never_two_writers(
    lives: tuple[list[tuple[str, int]], ...], clocks: tuple[tuple[float, float], ...]
) -> None:
    store = ModelStore()
    controllers = {name: ModelController(name, store, *clock) for name, clock in zip(NAMES, clocks, strict=True)}
    steps = zip(*([spell for spell, count in life for _ in range(count)] for life in lives), strict=False)
    newest = dict.fromkeys(SWITCHES, 0)
    for step in steps:
        for name, spell in zip(NAMES, step, strict=True):
            if spell != "stalled":
                # Its clock goes on while it is stalled, and what it believes then counts too.
                controllers[name].turn(EVERYTHING, cut_off=spell == "cut off", answer_late=spell == "late")
            writers = [dpid for controller in controllers.values() for dpid in controller.may_write()]
            assert len(writers) == len(set(writers))
        store.pass_time(STEP_S)
        for dpid, claim in store.claims.items():
            assert claim.generation >= newest[dpid], "a switch would refuse the new master as stale"
            newest[dpid] = claim.generation


def controllers_of(store: ModelStore) -> dict[str, ModelController]:
    return {name: ModelController(name, store, 1.0, 0.0) for name in NAMES}


def run(
    store: ModelStore, controllers: dict[str, ModelController], seconds: float, reach: dict[str, frozenset[int]]
) -> None:
    for _ in range(round(seconds / STEP_S)):
        for name, reaches in reach.items():
            controller = controllers[name]
            controller.turn(reaches, cut_off=False, answer_late=False)
            if name in store.nodes:
                store.nodes[name] = store.nodes[name]._replace(reaches=reaches)
        store.pass_time(STEP_S)


def test_one_gathers_all_switches() -> None:
    store = ModelStore()
    controllers = controllers_of(store)
    run(store, controllers, 0.5, {"a": frozenset({1})})
    run(store, controllers, 2, {"a": frozenset({1}), "b": EVERYTHING, "c": EVERYTHING})
    assert controllers["a"].may_write() == {1}
    assert controllers["b"].may_write() == {2, 3}
    run(store, controllers, GATHERED_AFTER_S + 3, dict.fromkeys(NAMES, EVERYTHING))
    assert controllers["b"].may_write() == EVERYTHING


def test_a_dead_master_is_replaced_once_its_lease_is_over() -> None:
    store = ModelStore()
    controllers = controllers_of(store)
    run(store, controllers, 3, dict.fromkeys(NAMES, EVERYTHING))
    (former,) = [name for name in NAMES if controllers[name].may_write()]
    others = [name for name in NAMES if name != former]
    run(store, controllers, TTL_S + 4 * STEP_S, dict.fromkeys(others, EVERYTHING))
    assert controllers[former].may_write() == set()
    assert {frozenset(controllers[name].may_write()) for name in others} == {frozenset(), EVERYTHING}


def test_a_switch_out_of_its_masters_reach_is_anothers_until_it_is_back() -> None:
    store = ModelStore()
    controllers = controllers_of(store)
    run(store, controllers, 2, dict.fromkeys(NAMES, EVERYTHING))
    former = next(name for name in NAMES if controllers[name].may_write())
    reach = {name: EVERYTHING - {3} if name == former else EVERYTHING for name in NAMES}
    run(store, controllers, UNREACHED_S + TURN_S * len(NAMES), reach)
    assert controllers[former].may_write() == {1, 2}
    assert sum(controllers[name].may_write() == {3} for name in NAMES) == 1
    run(store, controllers, GATHERED_AFTER_S + 1, dict.fromkeys(NAMES, EVERYTHING))
    assert controllers[former].may_write() == EVERYTHING


def test_who_cannot_claim_does_not_hold_up_the_others() -> None:
    state = Mastership("b")
    state.lease.renewed(0.0, 100.0)
    state.on_node("a", Node("a", 1, EVERYTHING))
    state.on_node("b", Node("b", 2, EVERYTHING))
    assert state.to_take(1.0) == [], "it is a's turn"
    assert state.to_take(1.0 + TURN_S) == [1, 2, 3]


def test_an_older_claim_does_not_replace_a_newer_one() -> None:
    state = Mastership("a")
    state.on_claim(1, Claim("b", 9), 0.0)
    state.on_claim(1, Claim("a", 8), 0.0)
    assert state.claims[1] == Claim("b", 9)
