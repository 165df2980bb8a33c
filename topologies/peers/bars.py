"""Figures as bars: a picture for docs/ that needs no program to be looked at, light or dark (SVG 1.1)."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from topologies.peers.bed import RESETLB

_WIDTH, _RIGHT, _LETTER, _BAR, _PITCH, _HEAD = 720, 110, 6.5, 12, 17, 26
"""Pixels; `_RIGHT` is left for the figures, `_LETTER` what one of a name takes."""
_STYLE = """<style>
    text { font: 12px sans-serif; fill: #222 } .end { text-anchor: end } .head { font-weight: bold }
    .ours { fill: #b3261e } .other { fill: #4a5fa5 }
    @media (prefers-color-scheme: dark) { text { fill: #ddd } .ours { fill: #f2938c } .other { fill: #8fa2e0 } }
  </style>"""


def bars(title: str, groups: Mapping[str, Mapping[str, float]]) -> str:
    """One bar for each value, below the name of its group; each group has a scale of its own, from zero."""
    parts: list[str] = []
    left = 24 + round(_LETTER * max(len(name) for values in groups.values() for name in values))
    y = 8
    for group, values in groups.items():
        most = max(*values.values(), 1e-9)
        parts.append(f'  <text class="head" x="8" y="{y + 14}">{escape(group)}</text>')
        y += _HEAD
        for name, value in values.items():
            kind, long = "ours" if name.startswith(RESETLB) else "other", (_WIDTH - left - _RIGHT) * value / most
            parts.append(f'  <text class="end" x="{left - 8}" y="{y + 10}">{escape(name)}</text>')
            parts.append(f'  <rect class="{kind}" x="{left}" y="{y}" width="{max(1.0, long):.1f}" height="{_BAR}"/>')
            parts.append(f'  <text x="{left + long + 6:.1f}" y="{y + 10}">{value:,.0f}</text>')
            y += _PITCH
        y += 8
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" role="img" aria-label="{escape(title)}">'
    )
    return "\n".join([head, f"  {_STYLE}", *parts, "</svg>", ""])
