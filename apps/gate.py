"""Who may be a switch: TLS with a certificate of the operator's own authority, and a list of dpids.

The framework's TLS is not used: Ryu 4.34 loads the certificate for its first connection only and fails on the second, and neither
Ryu nor os-ken limits how long a handshake may take, so one silent peer would hold a greenlet and a file descriptor for ever.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.api.service import Measurement

log = logging.getLogger("resetlb.openflow")

HANDSHAKE_S = 10.0
SAID_EVERY_S = 1.0
"""A peer that comes again and again must not fill the log."""
PEERS_PER_S, PEERS_AT_ONCE = 50.0, 1000.0
"""Connections taken: a handshake costs about 2 ms of the core that serves the switches which are in already."""
INSIDE_AT_MOST = 1500
"""Connections at the same time: each is a file, and files are shared with the API."""
REASONS = ("crowd", "tls", "dpid", "malformed", "late", "deaf", "failed")
_TLS_REASONS = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it showed no certificate",
    "WRONG_VERSION_NUMBER": "it does not speak TLS",
    "HTTP_REQUEST": "it does not speak TLS",
    "UNEXPECTED_EOF_WHILE_READING": "it ended the TLS handshake, as one does that does not trust this certificate",
}
"""OpenSSL's reasons in words; others are shown as they are."""
_TLS_HANDSHAKE = b"\x16\x03"
"""How a TLS connection begins (RFC 8446 §5.1): content type handshake, legacy version 3.x."""


class GateError(Exception):
    """Certificates cannot be used; the message names the option and the file."""


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files: the controller's certificate (with what leads to its root), its key, and the authorities of the switches."""

    certificate: Path
    key: Path
    authorities: Path


class Gate:
    """Lets switches in, or says why not."""

    def __init__(self, certificates: Certificates | None = None, dpids: frozenset[int] | None = None) -> None:
        """Let in who shows a certificate of ours (None: plain TCP), with one of these dpids (None: any).

        Raises:
            GateError: the certificates cannot be used.
        """
        self._certificates = certificates
        self._dpids = dpids
        self._context: Any = _context(certificates) if certificates else None
        self._room, self._refilled = PEERS_AT_ONCE, time.monotonic()
        self._silent_until = 0.0
        self._unsaid = 0
        self._inside = 0
        self.refused = Counter(dict.fromkeys(REASONS, 0))
        """Connections refused or ended, by reason."""

    @property
    def speaks_tls(self) -> bool:
        """Whether switches must speak TLS."""
        return self._certificates is not None

    def enter(self, sock: Any, address: Any) -> Any:
        """Return the socket to speak OpenFlow on, until `leave`; None when the peer is refused, its socket is closed then."""
        if self._inside >= INSIDE_AT_MOST or not self._has_room():
            self.refuse(address, "too many connections at once", "crowd")
            sock.close()
            return None
        self._inside += 1
        if self._certificates is None:
            return sock
        try:
            sock.settimeout(HANDSHAKE_S)
            return self._renewed(self._certificates).wrap_socket(sock, server_side=True)
        except OSError as error:  # of TLS, or of TCP
            self.leave()
            self.refuse(address, _words(error), "tls")
            sock.close()
            return None

    def leave(self) -> None:
        """A connection that had entered has ended."""
        self._inside -= 1

    def admits(self, dpid: int, address: Any) -> bool:
        """Whether a switch of this dpid may connect; one that may not is logged."""
        if self._dpids is None or dpid in self._dpids:
            return True
        self.refuse(address, f"dpid {dpid:016x} is not allowed (--allow-dpid)", "dpid")
        return False

    def complain(self, address: Any, begins: bytes) -> None:
        """Say that a peer sent what cannot be OpenFlow."""
        if self._certificates is None and begins.startswith(_TLS_HANDSHAKE):
            self.refuse(address, "it speaks TLS, which needs --ofp-tls-cert here", "tls")
        else:
            self.refuse(address, "it does not speak OpenFlow", "malformed")

    def refuse(self, address: Any, text: str, reason: str, *, traceback: bool = False) -> None:
        """Count a refusal for one of `REASONS`, and log it: once a second at most, with the `traceback` of what is being handled."""
        self.refused[reason] += 1
        if time.monotonic() < self._silent_until:
            self._unsaid += 1
            return
        more = f" ({self._unsaid} more were refused since the last such line)" if self._unsaid else ""
        host, port = address[:2]
        level = logging.ERROR if traceback else logging.WARNING
        log.log(level, "switch %s:%s refused: %s%s", host, port, text, more, exc_info=traceback)
        self._unsaid, self._silent_until = 0, time.monotonic() + SAID_EVERY_S

    def measurements(self) -> Iterator[Measurement]:
        """For `/metrics`."""
        text = (
            "Connections of switches refused or ended: crowd (too many), tls, dpid (not allowed, or taken), malformed, late "
            "(no handshake in time), deaf (it reads nothing), failed (an error of ours)."
        )
        for reason, count in self.refused.items():
            yield Measurement("switch_refusals", text, "counter", count, {"reason": reason})

    def _has_room(self) -> bool:
        """A token bucket of connections."""
        now = time.monotonic()
        self._room = min(PEERS_AT_ONCE, self._room + (now - self._refilled) * PEERS_PER_S)
        self._refilled = now
        if self._room < 1.0:
            return False
        self._room -= 1.0
        return True

    def _renewed(self, certificates: Certificates) -> ssl.SSLContext:
        """The files read again, so a renewed certificate needs no restart; while they are broken the former stay in use."""
        try:
            self._context = _context(certificates)
        except GateError as error:
            log.error("%s; the former certificate stays in use", error)
        return self._context


def _context(files: Certificates) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    # A renegotiation would have both directions wait for both, which the hub cannot (RFC 9325 §3.5 advises against it too).
    context.options |= ssl.OP_NO_RENEGOTIATION
    try:
        # An encrypted key would have OpenSSL ask on the terminal.
        context.load_cert_chain(files.certificate, files.key, password=lambda: "")
    except OSError as error:
        raise GateError(f"--ofp-tls-cert {files.certificate}, --ofp-tls-key {files.key}: {_words(error)}") from None
    try:
        context.load_verify_locations(files.authorities)
    except OSError as error:
        raise GateError(f"--ofp-tls-ca {files.authorities}: {_words(error)}") from None
    return context


def _words(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return f"no TLS handshake within {HANDSHAKE_S:.0f} s"
    if isinstance(error, ssl.SSLError):
        reason = error.reason or ""
        return _TLS_REASONS.get(reason) or reason.replace("_", " ").lower() or "not a PEM file of this kind"
    return error.strerror or str(error)
