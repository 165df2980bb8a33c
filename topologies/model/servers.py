"""What listens on a port of a host, and what goes wrong there."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from topologies.model.application import Application
from topologies.model.tcp_endpoint import Endpoint

Later = Callable[[float, Callable[[float], None]], None]
"""Asks the host to call something at a time: (when, what)."""


@dataclass(frozen=True, slots=True)
class Serve:
    """Answers each request (one segment is one) with `content`, or `size` octets, after `delay_s`; then closes unless `keep_alive`."""

    size: int = 1000
    delay_s: float = 0.0
    keep_alive: bool = False
    content: bytes = b""


@dataclass(frozen=True, slots=True)
class Silent:
    """Lets every SYN pass unanswered: a host that hangs, or a filter that drops."""


@dataclass(frozen=True, slots=True)
class ResetOnAccept:
    """Completes the handshake and aborts at once."""


@dataclass(frozen=True, slots=True)
class ResetAfterRequest:
    """Reads the request and aborts instead of answering."""


@dataclass(frozen=True, slots=True)
class Gray:
    """Does `fault` with this probability, else `otherwise`."""

    probability: float
    fault: Behaviour = field(default_factory=ResetOnAccept)
    otherwise: Behaviour = field(default_factory=Serve)


Behaviour = Serve | Silent | ResetOnAccept | ResetAfterRequest | Gray


def settle(behaviour: Behaviour, chance: random.Random) -> Serve | Silent | ResetOnAccept | ResetAfterRequest:
    """What a behaviour comes to for one connection."""
    while isinstance(behaviour, Gray):
        behaviour = behaviour.fault if chance.random() < behaviour.probability else behaviour.otherwise
    return behaviour


def application(behaviour: Serve | ResetOnAccept | ResetAfterRequest, later: Later) -> Application:
    """The program that behaves so on one accepted connection."""
    if isinstance(behaviour, ResetOnAccept):
        return Application(on_open=_abort)
    if isinstance(behaviour, ResetAfterRequest):
        return Application(on_data=_abort)
    served = behaviour

    def answer(endpoint: Endpoint, now: float) -> None:
        endpoint.send(served.content or bytes(served.size), now)
        if not served.keep_alive:
            endpoint.close(now)

    def on_data(endpoint: Endpoint, now: float) -> None:
        if served.delay_s:
            later(now + served.delay_s, lambda then: answer(endpoint, then))
        else:
            answer(endpoint, now)

    return Application(on_data=on_data)


def _abort(endpoint: Endpoint, now: float) -> None:
    endpoint.abort(now)
