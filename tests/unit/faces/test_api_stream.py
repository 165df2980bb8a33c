"""The event stream: headers at once, a comment while nothing happens, and resumption without silent loss."""

from itertools import islice

from api_memory_service import MemoryService
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.api.resources.events import MAX_STREAMS
from controller.api.stream import KEEP_ALIVE, OPENING, QUIET_S, EventRing, server_sent


def test_opening_comes_before_any_event_and_comments_while_quiet() -> None:
    waited = []
    lines = server_sent(EventRing("run").follow(None, waited.append))
    assert list(islice(lines, 3)) == [OPENING, KEEP_ALIVE, KEEP_ALIVE]
    assert all(line.startswith(b":") for line in (OPENING, KEEP_ALIVE))
    assert waited == [QUIET_S, QUIET_S]


def test_reader_sees_what_happens_after_it_came() -> None:
    ring = EventRing("run")
    ring.append("member", {"n": 0})
    lines = ring.follow(None, lambda _: ring.append("member", {"n": 1}))
    event = next(lines)
    assert event is not None
    assert (event.id, event.document) == ("run-2", {"n": 1})


def test_reader_resumes_after_what_it_saw() -> None:
    ring = EventRing("run", capacity=3)
    for number in range(5):
        ring.append("link", {"n": number})
    assert [event.document["n"] for event in ring.since("run-3")] == [3, 4]
    assert ring.since("run-5") == []
    assert [event.document["n"] for event in ring.since("run-2")] == [2, 3, 4]


def test_what_was_missed_is_said() -> None:
    ring = EventRing("run", capacity=3)
    for number in range(5):
        ring.append("link", {"n": number})
    for unknown in ("run-1", "earlier-4", "run-6", "run--1", "", "x", "run-²"):
        (gap,) = ring.since(unknown)
        assert (gap.kind, gap.id) == ("gap", "run-5")


def test_acts_are_events_of_what_they_change() -> None:
    ring = EventRing("run")
    for act, event in (("eject", "member"), ("paths", "link"), ("would-act", "incident"), ("spoof", "host")):
        announced = ring.announce(act, {"text": "t"})
        assert (announced.kind, announced.document) == (event, {"act": act, "text": "t"})
    for kind in ("incident", "member", "link", "quarantine", "switch", "policy"):
        announced = ring.announce(kind, {"text": "t"})
        assert (announced.kind, announced.document) == (kind, {"text": "t"})


@given(st.text())
@settings(deadline=None)
def test_any_last_event_id_is_answered(last_event_id: str) -> None:
    ring = EventRing("run")
    ring.append("link", {})
    assert len(ring.since(last_event_id)) <= 1


def test_event_on_the_wire(client: FlaskClient, service: MemoryService) -> None:
    service.ring.append("member", {"member": "web/web-1", "text": "ejected\n\nfor 30 s"})
    answer = client.get("/v1/events", headers={"Last-Event-ID": "run-0"})
    assert answer.content_type == "text/event-stream; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    chunks = list(islice(answer.response, 2))
    event = b'id: run-1\nevent: member\ndata: {"member": "web/web-1", "text": "ejected\\n\\nfor 30 s"}\n\n'
    assert b"".join(chunks) == OPENING + event
    answer.close()


def test_streams_are_bounded_and_given_back(client: FlaskClient) -> None:
    streams = [client.get("/v1/events") for _ in range(MAX_STREAMS)]
    refused = client.get("/v1/events")
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    streams[0].close()
    reopened = client.get("/v1/events")
    assert reopened.status_code == 200
    for stream in (*streams, reopened):
        stream.close()
