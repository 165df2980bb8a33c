"""Rules that contradict each other: those that can never act, and those of which only the order says which one does.

Which rules meet is found field by field, as sets of rule numbers in the bits of integers (the bit vectors of Lakshman and Stiliadis,
SIGCOMM 1998), so ten thousand rules that do not meet cost no comparison of each with each. The kinds are those of Al-Shaer and Hamed
(INFOCOM 2004): a *shadowed* rule is covered by an earlier one; two rules are in *conflict* when each matches something the other
does not, they meet, and say different things.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from controller.classifier import prefix_of
from controller.firewall import in_order, merged
from controller.policy import Rule

MOST_FINDINGS, MOST_OF_ONE = 200, 3
"""In all, and of one rule: a wide one may meet thousands."""


class Finding(NamedTuple):
    """One of two rules that meet: `rule` comes later."""

    kind: Literal["shadowed", "conflict"]
    rule: Rule
    by: Rule

    def __str__(self) -> str:
        """In words."""
        if self.kind == "shadowed":
            return f"firewall rule {self.rule.id} can never act: {self.by.id} takes everything it matches"
        return f"firewall rules {self.by.id} and {self.rule.id} meet and differ: where both match, {self.by.id} decides"


def shadowed(rules: Iterable[Rule]) -> list[tuple[Rule, Rule]]:
    """(rule, the first earlier one that takes everything it could match) for each rule that can never act."""
    ordered = [judged.rule for judged in in_order(rules)]
    earlier = _Meetings(ordered)
    pairs = []
    for place, rule in enumerate(ordered):
        cover = next((ordered[other] for other in earlier.before(place) if covers(ordered[other], rule)), None)
        if cover is not None:
            pairs.append((rule, cover))
    return pairs


def review(rules: Iterable[Rule]) -> list[Finding]:
    """What an operator should know of the rules, at most `MOST_FINDINGS`; rules that are tried out decide nothing."""
    ordered = [judged.rule for judged in in_order(rules) if not judged.rule.dry_run]
    earlier = _Meetings(ordered)
    found: list[Finding] = []
    for place, rule in enumerate(ordered):
        kinds = ((_kind(rule, ordered[other]), ordered[other]) for other in earlier.before(place))
        of_this = [Finding(kind, rule, other) for kind, other in kinds if kind is not None]
        covered = [finding for finding in of_this if finding.kind == "shadowed"]
        found += covered[:1] or of_this[:MOST_OF_ONE]
        if len(found) >= MOST_FINDINGS:
            break
    return found[:MOST_FINDINGS]


def _kind(rule: Rule, earlier: Rule) -> Literal["shadowed", "conflict"] | None:
    if covers(earlier, rule):
        return "shadowed"
    if earlier.action is rule.action or covers(rule, earlier) or not _ports_meet(rule, earlier):
        return None
    if not (_zones_meet(rule.from_zone, earlier.from_zone) and _zones_meet(rule.to_zone, earlier.to_zone)):
        return None
    return "conflict"


def covers(wide: Rule, narrow: Rule) -> bool:
    """Whether one rule matches everything that the other does, whenever it does."""
    if wide.schedule is not None and wide.schedule != narrow.schedule:
        return False
    if wide.protocol not in (None, narrow.protocol):
        return False
    if wide.from_zone not in (None, narrow.from_zone) or wide.to_zone not in (None, narrow.to_zone):
        return False
    if not (_contains(wide.src, narrow.src) and _contains(wide.dst, narrow.dst)):
        return False
    ports, own = narrow.port_ranges(), tuple(merged(wide.port_ranges()))
    return not own or (
        bool(ports) and all(any(low <= first and last <= high for low, high in own) for first, last in ports)
    )


def _zones_meet(one: str | None, other: str | None) -> bool:
    return one is None or other is None or one == other


def _contains(wide: str | None, narrow: str | None) -> bool:
    if wide is None:
        return True
    if narrow is None or (":" in wide) != (":" in narrow):
        return False
    (network, mask), (inner, inner_mask) = prefix_of(wide), prefix_of(narrow)
    return mask & inner_mask == mask and inner & mask == network


def _ports_meet(one: Rule, other: Rule) -> bool:
    ranges = one.port_ranges(), other.port_ranges()
    if not all(ranges):
        return True
    return any(low <= last and first <= high for low, high in ranges[0] for first, last in ranges[1])


class _Meetings:
    """Which rules meet in both addresses and the protocol."""

    def __init__(self, ordered: Sequence[Rule]) -> None:
        self._rules = ordered
        self._by_src = _meeting(rule.src for rule in ordered)
        self._by_dst = _meeting(rule.dst for rule in ordered)
        self._by_protocol: dict[str | None, int] = {}
        for place, rule in enumerate(ordered):
            self._by_protocol[rule.protocol] = self._by_protocol.get(rule.protocol, 0) | 1 << place

    def before(self, place: int) -> Iterator[int]:
        """The places of earlier rules that the one at this place meets, in order."""
        rule = self._rules[place]
        same = self._by_protocol[rule.protocol] | self._by_protocol.get(None, 0)
        found = self._by_src[rule.src] & self._by_dst[rule.dst] & (same if rule.protocol else -1) & ((1 << place) - 1)
        while found:
            lowest = found & -found
            yield lowest.bit_length() - 1
            found ^= lowest


def _meeting(texts: Iterable[str | None]) -> dict[str | None, int]:
    """For each prefix the rules (as bits) whose prefix overlaps it: those of the same prefix, of wider ones and of narrower ones."""
    at: dict[str | None, int] = {}
    for place, text in enumerate(texts):
        at[text] = at.get(text, 0) | 1 << place
    parsed = {text: (":" in text, *prefix_of(text)) for text in at if text is not None}
    named = {value: text for text, value in parsed.items()}
    masks = {(is_ipv6, mask) for is_ipv6, _, mask in parsed.values()}
    everywhere = at.get(None, 0)
    found = dict(at)
    for text, (is_ipv6, network, mask) in parsed.items():
        found[text] |= everywhere
        for other_is_ipv6, other in masks:
            wider = (
                named.get((is_ipv6, network & other, other))
                if other_is_ipv6 == is_ipv6 and other & mask == other != mask
                else None
            )
            if wider is not None:
                found[text] |= at[wider]
                found[wider] |= at[text]
    if None in found:
        found[None] = (1 << max((bits.bit_length() for bits in at.values()), default=0)) - 1
    return found
