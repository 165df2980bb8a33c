"""One switch with hosts.

mn --custom topologies/single.py --topo oneswitch,hosts=4 --controller remote
"""

if __name__ == "builtins":  # mn executes this file as text: only its code object knows where it stands
    import sys
    from pathlib import Path

    sys.path.append(str(Path(sys._getframe().f_code.co_filename).resolve().parents[1]))

from topologies.wiring import FabricTopo


class SingleTopo(FabricTopo):
    """`s1` with `hosts` hosts; host N is at port N."""

    def build(self, hosts: int = 4, host_mbit: float | None = None) -> None:
        """Adds the nodes; rate in Mbit/s, None unshaped."""
        self.edge_switch("s1", hosts, host_mbit)


topos = {"oneswitch": SingleTopo}
