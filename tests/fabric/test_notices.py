"""What a webhook and a syslog receiver hear of a member that fails: the incident, what was done, and that it is over."""

import json
import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from bed import Bed, one_vip, pool
from running_controller import soon
from webhook_receiver import SECRET, Receiver, verify

from topologies.leaf_spine import LeafSpineTopo

pytestmark = pytest.mark.one_framework

TOPOLOGY = LeafSpineTopo(spines=1, leaves=2, hosts=3)
CLIENT, MEMBERS = "h1", ("h4", "h5", "h6")


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    running = Receiver()
    yield running
    running.close()


@pytest.fixture(scope="module")
def syslog() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(1)
        yield listener


@pytest.fixture(scope="module")
def bed(receiver: Receiver, syslog: socket.socket, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    folder = tmp_path_factory.mktemp("bed")
    (folder / "secret").write_text(SECRET)
    options = ["--webhook", receiver.url, "--webhook-secret-file", str(folder / "secret")]
    options += ["--syslog", f"udp://127.0.0.1:{syslog.getsockname()[1]}"]
    with Bed(TOPOLOGY, folder, options=options) as running:
        yield running


def test_an_ejection_is_told_from_its_incident_to_its_end(bed: Bed, receiver: Receiver, syslog: socket.socket) -> None:
    bed.serve(*MEMBERS)
    bed.apply(one_vip(pool(bed, *MEMBERS)))
    since = len(receiver.got)

    def told() -> list[dict[str, Any]]:
        return [json.loads(content) for _, _, content in receiver.got[since:]]

    def about(kind: str, state: str | None = None) -> dict[str, Any] | None:
        found = (notice for notice in told() if notice["type"] == f"resetlb.{kind}")
        return next((notice for notice in found if notice["data"]["fields"].get("state") == state), None)

    bed.stop_server("h5")
    bed.ask(CLIENT, 30)
    ejected = soon("the ejection is told", lambda: about("eject"), 15, told)
    assert re.fullmatch(r".*/h5", ejected["data"]["fields"]["member"])
    incident = ejected["data"]["incident"]
    assert ejected["data"]["fields"]["incident"] == incident["id"]
    assert incident["subject"] == {"type": "member", "id": ejected["data"]["fields"]["member"]}
    closed = soon("the end is told", lambda: about("incident", "closed"), 40, told)
    assert closed["data"]["incident"]["id"] == incident["id"]
    assert closed["data"]["incident"]["closed"] is not None
    assert "eject" in [action["action"] for action in closed["data"]["incident"]["actions"]]
    for _, headers, content in receiver.got:
        verify(headers, content)
    assert f'incident="{incident["id"]}"' in "".join(heard(syslog))


def heard(syslog: socket.socket) -> Iterator[str]:
    while True:
        try:
            yield syslog.recv(65_536).decode()
        except TimeoutError:
            return
