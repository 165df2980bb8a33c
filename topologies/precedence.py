"""What has a machine of its own in a real network goes first: switches and the controller before servers and load generators."""

import contextlib
import os

NICENESS = -10

FIRST = ("nice", "-n", str(NICENESS))
"""Before a command line; without the permission nice(1) says so and starts it all the same."""


def give_precedence(pid: int) -> None:
    """Let a process of ours that has just started go before those that only load this machine; where that is permitted."""
    with contextlib.suppress(PermissionError, ProcessLookupError):
        os.setpriority(os.PRIO_PROCESS, pid, NICENESS)
