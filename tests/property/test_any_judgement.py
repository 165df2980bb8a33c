"""Rules that are judged on the first packet, tried out or logged, as a switch and the core carry them out together.

Held against the same twenty lines that read rules one by one (`test_any_rules`): a rule that is tried out is none, and however many
verdicts of earlier connections the switch keeps, each connection fares as if it were the first.
"""

from typing import Any

from any_policy import rules
from hypothesis import given, settings
from hypothesis import strategies as st
from test_any_rules import Connection, connections, packet_of, verdict

from controller import tracking
from controller.classifier import FirstPacket
from controller.decisions import InstallFlow, RemoveFlow, RemoveMeter, SetMeter
from controller.events import PacketSeen
from controller.flows import MeterEntry, Purpose, Resubmit
from controller.pipeline import METER_RATES, NEW, TCP, UDP, Table
from controller.policy import Firewall
from controller.virtual_firewall import VirtualFirewall
from topologies.model.switch import FakeSwitch

ZONE = 1


@st.composite
def judged_firewalls(draw: st.DrawFn) -> Firewall:
    """Rules of any kind, in any mixture."""
    found: list[dict[str, Any]] = []
    for number, rule in enumerate(draw(st.lists(rules(), max_size=6))):
        rule |= {"id": f"r{number}", "log": draw(st.booleans()), "dry_run": draw(st.sampled_from([False, False, True]))}
        rule["inspect"] = draw(st.sampled_from([None, "first-packet"]))
        if rule["action"] == "allow":
            rule["per_source_pps"] = draw(st.sampled_from([None, None, 1000]))
            rule["per_source_connections_per_s"] = draw(st.sampled_from([None, None, 1000]))
        found.append(rule)
    default = draw(st.sampled_from(["allow", "drop", "reject"]))
    return Firewall.model_validate({"rules": found, "default": default, "observe": draw(st.booleans())})


class Together:
    """A switch and the function that judges for it."""

    def __init__(self, firewall: Firewall) -> None:
        self.function = VirtualFirewall(lambda event, rule, now: [])
        self.function.apply(firewall, 0.0)
        self.switch = FakeSwitch(1, [1])
        part = self.function.rulebook.part
        known = [MeterEntry(meter, *rate) for meter, rate in METER_RATES.items()]
        self.carry_out([SetMeter(1, meter, exists=False) for meter in (*known, *part.meters.values())])
        entries = (*tracking.admit(ZONE, []), *part.flows.values())
        self.carry_out([*(InstallFlow(1, entry) for entry in entries), *self.function.open_gates([1])])

    def carry_out(self, decisions: list[Any]) -> None:
        for decision in decisions:
            if isinstance(decision, InstallFlow | SetMeter | RemoveFlow | RemoveMeter):
                assert self.switch.handle(decision, 0.0) == []
        assert self.switch.warnings == []

    def fares(self, connection: Connection, *, judged: bool = False) -> str:
        """What becomes of the first packet of a connection."""
        entry = self.switch.look_up(Table.FIREWALL, packet_of(connection, NEW), 0.0)
        if entry is None:
            return "drop"
        purpose = entry.cookie >> 56
        if entry.goto == Table.INSPECT or purpose == Purpose.INSPECTED:
            assert not judged, "it was judged, and is asked for again"
            return self.judge(connection)
        return "allow" if entry.goto == Table.BALANCE else "reject" if purpose == Purpose.REJECTED else "drop"

    def judge(self, connection: Connection) -> str:
        protocol, src, dst, port = connection
        ports = (40_000, port) if protocol in (TCP, UDP) else (0, 0)
        event = PacketSeen(1, Purpose.WAITING, {"in_port": 1}, b"")
        packet = FirstPacket(src, dst, protocol, *ports)
        decisions, _, action = self.function.inspector.judge(event, packet, self.function.rulebook, 0.0)
        self.carry_out(decisions)
        said = "allow" if action == "limit" else action
        assert self.fares(connection, judged=True) == said, "the switch keeps what was decided"
        return said


def without_trials(firewall: Firewall) -> Firewall:
    return firewall.model_copy(update={"rules": tuple(rule for rule in firewall.rules if not rule.dry_run)})


@settings(max_examples=200, deadline=None)
@given(judged_firewalls(), st.lists(connections, min_size=5, max_size=15))
def test_what_is_judged_fares_as_the_rules_say(firewall: Firewall, wanted: list[Connection]) -> None:
    together = Together(firewall)
    for connection in wanted * 2:
        assert together.fares(connection) == verdict(without_trials(firewall), connection)[0], connection


@settings(max_examples=100, deadline=None)
@given(judged_firewalls(), judged_firewalls(), st.lists(connections, min_size=3, max_size=8))
def test_no_verdict_outlives_the_rules_it_follows_from(
    before: Firewall, after: Firewall, wanted: list[Connection]
) -> None:
    together = Together(before)
    for connection in wanted:
        together.fares(connection)
    together.carry_out(together.function.apply(after, 1.0))
    kept = [entry for entry in together.switch.installed(1.0) if entry.cookie >> 56 == Purpose.VERDICT]
    assert kept == [] or before == after


@settings(max_examples=100, deadline=None)
@given(judged_firewalls(), connections)
def test_a_trial_sees_what_it_would_decide_and_everything_goes_on_to_the_firewall(
    firewall: Firewall, connection: Connection
) -> None:
    together = Together(firewall)
    if not together.function.rulebook.observing:
        return
    entry = together.switch.look_up(Table.OBSERVE, packet_of(connection, NEW), 0.0)
    assert entry is not None and Resubmit(Table.FIREWALL) in entry.actions
    rule = verdict(firewall, connection)[1]
    on_trial = {one.id for one in firewall.rules if one.dry_run}
    if rule in on_trial:
        assert entry.cookie >> 56 == Purpose.OBSERVED and len(entry.actions) == 2
