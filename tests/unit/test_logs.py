"""Log lines: one a decision, with its particulars and the incident it belongs to."""

import json
import logging

import pytest
from model_world import stage

from apps.logs import formatter
from controller.decisions import Announce
from controller.diagnosis.acts import incident_of
from topologies.model.servers import Serve


def line(name: str, text: str, **said: object) -> str:
    record = logging.LogRecord("resetlb", logging.INFO, "", 0, "%s", (text,), None)
    if said:
        record.kind, record.fields = "eject", said
    return formatter(name).format(record)


def test_json_has_everything_and_nothing_takes_the_place_of_the_frame() -> None:
    said = json.loads(line("json", "web/a is out", member="web/a", incident="i3", message="x", time="y", level="z"))
    assert (said["message"], said["level"], said["kind"]) == ("web/a is out", "info", "eject")
    assert (said["member"], said["incident"], said["message_"], said["level_"]) == ("web/a", "i3", "x", "z")
    assert "\n" not in line("json", "one\ntwo")


@pytest.mark.parametrize(
    ("text", "incident", "end"),
    [
        ("web/a is out", "i3", "web/a is out (incident i3)"),
        ("incident i3 closed", "i3", "INFO    incident i3 closed"),
        ("switch connected", None, "switch connected"),
    ],
)
def test_text_names_the_incident_once(text: str, incident: str | None, end: str) -> None:
    said = line("text", text, **({"incident": incident} if incident else {}))
    assert said.endswith(end)
    assert line("text", text).endswith(text)


def test_everything_done_about_a_member_is_found_by_its_incident() -> None:
    world, clients, members = stage("leaf-spine")
    world.close_port(members[1])
    world.connections(clients, 60)
    world.run(2)
    world.serve(members[1], Serve(3000))
    world.run(40)
    incidents = world.core.investigation.incidents
    (incident,) = incidents.all.values()
    acts = {}
    for _, announced in world.fabric.announcements:
        if announced.kind in ("eject", "ejected", "readmit", "incident"):
            acts.setdefault(announced.kind, set()).add(incident_of(announced, incidents))
    assert acts == {kind: {incident.id} for kind in ("eject", "ejected", "readmit", "incident")}
    assert incident_of(Announce("switch", "connected", {}), incidents) is None
    assert incident_of(Announce("eject", "out", {"member": "web/other"}), incidents) is None
