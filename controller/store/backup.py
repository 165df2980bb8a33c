"""A copy of the state while it is in use, and its way back (https://www.sqlite.org/backup.html)."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from controller.store.database import FILE_NAME, MIGRATIONS, Database, StoreError, fold_journal, give_to_owner

PAGES_AT_ONCE = 256
Progress = Callable[[int, int], None]
"""(pages done, pages in all)."""
_TABLES = frozenset({"policy_revision", "setting", "audit", "runtime", "token"})


@dataclass(frozen=True, slots=True)
class Copy:
    """What was copied: where to, its size in bytes, its schema, and how many policy revisions it holds."""

    path: Path
    size: int
    schema: int
    revisions: int


def back_up(state_dir: Path, target: Path, *, overwrite: bool = False, progress: Progress | None = None) -> Copy:
    """Copy the state as it is at one moment; a controller may be at work on it.

    The copy appears under its name when it is whole and checked, with mode 0600: it holds token digests and the LLDP key.

    Args:
        state_dir: the state directory.
        target: the file to make.
        overwrite: replace an existing file.
        progress: told now and then how far it is.

    Raises:
        StoreError: there is no state, ``target`` exists, or it cannot be written.
    """
    if target.exists() and not overwrite:
        raise StoreError(f"{target} exists; --force replaces it")
    Database(state_dir, read_only=True, must_exist=True).close()  # says in words what is wrong with it
    with _copied(state_dir / FILE_NAME, target, progress) as (part, made):
        part.replace(target)
    return made


def restore(source: Path, state_dir: Path, *, progress: Progress | None = None) -> Copy:
    """Make a backup the state that the next start finds; what was there is kept as ``….before-restore``.

    The new state takes its name at once when it is whole: whatever happens, there is the old one or the new one.

    Args:
        source: a file that ``back_up`` made, of this version or an older one.
        state_dir: the state directory; it is made when there is none.
        progress: told now and then how far it is.

    Raises:
        StoreBusyError: a controller runs on that directory.
        StoreError: ``source`` is no backup or damaged, or the directory cannot be used.
    """
    check(source)
    Database.create_file(state_dir)
    present = state_dir / FILE_NAME
    claim = Database.lock(state_dir)
    try:
        with _copied(source, present, progress, owner=state_dir) as (part, made):
            fold_journal(present)
            _keep_aside(present)
            part.replace(present)
    finally:
        os.close(claim)
    return made


def check(source: Path) -> int:
    """Return the schema of a backup. Raises StoreError when it is none, damaged, or written by a newer version."""
    if not source.is_file():
        raise StoreError(f"there is no file {source}")
    try:
        with closing(_open(source, "ro")) as connection:
            found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.Error as error:
        raise StoreError(f"{source} is no backup of ResetLB: {error}") from None
    if found != "ok":
        raise StoreError(f"{source} is damaged: {found}")
    if not tables >= _TABLES:
        raise StoreError(f"{source} is no backup of ResetLB: it has no table {min(_TABLES - tables)}")
    if version > len(MIGRATIONS):
        raise StoreError(f"{source} has schema {version}, of a newer ResetLB (this one knows {len(MIGRATIONS)})")
    return version


@contextmanager
def _copied(
    source: Path, target: Path, progress: Progress | None, owner: Path | None = None
) -> Iterator[tuple[Path, Copy]]:
    """Copy a database beside ``target`` and check the copy; the body gives it the name.

    Made by root it belongs to whom the directory ``owner`` belongs.
    """
    part = target.with_name(f"{target.name}.part")
    try:
        part.unlink(missing_ok=True)
        descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        if owner is not None:
            give_to_owner(descriptor, owner)
        os.close(descriptor)
        _copy(source, part, progress)
        made = _described(part, target)
        _sync(part)
        yield part, made
        _sync(target.parent)
    except OSError as error:
        raise StoreError(f"cannot write {target}: {error.strerror}") from None
    except sqlite3.Error as error:
        raise StoreError(f"cannot copy {source} to {target}: {error}") from None
    finally:
        with suppress(OSError):
            part.unlink()


def _copy(source: Path, target: Path, progress: Progress | None) -> None:
    def told(_status: int, remaining: int, total: int) -> None:
        if progress is not None:
            progress(total - remaining, total)

    with closing(_open(source, "ro")) as reader, closing(_open(target, "rw")) as writer:
        # A reader's transaction sees one moment: without it every write of the controller would begin the copy again.
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM sqlite_master").fetchone()
        reader.backup(writer, pages=PAGES_AT_ONCE, progress=told)
        # One file, with no journal beside it that could be left behind or come from somewhere else.
        writer.execute("PRAGMA journal_mode = DELETE")


def _described(part: Path, target: Path) -> Copy:
    schema = check(part)
    with closing(_open(part, "ro")) as connection:
        revisions = connection.execute("SELECT count(*) FROM policy_revision").fetchone()[0]
    return Copy(target, part.stat().st_size, schema, int(revisions))


def _keep_aside(present: Path) -> None:
    """Give what is there a second name; a journal that could not be folded in (damage) must not meet the new file."""
    aside = present.with_name(f"{present.name}.before-restore")
    aside.unlink(missing_ok=True)
    os.link(present, aside)
    for ending in ("-wal", "-shm"):
        journal = present.with_name(present.name + ending)
        if journal.exists():
            journal.replace(aside.with_name(aside.name + ending))


def _open(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode={mode}", uri=True, isolation_level=None)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
