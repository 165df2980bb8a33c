"""What a scenario is: who is there, what they do, what goes wrong, and what a diagnosis should say about it. Data, no action."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from controller.causes import Cause

if TYPE_CHECKING:
    from topologies.lab.acts import Act
    from topologies.lab.parameters import Span


class Action(StrEnum):
    """What the controller should do, judged by its effect (see `verdict`)."""

    EJECT = "eject"
    """The member takes no new connections."""
    CUT_WEIGHT = "cut-weight"
    """The member takes fewer new connections, or none."""
    MOVE_PATH = "move-path"
    """The incident says what was done; no member is out for it."""
    REPORT = "report"
    """An incident, and weights left alone."""
    QUARANTINE = "quarantine"
    """The client's traffic is dropped, limited or isolated."""
    DROP_FORGED = "drop-forged"
    """Forged segments reach nobody; members and clients are left alone."""
    NONE = "none"
    """Nothing is done to anybody."""


class Subject(NamedTuple):
    """What an incident is about: `type` member, client, link, vip or policy, and its id as in the API."""

    type: str
    id: str


@dataclass(frozen=True)
class Expected:
    """What a diagnosis should say of one fault.

    Attributes:
        cause: the right answer.
        accept: answers that packets cannot tell from it.
        action: what should follow.
    """

    cause: Cause
    action: Action
    accept: tuple[Cause, ...] = ()


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong, and how it is told.

    Attributes:
        act: what happens, and to whom.
        expected: what a diagnosis should say.
        signature: kinds of resets that this fault puts on the wire; at least one of them must be seen, or it did not happen.
    """

    act: Act
    expected: Expected
    signature: tuple[str, ...]


@dataclass(frozen=True)
class Scenario:
    """A repeatable experiment.

    Attributes:
        name: as typed.
        title: one line for the reader.
        faults: what goes wrong, all at the same moment.
        parameters: what the seed varies beside `parameters.COMMON`, by name.
        service: what the pool serves: http, tls, redis or rediss (Redis inside TLS).
        load: fields of `traffic.Traffic` that the ordinary clients differ in; a text that names a parameter stands for its value.
    """

    name: str
    title: str
    faults: tuple[Fault, ...]
    parameters: Mapping[str, Span] = field(default_factory=dict)
    service: str = "http"
    load: Mapping[str, Any] = field(default_factory=dict)
