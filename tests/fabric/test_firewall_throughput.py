"""What an open connection gets through the whole chain, beside plain L2 forwarding by the same switch between the same hosts.

And beside a bridge that does nothing but track connections: what lies between that and plain forwarding is the tracker's own price.
"""

import json
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest
from bed import VIP, Bed

from topologies import openvswitch
from topologies.leaf_spine import LeafSpineTopo

TOPOLOGY = LeafSpineTopo(spines=1, leaves=1, hosts=2)
CLIENT, SERVER = "h1", "h2"
PORT, ROUNDS, SECONDS = 5201, 9, 2
ADDRESSES = {
    "plain": {CLIENT: "192.168.77.1", SERVER: "192.168.77.2"},
    "tracked": {CLIENT: "192.168.78.1", SERVER: "192.168.78.2"},
}
TRACKED = [
    "table=0,priority=10,ip,actions=ct(table=1,zone=999)",
    "table=0,priority=0,actions=NORMAL",
    "table=1,priority=10,ct_state=+new,ip,actions=ct(commit,zone=999),NORMAL",
    "table=1,priority=0,actions=NORMAL",
]
"""Everything is tracked, and nothing else is done with it."""
SHARE_WANTED = 0.9
pytestmark = pytest.mark.soak


def attach(bed: Bed, bridge: str) -> None:
    """A learning bridge of the same ovs-vswitchd between the same two hosts, by interfaces of its own."""
    openvswitch.vsctl("add-br", bridge, "--", "set", "Bridge", bridge, "datapath_type=netdev", "fail_mode=standalone")
    for number, (host, address) in enumerate(ADDRESSES[bridge].items()):
        pid, inner, outer = str(bed.fabric.host(host).pid), f"{bridge}{number}-in", f"{bridge}{number}-out"
        openvswitch.run("ip", "link", "add", inner, "type", "veth", "peer", "name", outer)
        openvswitch.run("ip", "link", "set", inner, "netns", pid)
        openvswitch.run("ip", "link", "set", outer, "up")
        openvswitch.vsctl("add-port", bridge, outer)
        for argv in (
            ("ip", "addr", "add", f"{address}/24", "dev", inner),
            ("ip", "link", "set", inner, "up"),
            ("ethtool", "-K", inner, "tx", "off"),
        ):
            assert bed.fabric.run(host, *argv).returncode == 0


@pytest.fixture
def bridges(bed: Bed) -> Iterator[None]:
    for bridge in ADDRESSES:
        attach(bed, bridge)
    for flow in TRACKED:
        openvswitch.ofctl("add-flow", "tracked", flow)
    yield
    for bridge in ADDRESSES:
        openvswitch.vsctl("del-br", bridge)


def gbit_per_s(bed: Bed, address: str) -> float:
    done = bed.fabric.run(CLIENT, "iperf3", "--client", address, "--port", str(PORT), "--time", str(SECONDS), "--json")
    return json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"] / 1e9


@pytest.mark.usefixtures("bridges")
def test_an_open_connection_gets_nine_tenths_of_what_tracking_alone_leaves(
    bed: Bed, record_property: Callable[[str, object], None]
) -> None:
    server = bed.fabric.popen(SERVER, "iperf3", "--server", "--port", str(PORT), stdout=subprocess.DEVNULL)
    member = {"name": "sink", "address": bed.fabric.address(SERVER), "port": PORT}
    rules = [{"action": "drop", "src": f"10.99.{n}.0/24", "id": f"r{n}"} for n in range(20)]
    bed.controller.put(
        "policy",
        {
            "version": 1,
            "pools": {"web": {"members": [member]}},
            "vips": {"web": {"address": VIP, "port": PORT, "pool": "web"}},
            "firewall": {"rules": rules},
        },
    )
    time.sleep(2)
    ways = {**{bridge: hosts[SERVER] for bridge, hosts in ADDRESSES.items()}, "chain": VIP}
    taken: dict[str, list[float]] = {way: [] for way in ways}
    try:
        for number in range(ROUNDS):
            # In turn, and in another order each time: what else the machine does meets all alike.
            order = list(ways)[number % 3 :] + list(ways)[: number % 3]
            for way in order:
                taken[way].append(gbit_per_s(bed, ways[way]))
    finally:
        server.kill()
    medians = {way: round(statistics.median(rates), 3) for way, rates in taken.items()}
    record_property("gbit_per_s", medians)
    assert medians["chain"] >= SHARE_WANTED * medians["tracked"], (medians, taken)
