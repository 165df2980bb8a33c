"""Verdicts that are cached: right for every packet they are cached for, and not for fewer than they could be."""

import ipaddress

from any_policy import firewalls
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.classifier import Classifier, FirstPacket
from controller.firewall import in_order
from controller.policy import Firewall, Rule
from controller.widening import Region, widest

ADDRESSES = ["10.0.0.100", "10.0.0.101", "10.0.1.1", "10.0.1.200", "10.0.2.2", "10.200.0.1", "192.0.2.7", "203.0.113.9"]
packets = st.builds(
    FirstPacket,
    st.sampled_from(ADDRESSES).map(lambda text: int(ipaddress.ip_address(text))),
    st.sampled_from(ADDRESSES).map(lambda text: int(ipaddress.ip_address(text))),
    st.sampled_from([1, 6, 17]),
    st.just(40_000),
    st.sampled_from([1, 80, 85, 90, 91, 443, 999, 1000, 1999, 8080, 65535]),
)
RULES = firewalls().map(Firewall.model_validate)


def about(rule: Rule, packet: FirstPacket) -> bool:
    """Read off the rule, field by field."""
    return (
        rule.protocol in (None, packet.name)
        and all(
            text is None or ipaddress.ip_address(address) in ipaddress.ip_network(text)
            for text, address in ((rule.src, packet.src), (rule.dst, packet.dst))
        )
        and (not rule.dst_ports or any(low <= packet.dst_port <= high for low, high in rule.port_ranges()))
    )


def decided(firewall: Firewall, packet: FirstPacket) -> tuple[Region, list[Rule], Rule | None]:
    ordered = [judged.rule for judged in in_order(firewall.rules)]
    rule = Classifier(ordered).first(packet)
    before = ordered[: ordered.index(rule)] if rule else ordered
    others = [other for other in before if rule is None or other.action is not rule.action]
    return widest(packet, rule, others), others, rule


@settings(max_examples=300, deadline=None)
@given(RULES, packets)
def test_the_first_rule_is_found_without_reading_all_of_them(firewall: Firewall, packet: FirstPacket) -> None:
    ordered = [judged.rule for judged in in_order(firewall.rules)]
    assert Classifier(ordered).first(packet) == next((rule for rule in ordered if about(rule, packet)), None)


@settings(max_examples=300, deadline=None)
@given(RULES, packets, st.lists(packets, min_size=5, max_size=20))
def test_a_cached_verdict_is_right_for_everything_it_is_cached_for(
    firewall: Firewall, packet: FirstPacket, more: list[FirstPacket]
) -> None:
    region, _, _ = decided(firewall, packet)
    assert region.holds(packet)
    ordered = [judged.rule for judged in in_order(firewall.rules)]

    def action(one: FirstPacket) -> str:
        rule = next((rule for rule in ordered if about(rule, one)), None)
        return rule.action if rule else firewall.default

    for one in more:
        if region.holds(one):
            assert action(one) == action(packet)


@settings(max_examples=300, deadline=None)
@given(RULES, packets)
def test_no_field_could_be_wider_by_one_bit(firewall: Firewall, packet: FirstPacket) -> None:
    region, others, rule = decided(firewall, packet)
    whole = {"src": 32, "dst": 32, "dst_port": 16}
    for name, bits in whole.items():
        value, mask = getattr(region, name)
        if mask == 0:
            continue
        wider = (mask << 1) & ((1 << bits) - 1)
        larger = region._replace(**{name: (value & wider, wider)})
        assert meets_another(larger, others, packet) or not within(larger, rule), name


def span(value: int, mask: int, bits: int) -> tuple[int, int]:
    return value, value | (~mask & ((1 << bits) - 1))


def prefix_span(text: str | None) -> tuple[int, int]:
    network = ipaddress.ip_network(text or "0.0.0.0/0")
    return int(network[0]), int(network[-1])


def meets_another(region: Region, others: list[Rule], packet: FirstPacket) -> bool:
    def overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
        return one[0] <= other[1] and other[0] <= one[1]

    return any(
        rule.protocol in (None, packet.name)
        and overlap(span(*region.src, 32), prefix_span(rule.src))
        and overlap(span(*region.dst, 32), prefix_span(rule.dst))
        and (not rule.dst_ports or any(overlap(span(*region.dst_port, 16), ports) for ports in rule.port_ranges()))
        for rule in others
    )


def within(region: Region, rule: Rule | None) -> bool:
    def inside(one: tuple[int, int], other: tuple[int, int]) -> bool:
        return other[0] <= one[0] and one[1] <= other[1]

    return rule is None or (
        inside(span(*region.src, 32), prefix_span(rule.src))
        and inside(span(*region.dst, 32), prefix_span(rule.dst))
        and (not rule.dst_ports or any(inside(span(*region.dst_port, 16), ports) for ports in rule.port_ranges()))
    )
