"""The SQLite file: opened, checked, brought up to date; every failure becomes a StoreError in words."""

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

FILE_NAME = "resetlb.sqlite3"
BUSY_TIMEOUT_MS = 2_000

# Migration n brings schema n to schema n + 1. Published ones are never edited: databases out there have run them.
MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE policy_revision (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        etag TEXT NOT NULL, document TEXT NOT NULL, origin TEXT NOT NULL,
        actor TEXT NOT NULL, time REAL NOT NULL, comment TEXT NOT NULL);
    CREATE TABLE setting (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE audit (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        time REAL NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL, target TEXT NOT NULL, detail TEXT NOT NULL);
    CREATE TABLE runtime (
        namespace TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
        PRIMARY KEY (namespace, key)) WITHOUT ROWID;
    CREATE TABLE token (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL, role TEXT NOT NULL, digest TEXT NOT NULL UNIQUE, created REAL NOT NULL) WITHOUT ROWID;
    """,
)


class StoreError(Exception):
    """The store cannot do what was asked; the message says why and what to do."""


class StoreBusyError(StoreError):
    """A running controller owns the state directory."""


class Database:
    """One connection to the state file. Writes are durable when their transaction has ended without error."""

    def __init__(self, state_dir: Path, *, read_only: bool, must_exist: bool) -> None:
        """Open the file in ``state_dir``, creating it unless it ``must_exist`` and migrating it unless ``read_only``.

        Raises:
            StoreError: no such directory, not permitted, damaged, or written by a newer version.
        """
        self.path = state_dir / FILE_NAME
        self._claim_fd: int | None = None
        if not must_exist:
            self.create_file(state_dir)
        elif not self.path.is_file():
            raise StoreError(f"there is no state in {state_dir}")
        try:
            self._connection = sqlite3.connect(
                f"{self.path.resolve().as_uri()}?mode={'ro' if read_only else 'rw'}",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
            )
        except sqlite3.Error as error:
            raise StoreError(f"cannot open {self.path}: {error}") from None
        try:
            self._prepare(read_only=read_only)
        except BaseException:
            self._connection.close()
            raise

    @staticmethod
    def create_file(state_dir: Path) -> None:
        """Make directory and file when they are not there; raises StoreError."""
        try:
            state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Token digests are in it: not for others to read, whatever the umask.
            descriptor = os.open(state_dir / FILE_NAME, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
            give_to_owner(descriptor, state_dir)
            os.close(descriptor)
        except OSError as error:
            raise StoreError(f"cannot use state directory {state_dir}: {error.strerror}") from None

    def _prepare(self, *, read_only: bool) -> None:
        self.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        found = self.execute("PRAGMA quick_check(1)")[0][0]
        if found != "ok":
            raise StoreError(self._damaged(str(found)))
        version = int(self.execute("PRAGMA user_version")[0][0])
        if version > len(MIGRATIONS):
            raise StoreError(
                f"{self.path} has schema {version}, written by a newer ResetLB (this one knows {len(MIGRATIONS)}); "
                "use that version, or another state directory"
            )
        if not read_only:
            self.execute("PRAGMA journal_mode = WAL")
            self.execute("PRAGMA synchronous = FULL")  # acknowledged changes also survive a power cut
            self._migrate(version)
        elif version < len(MIGRATIONS):
            raise StoreError(f"{self.path} has the older schema {version}; start the controller once to update it")

    def _migrate(self, version: int) -> None:
        for number in range(version, len(MIGRATIONS)):
            with self.transaction():
                for statement in MIGRATIONS[number].split(";"):
                    self.execute(statement)
                self.execute(f"PRAGMA user_version = {number + 1}")

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Run one statement and return its rows; raises StoreError."""
        try:
            return self._connection.execute(statement, parameters).fetchall()
        except sqlite3.Error as error:
            raise StoreError(self._words(error)) from None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make what runs inside one change: all of it is there afterwards, or nothing. A nested one joins the outer.

        The body must not switch to another greenlet: what that one writes would join this change.
        """
        if self._connection.in_transaction:
            yield
            return
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.execute("COMMIT")
        except BaseException:
            # SQLite may have rolled back by itself (disk full); then there is nothing left to undo.
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise

    def claim(self) -> None:
        """Own the state directory until closed or dead; raises StoreBusyError when another process does."""
        self._claim_fd = self.lock(self.path.parent)

    @staticmethod
    def lock(state_dir: Path) -> int:
        """Return a descriptor that owns the state directory until closed; raises StoreBusyError."""
        lock = (state_dir / FILE_NAME).with_suffix(".lock")
        try:
            descriptor = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise StoreError(f"cannot use {lock}: {error.strerror}") from None
        give_to_owner(descriptor, state_dir)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise StoreBusyError(f"a running controller uses the state directory {state_dir}") from None
        return descriptor

    def close(self) -> None:
        """Close the file and give up the claim."""
        self._connection.close()
        if self._claim_fd is not None:
            os.close(self._claim_fd)
            self._claim_fd = None

    def _words(self, error: sqlite3.Error) -> str:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        match code:
            case sqlite3.SQLITE_FULL:
                return f"no space left for {self.path}: nothing was changed"
            case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
                return self._damaged(str(error))
            case sqlite3.SQLITE_BUSY:
                return f"{self.path} is being written by another process: nothing was changed"
            case sqlite3.SQLITE_READONLY:
                return f"{self.path} cannot be written: {error}"
        return f"{self.path}: {error}"

    def _damaged(self, detail: str) -> str:
        return f"{self.path} is damaged ({detail}); restore it from a backup, or move it away to start without history"


def give_to_owner(descriptor: int, folder: Path) -> None:
    """Leave a file that root made to whom the directory belongs: what root does by hand must not lock the service out.

    Only the file itself is given away, never one that the directory's owner has put another name for there.
    """
    if os.geteuid() == 0 and os.fstat(descriptor).st_nlink == 1:
        owner = folder.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def fold_journal(path: Path) -> None:
    """Bring what is in the write-ahead log into the file itself, and remove the log; what is damaged is left as it is."""
    with (
        suppress(sqlite3.Error),
        closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True)) as connection,
    ):
        connection.execute("PRAGMA journal_mode = DELETE")
