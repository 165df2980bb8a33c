"""`resetlb demo`: a fabric with servers, clients and faults on this machine, with ResetLB's reset handling on and off.

Two processes. Outside, in the user's network: the socket of API and dashboard, the timeline (`director`) and the
terminal (`screen`). Inside a sandbox (`inside`): the fabric, the controller, servers and clients. They talk in JSON
lines (`stage`).
"""

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the demo for command-line arguments (of this process by default); returns the exit status."""
    from topologies.demo.command import parse, show

    options = parse(arguments)
    return show(simulate=options.simulate, once=options.once, framework=options.framework, json=options.json)
