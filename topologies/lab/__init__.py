"""The fault lab: real servers, real faults, and a diagnosis held against what really happened (docs/lab.md)."""

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """`resetlb lab …`; imports what it needs only when it is called."""
    from topologies.lab.command import main as lab

    return lab(arguments)
