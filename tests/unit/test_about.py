"""What a switch says of itself, octet for octet (OpenFlow 1.3.5 §7.3.5.1, §7.3.5.9, §7.3.5.13)."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from apps import about
from apps.about import About

DESCRIPTION, GROUPS, METERS = sorted(about.XIDS)


def reply(kind: int, body: bytes) -> bytes:
    return struct.pack("!BBHIHH4x", 4, 19, 16 + len(body), 0, kind, 0) + body


def field(text: str, size: int = 256) -> bytes:
    return text.encode().ljust(size, b"\0")


def test_requests_ask_for_description_groups_and_meters() -> None:
    assert about.request().hex() == "".join(
        f"04120010{xid:08x}{kind:04x}000000000000" for xid, kind in ((DESCRIPTION, 0), (GROUPS, 8), (METERS, 11))
    )


def test_replies_are_read_in_the_order_of_the_standard() -> None:
    said = About()
    body = field("Nicira, Inc.") + field("Open vSwitch") + field("3.1.0") + field("None", 32) + field("br0")
    said.take(DESCRIPTION, reply(0, body))
    said.take(GROUPS, reply(8, struct.pack("!II4I4I", 0b0111, 1, *[255] * 8)))
    said.take(METERS, reply(11, struct.pack("!IIIBB2x", 200000, 2, 15, 1, 0)))
    assert said == About("Nicira, Inc.", "Open vSwitch", "3.1.0", True, False, 200000)


@given(st.sampled_from(sorted(about.XIDS)), st.binary(max_size=1100))
def test_any_octets_are_read_or_passed_over(xid: int, octets: bytes) -> None:
    About().take(xid, octets)
