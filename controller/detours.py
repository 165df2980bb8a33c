"""Two ways to a switch that share no link in one direction: what a packet takes when its own way is dead.

Every switch gets two next hops towards the target. Those of the first kind make one tree, those of the second another, and no link is in
both in the same direction. So a switch whose way is dead can put a packet on the tree that does not begin with that link: such a
way does not come back to the switch, and so never meets the link again. Any one cut is survived without anybody being told
(Chiesa et al., "On the Resiliency of Static Forwarding Tables", IEEE/ACM Transactions on Networking, 2017, for k = 2).

The trees grow by ears: a walk from the trees through new switches and back to them, one tree along it, the other against it. Where
there is no way back the link is a bridge: both trees cross it, and nothing survives its cut.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Link(NamedTuple):
    """One way out of a switch: its port, the switch beyond, and the port there."""

    port_no: int
    beyond: int
    far_port_no: int


Links = Mapping[int, Sequence[Link]]
"""The links of each switch by dpid, in the order in which they are preferred."""


def detours(links: Links, target: int) -> dict[int, tuple[int, int]]:
    """The ports of each switch that reaches `target` on the first and the second tree; the same port twice over a bridge."""
    ways: dict[int, tuple[int, int]] = {target: (0, 0)}
    grown = deque([target])
    while grown:
        for link in links.get(grown.popleft(), ()):
            if link.beyond not in ways:
                new = _ear(links, ways, link) or {link.beyond: (link.far_port_no,) * 2}
                ways |= new
                grown += new
        # A switch on an ear may have links to further new switches, and comes up later.
    del ways[target]
    return ways


def _ear(links: Links, ways: Mapping[int, object], first: Link) -> dict[int, tuple[int, int]]:
    """The switches on a shortest walk from `first` back to the trees, with their ways; empty when `first` is a bridge."""
    came_by: dict[int, tuple[int, Link] | None] = {first.beyond: None}
    waiting = deque([first.beyond])
    while waiting:
        near = waiting.popleft()
        for link in links.get(near, ()):
            if near == first.beyond and link.port_no == first.far_port_no:
                continue
            if link.beyond in ways:
                return _along(came_by, near, link, first)
            if link.beyond not in came_by:
                came_by[link.beyond] = near, link
                waiting.append(link.beyond)
    return {}


def _along(
    came_by: Mapping[int, tuple[int, Link] | None], last: int, out: Link, first: Link
) -> dict[int, tuple[int, int]]:
    """Back along the walk: the first tree leads to where it began, the second to where it ended."""
    ear: dict[int, tuple[int, int]] = {}
    here, onward = last, out.port_no
    while (step := came_by[here]) is not None:
        before, link = step
        ear[here] = link.far_port_no, onward
        here, onward = before, link.port_no
    ear[here] = first.far_port_no, onward
    return ear
