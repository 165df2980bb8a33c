"""nmap against a policy: what may be seen is seen, what is denied does not answer; then the scanner is put away and nobody else."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from bed import MEMBER_PORT, Bed, one_vip, outcomes, pool
from running_controller import soon

from topologies.leaf_spine import LeafSpineTopo

pytestmark = pytest.mark.one_framework

ATTACKS = True
TOPOLOGY = LeafSpineTopo(spines=1, leaves=2, hosts=4)
SCANNER, CLIENT, TARGET = "h1", "h3", "h6"
MEMBERS = ("h2", "h5")
LISTENING = {8001, 8002, 8003, 8004}
ALLOWED = {8001, 8003, 8005}
SCANNED = "8000-8010"
LISTEN = """\
import socket, sys
for port in map(int, sys.argv[1:]):
    globals()[f"tcp{port}"] = socket.create_server(("", port))
    globals()[f"udp{port}"] = udp = socket.socket(type=socket.SOCK_DGRAM)
    udp.bind(("", port))
print("listening", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module", autouse=True)
def listening(bed: Bed) -> Iterator[None]:
    with ExitStack() as ends:
        argv = [sys.executable, "-c", LISTEN, *map(str, sorted(LISTENING))]
        process = bed.fabric.popen(TARGET, *argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        ends.callback(process.kill)
        assert process.stdout.readline() == "listening\n"
        yield


def policy(bed: Bed, mode: str) -> dict:
    target = bed.fabric.address(TARGET)
    allowed = {"action": "allow", "dst": target, "protocol": "tcp", "dst_ports": sorted(ALLOWED), "priority": 200}
    denied = {"action": "drop", "dst": target}
    return {**one_vip(pool(bed, *MEMBERS)), "automation": {"mode": mode}, "firewall": {"rules": [allowed, denied]}}


def nmap(kind: str, address: str, ports: str) -> list[str]:
    quick = ["-n", "-Pn", "-T4", "--max-retries", "1", "--max-rtt-timeout", "200ms"]
    return ["nmap", kind, *quick, "-p", ports, "-oG", "-", address]


def scan(bed: Bed, kind: str, address: str, ports: str = SCANNED) -> dict[str, set[int]]:
    """What nmap says of each port, by state."""
    report = bed.fabric.run(SCANNER, *nmap(kind, address, ports), timeout_s=60).stdout
    found: dict[str, set[int]] = {}
    for port, state in re.findall(r"(\d+)/([a-z|]+)/", report):
        found.setdefault(state, set()).add(int(port))
    ignored = re.search(r"Ignored State: ([a-z|]+) \((\d+)\)", report)
    assert found or ignored, report
    return found


@pytest.mark.parametrize("kind", ["-sS", "-sT"])
def test_syn_and_connect_scans_find_exactly_the_allowed_ports_that_listen(bed: Bed, kind: str) -> None:
    bed.serve(*MEMBERS)
    bed.apply(policy(bed, "frozen"))
    found = scan(bed, kind, bed.fabric.address(TARGET))
    assert found["open"] == LISTENING & ALLOWED
    assert found.get("closed", ALLOWED - LISTENING) == ALLOWED - LISTENING


@pytest.mark.parametrize("kind", ["-sF", "-sX", "-sN", "-sU"])
def test_no_denied_port_answers_a_probe(bed: Bed, kind: str) -> None:
    """A port that answers is closed (RST, ICMP) or open (data); one that does not, nmap calls open|filtered."""
    bed.serve(*MEMBERS)
    bed.apply(policy(bed, "frozen"))
    with bed.frames(SCANNER) as port:
        found = scan(bed, kind, bed.fabric.address(TARGET))
        assert {number for state in ("open", "closed") for number in found.get(state, ())} <= ALLOWED - LISTENING
        answers = [one for one in port.segments("in") if one.src_port not in ALLOWED and 8000 <= one.src_port <= 8010]
        assert answers == []


def test_what_is_rejected_says_so_at_once(bed: Bed) -> None:
    bed.serve(*MEMBERS)
    document = policy(bed, "frozen")
    document["firewall"]["rules"][1]["action"] = "reject"
    bed.apply(document)
    found = scan(bed, "-sS", bed.fabric.address(TARGET))
    assert found["open"] == LISTENING & ALLOWED and "filtered" not in found


def test_a_scanner_is_put_away_and_nobody_else_notices(bed: Bed) -> None:
    bed.serve(*MEMBERS)
    bed.apply(one_vip(pool(bed, *MEMBERS)))
    since = bed.controller.moment()
    with bed.load(CLIENT, rate=50) as clients:
        argv = nmap("-sS", bed.fabric.address(MEMBERS[0]), "1-2000")
        scanning = bed.fabric.popen(SCANNER, *argv, stdout=subprocess.DEVNULL)
        soon("it is put away", lambda: bed.controller.announced("quarantine", since=since), 10)
        scanning.kill()
        after = scan(bed, "-sS", bed.fabric.address(MEMBERS[0]), str(MEMBER_PORT))
        others = outcomes(clients.finish())
    (entry,) = bed.controller.get("quarantine")["items"]
    assert (entry["client"], entry["automatic"]) == (bed.fabric.address(SCANNER), True)
    assert "open" not in after
    assert others.keys() == {"ok"}, others
