"""``resetlb token``: access tokens, made where the state is (so the first one needs none)."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from controller.cli import CommandError
from controller.cli.options import Json, StateDir, default_state_dir
from controller.cli.output import field, print_json, print_table

if TYPE_CHECKING:
    from controller.store import Store

commands = typer.Typer(help="Make and revoke access tokens.", no_args_is_help=True)


class Role(StrEnum):
    """What a token allows."""

    READ = "read"
    ADMIN = "admin"


@commands.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose it is; the audit log shows it.")],
    role: Annotated[Role, typer.Option(help="read looks, admin also changes.")] = Role.READ,
    state_dir: StateDir = None,
    as_json: Json = False,
) -> None:
    """Make a token and show it, once. From the first one on, the API asks everybody for one."""
    from controller.store import Role as StoredRole

    with _store(state_dir) as store:
        token, secret = store.tokens.create(name, StoredRole(role.value), time.time())
    print_json({"id": token.id, "name": token.name, "role": token.role, "token": secret}) if as_json else print(secret)


@commands.command("list")
def list_tokens(state_dir: StateDir = None, as_json: Json = False) -> None:
    """Show the tokens, without their secrets."""
    from controller.api.times import rfc3339

    with _store(state_dir) as store:
        rows = [
            {"id": token.id, "name": token.name, "role": token.role, "created": rfc3339(token.created)}
            for token in store.tokens.all()
        ]
    columns = [field(name) for name in ("id", "name", "role", "created")]
    print_json(rows) if as_json else print_table(rows, columns, "no token: the API answers to the loopback only")


@commands.command()
def revoke(
    token: Annotated[str, typer.Argument(metavar="ID", help="The token's id.")],
    state_dir: StateDir = None,
    as_json: Json = False,
) -> None:
    """Make a token worthless, at once."""
    with _store(state_dir) as store:
        if not store.tokens.revoke(token):
            raise CommandError(f"there is no token {token}")
    print_json({"revoked": token}) if as_json else print(f"token {token} is revoked")


@contextmanager
def _store(state_dir: Path | None) -> "Iterator[Store]":
    from controller.store import Store, StoreError

    try:
        with Store(state_dir or default_state_dir()) as store:
            yield store
    except StoreError as error:
        raise CommandError(str(error)) from None
