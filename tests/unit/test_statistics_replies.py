"""Port and queue statistics, octet for octet (OpenFlow 1.3.5 §7.3.5.6 and §7.3.5.8)."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from apps import codec
from controller.decisions import RequestMeterCounters, RequestPortCounters, RequestQueueCounters
from controller.events import MeterCounted, PortCounters
from controller.metering import MeterDrops
from controller.pipeline import Meter

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


def _meter(meter_id: int, *bands: int) -> bytes:
    counters = b"".join(struct.pack("!QQ", packets, 64 * packets) for packets in bands)
    return struct.pack("!IH6xIQQII", meter_id, 40 + len(counters), 3, 1000, 64_000, 7, 0) + counters


def test_meter_drops_are_those_of_its_bands() -> None:
    assert codec.encode(RequestMeterCounters(1)).hex() == "04120018000000000009000000000000ffffffff00000000"
    assert list(codec.decode_meter_drops(_meter(5, 40) + _meter(6) + _meter(7, 1, 2))) == [(5, 40), (6, 0), (7, 3)]
    assert list(codec.decode_meter_drops(_meter(5, 40)[:-1])) == []


def test_metered_drops_add_up_over_switches_and_never_go_down() -> None:
    drops = MeterDrops()
    for dpid, dropped in ((1, 10), (2, 5), (1, 12), (1, 1), (2, 5)):
        drops.take(MeterCounted(dpid, {Meter.MIRROR: dropped, 1000: 99}))
    assert drops.totals == {Meter.MIRROR: 18}


@given(st.binary(max_size=400))
def test_any_octets_end_the_walk_and_raise_nothing(body: bytes) -> None:
    assert len(list(codec.decode_port_counters(body))) == len(body) // 112
    assert len(list(codec.decode_queue_drops(body))) <= len(body) // 40
    assert len(list(codec.decode_meter_drops(body))) <= len(body) // 40
