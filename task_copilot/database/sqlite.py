"""SQLite as several processes can share it: driver, pragmas, locks and its errors."""

import contextlib
import importlib
import random
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool, QueuePool

from task_copilot.database.moved import refuse_moved
from task_copilot.database.tables import CLOSED_VERSION, SCHEMA_VERSION
from task_copilot.errors import SchemaMismatch, StorageBusy, StorageError, StorageReadOnly

T = TypeVar("T")

APPLICATION_ID = 0x7461636F
"""``PRAGMA application_id`` of our databases ("taco"), so that no other is taken for one."""

LOCK_WAIT_SECONDS = 10.0
"""How long a write waits for the lock before it fails."""

LOCK_RETRY_SECONDS = (0.0005, 0.0015)
"""Random pause between two attempts. SQLite's own waiting starves writers: it has no queue
and sleeps up to 100 ms, so that the process that has just committed wins again."""

ALONE_WAIT_SECONDS = 1.0
"""How long one who must be alone waits for others to end: for a command that is just reading,
not for a session."""

READ_WAIT_SECONDS = 5
READERS = 4
JOURNAL_LIMIT_BYTES = 64 * 1024 * 1024

_FIXED_SINCE = (3, 51, 3)
_FIXED_BACKPORTS = ((3, 44, 6), (3, 50, 7))


def has_wal_reset_fix(version: tuple[int, int, int]) -> bool:
    """Whether SQLite `version` is free of the WAL-reset bug, which can lose commits when
    one process writes while another checkpoints (sqlite.org/wal.html)."""
    backport = any(version[:2] == fixed[:2] and version >= fixed for fixed in _FIXED_BACKPORTS)
    return version >= _FIXED_SINCE or backport


def driver() -> ModuleType:
    """A DB-API module with a safe SQLite; raises StorageError if there is none."""
    found: list[str] = []
    for name in ("pysqlite3.dbapi2", "sqlite3.dbapi2"):
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        if has_wal_reset_fix(module.sqlite_version_info):
            return module
        found.append(module.sqlite_version)
    raise StorageError(
        f"SQLite {' and '.join(found)} can lose data when several processes share a database. "
        "Task Copilot needs SQLite 3.51.3 or later: pip install pysqlite3"
    )


def file_of(url: URL) -> Path:
    """Where the database's file stands, as an absolute path."""
    name = url.database or ""
    if is_address(url):
        name = unquote(urlsplit(name).path)
    return Path(name).absolute()


def is_address(url: URL) -> bool:
    """Whether a file is named by SQLite's own kind of address, which can say how to open it."""
    return (url.database or "").startswith("file:")


def _nothing() -> None:
    pass


def write_engine(url: URL, *, durability: str, on_connect: Callable[[], None] = _nothing) -> Engine:
    """The engine of the one writing connection of this process, which begins with `begin`."""
    engine = _engine(url, poolclass=NullPool, timeout=0)

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        # The first look at the file may meet another process that is just setting it up.
        connection.execute(f"PRAGMA busy_timeout={int(LOCK_WAIT_SECONDS * 1000)}")
        _configure(connection)
        connection.execute(f"PRAGMA synchronous={durability}")
        connection.execute(f"PRAGMA journal_size_limit={JOURNAL_LIMIT_BYTES}")
        connection.execute("PRAGMA secure_delete=ON")
        connection.execute("PRAGMA busy_timeout=0")
        on_connect()

    return engine


def read_engine(url: URL, on_connect: Callable[[], None] = _nothing) -> Engine:
    """The engine of the reading connections, which cannot write."""
    engine = _engine(
        url,
        poolclass=QueuePool,
        timeout=READ_WAIT_SECONDS,
        pool_size=READERS + 1,  # a kept one too
        pool_use_lifo=True,  # the one that was used last has the pages that are read most
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        _configure(connection)
        connection.execute("PRAGMA query_only=ON")
        on_connect()

    @event.listens_for(engine, "begin")
    def begin_reading(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")
        # What was moved away is not shown as if it was alive. A look costs three microseconds.
        driver: Any = connection.connection.driver_connection
        if recorded_version(driver) == CLOSED_VERSION:
            refuse_moved(driver)

    return engine


def _engine(url: URL, *, timeout: float, **options: Any) -> Engine:
    arguments = {"timeout": timeout, "isolation_level": None, "check_same_thread": False}
    return create_engine(url, module=driver(), connect_args=arguments, **options)


def _configure(connection: Any) -> None:
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA trusted_schema=OFF")
    connection.execute("PRAGMA cache_size=-20000")


def begin(driver_connection: Any) -> None:
    """Begins a transaction that may write; raises StorageBusy if it has to wait too long.

    A transaction that reads first and then writes would fail at once where another process
    has written in between, so this one takes the lock before it reads.
    """
    patiently(lambda: driver_connection.execute("BEGIN IMMEDIATE"))


def begin_alone(driver_connection: Any) -> None:
    """Begins a transaction that may write, with the whole database locked until the connection
    is closed; raises StorageBusy where another connection has it open, whatever that does.
    """
    driver_connection.execute(f"PRAGMA busy_timeout={int(ALONE_WAIT_SECONDS * 1000)}")
    driver_connection.execute("PRAGMA locking_mode=EXCLUSIVE")
    try:
        driver_connection.execute("BEGIN IMMEDIATE")
    except Exception as error:
        if not (_name(error) or "").startswith("SQLITE_BUSY"):
            raise
        raise StorageBusy(
            "Other processes have the database open. Nothing was changed; end all sessions and "
            "task-copilot serve, and try again."
        ) from None


def commit(driver_connection: Any) -> None:
    """Ends the transaction; what it wrote is on disk by then."""
    driver_connection.execute("COMMIT")


def rollback(driver_connection: Any) -> None:
    """Ends the transaction, if there is one, and undoes what it wrote."""
    if driver_connection.in_transaction:
        driver_connection.execute("ROLLBACK")


def version(driver_connection: Any) -> int:
    """A number that is another one after a commit of any other connection, not of this one."""
    return int(driver_connection.execute("PRAGMA data_version").fetchone()[0])


def rows_changed(driver_connection: Any) -> int:
    """A number that is another one once something was written."""
    return int(driver_connection.total_changes)


def patiently(step: Callable[[], T]) -> T:
    """The result of `step`, tried again while other processes hold a lock that it needs.

    Raises StorageBusy when they still do after `LOCK_WAIT_SECONDS`.
    """
    deadline = time.monotonic() + LOCK_WAIT_SECONDS
    while True:
        try:
            return step()
        except Exception as error:
            if not (_name(error) or "").startswith("SQLITE_BUSY"):
                raise
            if time.monotonic() > deadline:
                raise StorageBusy(
                    f"Other processes kept the database locked for {LOCK_WAIT_SECONDS:.0f} s. "
                    "Nothing was written; try again."
                ) from None
        time.sleep(random.uniform(*LOCK_RETRY_SECONDS))  # noqa: S311 - no secret


def recorded_version(driver_connection: Any) -> int:
    """What the database says of its version, whatever that is."""
    return int(driver_connection.execute("PRAGMA user_version").fetchone()[0])


def stored_version(driver_connection: Any) -> int:
    """The number of the newest migration that this database has had; 0 if it is empty.

    Raises SchemaMismatch if a newer program made it or another program owns it, and DatabaseMoved
    if it was moved away.
    """
    version = recorded_version(driver_connection)
    owner = int(driver_connection.execute("PRAGMA application_id").fetchone()[0])
    empty = driver_connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
    if owner != APPLICATION_ID and not empty:
        raise SchemaMismatch(
            "The database belongs to another program. It was left as it is; "
            "set TASK_COPILOT_DATABASE_URL to a file of its own."
        )
    if version == CLOSED_VERSION:
        refuse_moved(driver_connection)
    if version > SCHEMA_VERSION:
        raise SchemaMismatch(
            f"The database was made by a newer Task Copilot (its tables are version {version}, "
            f"this program knows {SCHEMA_VERSION}). It was left as it is; upgrade Task Copilot."
        )
    return version


def check_unchanged(driver_connection: Any) -> None:
    """Raises SchemaMismatch if another process has migrated the tables since the start, and
    DatabaseMoved if it was moved away."""
    version = recorded_version(driver_connection)
    if version == CLOSED_VERSION:
        refuse_moved(driver_connection)
    if version != SCHEMA_VERSION:
        raise SchemaMismatch(
            "Another process has upgraded the database; nothing was written. Restart this server."
        )


def uses_wal(driver_connection: Any) -> bool:
    """Whether write-ahead logging is on; in a copy that ``VACUUM INTO`` has made it is not."""
    return str(driver_connection.execute("PRAGMA journal_mode").fetchone()[0]) == "wal"


def use_wal(driver_connection: Any) -> None:
    """Turns on write-ahead logging, which lets readers and one writer work side by side."""
    patiently(lambda: driver_connection.execute("PRAGMA journal_mode=WAL"))


def scrub(driver_connection: Any) -> bool:
    """Leaves no byte of deleted values in the files; False where a reader keeps the old log.

    The setting secure_delete is not enough: a page that was split keeps copies of rows that
    moved to another one, and only VACUUM writes every page anew.
    """
    patiently(lambda: driver_connection.execute("VACUUM"))
    deadline = time.monotonic() + LOCK_WAIT_SECONDS
    while driver_connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
        if time.monotonic() > deadline:
            return False
        time.sleep(LOCK_RETRY_SECONDS[1])
    return True


def copy_into(driver_connection: Any, path: Path) -> None:
    """Writes a copy into the empty file `path`, and looks whether it is sound; raises
    StorageError if not. Others write meanwhile."""
    driver_connection.execute("VACUUM INTO ?", (str(path),))
    with contextlib.closing(driver().connect(str(path), isolation_level=None)) as copy:
        found = quick_check(copy)
    if found is not None:
        raise StorageError(f"The copy is damaged: {found}. Check the disk, and the database.")


def quick_check(driver_connection: Any) -> str | None:
    """What SQLite finds wrong with the file; None where it finds nothing."""
    found = str(driver_connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    return None if found == "ok" else found


def mark_migrated(driver_connection: Any) -> None:
    """Notes in the database, in the present transaction, that its tables are the newest."""
    driver_connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    driver_connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")


def _name(error: BaseException) -> str | None:
    return getattr(error, "sqlite_errorname", None)


_MEANINGS = {
    "SQLITE_FULL": "the disk is full. Free some space and try again",
    "SQLITE_READONLY": "the file or its folder is read-only. Make it writable",
    "SQLITE_NOTADB": "the file is not a database. Move it away, or set "
    "TASK_COPILOT_DATABASE_URL to another file",
    "SQLITE_CORRUPT": "the file is damaged. Restore it from a backup",
    "SQLITE_CANTOPEN": "the file cannot be opened. Check that its folder exists and is writable",
    "SQLITE_BUSY": "other processes keep it locked. Try again",
    "SQLITE_IOERR": "the disk cannot be written or read; it may be full. Check the disk and "
    "try again",
}

_CLASSES = {"SQLITE_BUSY": StorageBusy, "SQLITE_READONLY": StorageReadOnly}


def translate(error: BaseException, url: URL) -> StorageError | None:
    """What a driver's error means for the user; None if it is a defect of ours."""
    original = error.orig if isinstance(error, DBAPIError) else error
    name = _name(original) if original is not None else None
    kind = next((known for known in _MEANINGS if name and name.startswith(known)), None)
    if kind is None:
        return None
    error_class = _CLASSES.get(kind, StorageError)
    return error_class(f"Nothing was written: {Path(url.database or '')}: {_MEANINGS[kind]}.")
