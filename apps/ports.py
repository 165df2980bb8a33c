"""Whose a taken port is (proc_pid_net(5), proc_pid_fd(5)); for words in an error, never to decide by."""

import contextlib
import errno
import os
import socket
from pathlib import Path

_LISTENING = "0A"
_PROC = Path("/proc")


def owner(port: int) -> str | None:
    """Return who listens on a TCP port, as ``nginx (pid 7)``; None when that cannot be known, of others without root."""
    sockets = {f"socket:[{inode}]" for inode in _inodes(port)}
    if not sockets:
        return None
    for folder in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(str(link.readlink()) in sockets for link in (folder / "fd").iterdir()):
                return f"{(folder / 'comm').read_text().strip()} (pid {folder.name})"
    return None


def refusal(option: str, address: tuple[str, int], error: OSError) -> str:
    """Say in words why an address cannot be listened on, and what to do."""
    # What create_server adds to strerror repeats the address.
    text = f"{option} {address[0]}:{address[1]}: {os.strerror(error.errno) if error.errno else error}"
    match error.errno:
        case errno.EADDRINUSE:
            by = owner(address[1])
            return f"{text}, by {by}; end that, or choose another port" if by else f"{text}; choose another port"
        case errno.EADDRNOTAVAIL:
            return f"{text}: this machine has no such address"
        case errno.EACCES:
            return f"{text}: ports below 1024 are root's; choose a higher one"
    return text


def taken(option: str, address: tuple[str, int]) -> str | None:
    """Return why an address cannot be listened on, None when it can."""
    try:
        with socket.create_server(address, family=socket.AF_INET6 if ":" in address[0] else socket.AF_INET):
            return None
    except OSError as error:
        return refusal(option, address, error)


def _inodes(port: int) -> set[str]:
    found = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in (_PROC / "net" / table).read_text().splitlines()[1:]:
                _, local, _, state, *rest = line.split()
                if state == _LISTENING and int(local.rpartition(":")[2], 16) == port:
                    found.add(rest[5])
    return found
