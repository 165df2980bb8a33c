"""Leaves and spines, two subnets on every leaf: hosts that reach each other by the gateway only.

mn --custom topologies/routed.py --topo routed,leaves=2,hosts=2 --controller remote
"""

if __name__ == "builtins":  # mn executes this file as text: only its code object knows where it stands
    import sys
    from pathlib import Path

    sys.path.append(str(Path(sys._getframe().f_code.co_filename).resolve().parents[1]))

from topologies.addressing import SPINE
from topologies.wiring import FabricTopo

PREFIX_LENGTH = 25
HALVES = (0, 128)


class RoutedTopo(FabricTopo):
    """As `LeafSpineTopo`, but leaf E has `hosts` hosts in 10.0.E.0/25 and then as many in 10.0.E.128/25.

    The gateway of a subnet is its last address: 10.0.E.126 or 10.0.E.254.
    """

    def build(self, spines: int = 2, leaves: int = 2, hosts: int = 2) -> None:
        """Adds the nodes, unshaped; `hosts` is for each subnet, at most 100."""
        edges = [self._leaf(leaf, hosts) for leaf in range(1, leaves + 1)]
        for index in range(1, spines + 1):
            spine = self.switch(f"spine{index}", SPINE, index)
            for edge in edges:
                self.connect(edge, spine)

    def _leaf(self, number: int, hosts: int) -> str:
        name = self.edge_switch(f"leaf{number}", 0)
        for half in HALVES:
            gateway = f"10.0.{number}.{half + 126}"
            for place in range(1, hosts + 1):
                self.host(name, half + place, prefix_length=PREFIX_LENGTH, gateway=gateway)
        return name


topos = {"routed": RoutedTopo}
