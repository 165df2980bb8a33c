"""Whatever a peer sends as OpenFlow, judging it ends and does not raise, and what is let through the framework gets through."""

import gc
import struct
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.parser_limit import TooSlowError, within_cpu_time
from apps.wellformed import (
    ERROR,
    FEATURES_REPLY,
    HELLO,
    MULTIPART_REPLY,
    NEEDED,
    PORT_STATUS,
    describes_ports,
    fault_of,
    ports_in,
)

SHORT = st.integers(0, 2**16 - 1)


def message(kind: int, body: bytes, version: int = 4) -> bytes:
    return struct.pack("!BBHI", version, kind, 8 + len(body), 1) + body


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 6), st.integers(0, 255), st.binary(max_size=200))
def test_any_message_is_judged(version: int, kind: int, body: bytes) -> None:
    assert fault_of(message(kind, body, version)) is None or body is not None
    if fault_of(message(kind, body, version)) is None and describes_ports(message(kind, body)):
        assert len(ports_in(message(kind, body))) <= len(body) // 64


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(SHORT, SHORT, st.binary(max_size=8)), max_size=4))
def test_a_hello_that_passes_has_elements_that_lead_to_its_end(elements: list[tuple[int, int, bytes]]) -> None:
    body = b"".join(struct.pack("!HH", kind, length) + rest for kind, length, rest in elements)
    hello = message(HELLO, body)
    if fault_of(hello) is None:
        at = 8
        while at < len(hello):
            length = int.from_bytes(hello[at + 2 : at + 4])
            assert length >= 8
            at += length
        assert at == len(hello)


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (message(HELLO, b""), message(HELLO, b"", version=1)),
        (message(HELLO, struct.pack("!HHI", 1, 8, 1 << 4)), message(HELLO, struct.pack("!HHI", 1, 8, 1 << 1))),
        (message(HELLO, struct.pack("!HHI", 1, 8, 1 << 4), version=6), message(HELLO, struct.pack("!HHI", 1, 0, 1 << 4))),
        (message(HELLO, struct.pack("!HHI", 1, 8, 1 << 4)), message(HELLO, struct.pack("!HHI", 1, 8, 1 << 4), version=2)),
        (message(ERROR, bytes(4), version=1), message(ERROR, bytes(4), version=2)),
        (message(FEATURES_REPLY, bytes(24)), message(FEATURES_REPLY, bytes(24), version=1)),
        (message(PORT_STATUS, bytes(72)), message(PORT_STATUS, bytes(71))),
        (message(ERROR, bytes(4)), message(ERROR, bytes(3))),
        (message(MULTIPART_REPLY, struct.pack("!HH68x", 13, 0)), message(MULTIPART_REPLY, struct.pack("!HH67x", 13, 0))),
    ],
)  # fmt: skip
def test_what_is_meant_passes_and_what_is_not_does_not(good: bytes, bad: bytes) -> None:
    assert good[1] in NEEDED | {MULTIPART_REPLY}
    assert fault_of(good) is None and fault_of(bad) is not None


def test_a_loop_without_an_end_is_interrupted_and_what_is_quick_is_not() -> None:
    with within_cpu_time(0.05):
        assert sum(range(1000)) == 499500
    began = time.process_time()
    with pytest.raises(TooSlowError), within_cpu_time(0.05):
        while True:
            pass
    assert time.process_time() - began < 1.0
    while time.process_time() < began + 0.3:
        pass  # nothing is left that would interrupt this


def test_the_collector_of_garbage_rests_meanwhile() -> None:
    """An interrupt that met a callback of it would be lost, and seen by whoever looks at what gets lost."""
    calls: list[str] = []

    def called(phase: str, _info: dict[str, int]) -> None:
        calls.append(phase)

    gc.callbacks.append(called)
    try:
        with within_cpu_time():
            calls.clear()
            kept: list[list[object]] = [[] for _ in range(100_000)]
            inside = list(calls)
        gc.collect()
    finally:
        gc.callbacks.remove(called)
    assert kept and not inside and calls and gc.isenabled()


def test_the_frameworks_parser_needs_it() -> None:
    """A reply with a record of no octets, as an application beside ours might have asked for."""
    from ryu.ofproto import ofproto_v1_3_parser as parser

    reply = message(MULTIPART_REPLY, struct.pack("!HH4x", 1, 0) + bytes(56))
    assert fault_of(reply) is None
    with pytest.raises(TooSlowError), within_cpu_time(0.2):
        parser.msg_parser(None, 4, MULTIPART_REPLY, len(reply), 1, bytearray(reply))
