"""``resetlb policy``: check a file, see what it would change, apply it, go back."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controller.cli import FAILED, INVALID, CommandError
from controller.cli.client import Client
from controller.cli.options import DEFAULT_URL, Ca, Json, Limit, StateDir, TokenText, Url
from controller.cli.output import Column, cell, field, moment, print_json, print_table

if TYPE_CHECKING:
    from controller.policy import Policy

commands = typer.Typer(help="Check, compare and apply policies.", no_args_is_help=True)

PolicyFile = Annotated[Path, typer.Argument(metavar="FILE", help="Policy file; - is the standard input.")]
_REVISION_COLUMNS = [
    field("revision"),
    Column("time (UTC)", lambda row: moment(row["time"])),
    field("origin"),
    Column("by", lambda row: row["actor"]),
    field("comment"),
    field("etag", 1),
]


@commands.command()
def check(file: PolicyFile, as_json: Json = False) -> None:
    """Say whether a file is a valid policy.

    Firewall rules that can never act, or that only their order tells apart, are named as warnings. Needs no controller.
    """
    from controller.policy import PolicyError
    from controller.rule_review import review

    try:
        policy = _read(file)
    except PolicyError as error:
        if as_json:
            problems = [{"path": found.path, "message": found.message, "line": found.line} for found in error.problems]
            print_json({"valid": False, "problems": problems})
            raise typer.Exit(INVALID) from None
        raise _invalid(file, error) from None
    warnings = [str(finding) for finding in review(policy.firewall.rules)]
    if as_json:
        print_json({"valid": True, "problems": [], "warnings": warnings})
    else:
        members = sum(len(pool.members) for pool in policy.pools.values())
        rules = len(policy.firewall.rules)
        print(f"{file}: valid: {len(policy.vips)} VIPs, {len(policy.pools)} pools, {members} members, {rules} rules")
        for warning in warnings:
            print(f"warning: {warning}")


@commands.command("diff")
def compare(
    file: PolicyFile, url: Url = DEFAULT_URL, token: TokenText = None, ca: Ca = None, as_json: Json = False
) -> None:
    """Say what applying a file would change.

    Shows changes of the policy and of the switches' flow rules.
    """
    plan = Client(url, token, ca).send("PUT", "/v1/policy?dry_run=true", read_valid(file).document())
    print_json(plan) if as_json else _print_plan(plan)


@commands.command("apply")
def apply_file(
    file: PolicyFile, url: Url = DEFAULT_URL, token: TokenText = None, ca: Ca = None, as_json: Json = False
) -> None:
    """Bring a file into force: all of it, or nothing."""
    client, document = Client(url, token, ca), read_valid(file).document()
    changes = client.send("PUT", "/v1/policy?dry_run=true", document)["changes"]
    client.send("PUT", "/v1/policy", document)
    if as_json:
        print_json({"changes": changes})
        return
    _print_changes(changes)
    print("applied" if changes else "the policy in force says the same already")


@commands.command()
def history(
    limit: Limit = 20,
    state_dir: StateDir = None,
    url: Url = DEFAULT_URL,
    token: TokenText = None,
    ca: Ca = None,
    as_json: Json = False,
) -> None:
    """Show earlier policies, newest first.

    With --state-dir it is read there, and no controller is needed.
    """
    rows = Client(url, token, ca).items("/v1/policy/history", limit) if state_dir is None else _stored(state_dir, limit)
    print_json(rows) if as_json else print_table(rows, _REVISION_COLUMNS, "no policy was stored yet")


@commands.command()
def rollback(
    revision: Annotated[int | None, typer.Argument(min=1, help="Which; else the one before.")] = None,
    state_dir: StateDir = None,
    url: Url = DEFAULT_URL,
    token: TokenText = None,
    ca: Ca = None,
    as_json: Json = False,
) -> None:
    """Bring an earlier policy back.

    With --state-dir it is for the next start of a controller that does not run now.
    """
    if state_dir is None:
        document = Client(url, token, ca).send("POST", "/v1/policy/rollback", {"revision": revision})
    else:
        document = _roll_back_stored(state_dir, revision).document()
    print_json(document) if as_json else print("the earlier policy is in force again")


def _read(file: Path) -> "Policy":
    import sys

    from controller.policy import MAX_FILE_BYTES, load_policy_file, parse_policy_text

    try:
        if str(file) == "-":
            return parse_policy_text(sys.stdin.buffer.read(MAX_FILE_BYTES + 1))
        return load_policy_file(file)
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}", INVALID) from None


def read_valid(file: Path) -> "Policy":
    """The policy in a file. Raises CommandError with everything that is wrong with it."""
    from controller.policy import PolicyError

    try:
        return _read(file)
    except PolicyError as error:
        raise _invalid(file, error) from None


def _invalid(file: Path, error: Any) -> CommandError:
    listed = "\n".join(f"  {found}" for found in error.problems)
    return CommandError(f"{file} is not a valid policy:\n{listed}", INVALID)


def _print_plan(plan: dict[str, Any]) -> None:
    _print_changes(plan["changes"])
    for warning in plan["warnings"]:
        print(f"warning: {warning}")
    if not plan["changes"]:
        print("the policy in force says the same already")
    if plan["flows"]:
        names = list(dict.fromkeys(name for flow in plan["flows"] for name in flow))
        print_table(plan["flows"], [field(name) for name in names], title="Flow rules")


def _print_changes(changes: list[dict[str, Any]]) -> None:
    for change in changes:
        old, new = change["old"], change["new"]
        if old is None and isinstance(new, dict):
            print(f"+ {change['path']}")
        elif new is None and isinstance(old, dict):
            print(f"- {change['path']}")
        else:
            print(f"~ {change['path']}: {cell(old)} → {cell(new)}")


def _stored(state_dir: Path, limit: int) -> list[dict[str, Any]]:
    from controller.api.times import rfc3339
    from controller.store import Store, StoreError

    try:
        with Store(state_dir, read_only=True) as store:
            found = store.revisions(limit=limit)
    except StoreError as error:
        raise CommandError(str(error)) from None
    return [
        {
            "revision": revision.id,
            "etag": revision.etag,
            "origin": revision.origin,
            "actor": revision.actor,
            "time": rfc3339(revision.time),
            "comment": revision.comment,
        }
        for revision in found
    ]


def _roll_back_stored(state_dir: Path, revision: int | None) -> "Policy":
    import getpass
    import time

    from controller.store import Store, StoreBusyError, StoreError, roll_back

    try:
        with Store(state_dir, must_exist=True) as store:
            store.claim()
            return roll_back(store, revision, f"user {getpass.getuser()}", time.time())
    except StoreBusyError as error:
        raise CommandError(f"{error}; ask it instead: resetlb policy rollback --url URL") from None
    except StoreError as error:
        raise CommandError(str(error), FAILED) from None
