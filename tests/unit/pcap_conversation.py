"""Conversations over TCP, written packet by packet into a capture in memory."""

import io
import struct
from dataclasses import dataclass, field

from controller.pcap import Analysis, ResetRecord, analyse

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
REQUEST, RESPONSE = b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"
TLS_HELLO = b"\x16\x03\x01\x00\x05hello"


@dataclass
class Trace:
    """A capture in the making: raw IP packets, a millisecond apart unless told otherwise."""

    now_us: int = 1_000_000_000
    packets: list[tuple[int, bytes]] = field(default_factory=list)

    def wait(self, seconds: float) -> None:
        self.now_us += int(seconds * 1_000_000)

    def add(self, packet: bytes) -> None:
        self.now_us += 1000
        self.packets.append((self.now_us, packet))

    def analysis(self) -> Analysis:
        capture = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
        for time_us, packet in self.packets:
            capture += struct.pack("<IIII", *divmod(time_us, 1_000_000), len(packet), len(packet)) + packet
        return analyse(io.BytesIO(capture))

    def records(self) -> list[ResetRecord]:
        return list(self.analysis())

    def record(self) -> ResetRecord:
        (record,) = self.records()
        return record


@dataclass
class Side:
    address: bytes
    port: int
    seq: int
    ttl: int = 64
    ip_id: int = 1


class Talk:
    """One connection; numbers follow from what was sent before."""

    def __init__(
        self, trace: Trace, *, client: str = "10.0.0.1", port: int = 40000, server: str = "10.0.0.2", server_port: int = 80,
        isn: int = 0xFFFFFF00,
    ) -> None:  # fmt: skip
        self.trace = trace
        self.client = Side(bytes(map(int, client.split("."))), port, isn)
        self.server = Side(bytes(map(int, server.split("."))), server_port, 7000)

    def send(
        self, src: Side, flags: int, payload: bytes = b"", *, seq: int | None = None, ack: int | None = None,
        window: int = 500, timestamps: bool = False, ttl: int | None = None, keep_ip_id: bool = False,
    ) -> None:  # fmt: skip
        dst = self.server if src is self.client else self.client
        options = bytes.fromhex("0101080a0000000100000002") if timestamps else b""
        if not keep_ip_id:
            src.ip_id += 1
        numbers = (src.seq if seq is None else seq) % 2**32, (dst.seq if ack is None else ack) % 2**32
        tcp = struct.pack(
            "!HHIIBBHHH", src.port, dst.port, *numbers, (20 + len(options)) // 4 << 4, flags, window, 0, 0
        )  # fmt: skip
        body = tcp + options + payload
        head = struct.pack(
            "!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), src.ip_id, 0, ttl or src.ttl, 6, 0, src.address, dst.address
        )
        self.trace.add(head + body)
        if seq is None:
            src.seq = (src.seq + len(payload) + bool(flags & (SYN | FIN))) % 2**32

    def opened(self) -> "Talk":
        self.send(self.client, SYN, ack=0)
        self.send(self.server, SYN | ACK)
        self.send(self.client, ACK)
        return self

    def served(self, times: int = 1) -> "Talk":
        for _ in range(times):
            self.send(self.client, PSH | ACK, REQUEST)
            self.send(self.server, PSH | ACK, RESPONSE)
            self.send(self.client, ACK)
        return self

    def refused(self, ttl: int | None = None) -> "Talk":
        self.send(self.client, SYN, ack=0)
        self.send(self.server, RST | ACK, seq=0, window=0, ttl=ttl)
        return self

    def abort(self, src: Side, **changes: int) -> None:
        """A live socket's reset."""
        self.send(src, RST | ACK, timestamps=True, **changes)  # type: ignore[arg-type]

    def disown(self, src: Side, **changes: int) -> None:
        """A stack's answer to a segment of a connection it does not know."""
        self.send(src, RST, ack=0, window=0, **changes)  # type: ignore[arg-type]


def told(record: ResetRecord) -> tuple[str, str, str]:
    return record.sender, record.stage, record.kind
