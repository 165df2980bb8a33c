"""The demo's clients on a modelled fabric; they tell what `topologies.load` tells."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial

from topologies.demo import script
from topologies.demo.stage import Record
from topologies.load import KEPT_INTERVAL_S, TIMEOUT_S, Attempt, Kept, Outcome
from topologies.model.application import End
from topologies.model.fabric import FakeFabric
from topologies.model.hosts import Attempt as Opened
from topologies.model.tcp_endpoint import Endpoint

_VIP = int(ipaddress.IPv4Address(script.VIP[0])), script.VIP[1]
_REQUEST = b"GET / HTTP/1.1\r\nHost: %s\r\n\r\n" % script.VIP[0].encode()


@dataclass(eq=False)
class _Lasting:
    """A connection that is meant to last."""

    client: str
    number: int
    opened: Opened
    answered: int = 0
    """Octets of whole answers."""
    member: str | None = None
    moved: bool = False


class Clients:
    """Open a connection whenever one is due, and keep a few busy. `whose` is the member's host by the length of its answer."""

    def __init__(self, fabric: FakeFabric, whose: Mapping[int, str], tell: Callable[[Record], object]) -> None:
        self._fabric = fabric
        self._whose = whose
        self._tell = tell
        self._running = 0
        self._lasting: list[_Lasting] = []

    def start(self, rate: float, kept: int) -> None:
        """Each client opens `rate` connections per second from now on, and `kept` that must last."""
        self._running += 1
        for client in script.CLIENTS:
            for number in range(kept):
                self._keep(client, number)
            self._open(client, rate, self._running)

    def stop(self) -> None:
        """Nothing new is opened; what lasted until now is told, and what is under way may finish."""
        self._running += 1
        lasting, self._lasting = self._lasting, []
        for one in lasting:
            self._tell_kept(one, Outcome.KEPT)
            self._act(one.client, one.opened, lambda endpoint: endpoint.close(self._fabric.now))
        self._fabric.run(self._fabric.now + TIMEOUT_S)

    def _act(self, client: str, opened: Opened, action: Callable[[Endpoint], None]) -> None:
        self._fabric.hosts[client].act(opened, action, self._fabric.now)
        self._fabric.settle(client)

    # --- new connections -------------------------------------------------------------------------------------------------------

    def _open(self, client: str, rate: float, run: int) -> None:
        if run != self._running:
            return
        opened = self._fabric.hosts[client].connect(*_VIP, self._fabric.now, request=_REQUEST)
        application = opened.endpoint.application
        application.on_data = lambda endpoint, now: endpoint.close(now) if endpoint.received in self._whose else None
        note = application.on_end

        def on_end(endpoint: Endpoint, end: End, now: float) -> None:
            note(endpoint, end, now)
            self._tell_attempt(opened, now, _outcome(end, opened.received in self._whose, opened.received))

        application.on_end = on_end
        self._fabric.settle(client)
        self._fabric.at(self._fabric.now + TIMEOUT_S, partial(self._give_up, client, opened))
        self._fabric.at(self._fabric.now + 1 / rate, partial(self._open, client, rate, run))

    def _give_up(self, client: str, opened: Opened) -> None:
        if opened.ended is None:
            self._act(client, opened, lambda endpoint: endpoint.give_up(End.TIMEOUT, self._fabric.now))

    def _tell_attempt(self, opened: Opened, ended: float, outcome: Outcome) -> None:
        member = self._whose.get(opened.received)
        self._tell(asdict(Attempt(opened.started, opened.connected, ended, 0.0, outcome, member)))

    # --- connections that are meant to last ------------------------------------------------------------------------------------

    def _keep(self, client: str, number: int) -> None:
        opened = self._fabric.hosts[client].connect(*_VIP, self._fabric.now, request=_REQUEST)
        one = _Lasting(client, number, opened)
        application = opened.endpoint.application
        application.on_data = lambda endpoint, _: self._answered(one, endpoint.received)

        def on_end(_endpoint: Endpoint, end: End, _now: float) -> None:
            if one in self._lasting:
                self._lasting.remove(one)
                self._tell_kept(one, _outcome(end, False, opened.received - one.answered))

        application.on_end = on_end
        self._lasting.append(one)
        self._fabric.settle(client)

    def _answered(self, one: _Lasting, received: int) -> None:
        member = self._whose.get(received - one.answered)
        if member is None:
            return
        one.answered = received
        one.moved |= one.member not in (None, member)
        one.member = one.member or member
        self._fabric.at(self._fabric.now + KEPT_INTERVAL_S, partial(self._ask_again, one))

    def _ask_again(self, one: _Lasting) -> None:
        if one in self._lasting:
            self._act(one.client, one.opened, lambda endpoint: endpoint.send(_REQUEST, self._fabric.now))

    def _tell_kept(self, one: _Lasting, outcome: Outcome) -> None:
        told = Outcome.MOVED if one.moved else outcome
        self._tell(asdict(Kept(one.number, self._fabric.now, told, one.member)))


def _outcome(end: End, whole: bool, received: int) -> Outcome:
    """What `topologies.load` calls an end."""
    if whole:
        return Outcome.OK
    if end is End.REFUSED:
        return Outcome.REFUSED
    if end in (End.TIMEOUT, End.UNREACHABLE):
        return Outcome.TIMED_OUT
    return Outcome.CUT if received else Outcome.RESET
