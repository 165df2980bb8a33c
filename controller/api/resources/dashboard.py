"""The dashboard: a page and its parts, static files that read the API."""

from pathlib import Path

from flask import Blueprint, Response, send_from_directory

STATIC = Path(__file__).parent.parent / "static"

api = Blueprint("dashboard", __name__)


@api.get("/")
def index() -> Response:
    """The page."""
    return send_from_directory(STATIC, "index.html")


@api.get("/assets/<path:name>")
def asset(name: str) -> Response:
    """A part of it: script, style, picture, or a library that was brought in when ResetLB was built."""
    return send_from_directory(STATIC, name)
