"""Real inputs to begin with: what the switches of a modelled fabric said while its members failed, agents, captures."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import NamedTuple

from apps import codec
from apps.wellformed import ERROR, FEATURES_REPLY, HELLO, MULTIPART_REPLY, PACKET_IN, PORT_STATUS
from controller import neighbours
from controller.core import Core
from controller.decisions import Decision
from controller.events import Event, FlowCounted, PacketSeen, PolicyChanged
from controller.flows import FlowEntry, Purpose, match
from controller.frames import Arp, arp, arp_question, lldp
from controller.policy import Policy, parse_policy
from topologies.demo.simulated import SimulatedStage

RATE, KEPT = 30.0, 3


class Corpus(NamedTuple):
    """Inputs by what they are; the core that was told them, and until when (s)."""

    packet_ins: list[bytes]
    frames: list[bytes]
    replies: list[bytes]
    handshakes: list[bytes]
    agents: list[bytes]
    captures: list[bytes]
    core: Core
    now: float


def message(kind: int, body: bytes, xid: int = 0) -> bytes:
    """An OpenFlow message (OpenFlow 1.3.5 §7.1)."""
    return struct.pack("!BBHI", codec.OFP_VERSION, kind, 8 + len(body), xid) + body


def gather(seed: int) -> Corpus:
    """Plays the demo's faults on a model, and keeps what the core was told."""
    stage = SimulatedStage(seed)
    told: list[Event] = []
    handle = stage.core.handle

    def hear(event: Event, now: float) -> list[Decision]:
        told.append(event)
        return handle(event, now)

    stage.core.handle = hear  # type: ignore[method-assign]
    stage.wait_until_ready(lambda _: None)
    stage.drain(lambda _: None, 3.0)
    for do, arguments in (
        ("load", {"rate": RATE, "kept": KEPT}),
        ("kill", {"member": "web-1"}),
        ("reset-on-accept", {"member": "web-2"}),
    ):
        stage.order(do, lambda _: None, **arguments)
        stage.drain(lambda _: None, 1.5)
    stage.core.handle = handle  # type: ignore[method-assign]
    stage.fabric.tell(PolicyChanged(_everything(stage)))
    stage.drain(lambda _: None, 2.0)
    seen = [event for event in told if isinstance(event, PacketSeen)]
    frames = [*_distinct([event.frame for event in seen]), *_written()]
    flows = [_flow_statistics(event) for event in told if isinstance(event, FlowCounted)][-20:]
    packet_ins, replies = [*_distinct(map(packet_in, seen)), *_of_every_purpose(seen)], [*flows, *_other_statistics()]
    captures = _captures(frames)
    return Corpus(packet_ins, frames, replies, _handshakes(), list(_AGENTS), captures, stage.core, stage.now())


def _everything(stage: SimulatedStage) -> Policy:
    """The policy in force with all that has a part of its own in what the controller reads."""
    policy = stage.core.policy.model_dump(mode="json")
    policy["subnets"] = [{"name": "all", "prefix": "10.0.0.0/16", "gateway": "10.0.255.254"}]
    policy["zones"] = [{"name": "inside", "prefixes": ["10.0.1.0/24"]}]
    policy["firewall"] = {
        "observe": True,
        "rules": [
            {"priority": 300, "src": "10.0.1.0/24", "action": "allow", "per_source_connections_per_s": 5, "log": True},
            {"priority": 200, "from_zone": "inside", "protocol": "udp", "action": "reject", "inspect": "first-packet"},
            {"priority": 100, "dst_ports": [22], "protocol": "tcp", "action": "drop", "dry_run": True},
        ],
    }
    return parse_policy(policy)


def _of_every_purpose(seen: list[PacketSeen]) -> list[bytes]:
    """What was seen as if entries of other purposes had sent it: a hostile switch may say so."""
    few = seen[:: len(seen) // 20 + 1]
    return [packet_in(replace(one, purpose=purpose, cookie=0)) for purpose in Purpose for one in few]


def packet_in(seen: PacketSeen) -> bytes:
    """The message by which a switch tells it (OpenFlow 1.3.5 §7.4.1)."""
    oxm = codec.encode_match(match(**seen.fields))
    cookie = seen.cookie or FlowEntry(0, 1, match(eth_type=0x0800), seen.purpose).cookie
    head = struct.pack("!IHBBQ", codec.OFP_NO_BUFFER, len(seen.frame), 1, 3, cookie)
    return message(PACKET_IN, head + oxm + bytes(2) + seen.frame)


def _distinct(inputs: object, at_most: int = 400) -> list[bytes]:
    """Each once, spread over all of them: the beginning and the end of a run differ."""
    every = list(dict.fromkeys(inputs))  # type: ignore[call-overload]
    return every[:: len(every) // at_most + 1]


def _written() -> list[bytes]:
    """Frames that the run may not have had."""
    ip = 0xFD << 120 | 1
    return [
        arp_question(0x0A000001), arp(Arp(2, 7, 0x0A000001, 8, 0x0A000002), 8), lldp(b"another", 1, 2), neighbours.question(ip),
        neighbours.answer(ip, 7, ip + 1, 8),
    ]  # fmt: skip


def _multipart(kind: int, body: bytes, more: int = 0) -> bytes:
    return message(MULTIPART_REPLY, struct.pack("!HH4x", kind, more) + body, codec.OUR_XID | 0x00F00000)


def _flow_statistics(counted: FlowCounted) -> bytes:
    body = b""
    for cookie, packets in list(counted.packets.items())[:40]:
        entry = codec.encode_match(match(eth_type=0x0800))
        head = struct.pack(
            "!HBxIIHHHH4xQQQ", 48 + len(entry), counted.table_id, 1, 0, 1, 0, 0, 0, cookie, packets, 64 * packets
        )
        body += head + entry
    return _multipart(codec.MULTIPART_FLOW, body)


def _other_statistics() -> list[bytes]:
    port = struct.pack("!I4x12QII", 1, *range(12), 7, 0)
    queue = struct.pack("!IIQQQII", 1, 0, 1000, 10, 3, 7, 0)
    meter = struct.pack("!IH6xIQQII", 1, 56, 3, 1000, 64000, 7, 0) + struct.pack("!QQ", 5, 320)
    bucket = struct.pack("!HHII4x", 16, 100, 0xFFFFFFFF, 0xFFFFFFFF)
    group = struct.pack("!HBxI", 8 + 2 * len(bucket), 1, 7) + 2 * bucket
    counted = struct.pack("!H2xII4xQQII", 72, 7, 1, 10, 640, 7, 0) + struct.pack("!QQ", 4, 256) * 2
    config = struct.pack("!HHIHHIII", 24, 6, 1, 1, 16, 100, 10, 0)
    bodies = {
        codec.MULTIPART_PORT: port * 3, codec.MULTIPART_QUEUE: queue * 3, codec.MULTIPART_METER: meter * 3,
        codec.MULTIPART_GROUP_DESC: group * 3, codec.MULTIPART_GROUP: counted * 2, codec.MULTIPART_METER_CONFIG: config * 3,
        0: bytes(1056), 8: bytes(40), 11: bytes(16),
    }  # fmt: skip
    return [_multipart(kind, body) for kind, body in bodies.items()]


def _handshakes() -> list[bytes]:
    port = struct.pack("!I4x6s2x16s8I", 1, bytes(6), b"s1-eth1", 0, 0, 0, 0, 0, 0, 10_000_000, 0)
    return [
        message(HELLO, b""), message(HELLO, struct.pack("!HHI", 1, 8, 1 << 4)), message(ERROR, struct.pack("!HH", 3, 1) + bytes(64)),
        message(FEATURES_REPLY, struct.pack("!QIBB2xII", 0x11, 0, 254, 0, 0x4F, 0)), message(PORT_STATUS, struct.pack("!B7x", 2) + port),
        message(MULTIPART_REPLY, struct.pack("!HH4x", 13, 0) + 3 * port), message(2, b"echo"), message(4, struct.pack("!II", 0x2320, 1)),
    ]  # fmt: skip


_AGENTS = (
    b"up 75%\n",
    b"drain # rolling upgrade\r\n",
    b"down#out of memory\n",
    b"ready maxconn:30 50%\n",
    b"stopped\n",
)


def _captures(frames: list[bytes]) -> list[bytes]:
    """The frames of a run as a pcap and as a pcapng file (draft-ietf-opsawg-pcapng §4)."""
    classic = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    blocks = _block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)) + _block(1, struct.pack("<HHI", 1, 0, 0))
    for number, frame in enumerate(frames[-12:]):
        classic += struct.pack("<IIII", number, 0, len(frame), len(frame)) + frame
        blocks += _block(6, struct.pack("<IIIII", 0, 0, number * 1_000_000, len(frame), len(frame)) + frame)
    return [classic, blocks]


def _block(kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    length = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + length + body + length
