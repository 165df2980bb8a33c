"""The words of HAProxy's agent check, and what they make of a member (HAProxy Configuration Manual 2.6, `agent-check`).

One line, words separated by spaces, tabs or commas. `75%` scales the weight; `drain` and `maint` end with `ready`; `down`, `failed` and
`stopped` (a `#` begins a description) end with `up`; `maxconn:n` limits connections. What is not said stays as it was.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

LINE_CAP = 256
"""Bytes: HAProxy's own examples have less than 40."""
DESCRIPTION_CAP = 100
_SEPARATORS = re.compile(r"[ \t,]+")
_PERCENT = re.compile(r"([0-9]{1,5})%\Z")
_MAXCONN = re.compile(r"maxconn:([0-9]{1,9})\Z")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


@dataclass(frozen=True, slots=True)
class Agent:
    """What a member's agent made of it: two facts apart, as with HAProxy. None: it never said."""

    admin: Literal["ready", "drain", "maint"] = "ready"
    operating: Literal["up", "down"] = "up"
    percent: int | None = None
    maxconn: int | None = None
    description: str = ""

    @property
    def admits(self) -> bool:
        """Whether its agent lets it have new connections; `0%` is a drain."""
        return self.admin == "ready" and self.operating == "up" and self.percent != 0

    @property
    def state(self) -> str:
        """The word an operator reads: up, drain, maint or down."""
        if self.operating == "down":
            return "down"
        return "up" if self.admin == "ready" else self.admin

    def scaled(self, weight: int) -> float:
        """A weight as its agent would have it."""
        return weight if self.percent is None else weight * self.percent / 100


NEVER_SPOKE = Agent()


class Answer(NamedTuple):
    """What a line made of an agent, and the words nobody knows."""

    agent: Agent
    unknown: tuple[str, ...]


def parse(line: bytes, before: Agent) -> Answer:
    """Take an agent's line in; only the first line counts, and a description reaches to its end."""
    text = _UNPRINTABLE.sub(
        "?", re.split(rb"[\r\n]", line[:LINE_CAP], maxsplit=1)[0].decode("latin-1").replace("\t", " ")
    )
    words, _, description = text.partition("#")
    agent, unknown = before, []
    for word in filter(None, _SEPARATORS.split(words)):
        said = _take(agent, word.lower(), description.strip()[:DESCRIPTION_CAP])
        if said is None:
            unknown.append(word)
        else:
            agent = said
    return Answer(agent, tuple(unknown))


def _take(agent: Agent, word: str, description: str) -> Agent | None:
    """An agent after a word; None for a word it does not have."""
    if word in ("ready", "drain", "maint"):
        return replace(agent, admin=word)  # type: ignore[arg-type]
    if word == "up":
        return replace(agent, operating="up", description="")
    if word in ("down", "stopped", "fail", "failed"):
        return replace(agent, operating="down", description=description)
    if found := _PERCENT.match(word):
        return replace(agent, percent=int(found[1]))
    if found := _MAXCONN.match(word):
        return replace(agent, maxconn=int(found[1]))
    return None
