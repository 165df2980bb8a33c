"""More than one controller: who may write to which switch, and what they tell each other. No socket, no clock (docs/cluster.md)."""
