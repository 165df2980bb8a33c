"""Two cores of one cluster: what one records the other follows, and whoever takes over finds the switches as it wants them."""

import random

import pytest
from model_world import KEY, SHAPES, World, policy_of, stage, text

from controller.cluster.evidence import CLIENTS_TOLD, MOST_PACKETS, MOST_SUMS, Telling, heard
from controller.core import Core
from controller.counting import Counters, recent_of
from controller.decisions import Decision, InstallFlow, Persist, RemoveFlow
from controller.events import (
    Event,
    LoadReported,
    PacketSeen,
    PeerCounted,
    PolicyChanged,
    RecordsChanged,
    ResetSum,
    Restored,
    SwitchConnected,
    Tick,
)
from controller.flows import Purpose, purpose_of
from controller.numbering import Numbering
from controller.policy import AdminState
from controller.reconcile import NOT_RECONCILED


class Leader(Core):
    """Tells a follower of every record at once, as etcd's watch would."""

    follower: Core | None = None

    def handle(self, event: Event, now: float) -> list[Decision]:
        decisions = super().handle(event, now)
        if self.follower is not None:
            follow(self.follower, decisions, now)
        return decisions


def follow(core: Core, decisions: list[Decision], now: float) -> None:
    for record in decisions:
        if isinstance(record, Persist):
            core.handle(RecordsChanged({record.namespace: {record.key: record.value}}), now)


class Led(World):
    """A world whose controller has a follower from the start."""

    def new_core(self) -> Core:
        core = Leader(lldp_key=KEY, rng=random.Random(self.seed))
        core.follower = self.follower = Core(lldp_key=KEY, rng=random.Random(self.seed + 1))
        core.follower.handle(PolicyChanged(self.policy), 0.0)
        return core

    def policy_changes(self, policy: object) -> None:
        self.follower.handle(PolicyChanged(policy), self.now)  # type: ignore[arg-type]
        self.apply(policy)  # type: ignore[arg-type]


MEMBERS = ["10.0.1.2", "10.0.2.2", "10.0.3.2"]
CLIENTS = ["h1-1", "h2-1", "h3-1"]


@pytest.fixture
def led() -> Led:
    return Led(SHAPES["leaf-spine"](), policy_of(MEMBERS))


def connected(world: World, dpid: int, core: Core, settled: bool) -> SwitchConnected:
    """What a switch says to whoever takes over."""
    has = core.installed[dpid]
    flows = frozenset((table_id, cookie) for cookie, table_id in has.flows.items())
    ports = tuple(core.topology.switches[dpid].ports.values())
    return SwitchConnected(dpid, ports, flows, frozenset(has.groups), frozenset(has.meters), settled)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("order", [1, -1])
def test_taking_over_touches_no_entry(shape: str, order: int) -> None:
    world, _, members = stage(shape)
    world.close_port(members[0])
    world.connections([next(iter(world.fabric.hosts))], 20)
    world.run(1)
    core = world.come_back_as()
    decisions: list[Decision] = []
    for dpid in sorted(world.core.installed)[::order]:
        decisions += core.handle(connected(world, dpid, world.core, settled=True), world.now)
    for step in range(40):
        decisions += core.handle(Tick(), world.now + step * 0.05)
    touched = [
        decision
        for decision in decisions
        if (isinstance(decision, InstallFlow) and purpose_of(decision.entry.cookie) not in NOT_RECONCILED)
        or (isinstance(decision, RemoveFlow) and purpose_of(decision.cookie) not in NOT_RECONCILED)
    ]
    assert touched == []
    assert set(core.wanted) == set(world.core.wanted), "and it acts at once"


def test_an_ejection_and_the_return_are_followed(led: Led) -> None:
    led.close_port(MEMBERS[0])
    led.connections(CLIENTS, 60)
    led.run(1)
    leader, follower = led.member("web-1"), led.follower.services.pools.members["web", "web-1"]
    assert leader.ejection is not None
    assert follower.ejection == leader.ejection
    led.core.handle(Tick(), led.now)
    follow(led.follower, led.core.reaction.readmit(leader, led.now), led.now)
    assert follower.ejection is None
    assert follower.slow_start_from is not None, "slowly, there too"


def test_links_and_hosts_are_followed(led: Led) -> None:
    assert led.follower.topology.links == led.core.topology.links
    assert dict(led.follower.topology.hosts) == dict(led.core.topology.hosts)
    assert led.follower.topology.switches.keys() == led.core.topology.switches.keys()
    near = next(iter(led.core.topology.links))
    follow(led.follower, [Persist("links", f"{near[0]:016x}:{near[1]}", None)], led.now)
    assert near not in led.follower.topology.links
    follow(led.follower, [Persist("hosts", f"{0x0A000102:08x}", None)], led.now)
    assert 0x0A000102 not in led.follower.topology.hosts


def test_a_quarantine_is_followed_to_its_end(led: Led) -> None:
    _, decisions = led.core.quarantine.add("10.0.1.1", "drop", led.now, ttl_s=60)
    follow(led.follower, decisions, led.now)
    assert led.follower.quarantine.entries == led.core.quarantine.entries
    follow(led.follower, led.core.quarantine.remove("q1") or [], led.now)
    assert led.follower.quarantine.entries == {}
    entry, _ = led.follower.quarantine.add("10.0.1.2", "drop", led.now)
    assert entry.id == "q2", "an id is not given twice"


def test_a_drain_ends_at_the_same_time(led: Led) -> None:
    draining = policy_of(MEMBERS, pool={"each": {1: {"admin_state": "draining"}}})
    led.follower.handle(PolicyChanged(draining), led.now - 5)
    led.apply(draining)
    leader, follower = led.member("web-1"), led.follower.services.pools.members["web", "web-1"]
    assert follower.policy.admin_state is AdminState.DRAINING
    assert follower.draining_since == leader.draining_since == led.now


def test_what_an_agent_says_is_followed(led: Led) -> None:
    led.tell(LoadReported("web", "web-2", 0.5, "drain"))
    follower = led.follower.services.pools.members["web", "web-2"]
    assert not follower.accepts_new
    led.tell(LoadReported("web", "web-2", 0.5, "up"))
    assert follower.accepts_new


def test_a_cut_weight_is_followed(led: Led) -> None:
    leader, follower = led.member("web-2"), led.follower.services.pools.members["web", "web-2"]
    led.core.services.pools.cut(leader)
    led.tell(Tick())
    assert follower.share == leader.share == 0.5
    led.core.services.pools.grow(leader, 0.5)
    led.tell(Tick())
    assert follower.share == leader.share == 1.0


def test_incidents_are_listed_and_go_on(led: Led) -> None:
    led.close_port(MEMBERS[0])
    led.connections(CLIENTS, 60)
    led.run(1)
    (name,) = [incident.id for incident in led.core.investigation.incidents.open.values()]
    assert led.follower.archive.earlier[name]["closed"] is None
    assert led.follower.investigation.incidents.next_id() != name
    stored = {space: dict(values) for space, values in led.fabric.stored.items()}
    beside = Core(lldp_key=KEY, rng=random.Random(1))
    assert beside.handle(Restored(stored, others_act=True), led.now) == []
    assert beside.archive.earlier[name]["closed"] is None, "its controller is still at work"


def test_a_number_that_another_one_gave_holds() -> None:
    numbers = Numbering("members", 10)
    assert numbers.number("a")[0] == 1
    assert numbers.adopt({"b": 2}) is False
    assert numbers.adopt({"a": 3}) is True
    assert (numbers.number("a")[0], numbers.number("b")[0]) == (3, 2)
    assert (numbers.name(1), numbers.name(3)) == (None, "a")
    assert numbers.adopt({"c": 3}) is False
    assert numbers.name(3) == "c"
    assert numbers.number("a")[0] not in (2, 3)
    assert numbers.adopt({"d": 11, "e": "x"}) is False


def test_a_member_renumbered_elsewhere_has_that_number_here(led: Led) -> None:
    name = f"web/web-1@{MEMBERS[0]}:8080"
    follow(led.follower, [Persist("members", name, 77)], led.now)
    assert led.follower.services.pools.members["web", "web-1"].number == 77


# --- evidence ------------------------------------------------------------------------------------------------------------------


def reset_seen(number: int = 0, purpose: Purpose = Purpose.RESET) -> PacketSeen:
    return PacketSeen(1, purpose, {"ct_mark": number, "in_port": 3}, bytes(range(60)), 42)


def test_resets_are_told_as_they_were_seen_and_no_more_than_a_sample() -> None:
    telling = Telling()
    seen = [reset_seen(number) for number in range(MOST_PACKETS + 5)]
    for event in seen:
        telling.note(event)
    telling.note(reset_seen(purpose=Purpose.LLDP))
    message = telling.message({}, 0.0)
    assert message is not None
    assert heard(message) == (seen[:MOST_PACKETS], [], {})
    assert telling.message({}, 1.0) is None, "nothing is told twice"


def test_floods_are_told_as_sums_the_largest_and_of_their_clients_a_few() -> None:
    telling = Telling()
    clients = tuple(range(0x0B000000, 0x0B000000 + 2 * CLIENTS_TOLD))
    sums = [
        ResetSum(Purpose.INJECTED, (7, 3), 0x24, number, (0x0A000001, 80), number % 2 == 0, number, 1, clients)
        for number in range(MOST_SUMS + 5)
    ]
    for first in range(0, len(sums), 10):
        telling.note_sums(sums[first : first + 10])
    _, told, _ = heard(telling.message({}, 0.0) or "")
    largest = sorted(sums, key=lambda one: -one.connections)[:MOST_SUMS]
    assert told == [one._replace(clients=clients[:CLIENTS_TOLD]) for one in largest]
    assert telling.message({}, 0.1) is None, "nothing is told twice"


def test_who_knows_no_sums_is_understood() -> None:
    assert heard('{"serial": 1, "packets": [], "counts": []}') == ([], [], {})


def test_what_is_held_there_is_only_judged_here() -> None:
    telling = Telling()
    telling.note(reset_seen(purpose=Purpose.HELD))
    (packet,) = heard(telling.message({}, 0.0) or "")[0]
    assert packet.purpose is Purpose.RESET


@pytest.mark.parametrize("told", ["", "[]", "{}", '{"packets": [[1]], "counts": []}', '{"packets": 3, "counts": []}',
                                  '{"packets": [["1", 99999, 0, {}, ""]], "counts": []}', '{"packets": [], "counts": [[]]}',
                                  '{"packets": [], "sums": [[10]], "counts": []}',
                                  '{"packets": [], "sums": [[10, 1, 0, 0, [1, 2], 0, 1, 0, []]], "counts": []}'])  # fmt: skip
def test_what_is_no_evidence_is_refused(told: str) -> None:
    with pytest.raises(ValueError):
        heard(told)


def test_totals_of_several_add_up_and_a_lost_message_heals() -> None:
    """As with any grow-only counter: each has its own, told again is not counted again."""
    telling, peers = Telling(), Counters()
    pair = ("handshake", "web", "web-1")
    for now, total, arrives in ((0.0, 100, True), (1.0, 150, True), (2.0, 170, False), (3.0, 250, True)):
        *_, counts = heard(telling.message({pair: total, ("reset", "x"): 5}, now) or "")
        for _ in range(2 if arrives else 0):
            peers.take_totals("b", counts, now)
    peers.take_totals("c", {pair: 1000}, 3.0)
    assert peers.total(*pair) == 250 + 1000
    assert peers.total("reset", "x") is None


def test_connections_that_others_edges_see_count(led: Led) -> None:
    pair = ("handshake", "web", "web-1")
    for second in range(4):
        led.core.handle(PeerCounted("b", {pair: 50 * second}), led.now + second)
    rate = led.core.investigation.connection_rate("web", "web-1")
    assert rate is not None
    assert rate >= 50
    assert recent_of((led.core.peers,), *pair) == pytest.approx(50)
    assert led.core.counters.totals().get(pair, 0) < 50, "not in what this one counts itself"


def test_clients_at_edges_of_two_controllers_speak_against_a_member_together() -> None:
    """Three clients are reset by a member, one at an edge of each; what one tells is judged as if seen."""
    world = Led(SHAPES["leaf-spine"](), policy_of(MEMBERS))
    told: list[PacketSeen] = []
    handle = world.core.handle

    def eavesdrop(event: Event, now: float) -> list[Decision]:
        if isinstance(event, PacketSeen) and event.purpose in (Purpose.RESET, Purpose.HELD):
            told.append(event)
        return handle(event, now)

    world.core.handle = eavesdrop  # type: ignore[method-assign]
    world.close_port(MEMBERS[0])
    world.connections(CLIENTS, 30)
    telling = Telling()
    for event in told:
        telling.note(event)
    packets, *_ = heard(telling.message({}, 0.0) or "")
    other = world.come_back_as()
    for packet in packets:
        other.handle(packet, world.now)
    records = list(other.resets.newest())
    assert len(records) == len(packets) > 0
    assert {record.dpid for record in records} == {packet.dpid for packet in packets}
    assert {text(record.connection.src) for record in records} <= {"10.0.1.1", "10.0.2.1", "10.0.3.1"}
