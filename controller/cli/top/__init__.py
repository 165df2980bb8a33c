"""``resetlb top``: pools, resets by cause, incidents and links, live until q or Ctrl-C."""

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from controller.cli import CommandError
from controller.cli.client import Client
from controller.cli.options import DEFAULT_URL, Ca, Json, TokenText, Url
from controller.cli.output import console, print_json

if TYPE_CHECKING:
    from controller.cli.top.snapshot import Watch

SHORTEST_S, LONGEST_S = 0.5, 60.0
MEASURED_S = 1.0
"""Between the two looks that a rate needs, when there is one frame only."""


def top(
    interval: Annotated[float, typer.Option(min=SHORTEST_S, max=LONGEST_S, help="Seconds between refreshes.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Print one frame and end.")] = False,
    url: Url = DEFAULT_URL,
    token: TokenText = None,
    ca: Ca = None,
    as_json: Json = False,
) -> None:
    """Watch pools, resets by cause, incidents and links.

    Keys: q quits, p pauses, space refreshes now, + and - change the interval. Prints one frame where there is no terminal.
    """
    from controller.cli.top.snapshot import Watch

    watch = Watch(Client(url, token, ca))
    if as_json:
        print_json(_measured(watch))
    elif once or not (sys.stdout.isatty() and sys.stdin.isatty()):
        from controller.cli.top.frame import frame

        out = console()
        out.print(frame(_measured(watch), out.width))
    else:
        _refresh(watch, interval)


def _measured(watch: "Watch") -> dict[str, object]:
    watch.look()
    time.sleep(MEASURED_S)
    return watch.look()


def _refresh(watch: "Watch", interval_s: float) -> None:
    from rich.live import Live
    from rich.text import Text

    from controller.cli.top.frame import KEYS, frame
    from controller.cli.top.keys import Keys

    shown, trouble, paused = watch.look(), "", False
    out = console()
    with Keys() as keys, Live(console=out, screen=True, auto_refresh=False) as live:
        while True:
            note = trouble or ("paused" if paused else f"every {interval_s:g} s")
            live.update(
                frame(shown, out.width, out.height, Text(f"{note}   {KEYS}", style="red" if trouble else "dim")),
                refresh=True,
            )
            key = keys.wait(interval_s)
            match key:
                case "q" | "Q" | "\x03" | "\x04":
                    return
                case "p":
                    paused = not paused
                case "+":
                    interval_s = min(LONGEST_S, interval_s * 2)
                case "-":
                    interval_s = max(SHORTEST_S, interval_s / 2)
            if key == " " or (key is None and not paused):
                try:
                    shown, trouble = watch.look(), ""
                except CommandError as error:
                    trouble = str(error).partition("\n")[0]
