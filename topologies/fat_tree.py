"""The k-ary fat tree (Al-Fares et al., A Scalable, Commodity Data Center Network Architecture, SIGCOMM 2008).

mn --custom topologies/fat_tree.py --topo fattree,k=4 --controller remote
"""

if __name__ == "builtins":  # mn executes this file as text: only its code object knows where it stands
    import sys
    from pathlib import Path

    sys.path.append(str(Path(sys._getframe().f_code.co_filename).resolve().parents[1]))

from topologies.addressing import CORE, SPINE
from topologies.wiring import FabricTopo


class FatTreeTopo(FabricTopo):
    """k pods of k/2 edge and k/2 aggregation switches, (k/2)² core switches, k³/4 hosts.

    `p1e1` is pod 1's first edge, `p1a1` its first aggregation switch, `c1` … are the cores; aggregation switch A of
    every pod is connected to the cores (A-1)·k/2 + 1 … A·k/2.
    """

    def build(self, k: int = 4, host_mbit: float | None = None, fabric_mbit: float | None = None) -> None:
        """Adds the nodes; rates in Mbit/s, None unshaped.

        Raises:
            ValueError: k is odd or below 2.
        """
        if k < 2 or k % 2:
            raise ValueError(f"a fat tree of k={k}: k must be even")
        half = k // 2
        cores = [self.switch(f"c{index}", CORE, index) for index in range(1, half * half + 1)]
        for pod in range(1, k + 1):
            edges = [self.edge_switch(f"p{pod}e{edge}", half, host_mbit) for edge in range(1, half + 1)]
            for place in range(half):
                aggregation = self.switch(f"p{pod}a{place + 1}", SPINE, (pod - 1) * half + place + 1)
                for edge in edges:
                    self.connect(edge, aggregation, fabric_mbit)
                for core in cores[place * half : (place + 1) * half]:
                    self.connect(aggregation, core, fabric_mbit)


topos = {"fattree": FatTreeTopo}
