"""Clients that are kept out for a time, at the port where they live."""

from dataclasses import replace

import pytest

from controller import addresses
from controller.decisions import Announce, Persist
from controller.isolation import DROP, ISOLATE, LIMIT, REMEDIATION, flows, meters
from controller.pipeline import IPV6, Table
from controller.policy import QuarantineSettings
from controller.quarantine import FIRST_TTL_S, FORGIVEN_AFTER_S, LONGEST_TTL_S, Quarantine, QuarantineError
from controller.topology import Host

CLIENT = Host(0x0A000101, 0x020000000101, 1, 3)
NEIGHBOUR = Host(0x0A000102, 0x020000000102, 1, 4)
CLINIC = "10.0.0.53"


def settled(**settings: object) -> Quarantine:
    quarantine = Quarantine()
    quarantine.apply(QuarantineSettings.model_validate(settings))
    return quarantine


def test_an_entry_bites_at_its_clients_port_and_on_its_station() -> None:
    quarantine = Quarantine()
    quarantine.add("10.0.1.1", "drop", 0.0)
    sent, received = flows(quarantine, [CLIENT, NEIGHBOUR])
    assert (sent.table_id, sent.actions, sent.goto) == (Table.ADMISSION, (), None)
    assert dict(sent.match.fields) == {
        "in_port": 3,
        "eth_src": CLIENT.mac,
        "eth_type": 0x0800,
        "ipv4_src": CLIENT.ip,
    }
    assert (received.table_id, received.actions, received.goto) == (Table.ROUTE, (), None)
    assert dict(received.match.fields) == {"eth_type": 0x0800, "ipv4_dst": CLIENT.ip}, "both directions stop at once"


def test_an_entry_for_a_vip_leaves_the_rest_of_the_fabric_to_the_client() -> None:
    quarantine = Quarantine()
    quarantine.add("10.0.1.1", "drop", 0.0, vip="web", vip_address=0x0A000064)
    sent, received = flows(quarantine, [CLIENT])
    assert (sent.match.get("ipv4_dst"), received.match.get("ipv4_src")) == (0x0A000064, 0x0A000064)


def test_an_entry_for_a_flow_leaves_the_clients_other_flows_alone() -> None:
    quarantine = Quarantine()
    quarantine.add("10.0.1.1", "drop", 0.0, dst="10.0.2.0/24", protocol="tcp", dst_port=22)
    sent, received = flows(quarantine, [CLIENT])
    assert (sent.match.get("ipv4_dst"), sent.match.get("tcp_dst")) == ((0x0A000200, 0xFFFFFF00), 22)
    assert (received.match.get("ipv4_src"), received.match.get("tcp_src")) == ((0x0A000200, 0xFFFFFF00), 22)
    quarantine.add("10.0.1.1", "drop", 0.0, protocol="tcp", dst_port=23)
    assert {entry.client for entry in quarantine.entries.values()} == {"10.0.1.1"}, "another flow is another entry"


def test_a_prefix_meets_every_host_in_it() -> None:
    quarantine = Quarantine()
    quarantine.add("10.0.1.0/24", "drop", 0.0)
    assert len(list(flows(quarantine, [CLIENT, NEIGHBOUR, Host(0x0A000201, 1, 2, 1)]))) == 4


def test_a_limit_lets_so_much_pass_each_way() -> None:
    quarantine = settled(limit_pps=25)
    quarantine.add("10.0.1.1", "limit", 0.0)
    sent, received = flows(quarantine, [CLIENT])
    there, back = meters(quarantine)
    assert (there.rate_pps, back.rate_pps, sent.meter_id, received.meter_id) == (25, 25, there.meter_id, back.meter_id)
    assert sent.goto == Table.TRACK and len(received.actions) == 2


def test_the_isolated_may_talk_to_whoever_helps_them_and_to_nobody_else() -> None:
    quarantine = settled(remediation=[CLINIC])
    quarantine.add("10.0.1.1", "isolate", 0.0)
    by_priority = {(flow.table_id, flow.priority): flow for flow in flows(quarantine, [CLIENT])}
    assert sorted(by_priority) == [(0, ISOLATE), (0, REMEDIATION), (5, ISOLATE), (5, REMEDIATION)]
    assert by_priority[0, REMEDIATION].match.get("ipv4_dst") == 0x0A000035
    assert by_priority[5, REMEDIATION].match.get("ipv4_src") == 0x0A000035
    assert by_priority[0, REMEDIATION].goto == Table.TRACK and by_priority[0, ISOLATE].goto is None
    with pytest.raises(QuarantineError, match=r"quarantine\.remediation"):
        Quarantine().add("10.0.1.1", "isolate", 0.0)


def test_of_two_entries_about_one_client_the_harder_one_counts() -> None:
    quarantine = settled()
    quarantine.add("10.0.1.1", "drop", 0.0)
    quarantine.add("10.0.1.0/24", "limit", 0.0)
    assert {flow.priority for flow in flows(quarantine, [CLIENT])} == {LIMIT, DROP} and DROP > ISOLATE > LIMIT


def test_an_address_that_somebody_else_used_does_not_take_its_owner_down() -> None:
    """An attacker taught the fabric a victim's address before the victim came: evidence against that port is none against the victim."""
    quarantine = Quarantine()
    quarantine.add("10.0.1.1", "drop", 0.0, place=f"{1:016x}:3", automatic=True)
    assert len(list(flows(quarantine, [CLIENT]))) == 2
    assert list(flows(quarantine, [Host(CLIENT.ip, 0x020000000999, 1, 4)])) == []


def test_nobody_on_the_allow_list_is_put_away() -> None:
    quarantine = settled(allow_list=["10.0.1.0/28"])
    for client in ("10.0.1.1", "10.0.0.0/16"):
        with pytest.raises(QuarantineError, match=r"10\.0\.1\.0/28 of quarantine\.allow_list"):
            quarantine.add(client, "drop", 0.0)
    quarantine.add("10.0.1.16", "drop", 0.0)
    released = quarantine.apply(QuarantineSettings(allow_list=("10.0.1.16",)))
    assert quarantine.entries == {} and Persist("quarantine", "q1", None) in released


def test_who_came_on_the_allow_list_in_a_prefix_that_is_away_is_left_alone() -> None:
    quarantine = Quarantine()
    quarantine.add("10.0.1.0/24", "drop", 0.0)
    quarantine.apply(QuarantineSettings(allow_list=("10.0.1.1",)))
    assert {flow.match.get("ipv4_src") for flow in flows(quarantine, [CLIENT, NEIGHBOUR])} == {NEIGHBOUR.ip, None}


def test_it_ends_by_itself() -> None:
    quarantine = Quarantine()
    entry, _ = quarantine.add("10.0.1.1", "drop", 100.0, ttl_s=60)
    assert quarantine.next_deadline() == 160.0
    assert quarantine.on_tick(159.9) == []
    quarantine.changed = False
    assert Persist("quarantine", entry.id, None) in quarantine.on_tick(160.0)
    assert quarantine.changed and list(flows(quarantine, [CLIENT])) == []


def test_whoever_offends_again_stays_out_twice_as_long() -> None:
    quarantine, now, lasted = Quarantine(), 0.0, []
    for _ in range(12):
        entry, _ = quarantine.add("10.0.1.1", "drop", now)
        lasted.append(entry.ttl_s)
        quarantine.remove(entry.id)
        now += 60
    assert lasted[:4] == [FIRST_TTL_S, 2 * FIRST_TTL_S, 4 * FIRST_TTL_S, 8 * FIRST_TTL_S]
    assert lasted[-1] == LONGEST_TTL_S


def test_one_offence_is_forgiven_for_each_quiet_hour() -> None:
    quarantine = Quarantine()
    for now in (0.0, 60.0, 120.0):
        entry, _ = quarantine.add("10.0.1.1", "drop", now, ttl_s=60)
        quarantine.remove(entry.id)
    ended = 180.0
    later = [ended + hours * FORGIVEN_AFTER_S + 1 for hours in (0, 1, 2, 3, 9)]
    assert [quarantine.ttl_for("10.0.1.1", now) for now in later] == [FIRST_TTL_S << n for n in (3, 2, 1, 0, 0)]


def test_entries_outlive_the_controller_under_their_ids() -> None:
    before = Quarantine()
    entry, decisions = before.add("10.0.1.1", "drop", 5.0, reason="hostile", incident="i3")
    after = Quarantine()
    after.restore(*(stored(decisions).get(name, {}) for name in ("quarantine", "offences", "serials")))
    assert after.entries == {entry.id: entry}
    another, _ = after.add("10.0.1.2", "drop", 6.0)
    assert another.id != entry.id


def stored(decisions: list[object]) -> dict[str, dict[str, object]]:
    """What a store holds after these decisions."""
    found: dict[str, dict[str, object]] = {}
    for record in decisions:
        if isinstance(record, Persist):
            found.setdefault(record.namespace, {})[record.key] = record.value
            if record.value is None:
                del found[record.namespace][record.key]
    return found


def test_a_restart_without_entries_forgets_neither_offences_nor_ids() -> None:
    before = Quarantine()
    entry, decisions = before.add("10.0.1.1", "drop", 0.0, ttl_s=60)
    records = stored([*decisions, *before.on_tick(60.0)])
    assert records["quarantine"] == {}
    after = Quarantine()
    after.restore(*(records.get(name, {}) for name in ("quarantine", "offences", "serials")))
    again, _ = after.add("10.0.1.1", "drop", 70.0)
    assert (again.ttl_s, again.id) == (2 * FIRST_TTL_S, "q2") and again.id != entry.id


def test_what_is_forgiven_does_not_fill_the_store() -> None:
    quarantine = Quarantine()
    _, decisions = quarantine.add("10.0.1.1", "drop", 0.0, ttl_s=60)
    much_later = 61 + FORGIVEN_AFTER_S
    records = stored([*decisions, *quarantine.on_tick(60.0), *quarantine.on_tick(much_later)])
    assert records["offences"] == {}


@pytest.mark.parametrize("client", ["2001:db8::1", "2001:db8::/32"])
def test_an_ipv6_client_is_kept_out_at_its_own_port_too(client: str) -> None:
    quarantine = Quarantine()
    quarantine.add(client, "drop", 0.0)
    suspect = replace(CLIENT, ip=addresses.number("2001:db8::1"))
    neighbour = replace(CLIENT, ip=addresses.number("2001:db9::1"))
    flow, _ = flows(quarantine, [CLIENT, suspect, neighbour])
    assert dict(flow.match.fields) == {
        "in_port": CLIENT.port_no, "eth_src": CLIENT.mac, "eth_type": IPV6, "ipv6_src": suspect.ip
    }  # fmt: skip


def test_an_entry_for_one_vip_says_nothing_of_the_other_family() -> None:
    quarantine = Quarantine()
    quarantine.add("0.0.0.0/0", "drop", 0.0, vip="web", vip_address=addresses.number("fd00::64"))
    assert list(flows(quarantine, [CLIENT])) == []


def test_the_oldest_automatic_entry_makes_room() -> None:
    quarantine = settled(max_entries=3)
    for number, automatic in ((1, False), (2, True), (3, True)):
        quarantine.add(f"10.1.0.{number}", "drop", float(number), automatic=automatic)
    _, decisions = quarantine.add("10.1.0.4", "drop", 4.0, automatic=True)
    assert [entry.client for entry in quarantine.entries.values()] == ["10.1.0.1", "10.1.0.3", "10.1.0.4"]
    assert [said.fields["client"] for said in decisions if isinstance(said, Announce)][:1] == ["10.1.0.2"]


def test_what_operators_put_there_makes_room_for_nobody_and_one_client_is_in_once() -> None:
    quarantine = settled(max_entries=2)
    for number in (1, 2):
        quarantine.add(f"10.1.0.{number}", "drop", 0.0)
    with pytest.raises(QuarantineError, match="2 entries"):
        quarantine.add("10.1.0.3", "drop", 0.0)
    quarantine.remove("q1")
    with pytest.raises(QuarantineError, match="already"):
        quarantine.add("10.1.0.2", "drop", 0.0)
    assert quarantine.remove("q1") is None
