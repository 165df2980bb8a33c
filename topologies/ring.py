"""Edge switches in a ring: two paths between any two, and a loop that careless flooding falls into.

mn --custom topologies/ring.py --topo ring,switches=4,hosts=1 --controller remote
"""

if __name__ == "builtins":  # mn executes this file as text: only its code object knows where it stands
    import sys
    from pathlib import Path

    sys.path.append(str(Path(sys._getframe().f_code.co_filename).resolve().parents[1]))

from topologies.wiring import FabricTopo


class RingTopo(FabricTopo):
    """`s1` … each with `hosts` hosts, connected to the next, the last to the first."""

    def build(
        self, switches: int = 4, hosts: int = 1, host_mbit: float | None = None, fabric_mbit: float | None = None
    ) -> None:
        """Adds the nodes; rates in Mbit/s, None unshaped.

        Raises:
            ValueError: fewer than three switches are no ring.
        """
        if switches < 3:
            raise ValueError(f"a ring of {switches} switches")
        ring = [self.edge_switch(f"s{index}", hosts, host_mbit) for index in range(1, switches + 1)]
        for switch, following in zip(ring, [*ring[1:], ring[0]], strict=True):
            self.connect(switch, following, fabric_mbit)


topos = {"ring": RingTopo}
