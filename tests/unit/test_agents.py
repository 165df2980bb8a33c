"""Members' agents, asked through the fabric: against the model of a host, in whatever pieces and with whatever malice they answer."""

import pytest
from model_world import World, leaf_spine, policy_of

from controller.agent_check import LINE_CAP
from controller.events import LoadReported
from controller.policy import Policy
from topologies.model import hosts
from topologies.model.application import Application
from topologies.model.servers import Serve
from topologies.model.tcp_endpoint import Endpoint

MEMBERS = ["10.0.1.2", "10.0.2.2", "10.0.3.2"]
AGENT_PORT = 9999
CHECK = {"interval_s": 1.0, "timeout_s": 0.3, "agent_port": AGENT_PORT, "agent_interval_s": 0.5}


class Speaks(Serve):
    """An agent: says its pieces to whoever connects."""


def agent_policy(**check: object) -> Policy:
    return policy_of(MEMBERS, pool={"health_check": CHECK | check})


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What the agent of web-1 says, piece by piece; nothing: it only listens."""
    pieces: list[bytes] = [b"up ready 100%\n"]

    def speak(endpoint: Endpoint, now: float) -> None:
        for piece in pieces:
            endpoint.send(piece, now)

    def application(behaviour: object, *rest: object) -> Application:
        if isinstance(behaviour, Speaks):
            return Application(on_open=speak)
        return original(behaviour, *rest)

    original = hosts.application
    monkeypatch.setattr(hosts, "application", application)
    return pieces


@pytest.fixture
def world(said: list[bytes]) -> World:
    made = World(leaf_spine(), agent_policy())
    made.serve(MEMBERS[0], Speaks(), AGENT_PORT)
    return made


def weights(world: World) -> dict[str, int]:
    (service,) = world.core.services.current(world.now)
    return {world.core.services.member(choice.number).policy.name: choice.weight for choice in service.choices}


def says(world: World, said: list[bytes], *pieces: bytes) -> None:
    said[:] = pieces
    world.run(1.2)


def test_a_percentage_scales_the_weight_and_one_of_100_gives_it_back(world: World, said: list[bytes]) -> None:
    says(world, said, b"25%\n")
    assert weights(world) == {"web-1": 25, "web-2": 100, "web-3": 100}
    says(world, said, b"100%\n")
    assert weights(world)["web-1"] == 100
    says(world, said, b"99999%\n")
    assert weights(world)["web-1"] == 1000, "the largest weight there is"


@pytest.mark.parametrize(
    ("word", "undo"), [(b"drain", b"ready"), (b"maint", b"ready"), (b"down#why", b"up"), (b"0%", b"100%")]
)
def test_it_takes_its_member_out_and_lets_it_back(world: World, said: list[bytes], word: bytes, undo: bytes) -> None:
    says(world, said, word + b"\n")
    assert "web-1" not in weights(world)
    says(world, said, undo + b"\n")
    assert weights(world)["web-1"] == 100


def test_it_is_heard_in_pieces_and_after_its_line_nobody_listens(world: World, said: list[bytes]) -> None:
    says(world, said, b"4", b"0", b"%", b"\n", b"drain\n")
    assert weights(world)["web-1"] == 40


@pytest.mark.parametrize(
    "pieces",
    [(), (b"x" * (LINE_CAP + 1),), (b"75%",) * (LINE_CAP // 2), (b"\xff" * 40 + b"\n",), (b"\n",), (b"lunch\n",)],
)
def test_what_cannot_be_understood_changes_nothing_and_is_announced_once(
    world: World, said: list[bytes], pieces: tuple[bytes, ...]
) -> None:
    says(world, said, b"50%\n")
    before = len(world.fabric.announcements)
    says(world, said, *pieces)
    world.run(3.0)
    assert weights(world)["web-1"] == 50
    told = [one for _, one in world.fabric.announcements[before:] if one.fields.get("trouble") and "web-1" in one.text]
    assert len(told) == 1 and len(told[0].text) < 600
    assert world.member("web-1").agent_trouble
    says(world, said, b"up\n")
    assert world.member("web-1").agent_trouble is None


def test_an_agent_that_is_gone_changes_nothing(world: World) -> None:
    assert world.member("web-2").agent_trouble == "refused", "nobody listens there"
    assert weights(world)["web-2"] == 100


def test_its_word_outlives_the_controller_but_not_its_place_in_the_policy(world: World, said: list[bytes]) -> None:
    says(world, said, b"drain 30%\n")
    assert "web-1" not in weights(world)
    later = world.come_back_as()
    assert later.services.pools.members["web", "web-1"].agent.state == "drain"
    world.apply(agent_policy(agent_port=None))
    assert weights(world)["web-1"] == 100
    assert world.come_back_as().services.pools.members["web", "web-1"].agent.admits


def test_a_report_by_rest_is_the_same_word(world: World) -> None:
    for state, admits in (("drain", False), ("up", True), ("down", False), ("drain", False), ("up", True)):
        world.tell(LoadReported("web", "web-3", 0.5, state))
        assert ("web-3" in weights(world)) is admits
    assert world.member("web-3").load == 0.5


def test_only_agents_that_the_policy_names_are_let_through_to_the_controller(world: World) -> None:
    assert {probed.port for probed in world.core.services.probed()} == {8080, AGENT_PORT}
    world.apply(policy_of(MEMBERS))
    assert {probed.port for probed in world.core.services.probed()} == {8080}
