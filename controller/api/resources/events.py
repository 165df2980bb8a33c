"""The event stream (server-sent events)."""

from http import HTTPStatus

from flask import Response, current_app, request

from controller.api.context import context
from controller.api.problem import RefusedError
from controller.api.resources.subject import subject
from controller.api.stream import server_sent

# Each stream holds a socket and a greenlet for as long as its reader likes.
MAX_STREAMS = 1_200
_OPEN = "resetlb-streams"

api = subject("events")


@api.get("/events", responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}})
def get_events() -> Response:
    """Incident, member, link, quarantine and switch changes as they happen; ``Last-Event-ID`` resumes."""
    streams = current_app.extensions.setdefault(_OPEN, set())
    if len(streams) >= MAX_STREAMS:
        detail = f"there are {MAX_STREAMS} event streams already"
        raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"Retry-After": "5"})
    events = context().service.events(request.headers.get("Last-Event-ID"))
    response = Response(server_sent(events), content_type="text/event-stream; charset=utf-8")
    # Eventlet gathers small chunks, and would hold the opening back until 4 KiB of events have come.
    request.environ["eventlet.minimum_write_chunk_size"] = 0
    response.headers["X-Accel-Buffering"] = "no"  # nginx would hold events back
    stream = object()
    streams.add(stream)
    response.call_on_close(lambda: streams.discard(stream))
    return response
