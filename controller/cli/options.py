"""Options that many commands share."""

import os
from pathlib import Path
from typing import Annotated

import typer

DEFAULT_URL = "http://127.0.0.1:8080"

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Url = Annotated[str, typer.Option("--url", envvar="RESETLB_URL", help="Where the controller's API is.")]
TokenText = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar="RESETLB_TOKEN",
        help="Access token, or @FILE with the token in it.",
        show_default=False,
    ),
]
Ca = Annotated[
    Path | None,
    typer.Option("--ca", envvar="RESETLB_CA", help="Authorities to trust for https (PEM).", show_default=False),
]
StateDir = Annotated[Path | None, typer.Option("--state-dir", help="The controller's state directory.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=100_000, help="How many at most.")]


def default_state_dir() -> Path:
    """Return where a controller keeps its state unless told otherwise (XDG base directories for users)."""
    if os.geteuid() == 0:
        return Path("/var/lib/resetlb")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "resetlb"
