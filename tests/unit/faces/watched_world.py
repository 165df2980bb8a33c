"""A modelled fabric with a bit of everything going on, and its `/metrics`: what monitoring is checked against."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from api_memory_service import MemoryService
from model_world import World, leaf_spine, policy_of, text

from apps.courier import Courier
from apps.gate import Gate
from apps.instruments import Instruments
from apps.measurements import measurements
from apps.member_status import member_status
from apps.receivers import Syslog
from controller.api.app import create_app
from controller.api.service import MemberStatus
from controller.events import LoadReported, PacketSeen, PortCounted, PortCounters, QueueCounted
from controller.flows import Purpose
from controller.store import Store


class WatchedService(MemoryService):
    """The API's view of a modelled fabric, as far as `/metrics` asks for it."""

    def __init__(self, world: World) -> None:
        super().__init__(world.policy)
        self.world = world
        self.instruments = Instruments()

    def member_status(self, pool: str, member: str) -> MemberStatus:
        return member_status(self.world.core, pool, member, self.world.now)

    def measurements(self):  # type: ignore[no-untyped-def]
        yield from measurements(self.world.core, self.world.now)
        yield from self.instruments.measurements()
        yield from Gate().measurements()
        yield from Courier(Syslog("udp://127.0.0.1:514")).measurements()


def scrape(service: MemoryService) -> str:
    """What Prometheus gets."""
    with TemporaryDirectory() as folder, Store(Path(folder)) as store:
        answer = create_app(service, store).test_client().get("/metrics")
    assert answer.status_code == 200
    return answer.get_data(as_text=True)


@cache
def eventful() -> WatchedService:
    """A member refuses and is ejected, a rule is hit, an agent reports, somebody is quarantined, somebody forges."""
    wiring = leaf_spine()
    members = [text(host.address) for host in wiring.hosts if host.at.port == 2]
    clients = [host.name for host in wiring.hosts if host.at.port == 1]
    rules = {"default": "allow", "rules": [{"id": "no-ssh", "dst_ports": [22], "protocol": "tcp", "action": "drop"}]}
    world = World(wiring, policy_of(members, firewall=rules))
    service = WatchedService(world)
    world.connections(clients, 60)
    world.close_port(members[1])
    world.connections(clients, 60)
    world.connect(clients[0], port=22)
    world.tell(LoadReported("web", "web-1", 0.5, "up"))
    world.core.quarantine.add("10.0.1.99", "drop", world.now)
    world.run(20)
    for sent in (0, 1_000_000):
        for dpid, switch in world.core.topology.switches.items():
            ports = {number: PortCounters(sent, sent, sent, sent, 0, sent / 1_000_000) for number in switch.ports}
            world.tell(PortCounted(dpid, ports))
            world.tell(QueueCounted(dpid, dict.fromkeys(switch.ports, sent)))
        world.run(1)
    service.instruments.handled_in(PacketSeen, 0.0002)
    service.instruments.packet_ins[Purpose.RESET] += 1
    return service
