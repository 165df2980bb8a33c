"""Leaves with hosts, each connected to every spine: the usual fabric of a data centre (two stages of a Clos network).

mn --custom topologies/leaf_spine.py --topo leafspine,spines=2,leaves=3,hosts=2 --controller remote
"""

if __name__ == "builtins":  # mn executes this file as text: only its code object knows where it stands
    import sys
    from pathlib import Path

    sys.path.append(str(Path(sys._getframe().f_code.co_filename).resolve().parents[1]))

from topologies.addressing import SPINE
from topologies.wiring import FabricTopo


class LeafSpineTopo(FabricTopo):
    """`leaf1` … with `hosts` hosts each, `spine1` …; leaf L reaches spine S by port hosts + S, back by port L."""

    def build(
        self,
        spines: int = 2,
        leaves: int = 3,
        hosts: int = 2,
        host_mbit: float | None = None,
        fabric_mbit: float | None = None,
    ) -> None:
        """Adds the nodes; rates in Mbit/s, None unshaped."""
        edges = [self.edge_switch(f"leaf{leaf}", hosts, host_mbit) for leaf in range(1, leaves + 1)]
        for index in range(1, spines + 1):
            spine = self.switch(f"spine{index}", SPINE, index)
            for edge in edges:
                self.connect(edge, spine, fabric_mbit)


topos = {"leafspine": LeafSpineTopo}
