"""A backup is of one moment and checked; a restore is whole or not made, and never under a running controller."""

import os
import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from controller.policy import Policy, parse_policy
from controller.store import Provenance, Role, Store, StoreBusyError, StoreError, back_up, restore
from controller.store import backup as backup_module
from controller.store.database import FILE_NAME, MIGRATIONS


def policy_with(weight: int) -> Policy:
    return parse_policy(
        {"pools": {"web": {"members": [{"name": "a", "address": "10.0.0.1", "port": 80, "weight": weight}]}}}
    )


def change(store: Store, weight: int) -> None:
    with store.policy_change(policy_with(weight), Provenance("rest", "me", 1.0)):
        store.put("weight", "a", weight)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    with Store(tmp_path / "state") as store:
        change(store, 1)
        store.tokens.create("ops", Role.ADMIN, 1.0)
    return tmp_path / "state"


def content(state_dir: Path) -> tuple[Policy | None, dict[str, object], list[str]]:
    with Store(state_dir, read_only=True) as store:
        return store.current_policy(), store.list("weight"), [token.name for token in store.tokens.all()]


def test_what_is_restored_is_what_was_backed_up(state: Path, tmp_path: Path) -> None:
    made = back_up(state, tmp_path / "copy")
    assert (made.schema, made.revisions, made.size) == (len(MIGRATIONS), 1, (tmp_path / "copy").stat().st_size)
    with Store(state) as store:
        change(store, 2)
        change(store, 3)
    restore(tmp_path / "copy", state)
    assert content(state) == (policy_with(1), {"a": 1}, ["ops"])


def test_it_can_be_restored_where_nothing_was(state: Path, tmp_path: Path) -> None:
    back_up(state, tmp_path / "copy")
    restore(tmp_path / "copy", tmp_path / "new" / "place")
    assert content(tmp_path / "new" / "place") == content(state)
    assert stat.S_IMODE((tmp_path / "new" / "place" / FILE_NAME).stat().st_mode) == 0o600


def test_a_backup_is_one_file_that_only_its_owner_reads(state: Path, tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    with Store(state) as running:
        change(running, 2)
        back_up(state, tmp_path / "to" / "copy")
    assert [path.name for path in (tmp_path / "to").iterdir()] == ["copy"]
    assert stat.S_IMODE((tmp_path / "to" / "copy").stat().st_mode) == 0o600


def test_it_is_of_one_moment_while_the_controller_writes(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup_module, "PAGES_AT_ONCE", 1)
    ended = threading.Event()

    def write() -> None:
        with Store(state) as store:
            store.claim()
            number = 1
            while not ended.is_set():
                number += 1
                change(store, number % 1000)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(10):
            back_up(state, tmp_path / f"copy-{number}")
    finally:
        ended.set()
        writer.join()
    seen = []
    for number in range(10):
        restore(tmp_path / f"copy-{number}", tmp_path / f"state-{number}")
        policy, weight, _ = content(tmp_path / f"state-{number}")
        assert policy is not None
        assert weight == {"a": policy.pools["web"].members[0].weight}, "never half a change"
        seen.append(weight["a"])
    assert len(set(seen)) > 1, "the controller did write meanwhile"


def test_an_existing_file_is_replaced_only_when_asked(state: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").write_text("precious")
    with pytest.raises(StoreError, match="exists; --force"):
        back_up(state, tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == "precious"
    back_up(state, tmp_path / "copy", overwrite=True)
    restore(tmp_path / "copy", tmp_path / "new")


def test_a_running_controller_keeps_its_state(state: Path, tmp_path: Path) -> None:
    back_up(state, tmp_path / "copy")
    with Store(state) as running:
        running.claim()
        change(running, 2)
        with pytest.raises(StoreBusyError, match="a running controller uses"):
            restore(tmp_path / "copy", state)
    assert content(state)[1] == {"a": 2}


def test_what_was_there_is_kept(state: Path, tmp_path: Path) -> None:
    back_up(state, tmp_path / "copy")
    with Store(state) as store:
        change(store, 2)
    restore(tmp_path / "copy", state)
    (tmp_path / "former").mkdir()
    (state / f"{FILE_NAME}.before-restore").rename(tmp_path / "former" / FILE_NAME)
    assert content(tmp_path / "former")[1] == {"a": 2}


def test_changes_that_are_only_in_the_former_journal_do_not_come_back(state: Path, tmp_path: Path) -> None:
    """A write-ahead log that is left beside the new file would be read into it."""
    back_up(state, tmp_path / "copy")
    killed = Store(state)  # never closed, as by kill -9
    change(killed, 2)
    assert (state / f"{FILE_NAME}-wal").stat().st_size > 0
    restore(tmp_path / "copy", state)
    assert content(state)[1] == {"a": 1}
    assert not (state / f"{FILE_NAME}-wal").exists() or (state / f"{FILE_NAME}-wal").stat().st_size == 0


def test_a_damaged_state_can_be_replaced(state: Path, tmp_path: Path) -> None:
    back_up(state, tmp_path / "copy")
    (state / FILE_NAME).write_bytes(b"rubbish" * 1000)
    restore(tmp_path / "copy", state)
    assert content(state)[1] == {"a": 1}


@pytest.mark.parametrize(
    ("made", "words"),
    [(b"not a database at all" * 100, "is no backup of ResetLB"), (b"", "is no backup of ResetLB")],
    ids=["rubbish", "empty"],
)
def test_what_is_no_backup_is_refused_and_nothing_changes(state: Path, tmp_path: Path, made: bytes, words: str) -> None:
    (tmp_path / "file").write_bytes(made)
    with pytest.raises(StoreError, match=words):
        restore(tmp_path / "file", state)
    assert content(state)[1] == {"a": 1}
    assert list(state.glob("*.before-restore")) == []


def test_a_damaged_backup_is_refused(state: Path, tmp_path: Path) -> None:
    with Store(state) as store:
        store.write([("n", str(number), "x" * 1000) for number in range(200)])
    back_up(state, tmp_path / "copy")
    damaged = bytearray((tmp_path / "copy").read_bytes())
    for page in range(3, len(damaged) // 4096, 3):
        damaged[page * 4096 : page * 4096 + 64] = b"\xa5" * 64
    (tmp_path / "copy").write_bytes(damaged)
    with pytest.raises(StoreError, match=r"is (damaged|no backup)"):
        restore(tmp_path / "copy", state)
    assert content(state)[1] == {"a": 1}


def test_a_newer_backup_is_refused(state: Path, tmp_path: Path) -> None:
    back_up(state, tmp_path / "copy")
    with sqlite3.connect(tmp_path / "copy") as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(StoreError, match="of a newer ResetLB"):
        restore(tmp_path / "copy", state)


def test_a_restore_that_breaks_off_leaves_the_old_state(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(state, tmp_path / "copy")
    with Store(state) as store:
        change(store, 2)

    def broken(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup_module.os, "fsync", broken)
    with pytest.raises(StoreError, match="No space left on device"):
        restore(tmp_path / "copy", state)
    monkeypatch.undo()
    assert content(state)[1] == {"a": 2}
    assert list(state.glob("*.part")) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_root_leaves_the_files_to_the_service(state: Path, tmp_path: Path) -> None:
    os.chown(state, 12345, 12345)
    back_up(state, tmp_path / "copy")
    restore(tmp_path / "copy", state)
    assert {path.stat().st_uid for path in (state / FILE_NAME, state / "resetlb.lock")} == {12345}


def test_a_copy_that_is_on_its_way_is_told(state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup_module, "PAGES_AT_ONCE", 1)
    told: list[tuple[int, int]] = []
    back_up(state, tmp_path / "copy", progress=lambda done, total: told.append((done, total)))
    assert len(told) > 3
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]
