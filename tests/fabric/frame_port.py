"""Frames in and out of a host's interface: hex lines on stdin are sent, `in HEX` and `out HEX` are printed.

python frame_port.py INTERFACE
"""

import socket
import sys
import threading

ALL_PROTOCOLS = 3
OUTGOING = 4
"""PACKET_OUTGOING, packet(7)."""


def show(port: socket.socket) -> None:
    """Prints what passes."""
    while True:
        frame, (_, _, kind, *_) = port.recvfrom(65536)
        sys.stdout.write(f"{'out' if kind == OUTGOING else 'in'} {frame.hex()}\n")
        sys.stdout.flush()


def main() -> None:
    """Serves until stdin ends."""
    port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS))
    port.bind((sys.argv[1], 0))
    sys.stdout.write("started\n")
    sys.stdout.flush()
    threading.Thread(target=show, args=(port,), daemon=True).start()
    for line in sys.stdin:
        port.send(bytes.fromhex(line))


if __name__ == "__main__":
    main()
