"""Who may do what: loopback names without tokens, roles with them."""

import ipaddress
import re
from http import HTTPStatus

from flask import g, request

from controller.api.context import context
from controller.api.problem import RefusedError
from controller.api.rate import caller_of
from controller.store import Role

# The page asks for a token itself; probes have none, and learn no more than that the controller runs.
OPEN_PATHS = frozenset({"/", "/v1/health", "/v1/ready"})
PAGE_PARTS = "/assets/"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?\Z")


def is_loopback(host: str) -> bool:
    """Whether a host name or address (IPv6 with or without brackets) is the loopback."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def bind_refusal(host: str, *, tokens_exist: bool) -> str | None:
    """Say why the API must not listen on an address, or None when it may.

    Args:
        host: the address, also of a socket that was passed in; empty or a path for a Unix socket.
        tokens_exist: whether callers have to show a token.
    """
    if tokens_exist or not host or host.startswith(("/", "\0")) or is_loopback(host):
        return None
    return (
        f"the API would be open to the network on {host} without any token: "
        "create one (resetlb token create NAME --role admin) or listen on 127.0.0.1"
    )


def check_access() -> None:
    """Let a request in, or raise RefusedError; notes its token in ``flask.g``."""
    here, now = context(), context().clock()
    address = caller_of(request.remote_addr)
    if not here.require_tokens and not here.store.tokens.exist():
        _check_host()
    elif request.path not in OPEN_PATHS and not request.path.startswith(PAGE_PARTS):
        here.limit.check_guesses(address, now)
        _check_token(address, now)
    token = g.get("token")
    here.limit.check(address if token is None else f"token {token.id}", now)


def _check_host() -> None:
    # A page of another site can make its name resolve to 127.0.0.1 (DNS rebinding), but not change the Host header.
    host = request.headers.get("Host", "")
    found = _HOST.match(host)
    if not found or not is_loopback(found[1]):
        detail = "Host: not a loopback name or address; without tokens the API answers to localhost only"
        raise RefusedError(HTTPStatus.FORBIDDEN, detail)


def _check_token(address: str, now: float) -> None:
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    token = context().store.tokens.find(secret.strip()) if scheme.lower() == "bearer" else None
    if token is None:
        if secret:
            context().limit.note_wrong_token(address, now)
        detail = "Authorization: a valid token is needed (Authorization: Bearer …)"
        raise RefusedError(HTTPStatus.UNAUTHORIZED, detail, {"WWW-Authenticate": 'Bearer realm="resetlb"'})
    if token.role is not Role.ADMIN and request.method not in SAFE_METHODS:
        raise RefusedError(HTTPStatus.FORBIDDEN, f"Authorization: the token {token.name} may only read")
    g.token = token
