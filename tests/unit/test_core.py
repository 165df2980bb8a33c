"""The core as a whole: what it may import, that it repeats itself, and that its deadlines come to an end."""

import ast
import random
from collections.abc import Iterable
from pathlib import Path

import pytest
from model_world import KEY, World, leaf_spine, policy_of, stage
from static_fabric import core_that_knows

import controller
from controller.causes import Cause
from controller.core import Core
from controller.decisions import Announce, InstallFlow, RemoveFlow, SetMeter
from controller.diagnosis.incidents import Incident, Subject, SubjectType
from controller.diagnosis.model import Diagnosis
from controller.events import (
    BarrierReplied,
    Event,
    FlowCounted,
    PacketSeen,
    PolicyChanged,
    Port,
    PortChanged,
    SwitchConnected,
    SwitchDisconnected,
    SwitchRefused,
    Tick,
)
from controller.flows import Purpose
from controller.pipeline import Meter, Table
from controller.policy import Automation, AutomationMode
from topologies.model.fabric import FakeFabric
from topologies.model.servers import Gray

CONTROLLER = Path(controller.__file__).parent
FACES = {"api", "cli", "store", "pcap", "policy"}
"""What is not decided here: how it is asked for, kept, and read from files."""
FRAMEWORKS = {"ryu", "os_ken", "eventlet", "greenlet"}
OUTSIDE_WORLD = FRAMEWORKS | {
    "socket",
    "time",
    "threading",
    "subprocess",
    "os",
    "flask",
    "sqlite3",
    "asyncio",
    "select",
}


def imported(path: Path) -> set[str]:
    """Top-level names of everything a module imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def modules(folder: Path) -> Iterable[Path]:
    return sorted(folder.rglob("*.py"))


def test_what_decides_knows_no_framework_no_socket_and_no_clock() -> None:
    deciding = [path for path in modules(CONTROLLER) if path.relative_to(CONTROLLER).parts[0] not in FACES]
    assert len(deciding) > 30
    assert {path.name: imported(path) & OUTSIDE_WORLD for path in deciding if imported(path) & OUTSIDE_WORLD} == {}


def test_what_decides_does_not_know_its_faces_nor_its_adapters() -> None:
    for path in modules(CONTROLLER):
        if path.relative_to(CONTROLLER).parts[0] in FACES:
            continue
        text = path.read_text(encoding="utf-8")
        assert "apps" not in imported(path) and "topologies" not in imported(path)
        for face in FACES - {"policy"}:
            assert f"controller.{face}" not in text, path.name


def test_no_deciding_module_asks_for_the_time_of_day() -> None:
    for path in modules(CONTROLLER):
        if path.relative_to(CONTROLLER).parts[0] not in FACES:
            calls = [
                node.attr for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Attribute)
            ]
            assert not {"now_utc", "utcnow", "today", "monotonic", "perf_counter"} & set(calls), path.name


def test_only_one_module_imports_the_framework() -> None:
    apps = CONTROLLER.parent / "apps"
    users = {path.name for path in [*modules(apps), *modules(CONTROLLER)] if imported(path) & {"ryu", "os_ken"}}
    assert users <= {"openflow.py"}


def test_the_same_events_at_the_same_times_give_the_same_decisions() -> None:
    recorded: list[tuple[float, Event]] = []
    decided: list[object] = []

    class Recording(Core):
        def handle(self, event: Event, now: float) -> list:  # type: ignore[type-arg]
            recorded.append((now, event))
            decisions = super().handle(event, now)
            decided.append((decisions, self.next_deadline(now)))
            return decisions

    policy = policy_of(["10.0.1.2", "10.0.2.2", "10.0.3.2"])
    fabric = FakeFabric(leaf_spine(), Recording(lldp_key=KEY, rng=random.Random(5)))
    for name in ("h1-2", "h2-2", "h3-2"):
        fabric.hosts[name].listen(8080, Gray(0.3))
    fabric.start(PolicyChanged(policy))
    fabric.run(2)
    for number in range(150):
        client = f"h{number % 3 + 1}-1"
        fabric.hosts[client].connect(0x0A000064, 80, fabric.now)
        fabric.settle(client)
        fabric.run(fabric.now + 0.01)
    fabric.run(fabric.now + 12)
    assert {type(event) for _, event in recorded} >= {PacketSeen, FlowCounted, BarrierReplied, Tick}
    assert any(isinstance(each, Announce) and each.kind == "eject" for decisions, _ in decided for each in decisions)
    again = Core(lldp_key=KEY, rng=random.Random(5))
    for (now, event), before in zip(recorded, decided, strict=True):
        assert (again.handle(event, now), again.next_deadline(now)) == before


def idle_ticks(world: World, seconds: float) -> int:
    ticks = 0
    handle = world.core.handle

    def counting(event: Event, now: float) -> list:  # type: ignore[type-arg]
        nonlocal ticks
        ticks += isinstance(event, Tick)
        return handle(event, now)

    world.core.handle = counting  # type: ignore[method-assign]
    world.run(seconds)
    return ticks


def test_when_nothing_happens_the_core_sleeps_most_of_the_time() -> None:
    world, _, _ = stage("single")
    world.run(30)
    assert idle_ticks(world, 20) < 20 * 6


def test_frozen_automation_sleeps_too_while_a_weight_is_cut() -> None:
    world, _, _ = stage("single")
    member = world.member("web-1")
    diagnosis = Diagnosis({cause: float(cause is Cause.OVERLOAD) for cause in Cause}, [])
    incident = Incident(
        "i1", Subject(SubjectType.MEMBER, "web/web-1"), world.now, world.now, diagnosis, resets=10, label=Cause.OVERLOAD
    )
    incident.update(diagnosis, world.now)
    world.core.investigation.incidents.add(incident)
    for _ in range(4):
        incident.last_seen = world.now
        world.run(0.5)
    assert member.share < 1.0
    share = member.share
    world.apply(world.policy.model_copy(update={"automation": Automation(mode=AutomationMode.FROZEN)}))
    assert idle_ticks(world, 20) < 20 * 6
    assert member.share == share, "as it is"
    world.apply(world.policy.model_copy(update={"automation": Automation()}))
    world.run(120)
    assert member.share == 1.0


@pytest.mark.parametrize("start", [0.0, 0.9, 1.7e9 + 1 / 3])
def test_a_tick_at_the_deadline_is_never_asked_for_again_at_once(start: float) -> None:
    core = core_that_knows(
        leaf_spine(), policy_of(["10.0.1.2", "10.0.2.2"], pool={"health_check": {"interval_s": 0.7, "timeout_s": 0.3}})
    )
    now = start
    for member in core.services.pools.members.values():
        core.services.pools.readmit(member, now)
    same = 0
    for _ in range(3000):
        deadline = core.next_deadline(now)
        assert deadline >= now
        same = same + 1 if deadline == now else 0
        assert same < 10, "the core is never done"
        now = deadline
        core.handle(Tick(), now)


def test_what_nobody_expects_is_passed_over() -> None:
    core = Core(lldp_key=KEY, rng=random.Random(0))
    stranger = 0xDEAD
    events: list[Event] = [
        PacketSeen(stranger, Purpose.RESET, {}, b""),
        PacketSeen(stranger, Purpose.ARP, {}, bytes(60)),
        SwitchDisconnected(stranger),
        PortChanged(stranger, Port(1, "p", 1, up=True)),
        BarrierReplied(stranger, 77),
        FlowCounted(stranger, 2, {1: 1}),
    ]
    for event in events:
        assert core.handle(event, 1.0) == []
    assert [type(decision) for decision in core.handle(SwitchRefused(stranger, 1, 2, b"x"), 1.0)] == [Announce]


@pytest.mark.parametrize("purpose", list(Purpose))
def test_a_frame_of_nonsense_is_passed_over_whatever_it_was_punted_for(purpose: Purpose) -> None:
    core = core_that_knows(leaf_spine(), policy_of(["10.0.1.2"]))
    chance = random.Random(purpose)
    for size in (0, 1, 13, 14, 20, 33, 34, 41, 42, 54, 60, 100):
        for head in (b"", bytes(12) + b"\x08\x00\x45", bytes(12) + b"\x08\x06", bytes(12) + b"\x88\xcc"):
            frame = (head + chance.randbytes(size))[: max(size, len(head))]
            fields = {name: chance.getrandbits(16) for name in ("in_port", "ct_state", "ct_mark", "ct_nw_src")}
            core.handle(PacketSeen(1, purpose, fields, frame), 1.0)
            core.handle(PacketSeen(1, purpose, {}, frame), 1.0)


def test_a_switch_is_told_only_what_it_lacks() -> None:
    world, _, _ = stage("single")
    (dpid,) = world.fabric.switches
    installed = frozenset((entry.table_id, entry.cookie) for entry in world.fabric.switches[dpid].installed(world.now))
    lost = next((table, cookie) for table, cookie in sorted(installed) if table == Table.ROUTE)
    core = world.come_back_as()
    ports = tuple(Port(number, f"p{number}", number, up=True) for number in world.fabric.switches[dpid].ports)
    now = world.now
    core.handle(
        SwitchConnected(dpid, ports, installed - {lost} | {(0, 0x1234)}, world.fabric.switches[dpid].group_ids), now
    )
    decisions = core.handle(Tick(), now + 2)
    changes = [each for each in decisions if isinstance(each, InstallFlow | RemoveFlow) and not is_hold(each)]
    assert [type(change) for change in changes] == [InstallFlow, RemoveFlow]
    assert changes[0].entry.cookie == lost[1] and changes[1].cookie == 0x1234


def test_an_empty_switch_translates_open_connections_before_it_forwards() -> None:
    """What it forwards untranslated is answered by a reset."""
    world, _, _ = stage("single")
    (dpid,) = world.fabric.switches
    core = world.come_back_as()
    ports = tuple(Port(number, f"p{number}", number, up=True) for number in world.fabric.switches[dpid].ports)
    decisions = core.handle(SwitchConnected(dpid, ports), world.now)
    entries = [each.entry for each in decisions if isinstance(each, InstallFlow)]
    picking_up = [place for place, entry in enumerate(entries) if entry.purpose is Purpose.PICKED_UP]
    others = [place for place, entry in enumerate(entries) if place not in picking_up]
    assert picking_up and others and max(picking_up) < min(others)
    meters = [(place, each) for place, each in enumerate(decisions) if isinstance(each, SetMeter)]
    ((place, meter),) = [(place, each) for place, each in meters if each.entry.meter_id == Meter.PICK_UP]
    assert not meter.exists and isinstance(decisions[place + 1], InstallFlow), "before what it polices, and once"


def is_hold(decision: InstallFlow | RemoveFlow) -> bool:
    return isinstance(decision, InstallFlow) and decision.entry.table_id == Table.HOLD and decision.entry.priority == 10
