"""Members' agents, polled over TCP through the fabric (docs/adr/0011-agents-are-asked-through-the-fabric.md).

An agent speaks for its own member only: it is asked at the port where that member's address lives. One that does not answer, or answers
something else, changes nothing (HAProxy Configuration Manual 2.6, `agent-check`), and that is announced.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import asdict

from controller.agent_check import LINE_CAP, NEVER_SPOKE, Agent, parse
from controller.decisions import Announce, Decision, Persist
from controller.events import LoadReported
from controller.health import AgentQuestion, Outcome, Prober, ProbeResult
from controller.pipeline import AGENT_PORT_COUNT, AGENT_PORT_FIRST
from controller.policy import HealthCheck
from controller.pools import MemberState
from controller.segments import Segment
from controller.services import Services

Decisions = list[Decision]


class Agents:
    """Asks agents and tells members what they said. An operator's own voice: heard in every mode of automation."""

    def __init__(self, services: Services, rng: random.Random) -> None:
        self.services = services
        self.prober = Prober(rng, range(AGENT_PORT_FIRST, AGENT_PORT_FIRST + AGENT_PORT_COUNT))
        self._kept: dict[str, object] = {}
        """What the store holds."""
        self._asked: list[MemberState] = []
        """Members that have an agent: of a thousand, perhaps none."""

    # --- state -----------------------------------------------------------------------------------------------------------------

    def restore(self, values: dict[str, object]) -> None:
        """What agents last said in the run before: a drained member must not come back by a restart."""
        self._kept = dict(values)

    def follow(self, values: Mapping[str, object]) -> None:
        """What agents said to another controller."""
        members = {_name(member): member for member in self.services.pools.members.values()}
        for name, value in values.items():
            member = members.get(name)
            if member is not None and isinstance(value, dict) and value.get("number") == member.number:
                self._kept[name], member.agent = value, Agent(**value["agent"])
                self.services.pools.touch(member.pool)

    def apply(self) -> Decisions:
        """The policy was applied: members get back what their agents said, and lose it with an agent that is no longer asked."""
        members = {_name(member): member for member in self.services.pools.members.values()}
        self._asked = [member for member in members.values() if self._check(member) is not None]
        for name, member in members.items():
            value = self._kept.get(name)
            if isinstance(value, dict) and value.get("number") == member.number and member.agent == NEVER_SPOKE:
                member.agent = Agent(**value["agent"])
            if self._check(member) is None and member.agent_heard is not None:
                member.agent, member.agent_heard = NEVER_SPOKE, None
            if self._check(member) is None:
                member.agent_trouble = None
        gone = [name for name in self._kept if name not in members or members[name].agent == NEVER_SPOKE]
        for name in gone:
            del self._kept[name]
        return [Persist("agents", name, None) for name in gone]

    def on_load(self, event: LoadReported) -> Decisions:
        """An agent that comes to us (`PUT …/load`): its state gates new connections at once."""
        member = self.services.pools.members.get((event.pool, event.member))
        if member is None:
            return []
        member.load = event.load
        return self._say(member, parse(_WORDS[event.state], member.agent).agent)

    # --- asking ----------------------------------------------------------------------------------------------------------------

    def on_tick(self, now: float) -> Decisions:
        """Ask the agents whose turn it is; give up on those that take too long."""
        decisions, results = self.prober.on_tick(now)
        for result in results:
            decisions += self._on_answer(result, now)
        for member in self._asked:
            check = self._check(member)
            if check is not None and now >= member.next_agent_check:
                member.next_agent_check = now + check.agent_interval_s
                decisions += self._ask(member, check, now)
        return decisions

    def next_deadline(self, now: float) -> float:
        """When the next agent is asked, or has had its time."""
        due = [member.next_agent_check for member in self._asked]
        waiting = self.prober.next_deadline()
        return min([*due, now + 60.0] if waiting is None else [*due, waiting])

    def on_segment(self, segment: Segment, frame: bytes, now: float) -> Decisions:
        """Something an agent sent."""
        decisions, results = self.prober.on_segment(segment, frame, now)
        for result in results:
            decisions += self._on_answer(result, now)
        return decisions

    def _check(self, member: MemberState) -> HealthCheck | None:
        check = self.services.pools.settings[member.pool].health_check
        return check if check is not None and check.agent_port is not None else None

    def _ask(self, member: MemberState, check: HealthCheck, now: float) -> Decisions:
        target = self.services.target(member)
        if target is None or check.agent_port is None or self.prober.in_flight(member.key):
            return []
        question = AgentQuestion(min(check.timeout_s, check.agent_interval_s))
        return self.prober.start(target._replace(port=check.agent_port), question, now)

    # --- answers ---------------------------------------------------------------------------------------------------------------

    def _on_answer(self, result: ProbeResult, now: float) -> Decisions:
        member = self.services.pools.members.get(result.member)
        if member is None:
            return []
        if result.outcome is not Outcome.SUCCEEDED:
            return self._note_trouble(member, result.text or str(result.outcome))
        answer = parse(result.text.encode("latin-1"), member.agent)
        member.agent_heard = now
        trouble = f"it says {' '.join(answer.unknown)[:LINE_CAP]!r}" if answer.unknown else None
        if not result.text.strip():
            trouble = "it says nothing"
        return self._say(member, answer.agent) + self._note_trouble(member, trouble)

    def _say(self, member: MemberState, agent: Agent) -> Decisions:
        """Take over what an agent says, and tell when it is something new."""
        before, member.agent = member.agent, agent
        if before == agent:
            return []
        self.services.pools.touch()
        value = {"number": member.number, "agent": asdict(agent)}
        self._kept[_name(member)] = value
        kept = Persist("agents", _name(member), value)
        fields: dict[str, object] = {"member": _name(member), "agent": agent.state, "percent": agent.percent}
        return [kept, Announce("member", f"{_name(member)} reports {_words(agent)}", fields)]

    def _note_trouble(self, member: MemberState, trouble: str | None) -> Decisions:
        """An agent that cannot be understood is announced once, until it is understood again."""
        before, member.agent_trouble = member.agent_trouble, trouble
        if trouble is None or before is not None:
            return []
        text = f"the agent of {_name(member)} is not understood ({trouble}); the member stays as it is"
        return [Announce("agent", text, {"member": _name(member), "trouble": trouble})]


_WORDS = {"up": b"ready up", "drain": b"drain up", "down": b"down"}
"""What a state of `PUT …/load` is in words."""


def _name(member: MemberState) -> str:
    return f"{member.pool}/{member.policy.name}"


def _words(agent: Agent) -> str:
    scale = "" if agent.percent is None else f", {agent.percent} % of its weight"
    limit = "" if agent.maxconn is None else f", at most {agent.maxconn} connections"
    why = f" ({agent.description})" if agent.description else ""
    return f"{agent.state}{why}{scale}{limit}"
