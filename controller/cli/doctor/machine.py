"""What the machine gives the controller: ports, a directory, a clock, certificates, and a policy that is valid."""

import ctypes
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from controller.cli.doctor.findings import Finding, good, unknown, wrong

ROOM_BYTES = 100_000_000
RENEW_DAYS = 14
JUMP_S, WATCHED_S = 0.05, 0.3
_UNSYNCHRONISED = 5
"""TIME_ERROR, what adjtimex(2) returns while nothing keeps the clock."""
_TIMEX_BYTES = 512
"""More than struct timex has anywhere."""


def ports(listen: tuple[str, int], api: tuple[str, int]) -> Iterator[Finding]:
    """Look whether a controller could listen where it wants to."""
    from apps.ports import taken

    for option, address in (("--listen", listen), ("--api", api)):
        refusal = taken(option, address)
        if refusal is None:
            yield good(f"port {address[1]}", f"{option} {address[0]}:{address[1]} is free")
        else:
            text, _, advice = refusal.partition("; ")
            yield wrong(f"port {address[1]}", text, advice or f"choose another address with {option}")


def state(state_dir: Path) -> Iterator[Finding]:
    """Look at the state directory: can it be written, is it whole, is there room."""
    from controller.store import Store, StoreError

    place = next(folder for folder in (state_dir, *state_dir.parents) if folder.exists())
    if not os.access(place, os.W_OK | os.X_OK):
        user = f"user {os.geteuid()}"
        yield wrong(
            "state", f"{place} cannot be written by {user}", "run as its owner, or name another with --state-dir"
        )
    elif place != state_dir:
        yield good("state", f"{state_dir} will be made at the first start")
    else:
        try:
            with Store(state_dir, read_only=True):
                yield good("state", f"{state_dir} is whole and can be written")
        except StoreError as error:
            if (state_dir / "resetlb.sqlite3").exists():
                yield wrong("state", str(error), "see Backup and restore in docs/operations.md")
            else:
                yield good("state", f"{state_dir} is empty and can be written")
    free = shutil.disk_usage(place).free
    if free < ROOM_BYTES:
        yield wrong(
            "state", f"{free / 1e6:.0f} MB are free at {place}", "changes are refused when nothing is left: make room"
        )


def policy(file: Path) -> Finding:
    """Look whether a policy file is valid."""
    from controller.policy import PolicyError, load_policy_file

    try:
        found = load_policy_file(file)
    except OSError as error:
        return wrong("policy", f"{file}: {error.strerror}", "name the file with --policy")
    except PolicyError as error:
        return wrong("policy", f"{file}: {error}", f"resetlb policy check {file} lists every place")
    return good("policy", f"{file} is valid: {len(found.vips)} VIPs, {len(found.pools)} pools")


def certificate(file: Path, now: float) -> Finding:
    """Look how long a certificate is still good for, by openssl(1)."""
    check = f"certificate {file.name}"
    try:
        argv = ["openssl", "x509", "-noout", "-enddate", "-in", str(file)]
        said = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=True).stdout
        ends = datetime.strptime(said.strip(), "notAfter=%b %d %H:%M:%S %Y %Z").replace(tzinfo=UTC)
    except FileNotFoundError:
        return unknown(check, "openssl is not installed", "apt-get install openssl")
    except subprocess.CalledProcessError as error:
        return wrong(check, f"{file} cannot be read: {error.stderr.splitlines()[0]}", "it must be a PEM file")
    except (ValueError, subprocess.TimeoutExpired):
        return unknown(check, f"openssl says nothing of {file} that can be read")
    days = (ends.timestamp() - now) / 86_400
    if days < 0:
        return wrong(check, f"{file} expired on {ends:%Y-%m-%d}", "every peer refuses it: issue a new one")
    if days < RENEW_DAYS:
        return wrong(check, f"{file} expires on {ends:%Y-%m-%d}, in {days:.0f} days", "renew it; no restart is needed")
    return good(check, f"{file} is good until {ends:%Y-%m-%d}")


def clock() -> Iterator[Finding]:
    """Look whether something keeps the clock, and whether it jumps: times in incidents and the end of quarantines are wall time."""
    kept = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    if kept == -1:
        yield unknown("clock", "the kernel does not say whether it is synchronised (adjtimex is not permitted)")
    elif kept == _UNSYNCHRONISED:
        yield wrong(
            "clock", "is not synchronised", "times in incidents and logs will not fit others': run chrony or timesyncd"
        )
    else:
        yield good("clock", "is synchronised")
    before = time.time() - time.monotonic()
    time.sleep(WATCHED_S)
    jump = time.time() - time.monotonic() - before
    if abs(jump) > JUMP_S:
        yield wrong("clock", f"jumped by {jump:.3f} s while it was watched", "let the time service slew, not step")
