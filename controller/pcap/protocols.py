"""What a connection's first bytes look like: enough to see that two ends do not speak the same protocol."""

OTHER = "other"
"""Payload of no protocol known here."""

# RFC 9110 §9 (HTTP methods), RFC 8446 §5.1 (TLS record), RFC 4253 §4.2 (SSH), RFC 5321, 959, 1939, 9051 (greetings).
_PREFIXES = {
    b"GET ": "HTTP",
    b"POST ": "HTTP",
    b"HEAD ": "HTTP",
    b"PUT ": "HTTP",
    b"DELETE ": "HTTP",
    b"OPTIONS ": "HTTP",
    b"PATCH ": "HTTP",
    b"CONNECT ": "HTTP",
    b"PRI * HTTP": "HTTP",
    b"HTTP/": "HTTP",
    b"\x16\x03": "TLS",
    b"\x15\x03": "TLS",
    b"SSH-": "SSH",
    b"220": "SMTP or FTP",
    b"+OK": "POP3",
    b"* OK": "IMAP",
}
_LONGEST = max(map(len, _PREFIXES))

# Ports where only one protocol opens a connection. 80 and 8080 are left out: everything is tunnelled through them.
_BY_PORT = {22: "SSH", **dict.fromkeys((443, 465, 563, 636, 853, 989, 990, 992, 993, 995, 5671, 8443), "TLS")}
# A client that begins with one of these means it; a server that does cannot understand another of them.
_UNMISTAKABLE = frozenset(("HTTP", "TLS", "SSH"))


def protocol_of(frame: bytes, payload: int) -> str:
    """Name of the protocol whose payload begins at `payload` in the frame, or `OTHER`."""
    head = frame[payload : payload + _LONGEST]
    return next((name for prefix, name in _PREFIXES.items() if head.startswith(prefix)), OTHER)


def mismatch(client: str | None, server: str | None, port: int) -> str | None:
    """What the client speaks against what the server does, in words; None if nothing speaks against it.

    The server's own first bytes decide; where it sent none, or the client's protocol back as an error page, the port.
    """
    if client not in _UNMISTAKABLE:
        return None
    if server is not None and server not in (OTHER, client):
        return f"{client} sent to a server that speaks {server}"
    expected = _BY_PORT.get(port)
    if expected is not None and expected != client:
        return f"{client} sent to port {port}, where {expected} is spoken"
    return None
