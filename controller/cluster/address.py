"""``--cluster etcd://…``: where the cluster's etcd is, who we are to it, and which cluster is meant."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

SCHEMES = {"etcd": False, "etcds": True}
DEFAULT_PORT = 2379
DEFAULT_NAME = "default"
PORT_MAX = 65_535
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


class ClusterAddressError(ValueError):
    """Not an address of a cluster; the text says what is wrong and repeats no secret."""


@dataclass(frozen=True, slots=True)
class ClusterAddress:
    """An etcd to speak to: ``endpoints`` in the order to try, ``name`` the cluster's, for several may share one etcd."""

    endpoints: tuple[tuple[str, int], ...]
    tls: bool = False
    name: str = DEFAULT_NAME
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """As the log has it: without who we are."""
        places = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.endpoints)
        return f"{'etcds' if self.tls else 'etcd'}://{places}/{self.name}"


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """What `resetlb run` is told of its cluster: `node` is this controller's name there; files are PEM."""

    address: ClusterAddress
    node: str
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


def parse_cluster_address(text: str) -> ClusterAddress:
    """Read ``etcd[s]://[user:password@]host[:port][,host[:port]…][/name]``.

    Raises:
        ClusterAddressError: it is none.
    """
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in SCHEMES:
        raise ClusterAddressError("begins with neither etcd:// nor etcds:// (TLS)")
    authority, _, name = rest.partition("/")
    credentials, at, places = authority.rpartition("@")
    user, colon, password = credentials.partition(":")
    if at and not (user and colon and password):
        raise ClusterAddressError("before the @ must be user:password")
    if not _NAME.fullmatch(name or DEFAULT_NAME):
        raise ClusterAddressError(
            "after the last / comes the cluster's name: up to 64 letters, digits, '.', '_' or '-'"
        )
    endpoints = tuple(_endpoint(place) for place in places.split(","))
    known = (unquote(user), unquote(password)) if at else (None, None)
    return ClusterAddress(endpoints, SCHEMES[scheme], name or DEFAULT_NAME, *known)


def _endpoint(place: str) -> tuple[str, int]:
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]/@]+))(?::(\d{1,5}))?", place)
    port = int(found[3] or DEFAULT_PORT) if found else 0
    if found is None or not 0 < port <= PORT_MAX:
        raise ClusterAddressError(f"{place or 'nothing'} is not host:port")
    return found[1] or found[2], port
