"""A tree of switches with hosts at its leaves: one path between any two hosts, congestion towards the root.

mn --custom topologies/tree.py --topo switchtree,depth=2,fanout=2,hosts=2 --controller remote
"""

if __name__ == "builtins":  # mn executes this file as text: only its code object knows where it stands
    import sys
    from pathlib import Path

    sys.path.append(str(Path(sys._getframe().f_code.co_filename).resolve().parents[1]))

from topologies.addressing import SPINE
from topologies.wiring import FabricTopo


class TreeTopo(FabricTopo):
    """`root`, below it `depth` - 1 further levels with `fanout` switches under each; the last level has the hosts.

    Inner switches are `t1` … in the order they are added, edges `s1` ….
    """

    def build(
        self,
        depth: int = 2,
        fanout: int = 2,
        hosts: int = 2,
        host_mbit: float | None = None,
        fabric_mbit: float | None = None,
    ) -> None:
        """Adds the nodes; rates in Mbit/s, None unshaped.

        Raises:
            ValueError: fewer than two levels (that is the single switch).
        """
        if depth < 2:
            raise ValueError(f"a tree of depth {depth}")
        level = [self.switch("root", SPINE, 1)]
        inner = edges = 1
        for height in range(depth - 1, 0, -1):
            below = []
            for parent in (parent for parent in level for _ in range(fanout)):
                if height == 1:
                    child = self.edge_switch(f"s{edges}", hosts, host_mbit)
                    edges += 1
                else:
                    inner += 1
                    child = self.switch(f"t{inner}", SPINE, inner)
                self.connect(parent, child, fabric_mbit)
                below.append(child)
            level = below


topos = {"switchtree": TreeTopo}
