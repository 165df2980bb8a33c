"""Hosts that lie: forged resets, stolen addresses, floods of the control channel. The core is the real one, the fabric a model."""

import random
from collections.abc import Iterator

import pytest
from model_world import MEMBER_PORT, VIP, VIP_PORT, World, address, ends, leaf_spine, policy_of

from controller.causes import Cause
from controller.diagnosis.incidents import SubjectType
from controller.events import Tick
from controller.frames import edge_mac, is_ours, lldp
from topologies.model.headers import ACK, ETH_ARP, ETH_IPV4, PROTO_TCP, RST, Arp, Ipv4, Tcp
from topologies.model.hosts import Attempt
from topologies.model.packet import Packet
from topologies.model.servers import Serve

ATTACKER, VICTIM = "h1-3", "h1-1"
MEMBERS = ["10.0.1.2", "10.0.2.2", "10.0.3.2"]
CLIENTS = ["h1-1", "h2-1", "h3-1"]


@pytest.fixture
def world() -> World:
    """Leaf and spine with members, clients, and a third host at each leaf that has shown itself."""
    world = World(leaf_spine(hosts=3), policy_of(MEMBERS))
    for member in MEMBERS:
        world.serve(member, Serve(1000, keep_alive=True))
    world.connections(CLIENTS, 30)
    attacker = world.fabric.hosts[ATTACKER]
    attacker.ping(VIP, world.now)
    world.fabric.settle(ATTACKER)
    world.run(0.2)
    return world


def segment(src: int, src_port: int, dst: int, dst_port: int, seq: int, mac: int, flags: int = RST) -> bytes:
    packet = Packet(0x0E520A000064, mac, ETH_IPV4)
    packet.ip = Ipv4(src, dst, PROTO_TCP)
    packet.tcp = Tcp(src_port, dst_port, seq, 0, flags)
    return packet.to_bytes()


def send(world: World, *frames: bytes, every_s: float = 0.001) -> None:
    for frame in frames:
        world.fabric.hosts[ATTACKER].frames.append(frame)
        world.fabric.settle(ATTACKER)
        world.run(every_s)


def open_connections(world: World) -> list[Attempt]:
    attempts = [world.connect(client) for client in CLIENTS * 4]
    world.run(0.5)
    assert {attempt.received for attempt in attempts} == {1000}
    return attempts


def exact_resets(world: World, attempts: list[Attempt]) -> Iterator[tuple[int, int, int, int]]:
    """(source port, destination, its port, sequence number) that would kill each connection of the victim, all of them known."""
    for attempt in attempts:
        yield VIP_PORT, world.fabric.hosts[VICTIM].address, attempt.endpoint.port, attempt.endpoint._rcv


def ejected(world: World) -> list[str]:
    return [name for (_, name), member in world.core.services.pools.members.items() if member.ejection is not None]


@pytest.mark.parametrize("source", [VIP, address(1, 2), address(2, 2), address(3, 1)])
def test_resets_in_a_false_name_reach_nobody_and_eject_nobody(world: World, source: int) -> None:
    attempts = open_connections(world)
    own = world.fabric.hosts[ATTACKER].mac
    forged = [segment(source, port, dst, dst_port, seq, mac)
              for port, dst, dst_port, seq in exact_resets(world, attempts[::3])
              for mac in (own, 0x0200_0A00_0202, 0x0E52_0A00_0064)]  # fmt: skip
    send(world, *forged * 5)
    world.run(3)
    assert ends(attempts) == {None: len(attempts)}
    assert ejected(world) == []


def test_guessing_sequence_numbers_from_ones_own_port_ejects_nobody(world: World) -> None:
    chance = random.Random(1)
    attempts = open_connections(world)
    own = world.fabric.hosts[ATTACKER]
    for member in (address(2, 2), VIP):
        port = VIP_PORT if member == VIP else MEMBER_PORT
        send(world, *(segment(own.address, chance.randrange(1 << 15, 61000), member, port, chance.randrange(1 << 32), own.mac)
                      for _ in range(200)))  # fmt: skip
    world.run(2)
    assert ends(attempts) == {None: len(attempts)}
    assert ejected(world) == []
    tracked = [entry for switch in world.fabric.switches.values() for entry in switch.tracker.connections(world.now)]
    assert not [
        entry for entry in tracked if entry.original.src == own.address and entry.original.proto == PROTO_TCP
    ], "a stray segment opens nothing"


def test_whoever_forges_is_put_away_and_nobody_else(world: World) -> None:
    attempts = open_connections(world)
    own = world.fabric.hosts[ATTACKER].mac
    send(world, *(segment(VIP, *known, own) for known in exact_resets(world, attempts[::3])), every_s=0.1)
    world.run(2)
    assert [entry.client for entry in world.core.quarantine.entries.values()] == ["10.0.1.3"]
    (incident,) = world.core.investigation.incidents.all.values()
    assert (incident.subject.type, incident.cause) == (SubjectType.CLIENT, Cause.HOSTILE)
    others = [world.connect(client) for client in CLIENTS]
    barred = world.connect(ATTACKER)
    world.run(0.5)
    assert {attempt.received for attempt in others} == {1000}
    assert barred.connected is None


def test_a_quarantine_ends_by_itself(world: World) -> None:
    world.core.quarantine.add("10.0.1.3", "drop", world.now, ttl_s=5)
    world.tell(Tick())
    world.run(0.1)
    barred = world.connect(ATTACKER)
    world.run(3)
    assert barred.connected is None
    world.run(5)
    assert not world.core.quarantine.entries
    assert barred.connected is not None, "its SYN was sent again"


def test_a_client_that_often_gives_up_is_left_alone(world: World) -> None:
    for _ in range(30):
        attempt = world.connect(VICTIM)
        world.run(0.1)
        world.fabric.hosts[VICTIM].act(attempt, lambda endpoint: endpoint.abort(world.now), world.now)
        world.fabric.settle(VICTIM)
        world.run(0.4)
    world.run(1)
    assert ejected(world) == []
    assert not world.core.quarantine.entries


def test_nobody_takes_a_vips_address(world: World) -> None:
    thief = world.fabric.hosts[ATTACKER]
    claim = Packet(0xFFFFFFFFFFFF, thief.mac, ETH_ARP)
    claim.arp = Arp(1, thief.mac, VIP, 0, VIP)
    send(world, claim.to_bytes(), segment(VIP, 5000, address(1, 1), 5000, 1, thief.mac, ACK))
    world.run(3)
    assert VIP not in world.core.topology.hosts
    attempts = open_connections(world)
    send(world, *(segment(VIP, *known, thief.mac) for known in exact_resets(world, attempts[::3])))
    world.run(1)
    assert ends(attempts) == {None: len(attempts)}


def test_an_address_that_still_answers_does_not_move(world: World) -> None:
    thief = world.fabric.hosts[ATTACKER]
    claim = Packet(0xFFFFFFFFFFFF, thief.mac, ETH_ARP)
    claim.arp = Arp(1, thief.mac, address(2, 2), 0, address(1, 1))
    send(world, *[claim.to_bytes()] * 20, every_s=0.2)
    world.run(2)
    assert world.core.topology.hosts[address(2, 2)].endpoint == (2, 2)
    assert world.announced("spoof")


def test_a_host_that_moves_takes_its_address_along(world: World) -> None:
    mover = world.fabric.hosts["h2-3"]
    mover.ping(VIP, world.now)
    world.fabric.settle("h2-3")
    world.run(1)
    assert world.core.topology.hosts[mover.address].endpoint == (2, 3)
    world.fabric.hosts[ATTACKER].mac = mover.mac
    mover.mac = 0x02000000FFFF  # It is gone from where it was: the station there now is another one.
    mover._neighbours._mac, mover._neighbours._address = mover.mac, address(2, 9)
    hello = Packet(0xFFFFFFFFFFFF, world.fabric.hosts[ATTACKER].mac, ETH_ARP)
    hello.arp = Arp(1, world.fabric.hosts[ATTACKER].mac, address(2, 3), 0, address(2, 3))
    send(world, hello.to_bytes())
    world.run(3)
    assert world.core.topology.hosts[address(2, 3)].endpoint == (1, 3)


def test_no_host_becomes_a_switch_by_writing_its_address(world: World) -> None:
    attempts = open_connections(world)
    target = next(iter(exact_resets(world, attempts[1::3])))
    packet = Packet.from_bytes(segment(VIP, *target, edge_mac(2)))
    packet.eth_dst = edge_mac(2)
    send(world, packet.to_bytes())
    assert not any(is_ours(host.mac) for host in world.core.topology.hosts.values())


def test_a_flood_of_invented_addresses_does_not_hurt_the_others(world: World) -> None:
    own = world.fabric.hosts[ATTACKER]
    for number in range(300):
        question = Packet(0xFFFFFFFFFFFF, own.mac, ETH_ARP)
        question.arp = Arp(1, own.mac, 0x0A010000 + number, 0, 0x0A020000 + number % 4)
        send(world, question.to_bytes(), every_s=0.002)
    assert len([host for host in world.core.topology.hosts_at(1) if host.port_no == 3]) < 50
    attempts = [world.connect(client) for client in CLIENTS]
    world.run(1)
    assert {attempt.received for attempt in attempts} == {1000}


def test_a_host_that_floods_lldp_does_not_make_links_look_dead(world: World) -> None:
    links = set(world.core.topology.usable_links())
    forged = lldp(b"not the key", 2, 4)
    for second in range(20):
        send(world, *[forged] * 900, every_s=0.0)
        world.run(1)
        assert set(world.core.topology.usable_links()) == links, f"after {second} s"
