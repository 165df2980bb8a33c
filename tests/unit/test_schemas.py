"""A state of every schema that was ever published is brought up to date with all that is in it, or left as it was."""

import hashlib
import sqlite3
from pathlib import Path

import pytest

from controller.store import Role, Store, StoreError, restore
from controller.store import backup as backup_module
from controller.store import database as database_module
from controller.store.database import FILE_NAME, MIGRATIONS

PUBLISHED = {int(path.stem): path for path in (Path(__file__).parent / "schemas").glob("*.sql")}
DIGESTS = ["7d498e80ff61c3e7"]
"""How the SHA-256 of each migration begins: databases out there have run them as they were."""


def state_of(schema: int, folder: Path) -> Path:
    folder.mkdir()
    with sqlite3.connect(folder / FILE_NAME) as connection:
        connection.executescript(PUBLISHED[schema].read_text())
    return folder


def schema_of(folder: Path) -> int:
    with sqlite3.connect(folder / FILE_NAME) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def everything_is_there(folder: Path) -> None:
    with Store(folder) as store:
        policy = store.current_policy()
        assert policy is not None
        assert policy.pools["web"].members[0].weight == 60
        assert [revision.origin for revision in store.revisions(limit=9)] == ["rest", "file"]
        assert [entry.actor for entry in store.audit(limit=9)] == ["ann", "ann"]
        assert store.everything().keys() == {"ejections", "hosts", "secrets"}
        assert store.file_hash() == "hash-of-file"
        assert [(token.name, token.role) for token in store.tokens.all()] == [("ops", Role.ADMIN)]
    assert schema_of(folder) == len(database_module.MIGRATIONS)


def test_there_is_a_state_of_every_published_schema() -> None:
    assert sorted(PUBLISHED) == list(range(1, len(MIGRATIONS) + 1))


def test_published_migrations_stay_as_they_were() -> None:
    digests = [hashlib.sha256(migration.encode()).hexdigest() for migration in MIGRATIONS]
    assert [digest[: len(known)] for digest, known in zip(digests, DIGESTS, strict=True)] == DIGESTS


@pytest.mark.parametrize("schema", sorted(PUBLISHED))
def test_it_is_brought_up_to_date(schema: int, tmp_path: Path) -> None:
    everything_is_there(state_of(schema, tmp_path / "state"))


@pytest.mark.parametrize("schema", sorted(PUBLISHED))
def test_a_backup_of_it_is_too(schema: int, tmp_path: Path) -> None:
    restore(state_of(schema, tmp_path / "old") / FILE_NAME, tmp_path / "state")
    everything_is_there(tmp_path / "state")


def test_a_step_that_adds_something_keeps_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = "ALTER TABLE token ADD COLUMN last_used REAL; CREATE INDEX audit_time ON audit (time)"
    for module in (database_module, backup_module):
        monkeypatch.setattr(module, "MIGRATIONS", (*MIGRATIONS, step))
    folder = state_of(1, tmp_path / "state")
    with pytest.raises(StoreError, match="older schema 1; start the controller once"):
        Store(folder, read_only=True)
    everything_is_there(folder)


def test_a_step_that_fails_half_way_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = "DELETE FROM token; ALTER TABLE token RENAME TO tokens; CREATE TABLE audit (id INTEGER)"
    monkeypatch.setattr(database_module, "MIGRATIONS", (*MIGRATIONS, broken))
    folder = state_of(1, tmp_path / "state")
    with pytest.raises(StoreError, match="already exists"):
        Store(folder)
    monkeypatch.undo()
    everything_is_there(folder)
