"""What a message must look like before the framework's parsers meet it.

Ryu 4.34 and os-ken trust the lengths inside a message: an element of a HELLO that says it has no octets keeps their parser
busy for ever, and with it every other switch. So what the handshake needs is judged here first (OpenFlow 1.3.5 §7).
"""

from __future__ import annotations

HELLO, ERROR, ECHO_REQUEST, ECHO_REPLY, FEATURES_REPLY, PACKET_IN = 0, 1, 2, 3, 6, 10
PORT_STATUS, MULTIPART_REPLY, BARRIER_REPLY = 12, 19, 21
OUR_VERSION = 4
VERSIONS = range(1, 7)
"""Of OpenFlow, 1.0 to 1.5, as a HELLO may say before one is agreed upon."""
NEEDED = frozenset({HELLO, ERROR, ECHO_REQUEST, ECHO_REPLY, FEATURES_REPLY, PORT_STATUS})
"""What the framework's own handshake, and ours, ask it to parse; of multipart replies the description of ports."""
_OF_VERSIONS = {HELLO: frozenset(VERSIONS), ERROR: frozenset(VERSIONS) - {2}}
"""What may come in another version than ours; neither framework can read one of 1.1."""
_LENGTHS = {FEATURES_REPLY: 32, PORT_STATUS: 80, BARRIER_REPLY: 8}
_SHORTEST = {ERROR: 12, PACKET_IN: 24, MULTIPART_REPLY: 16}
_LONGEST = {HELLO: 128}
"""A bitmap of versions is 8 octets; each bit of a longer one would become an object of the framework's."""
_PORT_DESCRIPTION, _PORT_BYTES = 13, 64
_EXPERIMENTER = 0xFFFF
_VERSION_BITMAP = 1


def fault_of(message: bytes) -> str | None:
    """Say what is wrong with a whole message; None when it may be read. Of any length, in a time its length bounds."""
    version, kind, length = message[0], message[1], len(message)
    if version != OUR_VERSION and version not in _OF_VERSIONS.get(kind, ()):
        return f"a message of type {kind} in OpenFlow version {version}"
    if length != _LENGTHS.get(kind, length) or not _SHORTEST.get(kind, 8) <= length <= _LONGEST.get(kind, length):
        return f"a message of type {kind} with {length} octets"
    if kind == HELLO:
        return _fault_of_hello(message)
    if kind == ERROR and int.from_bytes(message[8:10]) == _EXPERIMENTER and length < 16:
        return "an experimenter's error without an experimenter"
    if describes_ports(message) and (length - 16) % _PORT_BYTES:
        return "a description of ports that ends within a port"
    return None


def describes_ports(message: bytes) -> bool:
    """Whether it is a part of the reply that the handshake waits for."""
    return message[1] == MULTIPART_REPLY and int.from_bytes(message[8:10]) == _PORT_DESCRIPTION


def is_port_gone(message: bytes) -> bool:
    """Whether it is a port status that says so (OpenFlow 1.3.5 §7.4.3, OFPPR_DELETE)."""
    return message[1] == PORT_STATUS and message[8] == 1


def ports_in(message: bytes) -> set[int]:
    """The numbers of the ports that a description of ports, or a port status, is about."""
    return {int.from_bytes(message[at : at + 4]) for at in range(16, len(message), _PORT_BYTES)}


def _fault_of_hello(hello: bytes) -> str | None:
    """Elements are padded to 8 octets, their length is without the padding (OpenFlow 1.3.5 §7.5.1); the last may lack it.

    The framework does not skip the padding, so it is given elements that need none.
    """
    at, versions = 8, list(range(1, hello[0] + 1))
    while at < len(hello):
        kind, length = int.from_bytes(hello[at : at + 2]), int.from_bytes(hello[at + 2 : at + 4])
        if length < 8 or length % 8 or at + length > len(hello):
            return "a hello whose elements do not fit"
        if kind == _VERSION_BITMAP:
            bitmap = int.from_bytes(hello[at + 4 : at + 8])
            versions = [version for version in VERSIONS if bitmap >> version & 1]
        at += length
    # The version in front is the highest that its sender knows, whatever it says behind.
    if OUR_VERSION not in versions or hello[0] < OUR_VERSION:
        return "a hello without OpenFlow 1.3 (ovs-vsctl set bridge BRIDGE protocols=OpenFlow13)"
    return None
