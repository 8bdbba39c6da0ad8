"""PostgreSQL as several processes share it: connections, the write lock, and what is stored.

Imported only where a URL asks for it.
"""

import contextlib
import secrets
import time
from typing import Any, Final

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool, QueuePool

from task_copilot.database.postgres_answers import AnsweringConnection
from task_copilot.database.tables import SCHEMA_VERSION, VERSION_TABLE
from task_copilot.errors import SchemaMismatch, StorageBusy, StorageError

APPLICATION_NAME = "task-copilot"
CHANNEL = "task_copilot"
"""Notified by each commit that added to the log; without a payload, as the log says what."""

LOCK_KEY: Final = 0x7461736B636F70
"""The advisory lock of those who write ("taskcop"). Such locks belong to one database."""

LOCK_WAIT_SECONDS = 10.0
"""How long a write waits for the lock before it fails. Who waits is served in turn."""

IDLE_SECONDS = 5
"""How long a process may say nothing in the middle of a transaction, as one that was stopped
does, or one behind a broken network, before the server ends it: it holds the lock, and those
who wait for that shall get it before they fail."""

ALONE_WAIT_SECONDS = 1.0
ALONE_LOOK_SECONDS = 0.02

OLDEST_SERVER = 140_000
READERS = 4

_CONNECTING = {
    "application_name": APPLICATION_NAME,
    "client_encoding": "utf8",
    "connect_timeout": 5,
    # A server that is cut off is noticed within the time that a call may wait.
    "keepalives_idle": 4,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""What a URL does not say otherwise."""

_NETWORK = (
    "SET tcp_keepalives_idle = 4; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3; "
    f"SET tcp_user_timeout = {IDLE_SECONDS * 1000}"
)
"""The same for the server, which otherwise keeps the lock of a client that is cut off for as long
as its own system tries to send it an answer: a quarter of an hour."""

_LOCKED = (
    f"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SELECT pg_advisory_xact_lock({LOCK_KEY})"
)
_BEGIN = f"{_LOCKED}; SELECT version_num FROM {VERSION_TABLE}"  # noqa: S608 - our own name


class _CountingCursor(psycopg.Cursor[Any]):
    """Notes that something was written, which PostgreSQL does not count by itself."""

    def execute(self, *arguments: Any, **options: Any) -> "_CountingCursor":
        super().execute(*arguments, **options)
        self._note()
        return self

    def executemany(self, *arguments: Any, **options: Any) -> None:
        super().executemany(*arguments, **options)
        self._note()

    def _note(self) -> None:
        if self.rowcount and not (self.statusmessage or "").startswith("SELECT"):
            connection: Any = self.connection
            connection.written += 1


class WritingConnection(AnsweringConnection):
    """A connection with what is known of its present transaction."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.cursor_factory = _CountingCursor
        self.written = 0
        self.written_before = 0
        self.stored_version: str | None = None
        self.name = secrets.token_hex(8)
        self.commits = 0
        self.pid = 0


def connecting(url: URL) -> dict[str, Any]:
    """What the driver is told to connect; psycopg's own names."""
    from sqlalchemy.dialects.postgresql.psycopg import dialect

    _nothing, given = dialect().create_connect_args(url)  # type: ignore[no-untyped-call]
    several = {"target_session_attrs": "read-write"} if "," in str(given.get("host")) else {}
    return {**_CONNECTING, **several, **given, "autocommit": True}


def write_engine(url: URL, *, durability: str) -> Engine:
    """The engine of connections that begin with `begin`."""
    engine = _engine(url, WritingConnection, poolclass=NullPool)
    flushed = "on" if durability == "full" else "off"

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        connection.execute(
            f"SET lock_timeout = {int(LOCK_WAIT_SECONDS * 1000)}; "
            f"SET idle_in_transaction_session_timeout = {IDLE_SECONDS * 1000}; "
            f"SET synchronous_commit = {flushed}; {_NETWORK}"
        )

    return engine


def read_engine(url: URL) -> Engine:
    """The engine of the reading connections, which cannot write."""
    engine = _engine(
        url, AnsweringConnection, poolclass=QueuePool, pool_size=READERS, pool_use_lifo=True
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        connection.execute(f"SET lock_timeout = {int(LOCK_WAIT_SECONDS * 1000)}; {_NETWORK}")

    @event.listens_for(engine, "begin")
    def begin_reading(connection: Connection) -> None:
        # What one transaction reads is of one state.
        connection.exec_driver_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")

    return engine


def _engine(url: URL, kind: type[psycopg.Connection[Any]], **options: Any) -> Engine:
    engine = create_engine(url, use_native_hstore=False, pool_reset_on_return=None, **options)
    arguments = connecting(url)

    @event.listens_for(engine, "do_connect")
    def connect(*_given: Any) -> Any:
        return kind.connect(**arguments)

    @event.listens_for(engine, "reset")
    def reset(connection: Any, *_given: Any) -> None:
        # SQLAlchemy's own logs a traceback where the connection is lost, which was said already.
        with contextlib.suppress(psycopg.Error):
            rollback(connection)

    return engine


def begin(driver: Any) -> None:
    """Begins a transaction that may write, once all those before it have ended.

    The lock comes first, not just before the numbers of the events: operations read rows, decide
    and write, and a counter that was read before the lock would be of the past. With it nobody
    else writes meanwhile, as on SQLite, and the operations that wait in one process share it.
    Each statement sees what was committed before it (READ COMMITTED); a transaction of a higher
    level would go on seeing the state from before it waited. All of it is one message.
    """
    _run(driver, _BEGIN)


def begin_locked(driver: Any) -> None:
    """`begin` for a database that may have no tables yet."""
    _run(driver, _LOCKED)


def _run(driver: WritingConnection, text: str) -> None:
    try:
        cursor = driver.execute(text, prepare=False)
        while cursor.nextset():
            pass
        row = cursor.fetchone() if text is _BEGIN else None
        driver.stored_version = None if row is None else row[0]
    except Exception:
        rollback(driver)
        raise
    driver.written_before = driver.written


def begin_alone(driver: Any) -> None:
    """`begin`, where no other connection of this program has the database open.

    One that is opened afterwards can read, and waits for the lock where it would write.
    """
    begin(driver)
    driver.answers_within = None  # what is done alone may be long
    driver.execute("SET LOCAL idle_in_transaction_session_timeout = 0")  # a pipe may be slow
    deadline = time.monotonic() + ALONE_WAIT_SECONDS
    while _others(driver):
        if time.monotonic() > deadline:
            rollback(driver)
            raise StorageBusy(
                "Other processes have the database open. Nothing was changed; end all sessions "
                "and task-copilot serve, and try again."
            )
        time.sleep(ALONE_LOOK_SECONDS)
    driver.written_before = driver.written


def _others(driver: Any) -> int:
    found = driver.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND application_name = %s AND pid <> pg_backend_pid()",
        (APPLICATION_NAME,),
    )
    return int(found.fetchone()[0])


def check_unchanged(driver: WritingConnection) -> None:
    """Raises SchemaMismatch if another process has migrated the tables since the start."""
    if driver.stored_version != version_text(SCHEMA_VERSION):
        raise SchemaMismatch(
            "Another process has upgraded the database; nothing was written. Restart this server."
        )


def version_text(number: int) -> str:
    """A version as migrations are named."""
    return f"{number:04d}"


def rows_changed(driver: WritingConnection) -> int:
    """A number that is another one once something was written, or an error has ended what the
    transaction can do."""
    failed = driver.info.transaction_status == TransactionStatus.INERROR
    return -1 if failed else driver.written


def commit(driver: WritingConnection, *, announce: bool) -> None:
    """Ends the transaction; what it wrote is on disk by then.

    With it goes a number by which `is_committed` knows it again. All of it is one message.
    """
    text = "COMMIT"
    if driver.written != driver.written_before:
        driver.commits += 1
        text = f"{_signed(driver)}{f'NOTIFY {CHANNEL}; ' if announce else ''}{text}"
    cursor = driver.execute(text, prepare=False)
    while cursor.nextset():
        pass
    if cursor.statusmessage != "COMMIT":
        raise RuntimeError(
            f"a transaction that was to be committed ended with {cursor.statusmessage}"
        )


def _signed(driver: WritingConnection) -> str:
    old = "" if driver.commits > 1 else "DELETE FROM commits WHERE at < now() - interval '1 day'; "
    return (
        f"{old}INSERT INTO commits (writer, number) VALUES ('{driver.name}', {driver.commits}) "  # noqa: S608 - made here
        "ON CONFLICT (writer) DO UPDATE SET number = excluded.number, at = now(); "
    )


def may_be_committed(driver: WritingConnection) -> bool:
    """Whether a commit that failed may have been one: the server was told of it, and is gone."""
    return driver.broken and driver.written != driver.written_before


def is_committed(driver: WritingConnection, asking: Any) -> bool:
    """Whether the last commit of a lost connection took place, asked on another one.

    Who has the lock knows that the lost one has ended: it held it. The number of a transaction
    (xid) would tell the same most of the time; but after a crash the server gives those anew
    that it had given to transactions of which nothing was on disk.
    """
    begin_locked(asking)
    try:
        row = asking.execute(
            "SELECT number FROM commits WHERE writer = %s", (driver.name,)
        ).fetchone()
    finally:
        rollback(asking)
    return row is not None and int(row[0]) == driver.commits


def rollback(driver: Any) -> None:
    """Ends the transaction, if there is one, and undoes what it wrote."""
    if not driver.closed and driver.info.transaction_status != TransactionStatus.IDLE:
        driver.execute("ROLLBACK", prepare=False)


def check_server(driver: Any) -> None:
    """Raises StorageError where the server or the database is none that can be used."""
    version = driver.info.server_version
    if version < OLDEST_SERVER:
        raise StorageError(
            f"The server is PostgreSQL {version // 10_000}; Task Copilot needs 14 or later."
        )
    encoding = driver.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise StorageError(
            f"The database's encoding is {encoding}; Task Copilot needs UTF8: "
            "createdb --encoding=UTF8 --template=template0 NAME"
        )


_TABLES = """
SELECT relname FROM pg_class
WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
AND relkind IN ('r', 'p') AND NOT EXISTS (
    SELECT FROM pg_depend
    WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e'
)
"""


def stored_version(driver: Any) -> int:
    """The number of the newest migration that this database has had; 0 if it is empty.

    Raises SchemaMismatch if a newer program made it or another program owns it.
    """
    tables = {name for (name,) in driver.execute(_TABLES).fetchall()}
    if VERSION_TABLE not in tables:
        if tables:
            raise SchemaMismatch(
                "The database holds tables of another program. It was left as it is; set "
                "TASK_COPILOT_DATABASE_URL to a database of its own."
            )
        return 0
    row = driver.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()  # noqa: S608
    version = int(row[0]) if row else 0
    if version > SCHEMA_VERSION:
        raise SchemaMismatch(
            f"The database was made by a newer Task Copilot (its tables are version {version}, "
            f"this program knows {SCHEMA_VERSION}). It was left as it is; upgrade Task Copilot."
        )
    return version


def scrub(driver: Any, tables: list[str]) -> None:
    """Writes the tables anew, without what was deleted; waits for those who read them."""
    driver.answers_within = None
    driver.execute(f"VACUUM FULL {', '.join(tables)}", prepare=False)
