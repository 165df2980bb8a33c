"""Open vSwitch takes everything that is planned for a switch, octets and all: no error, and it has every entry afterwards."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from dummy_openvswitch import missing, started
from model_world import in_ipv6, leaf_spine, policy_of, text
from static_fabric import core_that_knows

from apps import codec
from controller import pickup
from controller.decisions import Barrier
from controller.mirror import hold
from controller.policy import Policy
from controller.reconcile import Installed, reconcile

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"not installed: {', '.join(missing())}")

LEAF, SPINE = 1, 4
HELLO = bytes((4, 0, 0, 8, 0, 0, 0, 0))
ERROR, BARRIER_REPLY = 1, 21


@pytest.fixture
def channel(tmp_path: Path) -> Iterator[socket.socket]:
    with started(tmp_path), socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(tmp_path / "br0.mgmt"))
        connection.settimeout(10)
        connection.sendall(HELLO)
        yield connection


def answers(channel: socket.socket, until: int) -> list[bytes]:
    """The messages that come, up to the first of that type."""
    stream, messages = channel.makefile("rb"), []
    while not messages or messages[-1][1] != until:
        head = stream.read(8)
        messages.append(head + stream.read(int.from_bytes(head[2:4]) - 8))
    return messages


def policy(ipv6: bool) -> Policy:
    wiring = in_ipv6(leaf_spine()) if ipv6 else leaf_spine()
    members = [text(host.address) for host in wiring.hosts if host.at.port == 2]
    rules = [
        {"id": action, "protocol": "tcp", "dst_ports": ["80-90"], "action": action} for action in ("drop", "reject")
    ]
    rules.append({"id": "limit", "action": "limit", "rate_pps": 10})
    return policy_of(members, vip={"affinity_timeout_s": 30}, firewall={"rules": rules, "default": "drop"})


@pytest.mark.parametrize("dpid", [LEAF, SPINE])
@pytest.mark.parametrize("ipv6", [False, True], ids=["ipv4", "ipv6"])
def test_a_switch_takes_its_plan(channel: socket.socket, ipv6: bool, dpid: int) -> None:
    core = core_that_knows(in_ipv6(leaf_spine()) if ipv6 else leaf_spine(), policy(ipv6))
    client = next(host for host in core.topology.hosts.values() if host.endpoint == (LEAF, 1))
    core.quarantine.add(text(client.ip), "drop", 0.0)
    wanted = core.plan(0.0).for_switch(dpid)
    wanted.add([*hold(), *pickup.entries(core.services.ways(), [client.ip])])
    sent = [codec.encode(decision) for decision in [*reconcile(dpid, Installed(), wanted), Barrier(dpid, 1)]]
    channel.sendall(b"".join(sent))
    errors = [message for message in answers(channel, BARRIER_REPLY) if message[1] == ERROR]
    assert errors == []
    channel.sendall(codec.request_flows())
    replies = [message for message in answers(channel, 19) if message[1] == 19]
    while codec.more_follows(replies[-1]):
        replies += answers(channel, 19)
    cookies = {cookie for reply in replies for _, cookie, _, _ in codec.decode_flow_counters(reply[16:])}
    assert cookies == set(wanted.flows)
