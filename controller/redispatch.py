"""A refused SYN gets another member before its client notices.

The held refusal names all that is needed to make the SYN again. The connection is forgotten in the tracker and opened on another
member by a packet-out straight into the tracker. When every member has refused, or the budget is spent, the client gets the refusal.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from controller import frames
from controller.balance import Choice, Service, redirect
from controller.decisions import Decision, FlushConnection, SendPacket
from controller.flows import Connection, Output
from controller.topology import Host

BUDGET_S = 0.08
"""After this a client waits no longer: it gets its refusal."""
FORGOTTEN_AFTER_S = 2.0
MAX_ATTEMPTS_KEPT = 10_000


@dataclass(slots=True)
class _Attempt:
    """One client's connection that was refused at least once."""

    since: float
    tried: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Refused:
    """A held refusal: who was refused by whom, where."""

    dpid: int
    zone: int
    connection: Connection
    member: int
    isn: int
    client: Host


class Redispatcher:
    """Attempts under way, oldest first; bounded, so a flood of refusals costs memory no more than it costs time."""

    def __init__(self) -> None:
        self._attempts: OrderedDict[tuple[Connection, int], _Attempt] = OrderedDict()

    def on_refused(
        self, refused: Refused, service: Service | None, suspects: set[int], now: float
    ) -> tuple[list[Decision], Choice | None]:
        """Open the connection elsewhere; (decisions, the member chosen), or the refusal and None when nobody is left.

        `service` None: the VIP was taken away while its SYN was under way.
        """
        self._forget(now)
        key = refused.connection, refused.isn
        attempt = self._attempts.setdefault(key, _Attempt(now))
        attempt.tried.add(refused.member)
        in_time = now - attempt.since < BUDGET_S
        choice = _another(service, attempt.tried, suspects, refused.isn) if service and in_time else None
        flush = FlushConnection(refused.dpid, refused.zone, refused.connection)
        if choice is None or service is None:
            self._attempts.pop(key, None)
            return [flush, _pass_on(refused)], None
        connection = refused.connection
        client, vip = (connection.src, connection.src_port), (connection.dst, connection.dst_port)
        syn = frames.tcp(
            frames.rebuilt_syn(client, vip, refused.isn), frames.vip_mac(connection.dst), refused.client.mac
        )
        opened = SendPacket(refused.dpid, syn, redirect(refused.zone, service, choice), refused.client.port_no)
        return [flush, opened], choice

    def _forget(self, now: float) -> None:
        while self._attempts:
            oldest = next(iter(self._attempts.values()))
            if len(self._attempts) < MAX_ATTEMPTS_KEPT and now - oldest.since < FORGOTTEN_AFTER_S:
                return
            self._attempts.popitem(last=False)


def _another(service: Service, tried: set[int], suspects: set[int], isn: int) -> Choice | None:
    """By weight among those not tried yet, those not under suspicion first; the ISN decides, so the choice is the client's own dice."""
    untried = [choice for choice in service.choices if choice.number not in tried]
    candidates = [choice for choice in untried if choice.number not in suspects] or untried
    total = sum(choice.weight for choice in candidates)
    if not total:
        return None
    point = isn % total
    for choice in candidates:
        point -= choice.weight
        if point < 0:
            return choice
    return None


def _pass_on(refused: Refused) -> Decision:
    """The refusal the client would have had, as the VIP's answer."""
    return refuse(refused.connection, refused.isn, refused.client, refused.dpid)


def refuse(connection: Connection, isn: int, client: Host, dpid: int) -> Decision:
    """Answer a client's SYN with a RST in the VIP's name."""
    vip, source = (connection.dst, connection.dst_port), (connection.src, connection.src_port)
    frame = frames.tcp(frames.refusal(vip, source, isn), client.mac, frames.vip_mac(connection.dst))
    return SendPacket(dpid, frame, (Output(client.port_no),))
