"""Totals for whoever watches from outside: exact where switches counted, and never going down."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_world import World, leaf_spine, policy_of, stage, text

from controller.counting import Counters
from controller.diagnosis.attribution import Attribution
from controller.diagnosis.incidents import SubjectType
from controller.diagnosis.investigation import Investigation
from controller.diagnosis.model import Model
from controller.diagnosis.ways import Ways
from controller.events import FlowCounted
from controller.flows import Connection
from controller.numbering import Numbering
from controller.pipeline import VIP_SHIFT
from controller.policy import parse_policy
from controller.resets import ResetRecord, Resets
from controller.segments import Kind, Sender, Stage
from controller.services import Services
from controller.tally import SETTLED_S, UNKNOWN, Named, Tally
from controller.telemetry import Telemetry
from controller.topology import Topology

NAMES = ("web", "web-1", "refused")
COUNTED = {1: ("reset", *NAMES)}
CLIENTS = 100_000


def watched(members: int = 1) -> tuple[Tally, Resets, Services]:
    topology = Topology()
    services = Services(topology, Numbering("members", 0xFFFF), Numbering("vips", 0x3FF))
    services.apply(policy_of([f"10.0.0.{11 + number}" for number in range(members)]), 0.0)
    resets = Resets()
    ways = Ways(topology, Telemetry(topology, b"key"))
    return Tally(resets, Investigation(services, ways, Model())), resets, services


def refused(services: Services, time: float, client: int = 0x0A000901) -> ResetRecord:
    member = services.pools.members["web", "web-1"]
    vip = services.vip_number("web")
    return ResetRecord(
        1, time, 1, Connection(client, 40_000, 0x0A000064, 80), vip, member.number, Sender.MEMBER, Stage.POST_SYN, Kind.REFUSED,
        None, None, vip << VIP_SHIFT | member.number, False,
    )  # type: ignore[arg-type]  # fmt: skip


def totals(tally: Tally, counters: Counters) -> Counter[tuple[str, str]]:
    """By (stage, cause)."""
    found: Counter[tuple[str, str]] = Counter()
    for reset, total in tally.resets(counters):
        assert (reset.vip, reset.member, reset.sender) == ("web", "web-1", "member")
        found[reset.stage, reset.cause] += total
    return found


def test_what_the_mirror_left_out_is_counted_with_stage_and_cause_unknown() -> None:
    tally, resets, services = watched()
    counters = Counters()
    for _ in range(3):
        resets.unsettled.append(refused(services, 0.0))
    counters.take(FlowCounted(1, 3, {1: 10}), COUNTED, 1.0)
    tally.run(SETTLED_S)
    assert totals(tally, counters) == {("post-syn", "none"): 3, (UNKNOWN, UNKNOWN): 7}


@given(st.lists(st.tuples(st.sampled_from(["mirrored", "lost", "counted", "time", "scrape"]), st.integers(1, 5))))
@settings(deadline=None)
def test_totals_never_go_down_and_end_up_exact(steps: list[tuple[str, int]]) -> None:
    tally, resets, services = watched()
    counters, now, sent, before = Counters(), 0.0, 0, Counter()
    for what, number in [*steps, ("counted", 1), ("time", 30), ("scrape", 1)]:
        if what in ("mirrored", "lost"):
            sent += number
            if what == "mirrored":
                resets.unsettled.extend(refused(services, now) for _ in range(number))
        elif what == "counted":
            counters.take(FlowCounted(1, 3, {1: sent}), COUNTED, now)
        elif what == "time":
            now += 0.3 * number
            tally.run(now)
        else:
            found = totals(tally, counters)
            assert all(found[kind] >= total for kind, total in before.items())
            before = found
    assert sum(before.values()) == sent


def test_a_hundred_thousand_clients_make_one_class() -> None:
    tally, resets, services = watched()
    for number in range(CLIENTS):
        resets.unsettled.append(refused(services, number * 2.5e-4, client=0x0B000000 + number))
        if number % 500 == 0:
            tally.run(number * 2.5e-4)
    for step in range(100):
        tally.run(CLIENTS * 2.5e-4 + SETTLED_S + step)
    assert totals(tally, Counters()) == {("post-syn", "none"): CLIENTS}


def test_members_that_come_and_go_leave_nothing_behind() -> None:
    tally, resets, services = watched()
    counters = Counters()
    resets.unsettled.append(refused(services, 0.0))
    counters.take(FlowCounted(1, 3, {1: 5, 2: 3}), COUNTED | {2: ("rule", "gone")}, 1.0)
    tally.run(SETTLED_S)
    assert totals(tally, counters)
    named = Named.by(parse_policy({"pools": {"web": {}}}))
    tally.keep_only(named)
    counters.keep_only(named.knows)
    assert counters.totals() == {}
    assert totals(tally, counters) == {}


# --- which incident a reset belongs to -----------------------------------------------------------------------------------------


def test_resets_of_an_ejected_member_belong_to_its_incident() -> None:
    world, clients, members = stage("leaf-spine")
    world.close_port(members[1])
    world.connections(clients, 40)
    world.run(5)
    attribution = Attribution(world.core.investigation, since=0.0)
    found = {record.serial: attribution.incident_of(record) for record in world.core.resets.newest()}
    assert found
    assert {incident.subject.id for incident in found.values() if incident} == {"web/web-2"}
    assert None not in found.values()
    world.run(60)
    later = Attribution(world.core.investigation, since=world.now)
    assert all(later.incident_of(record) is None for record in world.core.resets.newest())


@pytest.mark.parametrize("dry_run", [False, True])
def test_actions_are_counted_by_what_became_of_them(dry_run: bool) -> None:
    wiring = leaf_spine()
    members = [text(host.address) for host in wiring.hosts if host.at.port == 2]
    clients = [host.name for host in wiring.hosts if host.at.port == 1]
    mode = "dry-run" if dry_run else "enforce"
    world = World(wiring, policy_of(members, automation={"mode": mode}))
    world.close_port(members[1])
    world.connections(clients, 60)
    world.run(20)
    done = {("eject", "dry-run"): 1} if dry_run else {("eject", "done"): 1}
    assert world.core.tally.actions == done
    assert world.core.tally.effects == ({} if dry_run else {("eject", "helped"): 1})
    (incident,) = world.core.investigation.incidents.all.values()
    assert incident.subject.type is SubjectType.MEMBER
    assert world.core.tally.incidents == {incident.cause.value: 1}
