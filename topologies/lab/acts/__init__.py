"""What goes wrong in the lab: one class an act, grouped by where the fault lies."""

from topologies.lab.acts.act import Act

__all__ = ["Act"]
