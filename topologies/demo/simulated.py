"""The demo's stage without Open vSwitch: the same core on a fabric modelled packet by packet, in virtual time (`topologies.model`).

`SimulatedStage` and `SimulatedApi` stand where `Stage` and `Api` do. Time passes only while somebody waits, as fast as this machine can
calculate it.
"""

from __future__ import annotations

import ipaddress
import random
import secrets
from collections.abc import Callable
from importlib.resources import files
from typing import Any, Self

from controller.core import Core
from controller.decisions import Announce
from controller.events import PolicyChanged
from controller.policy import AutomationMode, Policy, parse_policy_text
from topologies.addressing import EDGE, SPINE, dpid, host_address, host_mac
from topologies.demo import script
from topologies.demo.api import Event
from topologies.demo.simulated_clients import Clients
from topologies.demo.stage import Record
from topologies.model.fabric import FakeFabric
from topologies.model.servers import ResetOnAccept, Serve
from topologies.model.wiring import HostPlace, LinkPlace, SwitchPort, Wiring

SPINES, LEAVES, HOSTS = 2, 3, 2
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"


def leaf_spine() -> Wiring:
    """The fabric of the demo, as `topologies.leaf_spine` wires it: hosts h1, h2 … at ports 1 and 2 of each leaf."""
    leaves = [int(dpid(EDGE, leaf), 16) for leaf in range(1, LEAVES + 1)]
    spines = [int(dpid(SPINE, spine), 16) for spine in range(1, SPINES + 1)]
    hosts = [
        HostPlace(
            f"h{(leaf - 1) * HOSTS + place}",
            int(host_mac(leaf, place).replace(":", ""), 16),
            int(ipaddress.IPv4Address(host_address(leaf, place))),
            SwitchPort(leaves[leaf - 1], place),
        )
        for leaf in range(1, LEAVES + 1)
        for place in range(1, HOSTS + 1)
    ]
    links = [
        LinkPlace(SwitchPort(leaf, HOSTS + number), SwitchPort(spine, place))
        for place, leaf in enumerate(leaves, 1)
        for number, spine in enumerate(spines, 1)
    ]
    return Wiring(tuple(hosts), tuple(links))


def answer_of(member: str) -> bytes:
    """What a member answers: each has a length of its own, by which its clients know it."""
    body = bytes(1000 + list(script.MEMBERS).index(member))
    return ANSWER % len(body) + body


class SimulatedStage:
    """A modelled fabric that takes the orders of `topologies.demo.inside`."""

    def __init__(self, seed: int = 0) -> None:
        core = Core(lldp_key=secrets.token_bytes(16), rng=random.Random(seed))
        self.core = core
        self.fabric = FakeFabric(leaf_spine(), core, seed=seed)
        self._told: list[Record] = []
        whose = {len(answer_of(member)): host for member, host in script.MEMBERS.items()}
        self._clients = Clients(self.fabric, whose, self._told.append)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to leave behind."""

    def now(self) -> float:
        """Virtual time (s)."""
        return self.fabric.now

    def wait_until_ready(self, step: Callable[[str], object]) -> None:
        """Starts members and switches."""
        step("modelling the fabric: 2 spines, 3 leaves, 6 hosts")
        for member in script.MEMBERS:
            self._revive(member)
        self.fabric.start(PolicyChanged(_policy()))

    def order(self, do: str, take: Callable[[Record], object], **arguments: Any) -> Record:
        """Does it (see `topologies.demo.inside.Cast`); returns what was measured."""
        deeds: dict[str, Callable[..., Record | None]] = {
            "load": self._clients.start,
            "stop-load": self._clients.stop,
            "kill": self._kill,
            "revive": self._revive,
            "reset-on-accept": self._reset_on_accept,
            "accept": self._revive,
        }
        done = deeds[do](**arguments)
        self._hand_over(take)
        return done or {}

    def drain(self, take: Callable[[Record], object], timeout_s: float) -> None:
        """Lets so much time pass; gives what clients tell to `take`."""
        self.fabric.run(self.fabric.now + timeout_s)
        self._hand_over(take)

    def _hand_over(self, take: Callable[[Record], object]) -> None:
        told, self._told[:] = list(self._told), []
        for record in told:
            take(record)

    def _kill(self, member: str) -> Record:
        began = self.fabric.now
        host = script.MEMBERS[member]
        self.fabric.hosts[host].kill(script.MEMBER_PORT, began)
        self.fabric.settle(host)
        return {"member": member, "began": began, "gone": self.fabric.now}

    def _revive(self, member: str) -> None:
        behaviour = Serve(content=answer_of(member), keep_alive=True)
        self.fabric.hosts[script.MEMBERS[member]].listen(script.MEMBER_PORT, behaviour)

    def _reset_on_accept(self, member: str) -> None:
        self.fabric.hosts[script.MEMBERS[member]].listen(script.MEMBER_PORT, ResetOnAccept())


class SimulatedApi:
    """The little of the REST API that the demo uses, asked of the core itself."""

    def __init__(self, stage: SimulatedStage) -> None:
        self._stage = stage
        self._policy = _policy()

    def get(self, path: str) -> Any:
        """`health` alone."""
        switches = self._stage.core.topology.switches.values()
        return {"health": {"switches": sum(switch.connected for switch in switches)}}[path]

    def members(self, pool: str) -> list[dict[str, Any]]:
        """The members of a pool, in the policy's order."""
        pools, now = self._stage.core.services.pools, self._stage.now()
        slow_start_s = pools.settings[pool].slow_start_s
        return [
            {
                "name": member.policy.name,
                "health": member.health.value,
                "effective_weight": member.effective_weight(now, slow_start_s),
            }
            for member in pools.of(pool)
        ]

    def automation(self, mode: str) -> None:
        """Sets how far ResetLB acts by itself."""
        automation = self._policy.automation.model_copy(update={"mode": AutomationMode(mode)})
        self._policy = self._policy.model_copy(update={"automation": automation})
        self._stage.fabric.tell(PolicyChanged(self._policy))

    def follow(self, take: Callable[[Event], object]) -> None:
        """Gives every announcement from now on to `take`."""

        def hear(announced: Announce) -> None:
            take(Event(announced.kind, {"text": announced.text, **announced.fields}))

        self._stage.fabric.on_announcement = hear


def _policy() -> Policy:
    return parse_policy_text((files("topologies.demo") / "policy.yaml").read_bytes())
