"""The status page: static files that read the API."""

from pathlib import Path

from flask import Blueprint, Response, send_from_directory

STATIC = Path(__file__).parent.parent / "static"

api = Blueprint("dashboard", __name__)


@api.get("/")
def index() -> Response:
    """The page."""
    return send_from_directory(STATIC, "dashboard.html")


@api.get("/dashboard.js")
def script() -> Response:
    """Its script."""
    return send_from_directory(STATIC, "dashboard.js")


@api.get("/dashboard.css")
def style() -> Response:
    """Its style."""
    return send_from_directory(STATIC, "dashboard.css")
