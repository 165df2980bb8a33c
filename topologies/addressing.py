"""One scheme of dpids and addresses for all topologies.

A switch of layer L (1 edge, 2 aggregation or spine, 3 core) with index I has the dpid 0x0L00 + I. A host at place P of
the edge switch with index E has 10.0.E.P/16, where it speaks IPv6 fd00::E:P/64, and 02:00:0a:00:EE:PP: every host is in
one subnet, and 10.0.0.0/24 and fd00::0:0/112 are left for VIPs.
"""

EDGE, SPINE, CORE = 1, 2, 3
PREFIX_LENGTH = 16
IPV6_PREFIX_LENGTH = 64


def dpid(layer: int, index: int) -> str:
    """The dpid of a switch, 16 hex digits.

    Raises:
        ValueError: index is not in 1–255.
    """
    if not 1 <= index <= 255:
        raise ValueError(f"switch index {index} is not in 1–255")
    return f"{layer << 8 | index:016x}"


def host_address(edge: int, place: int) -> str:
    """The IPv4 address of the host at `place` of the edge switch with index `edge`.

    Raises:
        ValueError: edge is not in 1–255, or place not in 1–254.
    """
    _check_host(edge, place)
    return f"10.0.{edge}.{place}"


def host_ipv6_address(edge: int, place: int) -> str:
    """The IPv6 address of that host (RFC 4193).

    Raises:
        ValueError: edge is not in 1–255, or place not in 1–254.
    """
    _check_host(edge, place)
    return f"fd00::{edge:x}:{place:x}"


def host_mac(edge: int, place: int) -> str:
    """The (locally administered) MAC address of that host.

    Raises:
        ValueError: edge is not in 1–255, or place not in 1–254.
    """
    _check_host(edge, place)
    return f"02:00:0a:00:{edge:02x}:{place:02x}"


def _check_host(edge: int, place: int) -> None:
    if not (1 <= edge <= 255 and 1 <= place <= 254):
        raise ValueError(f"host {place} of edge {edge}: not in 1–254 of 1–255")
