"""`resetlb demo` from its options to its exit status."""

import argparse
import contextlib
import json as json_document
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live

from topologies import sandbox
from topologies.demo import report, script
from topologies.demo.api import Api
from topologies.demo.director import Director
from topologies.demo.expectations import Expectation, judge
from topologies.demo.screen import Lines, Picture, Screen
from topologies.demo.stage import Stage, StageFailedError
from topologies.demo.tally import Tally

if TYPE_CHECKING:
    from topologies.demo.director import AnyStage

DONE, FAILED, INVALID, INTERRUPTED = 0, 1, 2, 130
API_PORT = 8080
FRAMEWORKS = ("ryu", "os-ken")
_WIDTH_WITHOUT_TERMINAL = 110
SIMULATED = (
    "This is a simulation: switches, links, hosts and time are a model, calculated as fast as this\n"
    "machine can. What decides in it is ResetLB's own core, the same as on real switches."
)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line; ends the process with status 2 if it is wrong."""
    parser = argparse.ArgumentParser(
        description="A leaf-spine fabric with 3 nginx members and 2 clients on this machine; members fail and come back, "
        "once with ResetLB's reset handling on and once with it off. Takes about a minute.",
    )
    parser.add_argument("--once", action="store_true", help="end after the report, also on a terminal")
    parser.add_argument("--framework", choices=FRAMEWORKS, default="ryu", help="(default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON, progress on standard error")
    parser.add_argument("--simulate", action="store_true", help="on a model of the fabric: no Open vSwitch, no root")
    return parser.parse_args(arguments)


def show(*, simulate: bool = False, once: bool = False, framework: str = "ryu", json: bool = False) -> int:
    """Runs the demo.

    Args:
        simulate: on a modelled fabric in virtual time, without Open vSwitch and root; no API and no dashboard.
        once: end after the report; without it a demo on a terminal stays up for the dashboard until Ctrl-C.
        framework: `ryu` or `os-ken`.
        json: print the result as JSON; progress goes to standard error.

    Returns:
        0 when every required expectation was met, 1 if one was missed or something failed, 2 for what it cannot do,
        130 after Ctrl-C.
    """
    stays = sys.stdout.isatty() and not once and not json
    console = _console(stderr=json)
    with _ended_by_signals():
        try:
            if simulate:
                return _simulate(console, json=json)
            return _perform(console, framework, stays=stays, json=json)
        except sandbox.SandboxUnavailableError as error:
            print(f"resetlb demo: {error}", file=sys.stderr)
        except StageFailedError as error:
            print("\n".join([f"resetlb demo: {error}", *(f"  | {line}" for line in error.log)]), file=sys.stderr)
        except KeyboardInterrupt:
            console.print("interrupted: the sandbox is gone, nothing is left behind")
            return INTERRUPTED
    return FAILED


def _perform(console: Console, framework: str, *, stays: bool, json: bool) -> int:
    api_socket = _api_socket()
    url = f"http://127.0.0.1:{api_socket.getsockname()[1]}"
    _introduce(console, "in a sandbox on this machine", "nginx", "About a minute")
    console.print(f"API and dashboard: [bold]{url}/[/]\n")
    with Stage(api_socket, framework) as stage:
        with _screen(console) as screen:
            director = Director(stage, Api(url), screen)
            handled, unhandled = _play(stage, director, screen)
        met = _report(console, handled, unhandled, json=json)
        if stays:
            _stay(console, director, url)
        else:
            _try_next(console)
    return DONE if met else FAILED


def _simulate(console: Console, *, json: bool) -> int:
    # What a network function needs and a simulation does not is not imported for the other.
    from topologies.demo.simulated import SimulatedApi, SimulatedStage

    console.print(SIMULATED, style="bold yellow")
    _introduce(console, "modelled", "model servers", "Less than a minute")
    with SimulatedStage() as stage, _screen(console) as screen:
        director = Director(stage, SimulatedApi(stage), screen)
        handled, unhandled = _play(stage, director, screen)
    met = _report(console, handled, unhandled, json=json, simulated=True)
    console.print(f"\n{SIMULATED}", style="bold yellow")
    _try_next(console)
    return DONE if met else FAILED


def _play(stage: "AnyStage", director: Director, screen: Screen) -> tuple[Tally, Tally]:
    """Both runs: with reset handling on, and off."""
    stage.wait_until_ready(screen.step)
    director.prepare()
    return director.run(handling=True), director.run(handling=False)


def _report(console: Console, handled: Tally, unhandled: Tally, *, json: bool, simulated: bool = False) -> bool:
    """Shows what was found; whether every required expectation was met."""
    expectations = judge(handled, unhandled)
    met = all(expectation.met for expectation in expectations if expectation.required)
    if json:
        _print_json(handled, unhandled, expectations, met, simulated=simulated)
    else:
        console.print(*report.full(handled, unhandled, expectations), sep="\n")
        _conclude(console, met)
    return met


def _api_socket() -> socket.socket:
    """Listens on the usual port of the loopback, or on a free one if something else has it."""
    try:
        return socket.create_server(("127.0.0.1", API_PORT), backlog=128)
    except OSError:
        return socket.create_server(("127.0.0.1", 0), backlog=128)


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False)
    if not console.file.isatty():
        console = Console(stderr=stderr, highlight=False, width=_WIDTH_WITHOUT_TERMINAL)
    return console


@contextlib.contextmanager
def _screen(console: Console) -> Iterator[Screen]:
    if not console.file.isatty() or console.is_dumb_terminal:
        yield Lines(console)
        return
    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield Picture(live)


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP unwind like Ctrl-C, so the terminal is left as it was."""

    def end(signum: int, _frame: object) -> None:
        raise SystemExit(128 + signum)

    before = {signum: signal.signal(signum, end) for signum in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _introduce(console: Console, where: str, servers: str, takes: str) -> None:
    address, port = script.VIP
    console.print("ResetLB demo", style="bold")
    console.print(
        f"A leaf-spine fabric (2 spines, 3 leaves), {where}; 3 {servers}\n"
        f"as members behind {address}:{port}; 2 clients with {script.RATE:.0f} new HTTP connections/s each.\n"
        f"{script.KILLED}'s process is killed, {script.RESETTING} resets what it accepts, then both come back:\n"
        f"once with ResetLB's reset handling on, once with it off. {takes}.\n"
    )


def _conclude(console: Console, met: bool) -> None:
    if met:
        console.print("\nEvery expectation was met.", style="bold green")
    else:
        console.print("\nAn expectation was missed.", style="bold red")


def _try_next(console: Console) -> None:
    console.print(
        "\nTry next:\n"
        "  ./scripts/demo                 on a terminal: stays up, with API and dashboard\n"
        "  ./scripts/ejections            how quickly a failing member is out, over 100 ejections\n"
        "  .venv/bin/resetlb pcap FILE    who reset the connections of a capture of yours",
        markup=False,
    )


def _stay(console: Console, director: Director, url: str) -> None:
    console.print(
        "\nThe fabric stays up, with reset handling on and a little load. Try next:\n"
        f"  {url}/    the dashboard\n"
        f"  .venv/bin/resetlb members --url {url}\n"
        f"  .venv/bin/resetlb resets --url {url}\n"
        "Ctrl-C ends it and leaves nothing behind.",
        markup=False,
    )
    with contextlib.suppress(KeyboardInterrupt):
        director.idle()
    console.print("\nended")


def _print_json(
    handled: Tally, unhandled: Tally, expectations: list[Expectation], met: bool, *, simulated: bool
) -> None:
    document = {
        "simulated": simulated,
        "on": handled.document(),
        "off": unhandled.document(),
        "expectations": [expectation.document() for expectation in expectations],
        "met": met,
    }
    print(json_document.dumps(document, indent=2, ensure_ascii=False))
