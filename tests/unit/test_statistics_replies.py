"""Port and queue statistics, octet for octet (OpenFlow 1.3.5 §7.3.5.6 and §7.3.5.8)."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from apps import codec
from controller.decisions import RequestPortCounters, RequestQueueCounters
from controller.events import PortCounters

NOT_COUNTED = 0xFFFFFFFFFFFFFFFF


def _port(port_no: int, counts: list[int], seconds: int = 7, nanoseconds: int = 500_000_000) -> bytes:
    return struct.pack("!I4x12QII", port_no, *counts, seconds, nanoseconds)


def _queue(port_no: int, queue_id: int, dropped: int) -> bytes:
    return struct.pack("!IIQQQII", port_no, queue_id, 1000, 10, dropped, 7, 0)


def test_requests_ask_for_every_port_and_every_queue() -> None:
    assert codec.encode(RequestPortCounters(1)).hex() == "04120018000000000004000000000000ffffffff00000000"
    assert codec.encode(RequestQueueCounters(1)).hex() == "04120018000000000005000000000000ffffffffffffffff"


def test_port_counters_are_read_in_the_order_of_the_standard() -> None:
    body = _port(3, list(range(101, 113))) + _port(0xFFFFFFFE, [0] * 12)
    (first, counters), (local, _) = codec.decode_port_counters(body)
    assert (first, local) == (3, 0xFFFFFFFE)
    assert counters == PortCounters(103, 104, 101, 102, tx_dropped=106, duration_s=7.5)


def test_all_ones_is_a_counter_the_switch_does_not_have() -> None:
    ((_, counters),) = codec.decode_port_counters(_port(1, [NOT_COUNTED] * 12, 0xFFFFFFFF, 0xFFFFFFFF))
    assert set(counters) == {None}


def test_queue_drops_name_their_port_once_a_queue() -> None:
    body = _queue(2, 0, 5) + _queue(2, 1, 6) + _queue(4, 0, 0) + _queue(5, 0, NOT_COUNTED)
    assert list(codec.decode_queue_drops(body)) == [(2, 5), (2, 6), (4, 0)]


@given(st.binary(max_size=400))
def test_any_octets_end_the_walk_and_raise_nothing(body: bytes) -> None:
    assert len(list(codec.decode_port_counters(body))) == len(body) // 112
    assert len(list(codec.decode_queue_drops(body))) <= len(body) // 40
