"""The command line, ``resetlb``. Nothing heavy is imported until a command needs it: ``--help`` answers at once."""

import sys
from collections.abc import Sequence

DONE, FAILED, INVALID = 0, 1, 2


class CommandError(Exception):
    """A command could not do what it was asked; ``code`` is its exit code."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        """Say what is wrong and what to do about it."""
        super().__init__(message)
        self.code = code


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code: 0 done, 1 failed, 2 usage or invalid input."""
    if arguments is None and sys.argv[1:2] == ["run"]:
        # typer imports pydantic, whose objects the hub's patch cannot walk: it has to come before.
        from apps.main import patch_hub

        patch_hub("ryu")
    from controller.cli.app import app

    try:
        app(args=arguments, prog_name="resetlb")
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else FAILED
    except CommandError as error:
        print(f"resetlb: {error}", file=sys.stderr)
        return error.code
    return DONE
