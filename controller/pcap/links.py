"""From a captured frame to the IP packet in it, for every link type that carries IP.

Source: the link-layer header types of tcpdump.org (LINKTYPE_ values).
"""

from collections.abc import Callable
from typing import NamedTuple

from controller.segments import IPV4, IPV6, VLAN_TAGS, Segment, read_ip_segment, read_segment

NO_IP = -1

_PPPOE_SESSION, _MPLS = 0x8864, frozenset((0x8847, 0x8848))
# RFC 1042: LLC with SNAP and organisation 0; an EtherType follows.
_SNAP = b"\xaa\xaa\x03\0\0\0"
_PPP_IP = frozenset((0x0021, 0x0057))
# AF_INET, and AF_INET6 of Linux, NetBSD and OpenBSD, FreeBSD, Darwin (pcap-linktype(7), DLT_NULL).
_FAMILIES = frozenset((2, 10, 24, 28, 30))
_NFLOG_PAYLOAD = 9
_WIRELESS = frozenset((105, 119, 127, 163, 192))

_UDP, _GRE, _IP_IN_IP, _IPV6_IN_IP = 17, 47, 4, 41
_TUNNEL_PORTS = {4789: "VXLAN", 8472: "VXLAN", 6081: "Geneve", 2152: "GTP"}
_TUNNELS = {_GRE: "GRE", _IP_IN_IP: "IP-in-IP", _IPV6_IN_IP: "IPv6-in-IP"}


class Link(NamedTuple):
    """How to read one link type."""

    segment: Callable[[bytes], Segment | None]
    ip_start: Callable[[bytes], int]
    """Offset of the IP packet in a frame, or `NO_IP`."""


def _after_ethertype(frame: bytes, at: int) -> int:
    """Offset of the IP packet after the EtherType at `at`, through tags, labels and PPPoE; each step moves on."""
    end = len(frame)
    while at + 2 <= end:
        ethertype = frame[at] << 8 | frame[at + 1]
        at += 2
        if ethertype in (IPV4, IPV6):
            return at
        if ethertype in VLAN_TAGS:
            at += 2
        elif ethertype == _PPPOE_SESSION:
            # RFC 2516 §4: version, code, session, length; then the PPP protocol.
            return _after_ppp_protocol(frame, at + 6)
        elif ethertype in _MPLS:
            return _after_labels(frame, at)
        elif ethertype < 0x0600 and frame.startswith(_SNAP, at):
            # IEEE 802.3: it is a length, and an LLC header follows.
            at += len(_SNAP)
        else:
            break
    return NO_IP


def _after_labels(frame: bytes, at: int) -> int:
    """RFC 3032 §2.1: entries of four bytes, the lowest bit of the third marks the last."""
    while at + 4 < len(frame):
        at += 4
        if frame[at - 2] & 1:
            return at if frame[at] >> 4 in (4, 6) else NO_IP
    return NO_IP


def _after_ppp_protocol(frame: bytes, at: int) -> int:
    if at + 2 <= len(frame) and frame[at] << 8 | frame[at + 1] in _PPP_IP:
        return at + 2
    return NO_IP


def _ethernet(frame: bytes) -> int:
    return _after_ethertype(frame, 12)


def _cooked(frame: bytes) -> int:
    return _after_ethertype(frame, 14)


def _cooked_v2(frame: bytes) -> int:
    # The protocol comes first here; tags, where the kernel leaves them in, follow the 20 bytes of header.
    protocol = int.from_bytes(frame[0:2], "big")
    if protocol in (IPV4, IPV6):
        return 20
    return _after_ethertype(frame, 22) if protocol in VLAN_TAGS else NO_IP


def _raw(_frame: bytes) -> int:
    return 0


def _null(frame: bytes) -> int:
    """The address family is in the byte order of the capturing host, which the file does not tell."""
    word = frame[:4]
    families = int.from_bytes(word, "little"), int.from_bytes(word, "big")
    return 4 if any(family in _FAMILIES for family in families) else NO_IP


def _ppp(frame: bytes) -> int:
    return _after_ppp_protocol(frame, 2 if frame[:2] == b"\xff\x03" else 0)


def _cisco_hdlc(frame: bytes) -> int:
    return _after_ethertype(frame, 2)


def _fddi(frame: bytes) -> int:
    return _after_ethertype(frame, 13 + len(_SNAP)) if frame.startswith(_SNAP, 13) else NO_IP


def _netfilter_log(frame: bytes) -> int:
    """Attributes of (length, type, value), padded to four bytes, in the byte order of the capturing host."""
    at = 4
    while at + 4 <= len(frame):
        little, big = (int.from_bytes(frame[at : at + 2], order) for order in ("little", "big"))
        # The type is below 256, so its zero byte tells the order.
        size, kind = (little, frame[at + 2]) if frame[at + 3] == 0 else (big, frame[at + 3])
        if kind == _NFLOG_PAYLOAD:
            return at + 4
        if size < 4:
            break
        at += size + -size % 4
    return NO_IP


def _through(ip_start: Callable[[bytes], int]) -> Link:
    def segment(frame: bytes) -> Segment | None:
        start = ip_start(frame)
        return None if start == NO_IP else read_ip_segment(frame, start)

    return Link(segment, ip_start)


_READ_DIRECTLY = (b"\x08\x00", b"\x08\x06", b"\x86\xdd")


def _ethernet_segment(frame: bytes) -> Segment | None:
    segment = read_segment(frame)
    # Most frames without TCP are UDP and ARP: an EtherType of its own kind means that there may be more to pass.
    if segment is None and frame[12:14] not in _READ_DIRECTLY:
        start = _ethernet(frame)
        if start != NO_IP:
            segment = read_ip_segment(frame, start)
    return segment


LINKS: dict[int, Link] = {
    1: Link(_ethernet_segment, _ethernet),
    113: _through(_cooked),
    276: _through(_cooked_v2),
    0: _through(_null),
    108: _through(_null),
    9: _through(_ppp),
    50: _through(_ppp),
    104: _through(_cisco_hdlc),
    10: _through(_fddi),
    239: _through(_netfilter_log),
    # 101 is LINKTYPE_RAW; 12 and 14 are what some systems wrote for it; 228 and 229 have one version each.
    **dict.fromkeys((12, 14, 101, 228, 229), _through(_raw)),
}


def note_on_link(link_type: int) -> str:
    """Why packets of a link type that is not in `LINKS` are left out."""
    if link_type in _WIRELESS:
        return f"packets left out: 802.11 frames (link type {link_type}) are not read"
    return f"packets left out: link type {link_type} is not read"


def note_on_packet(frame: bytes, start: int) -> str | None:
    """Why an IP packet at `start` without a readable segment is left out; None if it is just not TCP."""
    end = len(frame)
    if start == NO_IP or start + 20 > end:
        return None
    first = frame[start]
    if first >> 4 == 4:
        protocol, body = frame[start + 9], start + (first & 0x0F) * 4
        later_fragment = (frame[start + 6] & 0x1F) << 8 | frame[start + 7]
    elif first >> 4 == 6 and start + 40 <= end:
        protocol, body = frame[start + 6], start + 40
        later_fragment = 0
    else:
        return None
    tunnel = _TUNNELS.get(protocol)
    if protocol == _UDP and body + 4 <= end and not later_fragment:
        tunnel = _TUNNEL_PORTS.get(frame[body + 2] << 8 | frame[body + 3])
    if tunnel is not None:
        return f"packets left out: encapsulated in {tunnel}"
    if protocol == 6:
        return "TCP fragments without a header left out" if later_fragment else "TCP segments left out: malformed"
    return None
