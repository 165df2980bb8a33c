"""The commands of ``resetlb``, and where each one is."""

import importlib.util
from typing import Annotated

import typer

from controller.cli import backup, doctor, firewall, offline, policy, quarantine, run, state, token, top

# Their modules read the rest of the line; one that this installation lacks is not offered.
PASSED_ON = {
    "demo": ("topologies.demo", "Run a fabric with servers, clients and faults on this machine."),
    "lab": ("topologies.lab", "List and run fault scenarios on an emulated fabric."),
}

app = typer.Typer(
    help="ResetLB: the reset-aware load balancer for OpenFlow fabrics.",
    no_args_is_help=True,
    rich_markup_mode=None,  # rich alone takes as long to import as everything else here
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"resetlb {version('resetlb')}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """ResetLB: the reset-aware load balancer for OpenFlow fabrics."""


app.command("run")(run.run)
app.command("status")(state.status)
app.command("top")(top.top)
app.command("incidents")(state.incidents)
app.command("resets")(state.resets)
app.command("members")(state.members)
app.command("links")(state.links)
app.command("explain")(state.explain)
app.command("automation")(state.automation)
app.command("pcap")(offline.pcap)
app.command("doctor")(doctor.doctor)
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.add_typer(policy.commands, name="policy")
app.add_typer(quarantine.commands, name="quarantine")
app.add_typer(firewall.commands, name="firewall")
app.add_typer(token.commands, name="token")
for _name, (_module, _help) in PASSED_ON.items():
    if importlib.util.find_spec(_module) is not None:
        app.command(
            _name,
            help=_help,
            add_help_option=False,
            context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
        )(offline.passed_on(_module))
