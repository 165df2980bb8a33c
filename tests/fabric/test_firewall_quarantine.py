"""Clients that are kept out, on real switches: both directions at once, to the second, and nobody else."""

import time
from collections.abc import Iterator

import pytest
from bed import MEMBER_PORT, VIP, VIP_PORT, Bed, one_vip, outcomes, pool
from running_controller import Refused, soon

from topologies.leaf_spine import LeafSpineTopo

pytestmark = pytest.mark.one_framework

ATTACKS = True
TOPOLOGY = LeafSpineTopo(spines=1, leaves=2, hosts=3)
CLIENT, OTHER, CLINIC = "h1", "h3", "h6"
MEMBERS = ("h2", "h5")
EXACT_S = 1.0


@pytest.fixture(autouse=True)
def all_well(bed: Bed) -> Iterator[None]:
    bed.serve(*MEMBERS, CLINIC)
    bed.apply(policy(bed))
    yield
    for entry in bed.controller.get("quarantine")["items"]:
        bed.controller.request("DELETE", f"quarantine/{entry['id']}")


def policy(bed: Bed, **quarantine: object) -> dict:
    return {**one_vip(pool(bed, *MEMBERS)), "quarantine": quarantine}


def put_away(bed: Bed, host: str, **fields: object) -> dict:
    return bed.controller.request("POST", "quarantine", {"client": bed.fabric.address(host), **fields})


def answered(bed: Bed, host: str, address: str = VIP, port: int = VIP_PORT) -> bool:
    return outcomes(bed.ask(host, address=address, port=port, timeout_s=0.5)) == {"ok": 1}


def test_open_connections_stop_in_both_directions_and_nobody_else_notices(bed: Bed) -> None:
    with bed.keep(CLIENT, 5) as cut, bed.keep(OTHER, 5) as others, bed.frames(CLIENT) as port:
        time.sleep(0.5)
        put_away(bed, CLIENT)
        time.sleep(0.3)
        since = len(port.look())
        time.sleep(1.0)
        arrived = [segment for segment in port.segments("in", since) if segment.src_port == VIP_PORT]
        assert port.segments("out", since) and not arrived, "members retransmit, and it does not get through"
        assert outcomes(others.finish()) == {"ok": 5}
        assert outcomes(cut.finish()).get("ok", 0) == 0
    assert not answered(bed, CLIENT) and answered(bed, OTHER)


def test_it_ends_by_itself_to_the_second(bed: Bed) -> None:
    began = time.monotonic()
    put_away(bed, CLIENT, ttl_s=3)
    assert not answered(bed, CLIENT)
    soon("it is let go", lambda: answered(bed, CLIENT), 6)
    assert abs(time.monotonic() - began - 3) < EXACT_S
    assert bed.controller.get("quarantine")["items"] == []


def test_it_ends_by_itself_although_the_controller_is_away(bed: Bed) -> None:
    put_away(bed, CLIENT, ttl_s=4)
    began = time.monotonic()
    soon("it is in force", lambda: not answered(bed, CLIENT), 2)
    bed.controller.kill()
    assert not answered(bed, CLIENT)
    soon("it is let go", lambda: answered(bed, CLIENT), 8)
    assert abs(time.monotonic() - began - 4) < EXACT_S
    bed.restart_controller()
    assert bed.controller.get("quarantine")["items"] == []


def test_entries_ids_and_offences_survive_kill_9(bed: Bed) -> None:
    first = put_away(bed, CLIENT, ttl_s=1)
    kept = put_away(bed, OTHER, ttl_s=60)
    soon("the first has ended", lambda: len(bed.controller.get("quarantine")["items"]) == 1)
    bed.controller.kill()
    bed.restart_controller()
    (entry,) = bed.controller.get("quarantine")["items"]
    assert entry == kept
    assert bed.controller.durable("offences").keys() == {bed.fabric.address(CLIENT), bed.fabric.address(OTHER)}
    again = put_away(bed, CLIENT)
    assert int(again["id"][1:]) == int(first["id"][1:]) + 2
    assert not answered(bed, OTHER)


def test_the_isolated_reach_the_remediation_address_and_nothing_else(bed: Bed) -> None:
    bed.apply(policy(bed, remediation=[bed.fabric.address(CLINIC)]))
    put_away(bed, CLIENT, action="isolate")
    assert answered(bed, CLIENT, bed.fabric.address(CLINIC), MEMBER_PORT)
    assert not answered(bed, CLIENT)
    assert not answered(bed, CLIENT, bed.fabric.address(OTHER), MEMBER_PORT)
    assert not answered(bed, OTHER, bed.fabric.address(CLIENT), MEMBER_PORT)


def test_the_limited_get_so_many_packets_and_no_more(bed: Bed) -> None:
    bed.apply(policy(bed, limit_pps=20))
    put_away(bed, CLIENT, action="limit")
    time.sleep(0.2)
    sent = bed.fabric.run(CLIENT, "ping", "-i0.01", "-c300", "-w3", bed.fabric.address(CLINIC)).stdout
    received = int(sent.partition(" received")[0].rpartition(" ")[2])
    # 20 a second for about 3 s, and the burst.
    assert 40 <= received <= 75, sent
    other = bed.fabric.run(OTHER, "ping", "-i0.01", "-c100", "-w3", bed.fabric.address(CLINIC)).stdout
    assert " 100 received" in other


def test_one_flow_is_kept_out_and_the_others_pass(bed: Bed) -> None:
    clinic = bed.fabric.address(CLINIC)
    put_away(bed, CLIENT, dst=clinic, protocol="tcp", dst_port=MEMBER_PORT)
    assert not answered(bed, CLIENT, clinic, MEMBER_PORT)
    assert answered(bed, CLIENT)
    assert " 1 received" in bed.fabric.run(CLIENT, "ping", "-c1", "-W1", clinic).stdout


def test_who_is_on_the_allow_list_is_refused_with_its_reason(bed: Bed) -> None:
    bed.apply(policy(bed, allow_list=[bed.fabric.address(OTHER)]))
    with pytest.raises(Refused, match=r"quarantine\.allow_list") as refused:
        put_away(bed, OTHER)
    assert refused.value.status == 409
    assert bed.controller.get("quarantine")["items"] == [] and answered(bed, OTHER)


def test_an_entry_at_a_port_leaves_whoever_has_the_address_elsewhere_alone(bed: Bed) -> None:
    leaf = bed.fabric.dpid("leaf1")
    put_away(bed, CLIENT, place=f"{leaf}:{bed.fabric.port_no('leaf1', OTHER)}")
    assert answered(bed, CLIENT)
    put_away(bed, CLIENT, place=f"{leaf}:{bed.fabric.port_no('leaf1', CLIENT)}", vip="web")
    assert not answered(bed, CLIENT)
