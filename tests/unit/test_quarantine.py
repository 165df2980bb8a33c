"""Clients that are kept out for a time, at the port where they live."""

from dataclasses import replace

import pytest

from controller import addresses
from controller.decisions import Persist
from controller.pipeline import IPV6, Table
from controller.quarantine import FIRST_TTL_S, FORGIVEN_AFTER_S, LONGEST_TTL_S, MAX_ENTRIES, Quarantine, QuarantineError
from controller.topology import Host

CLIENT = Host(0x0A000101, 0x020000000101, 1, 3)
NEIGHBOUR = Host(0x0A000102, 0x020000000102, 1, 4)


def test_an_entry_bites_at_its_clients_port_and_on_its_station() -> None:
    quarantine = Quarantine()
    quarantine.add("10.0.1.1", "drop", 0.0)
    (flow,) = quarantine.flows([CLIENT, NEIGHBOUR])
    assert (flow.table_id, flow.actions, flow.goto) == (Table.ADMISSION, (), None)
    assert dict(flow.match.fields) == {
        "in_port": 3,
        "eth_src": CLIENT.mac,
        "eth_type": 0x0800,
        "ipv4_src": CLIENT.ip,
    }


def test_an_entry_for_a_vip_leaves_the_rest_of_the_fabric_to_the_client() -> None:
    quarantine = Quarantine()
    quarantine.add("10.0.1.1", "drop", 0.0, vip="web", vip_address=0x0A000064)
    (flow,) = quarantine.flows([CLIENT])
    assert flow.match.get("ipv4_dst") == 0x0A000064


def test_a_prefix_meets_every_host_in_it() -> None:
    quarantine = Quarantine()
    quarantine.add("10.0.1.0/24", "drop", 0.0)
    assert len(list(quarantine.flows([CLIENT, NEIGHBOUR, Host(0x0A000201, 1, 2, 1)]))) == 2


def test_it_ends_by_itself() -> None:
    quarantine = Quarantine()
    entry, _ = quarantine.add("10.0.1.1", "drop", 100.0, ttl_s=60)
    assert quarantine.next_deadline() == 160.0
    assert quarantine.on_tick(159.9) == []
    quarantine.changed = False
    assert Persist("quarantine", entry.id, None) in quarantine.on_tick(160.0)
    assert quarantine.changed and list(quarantine.flows([CLIENT])) == []


def test_whoever_offends_again_stays_out_twice_as_long() -> None:
    quarantine, now, lasted = Quarantine(), 0.0, []
    for _ in range(12):
        entry, _ = quarantine.add("10.0.1.1", "drop", now)
        lasted.append(entry.ttl_s)
        quarantine.remove(entry.id)
        now += 60
    assert lasted[:4] == [FIRST_TTL_S, 2 * FIRST_TTL_S, 4 * FIRST_TTL_S, 8 * FIRST_TTL_S]
    assert lasted[-1] == LONGEST_TTL_S


def test_what_was_forgiven_is_not_counted_again() -> None:
    quarantine = Quarantine()
    for now in (0.0, 60.0, 120.0):
        entry, _ = quarantine.add("10.0.1.1", "drop", now)
        quarantine.remove(entry.id)
    much_later = 120.0 + FORGIVEN_AFTER_S + 1
    entry, _ = quarantine.add("10.0.1.1", "drop", much_later)
    assert entry.ttl_s == FIRST_TTL_S
    quarantine.remove(entry.id)
    entry, _ = quarantine.add("10.0.1.1", "drop", much_later + 60)
    assert entry.ttl_s == 2 * FIRST_TTL_S


def test_entries_outlive_the_controller_under_their_ids() -> None:
    before = Quarantine()
    entry, decisions = before.add("10.0.1.1", "drop", 5.0, reason="hostile", incident="i3")
    (record,) = [decision for decision in decisions if isinstance(decision, Persist)]
    after = Quarantine()
    after.restore({record.key: record.value})
    assert after.entries == {entry.id: entry}
    another, _ = after.add("10.0.1.2", "drop", 6.0)
    assert another.id != entry.id


@pytest.mark.parametrize("client", ["2001:db8::1", "2001:db8::/32"])
def test_an_ipv6_client_is_kept_out_at_its_own_port_too(client: str) -> None:
    quarantine = Quarantine()
    quarantine.add(client, "drop", 0.0)
    suspect = replace(CLIENT, ip=addresses.number("2001:db8::1"))
    neighbour = replace(CLIENT, ip=addresses.number("2001:db9::1"))
    (flow,) = quarantine.flows([CLIENT, suspect, neighbour])
    assert dict(flow.match.fields) == {
        "in_port": CLIENT.port_no, "eth_src": CLIENT.mac, "eth_type": IPV6, "ipv6_src": suspect.ip
    }  # fmt: skip


def test_an_entry_for_one_vip_says_nothing_of_the_other_family() -> None:
    quarantine = Quarantine()
    quarantine.add("0.0.0.0/0", "drop", 0.0, vip="web", vip_address=addresses.number("fd00::64"))
    assert list(quarantine.flows([CLIENT])) == []


def test_what_the_data_plane_does_not_do_is_refused() -> None:
    quarantine = Quarantine()
    with pytest.raises(QuarantineError, match="isolate"):
        quarantine.add("10.0.1.1", "isolate", 0.0)
    assert list(quarantine.flows([CLIENT])) == []


def test_there_is_room_for_so_many_and_one_client_is_in_once() -> None:
    quarantine = Quarantine()
    for number in range(MAX_ENTRIES):
        quarantine.add(f"10.1.{number >> 8}.{number & 255}", "drop", 0.0)
    with pytest.raises(QuarantineError, match=str(MAX_ENTRIES)):
        quarantine.add("10.0.1.1", "drop", 0.0)
    quarantine.remove("q1")
    with pytest.raises(QuarantineError, match="already"):
        quarantine.add("10.1.0.5", "drop", 0.0)
    assert quarantine.remove("q1") is None
