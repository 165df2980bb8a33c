"""Commands that need no controller."""

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from controller.cli.options import Json


def pcap(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="pcap or pcapng; - is the standard input.")],
    as_json: Json = False,
) -> None:
    """Explain the reset connections of captures.

    Says of each who reset it, when, and the likely cause. No switch is needed.
    """
    from controller.pcap.command import run

    raise typer.Exit(run(files, as_json))


def passed_on(module: str) -> Callable[[typer.Context], None]:
    """Make a command that hands the rest of the line to ``module.main(arguments) -> exit code``."""

    def command(context: typer.Context) -> None:
        # The module's own usage message shall name what was typed.
        sys.argv[0] = context.command_path
        raise typer.Exit(import_module(module).main(context.args))

    return command
