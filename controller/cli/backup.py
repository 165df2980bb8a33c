"""``resetlb backup`` and ``resetlb restore``: the durable state as one file."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from controller.cli import CommandError
from controller.cli.options import Json, StateDir, default_state_dir
from controller.cli.output import print_json

if TYPE_CHECKING:
    from controller.store import Copy


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to make.")],
    state_dir: StateDir = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    as_json: Json = False,
) -> None:
    """Copy the state into a file.

    The controller may run meanwhile; the copy is of one moment, and checked.
    """
    from controller.store import StoreError, back_up

    with progress("copying") as told:
        try:
            copy = back_up(state_dir or default_state_dir(), file, overwrite=force, progress=told)
        except StoreError as error:
            raise CommandError(str(error)) from None
    _say(copy, as_json, "keep it as safe as the state itself: it holds tokens' digests and the LLDP key")


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that `resetlb backup` made.")],
    state_dir: StateDir = None,
    as_json: Json = False,
) -> None:
    """Make a backup the state of the next start.

    Refused while a controller runs on the state directory. What was there is kept beside it, as ….before-restore.
    """
    from controller.store import StoreBusyError, StoreError
    from controller.store import restore as bring_back

    with progress("restoring") as told:
        try:
            copy = bring_back(file, state_dir or default_state_dir(), progress=told)
        except StoreBusyError as error:
            raise CommandError(f"{error}; stop it first (systemctl stop resetlb)") from None
        except StoreError as error:
            raise CommandError(str(error)) from None
    _say(copy, as_json, "start the controller: resetlb run")


def _say(copy: "Copy", as_json: bool, next_step: str) -> None:
    if as_json:
        document = {"file": str(copy.path), "bytes": copy.size, "schema": copy.schema, "revisions": copy.revisions}
        print_json(document)
    else:
        print(
            f"{copy.path}: {copy.size / 1e3:.0f} kB, policy revisions: {copy.revisions}, schema {copy.schema}, checked"
        )
        print(next_step)


@contextmanager
def progress(doing: str) -> Iterator[Callable[[int, int], None] | None]:
    """Give what draws a bar on a terminal's standard error; elsewhere None."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task(doing)
        yield lambda done, total: bars.update(bar, completed=done, total=total)
