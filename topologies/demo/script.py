"""What happens in the demo, in order: the cast and the phases."""

from typing import NamedTuple

POOL = "web"
VIP = "10.0.0.100", 80
MEMBERS = {"web-1": "h2", "web-2": "h4", "web-3": "h6"}
"""Member by name → the host it lives on; one on every leaf."""
MEMBER_PORT = 8080
CLIENTS = ("h1", "h3")
SWITCHES = 5
RATE = 50.0
"""New connections per second and client."""
KEPT = 12
"""Connections per client that must last through every weight change."""
IDLE_RATE = 10.0
"""New connections per second and client while the demo stays up for the dashboard."""

KILLED = "web-2"
RESETTING = "web-3"


class Phase(NamedTuple):
    """A part of a run: what is done to members at its beginning (`topologies.demo.inside`), then load goes on.

    Attributes:
        name: shown to people.
        duration_s: how long the load goes on.
        orders: (what to do, member) in order.
    """

    name: str
    duration_s: float
    orders: tuple[tuple[str, str], ...] = ()


PHASES = (
    Phase("all well", 4.0),
    Phase(f"{KILLED} killed", 6.0, (("kill", KILLED),)),
    Phase(f"{RESETTING} resets", 5.0, (("reset-on-accept", RESETTING),)),
    Phase("both back", 8.0, (("revive", KILLED), ("accept", RESETTING))),
)
