"""What an ejected member must prove before it comes back."""

import pytest
from model_world import World, leaf_spine, policy_of

from topologies.model.servers import Gray, ResetOnAccept, Serve, Silent


@pytest.mark.parametrize("seed", range(4))
def test_a_probe_that_runs_out_late_asks_for_no_less(seed: int) -> None:
    members = "10.0.1.2", "10.0.2.2", "10.0.3.2"
    check = {"type": "tcp", "interval_s": 3.0, "timeout_s": 3.0, "rise": 1}
    world = World(leaf_spine(), policy_of(members, pool={"health_check": check}), seed=seed)
    fails = Gray(0.5, ResetOnAccept(), Silent())
    world.serve(members[1], Gray(0.6, fails, Serve(3000)))
    wanted: list[tuple[int, int]] = []
    for _ in range(500):
        world.connections(["h1-1", "h2-1", "h3-1"], 1)
        if ejection := world.member("web-2").ejection:
            wanted.append((ejection.count, ejection.proofs))
    assert any(proofs for _, proofs in wanted)
    assert wanted == sorted(wanted)
