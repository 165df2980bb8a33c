"""What members are doing, as flow counters and a sample of handshakes tell it."""

import pytest
from model_world import World, leaf_spine, policy_of
from static_fabric import core_that_knows

from controller.agent_check import parse
from controller.flows import Purpose
from controller.pipeline import METER_RATES, SYN_ACK_SEEN, Meter
from controller.pools import MemberState
from controller.segments import Kind, Stage
from controller.volumes import sample_meter
from topologies.model.servers import ResetAfterRequest, Serve, Silent

MEMBERS = ["10.0.1.2", "10.0.2.2", "10.0.3.2"]
CLIENTS = ["h1-1", "h2-1", "h3-1"]
COUNTED_S = 5.0


@pytest.fixture
def world() -> World:
    return World(leaf_spine(), policy_of(MEMBERS))


def members(world: World) -> list[MemberState]:
    return [world.member(f"web-{number}") for number in (1, 2, 3)]


def test_what_nobody_has_counted_is_unknown() -> None:
    core = core_that_knows(leaf_spine(), policy_of(MEMBERS))
    activity, member = core.activity, core.services.pools.members["web", "web-1"]
    assert activity.active(member) is None and activity.handshake_ratio(member) is None
    assert activity.handshake_ms(member, 0.0) is None
    assert activity.bytes_to(member) is None and activity.bytes_from(member) is None


def test_open_connections_are_those_that_have_not_ended(world: World) -> None:
    for member in MEMBERS:
        world.serve(member, Serve(1000, keep_alive=True))
    attempts = world.connections(CLIENTS, 30)
    world.run(COUNTED_S)
    assert sum(world.core.activity.active(member) or 0 for member in members(world)) == 30
    for number, attempt in enumerate(attempts[:12]):
        client = CLIENTS[number % len(CLIENTS)]
        world.fabric.hosts[client].act(attempt, lambda endpoint: endpoint.close(world.now), world.now)
        world.fabric.settle(client)
    world.run(COUNTED_S)
    assert sum(world.core.activity.active(member) or 0 for member in members(world)) == 18
    world.run(COUNTED_S)
    assert [member.connections_active for member in members(world)] == [
        world.core.activity.active(m) for m in members(world)
    ]


def test_an_abort_ends_one_connection_however_many_segments_it_has(world: World) -> None:
    world.serve(MEMBERS[0], ResetAfterRequest())
    world.connections(CLIENTS, 60)
    world.run(COUNTED_S)
    assert all(world.core.activity.active(member) == 0 for member in members(world))


def test_bytes_and_answers_add_up(world: World) -> None:
    world.connections(CLIENTS, 60)
    world.run(2.0)
    activity = world.core.activity
    # 3,000 bytes of answer in frames, and the segments around it.
    for member in members(world):
        served = world.core.counters.total("handshake", "web", member.policy.name) or 0
        assert served * 3000 <= (activity.bytes_from(member) or 0) <= served * 3600
        assert 0 < (activity.bytes_to(member) or 0) < (activity.bytes_from(member) or 0)
        assert activity.handshake_ratio(member) == pytest.approx(1.0, abs=0.05)


def test_syns_without_an_answer_lower_the_ratio(world: World) -> None:
    world.serve(MEMBERS[0], Silent())
    world.connections(CLIENTS, 90)
    world.run(1.5)
    assert world.core.activity.handshake_ratio(world.member("web-1")) == pytest.approx(0.0, abs=0.01)
    assert world.core.activity.handshake_ratio(world.member("web-2")) == pytest.approx(1.0, abs=0.05)


def test_latency_is_that_of_real_connections_one_in_eight_of_them(world: World) -> None:
    seen: list[Purpose] = []
    world.core._packet_handlers[Purpose.SAMPLED] = _spied(world.core._packet_handlers[Purpose.SAMPLED], seen)
    world.connections(CLIENTS, 240)
    assert 20 <= len(seen) <= 120, "SYN and SYN-ACK of about 30"
    for member in members(world):
        assert world.core.activity.handshakes.median_ms(member.number, world.now) == pytest.approx(0.3, abs=0.3)
    world.run(60.0)
    assert world.core.activity.handshakes.median_ms(members(world)[0].number, world.now) is None, (
        "of late, or not at all"
    )


def _spied(handler, seen):  # type: ignore[no-untyped-def]
    def spy(event, now):  # type: ignore[no-untyped-def]
        seen.append(event.purpose)
        return handler(event, now)

    return spy


def test_a_fabrics_samples_stay_within_its_budget() -> None:
    budget, _ = METER_RATES[Meter.SAMPLE]
    assert sample_meter(1).rate_pps == budget
    for edges in (2, 16, 80):
        assert sample_meter(edges).rate_pps * edges <= budget


def test_a_member_with_as_many_connections_as_its_agent_wants_gets_no_more_while_others_have_room(world: World) -> None:
    for member in MEMBERS:
        world.serve(member, Serve(1000, keep_alive=True))
    full = world.member("web-1")
    full.agent = parse(b"maxconn:5\n", full.agent).agent
    world.connections(CLIENTS, 60)
    world.run(COUNTED_S)
    assert full.is_full
    before = full.connections_active
    world.connections(CLIENTS, 30)
    world.run(COUNTED_S)
    assert full.connections_active == before


class Told:
    """A member of which counters and mirrored resets say what they are told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.core = core_that_knows(leaf_spine(), policy_of(MEMBERS))
        self.member = self.core.services.pools.members["web", "web-1"]
        self.counted = {"handshake": 0, "closed": 0, "aborted-by-member": 0, "aborted-by-client": 0}
        self.now = 0.0
        monkeypatch.setattr(
            type(self.core.activity), "_total", lambda _, member, *names: self.counted.get(names[-1], 0)
        )

    def aborts(self, connections: int, repeated: int = 0) -> None:
        """Mirrored: known at once."""
        mark = self.member.number | SYN_ACK_SEEN
        self.core.activity._add(Kind.ABORTED_BY_CLIENT, Stage.POST_DATA, mark, connections, repeated)

    def active_after(self, seconds: float) -> int | None:
        for _ in range(round(seconds)):
            self.now += 1.0
            self.core.activity.on_counted(self.now)
            self.core.activity.on_tick(self.now + 0.5)
        return self.core.activity.active(self.member)


def test_further_resets_of_the_same_connections_leave_what_was_known_of_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = Told(monkeypatch)
    told.aborts(10_000)
    told.counted |= {"handshake": 10_000, "aborted-by-client": 10_000}
    assert told.active_after(10) == 0
    told.aborts(0, repeated=1000)
    assert told.active_after(1) == 0
    told.counted["aborted-by-client"] += 1000
    assert told.active_after(10) == 0


def test_what_is_mirrored_before_it_is_counted_runs_up_no_debt(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told(monkeypatch)
    told.aborts(50)
    assert told.active_after(2) == 0
    told.counted |= {"handshake": 70, "aborted-by-client": 50}
    assert told.active_after(1) == 20


def test_more_that_ended_than_began_is_believed_when_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that were open before the switches began to count."""
    told = Told(monkeypatch)
    told.counted |= {"handshake": 10, "closed": 40}
    assert told.active_after(10) == 0
    told.counted["handshake"] += 5
    assert told.active_after(1) == 5


def test_resets_that_nobody_mirrored_end_as_many_as_those_that_were(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told(monkeypatch)
    told.aborts(100, repeated=100)
    told.counted |= {"handshake": 250, "aborted-by-client": 400}
    assert told.active_after(1) == 50
