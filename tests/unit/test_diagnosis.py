"""Each cause's textbook picture leads to that cause, and to its incident; what is nobody's fault leads to none."""

import hashlib
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from model_resets import Maker
from model_world import policy_of, single, text
from static_fabric import core_that_knows

from controller.causes import Cause
from controller.core import Core
from controller.diagnosis.features import Feature
from controller.diagnosis.incidents import KEPT_CLOSED, QUIET_S, Incident, Incidents, Subject, SubjectType
from controller.diagnosis.model import Diagnosis, Model
from controller.events import FlowCounted, Restored, Tick
from controller.health import Outcome, ProbeResult
from controller.parts import Planned
from controller.resets import ResetRecord

PICTURES = """
misconfiguration: pattern=refused failing=all clients=many peers=fine probe=refused latency=usual load=usual ttl=usual link=free
misconfiguration: pattern=member-early failing=all clients=many peers=fine probe=wrong-answer latency=usual
overload: pattern=not-accepted failing=some clients=many peers=fine probe=now-and-then latency=raised load=surge link=free
overload: pattern=client-early giving-up=some clients=many peers=fine load=full latency=raised link=free
congestion: pattern=client-late giving-up=some clients=many peers=same probe=well latency=raised load=usual link=congested
congestion: pattern=client-early giving-up=most clients=few probe=timed-out latency=raised link=congested
policy: pattern=refused firewall=ours
policy: pattern=member-disowned subject=client clients=one probe=well ttl=foreign targets=one
policy: pattern=member-lost failing=some clients=few probe=well ttl=foreign latency=usual link=free
protocol-violation: pattern=member-early failing=rare clients=one peers=same probe=well targets=one pace=steady
hostile: pattern=refused clients=one targets=many pace=fast
hostile: pattern=half-open clients=one targets=many pace=fast
hostile: pattern=injected claimed=many
hostile: pattern=out-of-window
benign: pattern=client-late giving-up=rare clients=many peers=same probe=well latency=usual load=usual link=free
benign: pattern=client-no-data giving-up=rare clients=one peers=same probe=well targets=one pace=slow
"""
"""What each cause looks like where nothing is in doubt."""


def pictures() -> list[tuple[Cause, dict[str, str]]]:
    lines = (line.partition(": ") for line in PICTURES.split("\n") if line)
    return [(Cause(cause), dict(pair.split("=") for pair in picture.split())) for cause, _, picture in lines]


@pytest.mark.parametrize(("cause", "picture"), pictures())
def test_a_textbook_picture_leads_to_its_cause(cause: Cause, picture: dict[str, str]) -> None:
    diagnosis = Model().diagnose([Feature(name, value, "text") for name, value in picture.items()])
    assert diagnosis.cause is cause, diagnosis.posterior


def test_every_cause_has_a_picture_and_every_picture_is_in_the_table() -> None:
    model = Model()
    assert {cause for cause, _ in pictures()} == set(Cause)
    for _, picture in pictures():
        assert all(value in model.counts[name] for name, value in picture.items())


# --- resets in, incidents out --------------------------------------------------------------------------------------------------

MEMBERS = ["10.0.1.4", "10.0.1.5", "10.0.1.6"]
START = 1_700_000_000.0
TICK_S = 0.05
PER_S = 60.0


class Watch:
    """A core whose investigation is fed record by record, with a steady load on every member."""

    def __init__(self, **parts: object) -> None:
        self.core = core_that_knows(single(6), policy_of(MEMBERS, **parts))
        self.core.services.pools.touch()
        self.make, self.chance, self.now = Maker(), random.Random(4), START
        self.numbers = [member.number for member in self.core.services.pools.members.values()]
        self.core.investigation.connection_rate = lambda _vip, _member: PER_S
        for second in range(60, 0, -1):
            self.core.investigation.on_counted(self.now - second)
        self.pass_time(1)
        self.began = self.now

    def clients(self) -> list[int]:
        return [host.ip for host in self.core.topology.hosts.values() if text(host.ip) not in MEMBERS]

    def meet(self, record: ResetRecord) -> None:
        self.core.investigation.add(record, self.now)

    def pass_time(self, seconds: float, per_tick: object = None) -> None:
        """Ticks, before each of which `per_tick` may add resets."""
        for _ in range(round(seconds / TICK_S)):
            if per_tick is not None:
                per_tick()  # type: ignore[operator]
            self.now += TICK_S
            self.core.handle(Tick(), self.now)

    def incidents(self) -> list[tuple[SubjectType, str, Cause]]:
        found = self.core.investigation.incidents.all.values()
        return [(incident.subject.type, incident.subject.id, incident.cause) for incident in found]

    def probed(self, member: int, outcome: Outcome) -> None:
        state = self.core.services.member(member)
        assert state is not None
        result = ProbeResult(state.key, outcome, 1.0, "", 64)
        self.core.investigation.evidence.member(member).on_probe(result, self.now)


@pytest.fixture
def watch() -> Watch:
    return Watch(automation={"mode": "dry-run"})


def test_aborts_of_browsers_open_no_incident_from_the_first_minute_on(watch: Watch) -> None:
    def browsers() -> None:
        for member in watch.numbers:
            if watch.chance.random() < 0.02 * PER_S * TICK_S:
                watch.meet(watch.make.aborted_by_client(member, watch.chance.choice(watch.clients()), watch.now))

    watch.pass_time(90, browsers)
    assert watch.incidents() == []


def test_checkers_that_connect_and_leave_open_none_either(watch: Watch) -> None:
    checker = watch.clients()[0]

    def check() -> None:
        if round(watch.now / TICK_S) % 40 == 0:
            for member in watch.numbers:
                watch.meet(watch.make.after_fin(member, checker, watch.now))

    watch.pass_time(60, check)
    assert watch.incidents() == []


def test_a_burst_of_refusals_does(watch: Watch) -> None:
    member = watch.numbers[1]

    def refuse() -> None:
        watch.meet(watch.make.refused(member, watch.chance.choice(watch.clients()), watch.now))

    watch.probed(member, Outcome.REFUSED)
    watch.pass_time(1, refuse)
    ((kind, name, cause),) = watch.incidents()
    assert (kind, name, cause) == (SubjectType.MEMBER, "web/web-2", Cause.MISCONFIGURATION)
    (incident,) = watch.core.investigation.incidents.all.values()
    assert incident.opened - watch.began <= 1 and incident.first_reset <= incident.opened
    watch.pass_time(QUIET_S + 1)
    assert incident.closed is not None and not watch.core.investigation.incidents.open


def test_one_client_that_every_member_resets_is_its_own_subject(watch: Watch) -> None:
    client = watch.clients()[0]

    def violate() -> None:
        for member in watch.numbers:
            watch.meet(watch.make.aborted_early(member, client, watch.now))
            watch.probed(member, Outcome.SUCCEEDED)

    watch.pass_time(2, violate)
    assert [(kind, name) for kind, name, _ in watch.incidents()] == [(SubjectType.CLIENT, text(client))]
    assert watch.incidents()[0][2] in (Cause.PROTOCOL_VIOLATION, Cause.HOSTILE)


def test_the_busiest_of_many_clients_is_not_blamed_for_what_all_meet(watch: Watch) -> None:
    member, busy = watch.numbers[0], watch.clients()[0]

    def abort() -> None:
        for _ in range(8):
            invented = 0x0A020000 + watch.chance.randrange(1000)
            watch.meet(watch.make.aborted_early(member, busy if watch.chance.random() < 0.1 else invented, watch.now))

    watch.pass_time(3, abort)
    assert {kind for kind, _, _ in watch.incidents()} == {SubjectType.MEMBER}


def test_a_scan_of_many_ports_is_the_scanners(watch: Watch) -> None:
    client, ports = watch.clients()[0], iter(range(1, 10_000))

    def scan() -> None:
        for _ in range(3):
            watch.meet(watch.make.refused(0, client, watch.now, vip=0, target=(0x0A000104, next(ports))))

    watch.pass_time(1, scan)
    assert watch.incidents() == [(SubjectType.CLIENT, text(client), Cause.HOSTILE)]


def test_three_false_resets_are_no_accident_and_two_may_be(watch: Watch) -> None:
    entry = (1, 1)
    for _ in range(2):
        watch.meet(watch.make.injected(0x0A000104, entry, watch.now))
        watch.pass_time(0.5)
    assert watch.incidents() == []
    watch.meet(watch.make.injected(0x0A000104, entry, watch.now))
    watch.pass_time(0.5)
    assert watch.incidents() == [(SubjectType.CLIENT, "10.0.1.1", Cause.HOSTILE)]


def test_a_late_reset_now_and_then_is_held_against_nobody_and_a_hail_of_guesses_is(watch: Watch) -> None:
    def late() -> None:
        if round((watch.now - watch.began) / TICK_S) % 100 == 0:
            watch.meet(watch.make.out_of_window(0x0A000101, (1, 1), watch.now))

    watch.pass_time(120, late)
    assert watch.incidents() == []

    def guess() -> None:
        for _ in range(10):
            watch.meet(watch.make.out_of_window(0x0A000101, (1, 1), watch.now))

    watch.pass_time(1, guess)
    assert watch.incidents() == [(SubjectType.CLIENT, "10.0.1.1", Cause.HOSTILE)]


def test_what_our_own_firewall_rejects_is_the_rules(watch: Watch) -> None:
    rule = {"id": "no-ssh", "action": "reject", "protocol": "tcp", "dst_ports": [22]}
    watch = Watch(automation={"mode": "dry-run"}, firewall={"rules": [rule]})
    for _ in range(5):
        watch.core.investigation.add_own_reject("no-ssh", watch.clients()[0], watch.now)
    watch.pass_time(0.5)
    assert watch.incidents() == [(SubjectType.POLICY, "no-ssh", Cause.POLICY)]


def test_a_million_ways_to_open_incidents_cost_bounded_memory() -> None:
    incidents = Incidents()
    diagnosis = Diagnosis(dict.fromkeys(Cause, 1 / len(Cause)), [])
    for number in range(3 * KEPT_CLOSED):
        incident = Incident(
            incidents.next_id(), Subject(SubjectType.CLIENT, str(number)), float(number), float(number), diagnosis
        )
        incidents.add(incident)
        incidents.close(incident, number + 1.0)
    assert len(incidents.all) <= KEPT_CLOSED + 1 and not incidents.open


def test_incidents_that_are_no_longer_kept_are_taken_out_of_the_store() -> None:
    watch = Watch(automation={"mode": "dry-run"})
    incidents, stored = watch.core.investigation.incidents, set()
    for number in range(KEPT_CLOSED + 40):
        diagnosis = Diagnosis(dict.fromkeys(Cause, 1 / len(Cause)), [])
        subject = Subject(SubjectType.CLIENT, f"10.1.{number >> 8}.{number & 255}")
        incident = Incident(incidents.next_id(), subject, watch.now, watch.now, diagnosis)
        incidents.add(incident)
        incidents.close(incident, watch.now)
        for record in watch.core.archive.changes(watch.now):
            if record.namespace == "incidents":
                stored.discard(record.key) if record.value is None else stored.add(record.key)
    assert stored == set(incidents.all)


def test_incidents_habits_and_labels_outlive_the_controller() -> None:
    watch = Watch(automation={"mode": "dry-run"})
    for _ in range(8):
        watch.meet(watch.make.refused(watch.numbers[0], watch.clients()[0], watch.now))
    watch.pass_time(0.5)
    (incident,) = watch.core.investigation.incidents.all.values()
    records = [*watch.core.archive.label(incident, Cause.HOSTILE), *watch.core.archive.changes(watch.now + 100)]
    stored: dict[str, dict[str, object]] = {}
    for record in records:
        stored.setdefault(record.namespace, {})[record.key] = record.value
    later = Core(lldp_key=b"key", rng=random.Random(0))
    later.handle(Restored(stored), watch.now + 200)
    assert set(later.archive.earlier) == {incident.id}
    assert later.investigation.incidents.next_id() != incident.id
    features = [spoken.feature for spoken in incident.diagnosis.evidence]
    assert (
        later.investigation.model.diagnose(features).posterior[Cause.HOSTILE]
        == watch.core.investigation.model.diagnose(features).posterior[Cause.HOSTILE]
        > Model().diagnose(features).posterior[Cause.HOSTILE]
    )
    assert later.investigation.detectors.keys() == watch.core.investigation.detectors.keys()


DIGEST = """
import random
from test_diagnosis import Watch
watch = Watch(automation={"mode": "dry-run"}, firewall={"rules": [
    {"id": name, "action": "reject", "protocol": "tcp", "dst_ports": [22 + number]} for number, name in enumerate("abcdefgh")]})
chance, said = random.Random(1), []
def happen():
    for name in "hgfedcba":
        watch.core.investigation.add_own_reject(name, chance.choice(watch.clients()), watch.now)
    watch.meet(watch.make.refused(chance.choice(watch.numbers), chance.choice(watch.clients()), watch.now))
watch.pass_time(2, happen)
print([(incident.id, incident.subject, incident.cause) for incident in watch.core.investigation.incidents.all.values()])
"""


def test_two_processes_decide_alike_whatever_their_hash_seed() -> None:
    tests = Path(__file__).parent.parent
    said = set()
    for seed in ("1", "2"):
        path = os.pathsep.join(str(folder) for folder in (tests, tests / "unit", tests.parent))
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path}
        done = subprocess.run(
            [sys.executable, "-c", DIGEST], env=environment, capture_output=True, text=True, check=True
        )
        said.add(hashlib.sha256(done.stdout.encode()).hexdigest())
    assert len(said) == 1


def test_counters_tell_the_investigation_what_members_are_offered() -> None:
    core = core_that_knows(single(6), policy_of(MEMBERS))
    plan = core.plan(0.0).for_switch(1)
    core.wanted[1] = Planned({("all",): plan})
    handshakes = {
        entry.cookie: entry for entry in plan.flows.values() if entry.counts and entry.counts[0] == "handshake"
    }
    for second in range(1, 5):
        counts = dict.fromkeys(handshakes, 20 * second)
        core.handle(FlowCounted(1, 3, counts), float(second))
    number = core.services.pools.members["web", "web-1"].number
    assert core.investigation.evidence.member(number).connections.of_late == pytest.approx(20)
