"""What an SSH port does with a client that does not speak SSH, without an SSH server being installed.

    python -m topologies.lab.ssh_greeter PORT

Sends its version first and reads the client's byte by byte up to the newline (RFC 4253 §4.2), as OpenSSH does. What is no version is
answered in a line and closed; what the client sent beyond that line was never read, so the kernel closes with RST (RFC 2525 §2.17).
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading

VERSION = b"SSH-2.0-OpenSSH_9.2p1\r\n"
MAX_LINE = 8192
PATIENCE_S = 10.0


def greet(connection: socket.socket) -> None:
    """One client, to its end."""
    with connection, contextlib.suppress(OSError):
        connection.settimeout(PATIENCE_S)
        connection.sendall(VERSION)
        line = b""
        while not line.endswith(b"\n") and len(line) < MAX_LINE:
            octet = connection.recv(1)
            if not octet:
                return
            line += octet
        if not line.startswith(b"SSH-2.0-"):
            connection.sendall(b"Invalid SSH identification string.\r\n")


def main() -> None:
    """Greets until killed."""
    listener = socket.create_server(("", int(sys.argv[1])), backlog=1024)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=greet, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
