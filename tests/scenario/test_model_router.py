"""Several subnets in virtual time: who reaches whom by the gateways, what the gateways say, and what never gets an answer."""

import pytest
from model_subnets import VIP6_OUTSIDE, VIP_OUTSIDE, gateway, ipv6_policy, routed, routed_ipv6, routed_policy
from model_world import World, address, ends, failures, ipv6_address, pairs_of_hosts

from controller import addresses, icmp
from controller.router import MAX_OF_ONE_SENDER, QUESTIONS
from topologies.model.application import End
from topologies.model.headers import ETH_IPV4, PROTO_ICMP, PROTO_UDP, Icmp, Ipv4, Udp
from topologies.model.packet import Packet

VIP = int.from_bytes(bytes(map(int, VIP_OUTSIDE.split("."))))
NEIGHBOUR, OTHER_HALF, FAR = address(1, 2), address(1, 129), address(2, 129)
NOBODY, NOWHERE = address(2, 77), 0xC6336401
MEMBERS = address(1, 130), address(2, 2)
GATEWAY = gateway(1, 0)


@pytest.fixture(scope="module")
def world() -> World:
    found = World(routed(), routed_policy(*MEMBERS))
    found.connections(["a1-1", "a2-1", "b1-1", "b2-1"], 8, dst=VIP)
    return found


def answered(world: World, dst: int, ttl: int = 64, source: str = "a1-1", within_s: float = 0.5) -> bool:
    host = world.fabric.hosts[source]
    ping = host.ping(dst, world.now, ttl)
    world.fabric.settle(source)
    world.run(within_s)
    return ping.answered is not None


def told(world: World, source: str = "a1-1") -> list[tuple[int, int, int]]:
    """(type, code, who says so) of the ICMP errors since this was last asked."""
    host = world.fabric.hosts[source]
    found = [(packet.icmp.type, packet.icmp.code, packet.ip.src) for packet in host.unreachable]  # type: ignore[union-attr]
    host.unreachable.clear()
    return found


def send(world: World, packet: Packet, source: str = "a1-1", within_s: float = 0.5) -> None:
    """Puts a packet on a host's wire, to its gateway."""
    host = world.fabric.hosts[source]
    packet.eth_src = host.mac
    host.frames.append(packet.to_bytes())
    world.fabric.settle(source)
    world.run(within_s)


def datagram(dst: int, *, ttl: int = 64, fragment: int = 0, eth_dst: int = 0x0E520A00017E) -> Packet:
    packet = Packet(eth_dst, 0, ETH_IPV4, b"question")
    packet.ip, packet.udp = Ipv4(address(1, 1), dst, PROTO_UDP, ttl, fragment=fragment), Udp(1000, 53)
    return packet


def test_everybody_reaches_everybody(world: World) -> None:
    silent = [
        (source, target)
        for source, target in pairs_of_hosts(world.wiring)
        if not answered(world, world.fabric.hosts[target].address, source=source, within_s=0.2)
    ]
    assert silent == []
    assert world.faultless()


@pytest.mark.parametrize(
    ("target", "hops"), [(NEIGHBOUR, 1), (OTHER_HALF, 2), (FAR, 2), (VIP, 2), (GATEWAY, 1), (gateway(2, 1), 1)]
)
def test_a_packet_loses_one_from_its_ttl_between_subnets_and_nothing_within_one(
    world: World, target: int, hops: int
) -> None:
    told(world)
    for ttl in range(1, hops):
        assert not answered(world, target, ttl)
        assert told(world) == [(*icmp.TIME_EXCEEDED.v4, GATEWAY)]
    assert answered(world, target, hops)
    assert told(world) == []


def test_a_host_that_nobody_is_is_unreachable(world: World) -> None:
    assert not answered(world, NOBODY, within_s=QUESTIONS - 0.5)
    assert told(world) == [], "nothing is said while it may yet answer"
    world.run(1.0)
    assert told(world) == [(*icmp.HOST_UNREACHABLE.v4, GATEWAY)]


def test_an_address_in_no_subnet_is_unreachable_at_once(world: World) -> None:
    assert not answered(world, NOWHERE)
    assert told(world) == [(*icmp.NET_UNREACHABLE.v4, GATEWAY)]


def test_an_error_quotes_what_was_sent(world: World) -> None:
    host = world.fabric.hosts["a1-1"]
    told(world)
    sent = datagram(NOBODY, ttl=9)
    send(world, sent, within_s=QUESTIONS + 0.5)
    (error,) = host.unreachable
    assert error.payload[:20] == sent.to_bytes()[14:34]
    assert error.payload[20:36] == sent.to_bytes()[34:50]
    told(world)


def test_a_gateway_refuses_what_nobody_listens_for(world: World) -> None:
    attempt = world.connect("a1-1", GATEWAY, 179)
    world.run(0.1)
    assert attempt.end is End.REFUSED
    send(world, datagram(GATEWAY))
    assert told(world) == [(*icmp.PORT_UNREACHABLE.v4, GATEWAY)]


class TestNoErrorIsSentAbout:
    """RFC 1812 §4.3.2.7."""

    @pytest.fixture(autouse=True)
    def listening(self, world: World) -> None:
        told(world)

    def test_an_icmp_error(self, world: World) -> None:
        packet = Packet(0x0E520A00017E, 0, ETH_IPV4, datagram(address(1, 1)).to_bytes()[14:])
        packet.ip, packet.icmp = Ipv4(address(1, 1), NOWHERE, PROTO_ICMP), Icmp(3, 1)
        send(world, packet)
        assert told(world) == []

    def test_a_later_fragment(self, world: World) -> None:
        send(world, datagram(FAR, ttl=1, fragment=100))
        assert told(world) == []
        send(world, datagram(FAR, ttl=1, fragment=0x2000))
        assert told(world) == [(*icmp.TIME_EXCEEDED.v4, GATEWAY)], "of the first one"

    def test_a_broadcast_frame(self, world: World) -> None:
        send(world, datagram(FAR, ttl=1, eth_dst=0xFFFFFFFFFFFF))
        assert told(world) == []

    @pytest.mark.parametrize(
        "dst", [0xE0000005, 0xFFFFFFFF, 0x7F000001, 0x00000001, address(2, 127), address(2, 0), 0xF0000001]
    )
    def test_a_destination_that_is_no_hosts(self, world: World, dst: int) -> None:
        send(world, datagram(dst), within_s=QUESTIONS + 0.5)
        assert told(world) == []


def test_a_source_outside_the_subnets_is_not_believed(world: World) -> None:
    packet = datagram(FAR)
    packet.ip = packet.ip._replace(src=NOWHERE)  # type: ignore[union-attr]
    send(world, packet)
    assert NOWHERE not in world.core.topology.hosts
    assert any("in no subnet" in said for said in world.announced("spoof"))
    assert told(world) == []


def test_a_scan_leaves_room_for_others(world: World) -> None:
    for number in range(60):
        send(world, datagram(address(2, 10 + number)), within_s=0.001)
    world.run(0.1)
    assert len(world.core.router._unresolved) == MAX_OF_ONE_SENDER
    world.run(QUESTIONS + 0.5)
    assert len(told(world)) == MAX_OF_ONE_SENDER
    assert world.core.router._unresolved == {}


def test_a_host_that_is_found_gets_what_was_sent_to_it() -> None:
    world = World(routed(), routed_policy(*MEMBERS))
    world.connections(["a1-1"], 1, dst=VIP)
    assert FAR not in world.core.topology.hosts
    assert answered(world, FAR)
    assert world.faultless()


class TestAVipOutsideAllSubnets:
    """Members in two subnets, clients in all of them."""

    def test_every_client_is_served_by_every_member(self, world: World) -> None:
        clients = ["a1-1", "a1-2", "b1-1", "a2-1", "b2-1", "b2-2"]
        attempts = world.connections(clients, 60, dst=VIP)
        served = {world.served_by(attempt, clients[number % 6]) for number, attempt in enumerate(attempts)}
        world.run(1.0)
        assert failures(attempts) == []
        assert served >= {"web-1", "web-2"}

    def test_a_member_reaches_itself_and_the_other(self, world: World) -> None:
        attempts = world.connections(["b1-2", "a2-2"], 40, dst=VIP)
        world.run(1.0)
        assert ends(attempts) == {End.CLOSED: 40}
        assert world.faultless()

    def test_a_refusal_is_not_seen_and_ejects(self) -> None:
        world = World(routed(), routed_policy(*MEMBERS))
        world.connections(["a1-1", "b2-1"], 10, dst=VIP)
        world.close_port("10.0.1.130")
        attempts = world.connections(["a1-1", "b2-1", "b1-1"], 60, dst=VIP)
        world.run(2.0)
        assert failures(attempts) == []
        assert world.member("web-1").ejection is not None


def test_routing_goes_on_without_the_controller() -> None:
    world = World(routed(), routed_policy(*MEMBERS))
    world.connections(["a1-1", "b2-1"], 8, dst=VIP)
    world.leave()
    assert answered(world, FAR) and answered(world, GATEWAY)
    assert not answered(world, FAR, ttl=1)
    attempts = world.connections(["a1-1", "b2-1"], 20, dst=VIP)
    world.run(1.0)
    assert failures(attempts) == []


def test_without_subnets_the_ttl_is_left_alone() -> None:
    world = World(routed(), routed_policy(*MEMBERS, subnets=[]))
    for host in world.fabric.hosts.values():
        host._gateway = 0
    world.connections(["a1-1", "b2-1"], 4, dst=VIP)
    assert answered(world, FAR, ttl=1)


@pytest.fixture(scope="module")
def six() -> World:
    found = World(routed_ipv6(), ipv6_policy(ipv6_address(1, 130), ipv6_address(2, 2)))
    found.connections(list(found.fabric.hosts), 16, dst=addresses.number(VIP6_OUTSIDE))
    found.run(1.0)
    return found


class TestIPv6:
    """The same with neighbour discovery and ICMPv6."""

    def test_everybody_reaches_everybody(self, six: World) -> None:
        silent = [
            (source, target)
            for source, target in pairs_of_hosts(six.wiring)
            if not answered(six, six.fabric.hosts[target].address, source=source, within_s=0.2)
        ]
        assert silent == []
        assert six.faultless()

    def test_a_packet_loses_one_from_its_hop_limit_between_subnets(self, six: World) -> None:
        told(six)
        own = ipv6_address(1, 126)
        assert answered(six, ipv6_address(1, 2), ttl=1)
        for target in (ipv6_address(1, 129), ipv6_address(2, 129), addresses.number(VIP6_OUTSIDE)):
            assert not answered(six, target, ttl=1)
            assert told(six) == [(*icmp.TIME_EXCEEDED.v6, own)]
            assert answered(six, target, ttl=2)
        assert answered(six, own, ttl=1) and answered(six, ipv6_address(2, 254), ttl=1)
        assert told(six) == []

    def test_who_is_nowhere_is_unreachable(self, six: World) -> None:
        assert not answered(six, addresses.number("2001:db8:9::1"))
        assert told(six) == [(*icmp.NET_UNREACHABLE.v6, ipv6_address(1, 126))]
        assert not answered(six, ipv6_address(2, 77), within_s=QUESTIONS + 0.5)
        assert told(six) == [(*icmp.HOST_UNREACHABLE.v6, ipv6_address(1, 126))]

    def test_a_vip_outside_is_served_by_members_in_two_subnets(self, six: World) -> None:
        attempts = six.connections(["a1-1", "b1-1", "a2-1", "b2-1"], 40, dst=addresses.number(VIP6_OUTSIDE))
        six.run(1.0)
        assert failures(attempts) == []
        assert six.faultless()
