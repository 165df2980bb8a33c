"""What the switches tell of members at work, against what the servers' and clients' own programs say."""

from collections.abc import Iterator

import pytest
from bed import Bed, one_vip, outcomes, pool
from running_controller import soon

from topologies.leaf_spine import LeafSpineTopo
from topologies.servers import Nginx

pytestmark = pytest.mark.one_framework

MEMBERS = ["h2", "h4", "h6"]
CLIENT = "h1"
BIG = 5_000_000


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    with Bed(LeafSpineTopo(), tmp_path_factory.mktemp("member-load")) as made:
        made.serve(*MEMBERS)
        yield made


@pytest.fixture(autouse=True)
def in_force(bed: Bed) -> None:
    bed.apply(one_vip(pool(bed, *MEMBERS)))


def total(bed: Bed, name: str) -> int:
    return sum(member[name] or 0 for member in bed.controller.members().values())


def test_open_connections_are_counted_and_forgotten_when_they_end(bed: Bed) -> None:
    before = total(bed, "connections_active")
    with bed.keep(CLIENT, 40, interval_s=0.2) as kept:
        soon("40 are open", lambda: total(bed, "connections_active") == before + 40, 8, bed.controller.members)
        assert outcomes(kept.finish()) == {"ok": 40}
    soon("none is open", lambda: total(bed, "connections_active") == before, 8, bed.controller.members)


def test_aborted_connections_end_too(bed: Bed) -> None:
    before = total(bed, "connections_active")
    bed.ask(CLIENT, 100, abort=True)
    soon("all are counted", lambda: total(bed, "connections_active") <= before + 2, 8, bed.controller.members)


def test_bytes_are_those_of_the_download(bed: Bed) -> None:
    server = Nginx(bed.fabric, "h5", 8081).start()
    (server.files / "big").write_bytes(bytes(BIG))
    web = pool(bed, "h5")
    web["members"][0]["port"] = 8081
    bed.apply(one_vip(web))
    before = total(bed, "bytes_from")
    fetched = bed.fabric.run(CLIENT, "curl", "-s", "-o", "/dev/null", "-w", "%{size_download}", "http://10.0.0.100/big")
    assert fetched.stdout == str(BIG)

    def share() -> float:
        return (total(bed, "bytes_from") - before) / BIG

    # Frames are a tenth longer than their data at the most; a retransmission counts again.
    soon("the bytes are counted", lambda: 1.0 <= share() <= 1.1, 8, share)
    server.stop()


def test_latency_and_answers_are_those_of_real_connections(bed: Bed) -> None:
    connections = bed.ask(CLIENT, 400, rate=100)
    slowest = max(connection["connect_ms"] for connection in connections)
    members = bed.controller.members

    def all_answer() -> bool:
        # SYNs and SYN-ACKs are counted by different entries, read one after the other: their rates agree once they have settled.
        return all(member["handshake_ratio"] == pytest.approx(1.0, abs=0.1) for member in members().values())

    soon("every SYN was answered", all_answer, 8, members)
    for name, member in members().items():
        assert 0 < member["handshake_ms"] <= slowest, name
