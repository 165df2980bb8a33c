"""What `Fabric` does to a fabric really happens on its switches."""

import contextlib
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from topologies.fabric import Fabric
from topologies.leaf_spine import LeafSpineTopo
from topologies.servers import Nginx, SwitchableServer

pytestmark = pytest.mark.one_framework

CURLE_COULDNT_CONNECT, CURLE_RECV_ERROR = 7, 56
ECHO_REQUEST, ECHO_REPLY = 2, 3
OPENFLOW_13_HELLO = bytes([4, 0, 0, 8, 0, 0, 0, 1])


@pytest.fixture(scope="module")
def fabric() -> Iterator[Fabric]:
    with _controller() as target, Fabric(LeafSpineTopo(spines=1, leaves=2, hosts=2), controllers=[target]) as built:
        _soon(lambda: all(built.connected(switch) for switch in built.switch_names))
        _forward(built)
        yield built


def test_a_cut_link_is_seen_at_both_ends_and_comes_back(fabric: Fabric) -> None:
    assert _ping(fabric, "h1", "h3")
    fabric.cut_link("leaf1", "spine1")
    assert not _ping(fabric, "h1", "h3")
    assert _link_is_down("leaf1", fabric.port_no("leaf1", "spine1"))
    assert _link_is_down("spine1", fabric.port_no("spine1", "leaf1"))
    fabric.restore_link("leaf1", "spine1")
    _soon(lambda: _ping(fabric, "h1", "h3"))


def test_a_host_is_cut_off_at_its_own_end(fabric: Fabric) -> None:
    fabric.cut_link("h2", "leaf1")
    _soon(lambda: _link_is_down("leaf1", fabric.port_no("leaf1", "h2")))
    fabric.restore_link("h2", "leaf1")
    _soon(lambda: _ping(fabric, "h2", "h1"))


def test_a_loss_takes_its_share_silently_and_ends(fabric: Fabric) -> None:
    fabric.set_loss("leaf1", "spine1", 30)
    received = _received_of(fabric, 200)
    assert 100 < received < 180, "30 % of 200 are lost, give or take"
    assert not _link_is_down("leaf1", fabric.port_no("leaf1", "spine1"))
    fabric.set_loss("leaf1", "spine1", 0)
    assert _received_of(fabric, 50) == 50


def test_a_rate_limits_one_link_and_its_queue_counts_the_drops(fabric: Fabric) -> None:
    fabric.set_rate("leaf1", "spine1", 20)
    server = fabric.popen("h3", "iperf3", "-s", "-1", stdout=subprocess.DEVNULL)
    _soon(lambda: "5201" in fabric.run("h3", "ss", "-Hltn").stdout)
    fabric.run("h1", "iperf3", "-u", "-b", "40M", "-t", "2", "-c", fabric.address("h3"))
    server.wait(10)
    port_no = fabric.port_no("leaf1", "spine1")
    sent, dropped = _queue(port_no)
    assert 3_500_000 < sent < 6_000_000, "2 s at 20 Mbit/s are 5 MB"
    assert dropped > 1000
    fabric.set_rate("leaf1", "spine1", None)
    assert f"port {port_no} " not in _queues()


def test_a_restart_loses_flows_and_connections_but_no_port(fabric: Fabric) -> None:
    fabric.add_flows("leaf1", ["priority=10,icmp,ct_state=-trk,actions=ct(commit,zone=7,table=0)"])
    _soon(lambda: _ping(fabric, "h1", "h2") and any(fabric.address("h1") in line for line in fabric.conntrack(zone=7)))
    ports = fabric.port_no("leaf1", "h1"), fabric.port_no("leaf1", "spine1")
    fabric.restart_switches()
    assert fabric.conntrack() == []
    assert all(fabric.dump_flows(switch) == [] for switch in fabric.switch_names)
    assert (fabric.port_no("leaf1", "h1"), fabric.port_no("leaf1", "spine1")) == ports
    _soon(lambda: all(fabric.connected(switch) for switch in fabric.switch_names))
    _forward(fabric)
    assert _ping(fabric, "h1", "h3")


def test_a_parted_switch_keeps_its_flows(fabric: Fabric) -> None:
    flows = len(fabric.dump_flows("leaf1"))
    fabric.disconnect("leaf1")
    _soon(lambda: not fabric.connected("leaf1"))
    assert fabric.connected("spine1")
    assert len(fabric.dump_flows("leaf1")) == flows > 0
    fabric.reconnect("leaf1")
    _soon(lambda: fabric.connected("leaf1"))
    assert len(fabric.dump_flows("leaf1")) == flows


def test_servers_answer_with_their_hosts_name_and_misbehave_when_told(fabric: Fabric) -> None:
    web, faulty = Nginx(fabric, "h3").start(), SwitchableServer(fabric, "h4").start()
    assert _get(fabric, "h3") == (0, "h3")
    assert _get(fabric, "h4") == (0, "h4")
    faulty.behave("reset-on-request")
    assert _get(fabric, "h4") == (CURLE_RECV_ERROR, "")
    faulty.behave()
    assert _get(fabric, "h4") == (0, "h4")
    assert faulty.counts() == {"accepted": 3, "served": 2, "faulted": 1}
    web.stop()
    assert _get(fabric, "h3") == (CURLE_COULDNT_CONNECT, "")
    web.start()
    assert _get(fabric, "h3") == (0, "h3")


class _controller:  # noqa: N801 - reads as the function it replaces
    """Says hello to every switch, answers its echo requests and does nothing more; gives its OpenFlow target."""

    def __enter__(self) -> str:
        self._listening = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._welcome, daemon=True).start()
        return f"tcp:127.0.0.1:{self._listening.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._listening.close()

    def _welcome(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                switch = self._listening.accept()[0]
                threading.Thread(target=self._answer, args=(switch,), daemon=True).start()

    def _answer(self, switch: socket.socket) -> None:
        switch.sendall(OPENFLOW_13_HELLO)
        with contextlib.suppress(OSError), switch.makefile("rb") as messages:
            while header := messages.read(8):
                version, kind, length, xid = struct.unpack("!BBHI", header)
                body = messages.read(length - 8)
                if kind == ECHO_REQUEST:
                    switch.sendall(struct.pack("!BBHI", version, ECHO_REPLY, length, xid) + body)


def _forward(fabric: Fabric) -> None:
    for switch in fabric.switch_names:
        fabric.add_flows(switch, ["priority=0,actions=normal"])


def _ping(fabric: Fabric, source: str, destination: str) -> bool:
    return fabric.run(source, "ping", "-c1", "-W1", fabric.address(destination)).returncode == 0


def _received_of(fabric: Fabric, count: int) -> int:
    report = fabric.run("h1", "ping", "-q", f"-c{count}", "-i0.005", "-W1", fabric.address("h3")).stdout
    return int(report.split(" received")[0].rsplit(maxsplit=1)[-1])


def _get(fabric: Fabric, server: str) -> tuple[int, str]:
    done = fabric.run("h1", "curl", "-s", "-m5", f"http://{fabric.address(server)}:8080/")
    return done.returncode, done.stdout


def _queues() -> str:
    return _ofctl("queue-stats", "leaf1")


def _queue(port_no: int) -> tuple[int, int]:
    (line,) = [line for line in _queues().splitlines() if f"port {port_no} " in line]
    fields = dict(field.split("=") for field in line.partition(":")[2].replace(",", "").split())
    return int(fields["bytes"]), int(fields["errors"])


def _link_is_down(switch: str, port_no: int) -> bool:
    ports = _ofctl("dump-ports-desc", switch)
    return "LINK_DOWN" in ports.partition(f"\n {port_no}(")[2].partition("speed:")[0]


def _ofctl(command: str, *arguments: str) -> str:
    argv = ["ovs-ofctl", "-O", "OpenFlow13", command, *arguments]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def _soon(condition: Callable[[], bool], within_s: float = 5.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)
