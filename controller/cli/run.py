"""``resetlb run``: the controller."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from controller.cli import INVALID, CommandError
from controller.cli.options import StateDir, default_state_dir

PORT_MAX = 65_535


class Framework(StrEnum):
    """The OpenFlow framework."""

    RYU = "ryu"
    OS_KEN = "os-ken"


class LogLevel(StrEnum):
    """How much is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """How log lines look."""

    TEXT = "text"
    JSON = "json"


def run(
    ryu_apps: Annotated[
        list[str] | None, typer.Argument(metavar="[RYU_APP]…", help="Ryu applications to load after ours.")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(help="Policy file; taken when its content is not the one last taken.")
    ] = None,
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where switches connect.")] = "127.0.0.1:6653",
    api: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where the API listens.")] = "127.0.0.1:8080",
    state_dir: StateDir = None,
    framework: Annotated[Framework, typer.Option(help="OpenFlow framework.")] = Framework.RYU,
    log_level: Annotated[LogLevel, typer.Option(help="How much is logged.")] = LogLevel.INFO,
    log_format: Annotated[LogFormat, typer.Option(help="How log lines look.")] = LogFormat.TEXT,
) -> None:
    """Run the controller.

    It runs until SIGTERM or Ctrl-C; flows stay on the switches.
    """
    from apps.main import run as run_controller

    code = run_controller(
        policy=policy,
        listen=address(listen, "--listen"),
        api=address(api, "--api"),
        state_dir=state_dir or default_state_dir(),
        framework=framework.value,
        ryu_apps=tuple(ryu_apps or ()),
        log_level=log_level.value,
        log_format=log_format.value,
    )
    raise typer.Exit(code)


def address(text: str, option: str) -> tuple[str, int]:
    """Split ``host:port`` (an IPv6 address in brackets); raises CommandError."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""
    if not (colon and host and port.isascii() and port.isdigit() and int(port) <= PORT_MAX):
        raise CommandError(f"{option}: {text} is not HOST:PORT", INVALID)
    return host, int(port)
