"""Floods of new connections and full tables: named once in a while, over when they are over, and answered by what can be spared."""

from controller.counting import Counters
from controller.decisions import Announce, RemoveFlow
from controller.events import FlowCounted, SwitchRefused
from controller.floods import Floods
from controller.flows import Purpose
from controller.full_tables import OVER_S, SAID_AGAIN_S, FullTables, is_table_full
from controller.full_trackers import UNTRACKED, FullTrackers
from controller.pipeline import ACK, EST, FROM_HOST, SYN, Table
from controller.policy import Firewall
from controller.rule_review import review
from controller.rulebook import NAMESPACE, Rulebook
from controller.tracking import port_limits

PLACE = f"{1:016x}:3"


def counted(counters: Counters, floods: Floods, rates: list[int], limit: int | None = 100) -> list[Announce]:
    said, total = [], 0
    for second, rate in enumerate(rates):
        total += rate
        counters.take(FlowCounted(1, Table.TRACK, {7: total}), {7: ("syn", PLACE)}, float(second))
        said += floods.on_counted(counters, 1, limit, float(second))
    return [one for one in said if isinstance(one, Announce)]


def test_a_port_above_its_limit_is_named_and_its_end_too() -> None:
    floods = Floods()
    said = counted(Counters(), floods, [0, 50, 500, 500, 500, 50])
    assert [one.kind for one in said] == ["syn-flood", "syn-flood-over"]
    assert said[0].fields["place"] == PLACE and floods.since == {}


def test_a_flood_that_goes_on_is_shown_all_the_time_and_named_seldom() -> None:
    floods = Floods()
    said = counted(Counters(), floods, [500] * 40)
    assert len(said) == 2 and floods.since.keys() == {PLACE}


def test_without_a_limit_nothing_is_a_flood() -> None:
    assert counted(Counters(), Floods(), [0, 9000, 9000], limit=None) == []
    assert list(port_limits(1, Table.FIREWALL, [3], None)) == []


def test_a_limit_is_about_what_begins_a_connection_at_that_port() -> None:
    meter, *entries = port_limits(1, Table.FIREWALL, [3], 100)
    assert meter.rate_pps == 100
    assert {entry.meter_id for entry in entries} == {meter.meter_id} and len(entries) == 2
    assert {(entry.match.get("in_port"), entry.match.get("tcp_flags")) for entry in entries} == {(3, (SYN, SYN | ACK))}


def tracked(rates: list[int], syns: dict[str, int]) -> tuple[FullTrackers, list[Announce]]:
    trackers, counters, said, total = FullTrackers(), Counters(), [], 0
    for second, rate in enumerate(rates):
        total += rate
        meaning = {number: ("syn", place) for number, place in enumerate(syns)}
        counted = {number: second * each for number, each in enumerate(syns.values())}
        counters.take(FlowCounted(1, Table.TRACK, counted), meaning, float(second))
        counters.take(FlowCounted(1, Table.OPENED, {7: total}), {7: (UNTRACKED, f"{1:016x}")}, float(second))
        said += trackers.on_counted(counters, 1, float(second))
    return trackers, [one for one in said if isinstance(one, Announce)]


def test_a_full_tracker_is_named_with_the_port_that_opens_most_and_its_end_too() -> None:
    trackers, said = tracked([0, 40, 50, 40, *[0] * 12], {PLACE: 500, f"{1:016x}:4": 10})
    assert [one.kind for one in said] == ["tracker-full", "tracker-full-over"]
    assert said[0].fields == {"dpid": f"{1:016x}", "untracked_per_s": 40.0, "place": PLACE}
    assert trackers.since == {}


def test_a_full_tracker_is_nobodys_where_nobody_opens_most() -> None:
    trackers, said = tracked([0, 40, *[40] * 35], {f"{1:016x}:{port}": 10 for port in range(4)})
    assert [one.fields["place"] for one in said] == [None, None] and trackers.since == {1: 1.0}


def refused(code: int = 1) -> SwitchRefused:
    return SwitchRefused(1, 5, code, b"")


def test_only_a_full_table_is_one() -> None:
    assert is_table_full(refused()) and not is_table_full(refused(2)) and not is_table_full(SwitchRefused(1, 4, 1, b""))


def test_verdicts_go_before_anybody_is_let_out_of_quarantine() -> None:
    spared = {"verdicts": [RemoveFlow(1, 5)], "clients": [RemoveFlow(1, 6)]}
    full = FullTables(lambda dpid, count: spared["verdicts"], lambda count: spared["clients"])
    alert, room = full.on_refused(refused(), 0.0)
    assert isinstance(alert, Announce) and alert.kind == "table-full" and room == RemoveFlow(1, 5)
    assert full.on_refused(refused(), 1.0) == [], "thousands of entries are refused at once"
    spared["verdicts"] = []
    assert full.on_refused(refused(), SAID_AGAIN_S)[1] == RemoveFlow(1, 6)
    spared["clients"] = []
    (alert,) = full.on_refused(refused(), 2 * SAID_AGAIN_S)
    assert "nothing" in alert.text and full.counts == {1: 4}
    assert full.is_full(1, 2 * SAID_AGAIN_S) and not full.is_full(1, 2 * SAID_AGAIN_S + OVER_S)


# --- ten thousand rules ----------------------------------------------------------------------------------------------------------


def many(count: int, **first: object) -> Firewall:
    rules = [
        {
            "id": f"r{n}",
            "action": ("allow", "drop")[n % 2],
            "src": f"10.{n >> 8}.{n & 255}.0/24",
            "protocol": "tcp",
            "dst_ports": [80],
        }
        for n in range(count)
    ]
    rules[0] |= first
    return Firewall.model_validate({"rules": rules})


def test_a_change_of_one_rule_makes_its_entries_anew_and_no_others() -> None:
    book = Rulebook()
    before_rules, after_rules = many(500), many(500, dst_ports=[443])
    recorded = book.apply(before_rules, before_rules.rules)
    assert {record.namespace for record in recorded} == {NAMESPACE} and len(recorded) == 500
    before = dict(book.part.flows)
    assert book.apply(after_rules, after_rules.rules) == []
    after = book.part.flows
    assert len(before.keys() - after.keys()) == len(after.keys() - before.keys()) == 3
    assert all(after[cookie] is before[cookie] for cookie in after.keys() & before.keys())


def test_priorities_are_those_of_the_run_before() -> None:
    firewall, first, second = many(50), Rulebook(), Rulebook()
    records = first.apply(firewall, firewall.rules)
    reordered = firewall.model_copy(update={"rules": (*firewall.rules[10:], *firewall.rules[:10])})
    records += first.apply(reordered, reordered.rules)
    second.restore({record.key: record.value for record in records if record.value is not None})
    assert second.apply(reordered, reordered.rules) == []
    assert second.part.flows.keys() == first.part.flows.keys()


def test_a_preview_changes_nothing() -> None:
    book, firewall = Rulebook(), many(20)
    book.apply(firewall, firewall.rules)
    flows, priorities = dict(book.part.flows), dict(book.priorities)
    other = many(25)
    assert len(book.preview(other, other.rules).part.flows) > len(flows)
    assert (book.part.flows, book.priorities) == (flows, priorities)


def test_the_review_finds_what_meets_among_thousands_that_do_not() -> None:
    firewall = many(3000)
    across = {"id": "across", "action": "reject", "dst": "10.0.0.0/8", "protocol": "tcp", "dst_ports": [80]}
    hidden = {"id": "hidden", "action": "allow", "src": "10.5.5.128/25", "protocol": "tcp", "dst_ports": [80]}
    documents = [*(rule.model_dump(mode="json") for rule in firewall.rules[:1400]), across, hidden]
    found = review(Firewall.model_validate({"rules": documents}).rules)
    assert {(one.kind, one.rule.id, one.by.id) for one in found if one.rule.id == "hidden"} == {
        ("shadowed", "hidden", "r1285")
    }
    assert {one.kind for one in found if one.rule.id == "across"} == {"conflict"}


def test_an_entry_of_a_rule_never_gets_a_verdicts_purpose() -> None:
    """Those are not reconciled: one of a rule would stay for good."""
    firewall = Firewall.model_validate({"rules": [{"action": "allow", "inspect": "first-packet", "log": True}]})
    book = Rulebook()
    book.apply(firewall, firewall.rules)
    purposes = {flow.purpose for flow in book.part.flows.values()}
    assert purposes.isdisjoint({Purpose.VERDICT, Purpose.WAITING})
    assert any(flow.match.get("ct_state") == (EST, EST) for flow in book.part.flows.values())
    assert any(flow.match.get("reg0") == FROM_HOST for flow in book.part.flows.values())
