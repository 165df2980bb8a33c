"""Flow entries and groups as ovs-ofctl(8) shows them, to be compared before and after."""

import re
from typing import NamedTuple

from bed import Bed

_COUNTERS = re.compile(r" (?:n_packets|n_bytes|idle_age)=\d+,")


class Entry(NamedTuple):
    """One flow entry: how long it has been there, and its text without counters."""

    duration_s: float
    text: str


def entries_of(bed: Bed) -> dict[str, Entry]:
    """Every switch's entries by what they are; without those that expire by themselves."""
    found = {}
    for switch in bed.fabric.switch_names:
        for line in bed.fabric.dump_flows(switch):
            if "_timeout=" in line:
                continue
            duration_s = float(re.search(r"duration=([\d.]+)s", line)[1])
            text = _COUNTERS.sub("", re.sub(r"duration=[\d.]+s, ", "", line))
            found[f"{switch} {text}"] = Entry(duration_s, text)
    return found


def unbroken(before: dict[str, Entry], after: dict[str, Entry]) -> list[str]:
    """The entries of `before` that are gone, new or younger in `after`, in words."""
    gone = [f"gone: {name}" for name in before if name not in after]
    younger = [f"replaced: {name}" for name, entry in before.items() if name in after and after[name] < entry]
    return gone + younger + [f"new: {name}" for name in after if name not in before]


def groups_of(bed: Bed) -> dict[str, list[str]]:
    """Every switch's groups."""
    return {switch: bed.fabric.dump_groups(switch) for switch in bed.fabric.switch_names}
