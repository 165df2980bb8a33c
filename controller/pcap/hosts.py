"""What is remembered of hosts and servers beside single connections: the context a cause is judged in.

All of it is bounded: so many hosts, so many peers of each, whatever a capture holds.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

# Enough to tell one from some from many; a set of this size costs 2 KiB.
MANY = 24

_INITIAL_TTLS = (64, 128, 255)

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


def hops_of(ttl: int) -> int:
    """Routers passed, by the usual initial values (64, 128, 255).

    A stack may write its answers with another initial TTL than its connections, so hops are compared, not TTLs.
    """
    return next(initial - ttl for initial in _INITIAL_TTLS if ttl <= initial)


class Recent(Generic[Key, Value]):
    """The most recently used values by key; what has not been used for longest makes room for a new one."""

    def __init__(self, limit: int, make: Callable[[Key], Value]) -> None:
        self._limit = limit
        self._make = make
        self.dropped = 0
        """Values that had to make room."""
        self._values: OrderedDict[Key, Value] = OrderedDict()

    def __getitem__(self, key: Key) -> Value:
        """The value for a key, made if it is not there."""
        values = self._values
        value = values.get(key)
        if value is None:
            value = values[key] = self._make(key)
            if len(values) > self._limit:
                values.popitem(last=False)
                self.dropped += 1
        else:
            values.move_to_end(key)
        return value

    def get(self, key: Key) -> Value | None:
        """The value for a key if it is there."""
        return self._values.get(key)

    def __len__(self) -> int:
        """Values held."""
        return len(self._values)

    def values(self) -> list[Value]:
        """All values, the longest unused first."""
        return list(self._values.values())


class Several:
    """Distinct things, counted up to `MANY`."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: set[int] | None = None

    def add(self, thing: Hashable) -> None:
        """Count a thing once."""
        # Made on first use: most hosts of a scan or flood are seen once and never need it.
        if self._seen is None:
            self._seen = set()
        if len(self._seen) < MANY:
            self._seen.add(hash(thing))

    def __contains__(self, thing: Hashable) -> bool:
        """Whether a thing was counted (only the first `MANY` are known)."""
        return self._seen is not None and hash(thing) in self._seen

    def __len__(self) -> int:
        """Distinct things, at most `MANY`."""
        return 0 if self._seen is None else len(self._seen)

    def __str__(self) -> str:
        """Their number in words."""
        return f"{len(self)} or more" if len(self) >= MANY else str(len(self))


class Host:
    """One address: what it tried as a client, and how far away it is."""

    __slots__ = ("addr", "answered", "attempts", "hops_high", "hops_low", "returns", "served", "tried")

    def __init__(self, addr: bytes) -> None:
        self.addr = addr
        self.attempts = 0
        """Connections it began."""
        self.answered = 0
        """Those that were answered with a SYN-ACK."""
        self.served = 0
        """Those in which it got payload."""
        self.returns = 0
        """Those to a server that it had tried before."""
        self.tried = Several()
        """Servers (address, port) it began a connection to."""
        self.hops_low = 256
        self.hops_high = -1

    def note_attempt(self, server: tuple[bytes, int]) -> None:
        """It began a connection."""
        self.attempts += 1
        self.returns += server in self.tried
        self.tried.add(server)

    def note_ttl(self, ttl: int) -> None:
        """Remember how far away it is, from a segment that is no reset."""
        hops = hops_of(ttl)
        self.hops_low = min(self.hops_low, hops)
        self.hops_high = max(self.hops_high, hops)


class Endpoint:
    """One server (address, port): what became of the connections to it."""

    __slots__ = (
        "accepted_at", "accepted_clients", "addr", "alternations", "causes", "connections", "cut", "cut_clients",
        "disowned", "last_accepted", "mismatched_clients", "port", "refused_at", "refused_clients", "resets",
        "senders", "served", "served_clients", "untaken_clients",
    )  # fmt: skip

    def __init__(self, key: tuple[bytes, int]) -> None:
        self.addr, self.port = key
        self.connections = 0
        self.resets = 0
        """Connections that were reset, as far as they have been judged."""
        self.causes: dict[str, int] = {}
        self.senders: dict[str, int] = {}
        self.accepted_clients = Several()
        self.refused_clients = Several()
        self.served_clients = Several()
        """Clients that got payload."""
        self.served = 0
        """Connections with payload from the server."""
        self.cut_clients = Several()
        """Clients it accepted, then reset before they got payload."""
        self.cut = 0
        """Connections of theirs that ended so."""
        self.disowned = 0
        """Connections it accepted and its stack disowned (no socket) before a byte either way."""
        self.mismatched_clients = Several()
        """Clients that spoke another protocol than the server."""
        self.untaken_clients = Several()
        """Clients that reset their connection before any payload."""
        self.alternations = 0
        """Changes from accepting to refusing and back."""
        self.last_accepted: bool | None = None
        self.accepted_at = -1
        """Time of the last SYN-ACK, ns; -1 before."""
        self.refused_at = -1
        """Time of the last refusal, ns; -1 before."""

    def note_accepted(self, client: bytes, now: int) -> None:
        """A SYN was answered with a SYN-ACK."""
        self._note_answer(True)
        self.accepted_clients.add(client)
        self.accepted_at = now

    def note_refused(self, client: bytes, now: int) -> None:
        """A SYN was answered with a reset."""
        self._note_answer(False)
        self.refused_clients.add(client)
        self.refused_at = now

    def note_served(self, client: bytes) -> None:
        """A connection got its first payload from the server."""
        self.served += 1
        self.served_clients.add(client)

    def _note_answer(self, accepted: bool) -> None:
        if self.last_accepted is not None and self.last_accepted is not accepted:
            self.alternations += 1
        self.last_accepted = accepted
