"""PostgreSQL as several processes share it: connections, the write lock, and what is stored.

Imported only where a URL asks for it.
"""

import contextlib
import time
from typing import Any, Final

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool, QueuePool

from task_copilot.database.postgres_answers import AnsweringConnection
from task_copilot.database.postgres_connection import WritingConnection
from task_copilot.database.tables import CLOSED_VERSION, SCHEMA_VERSION, VERSION_TABLE
from task_copilot.errors import SchemaMismatch, StorageBusy, StorageError

APPLICATION_NAME = "task-copilot"
CHANNEL = "task_copilot"
"""Notified by each commit that added to the log; without a payload, as the log says what."""

LOCK_KEY: Final = 0x7461736B636F70
"""The advisory lock of those who write ("taskcop"). Such locks belong to one database."""

OPEN_KEY: Final = 0x7461736B6F7065
"""The advisory lock of those who have the database open ("taskope"): each connection shares it
for as long as it lives, and who must be alone takes all of it."""

LOCK_WAIT_SECONDS = 10.0
"""How long a write waits for the lock before it fails. Who waits is served in turn."""

IDLE_SECONDS = 5
"""How long a process may say nothing in the middle of a transaction, as one that was stopped
does, or one behind a broken network, before the server ends it: it holds the lock, and those
who wait for that shall get it before they fail."""

ALONE_WAIT_SECONDS = 1.0
"""How long one who must be alone waits for others to end: for a command that is just reading, and
for connections that are just closing; not for a session."""

ALONE_LOOK_SECONDS = 0.02
"""Pause between two looks at whether they have ended."""

UNFINISHED = (
    "The move of a SQLite database to this one was not finished. Nothing was changed; give "
    "task-copilot migrate-to once more, as it was given then."
)

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

_START = b"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
_LOCK = b"SELECT pg_advisory_xact_lock(%d)" % LOCK_KEY
_TRY_ALONE = f"SELECT pg_try_advisory_xact_lock({OPEN_KEY})"
_VERSION = f"SELECT version_num FROM {VERSION_TABLE}".encode()  # noqa: S608 - our own name
_SIGN = (
    b"INSERT INTO commits (writer, number) VALUES ($1, $2::bigint) "
    b"ON CONFLICT (writer) DO UPDATE SET number = excluded.number, at = now()"
)
_FORGET_OLD = b"DELETE FROM commits WHERE at < now() - interval '1 day'"
_NOTIFY = f"NOTIFY {CHANNEL}".encode()


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
        driver = kind.connect(**arguments)
        if isinstance(driver, WritingConnection):
            # The driver throws away all prepared statements, also those of `WritingConnection`,
            # where it has some of its own and something was dropped or undone.
            driver.prepare_threshold = None
        try:
            _share(driver)
        except BaseException:
            driver.close()
            raise
        return driver

    @event.listens_for(engine, "reset")
    def reset(connection: Any, *_given: Any) -> None:
        # SQLAlchemy's own logs a traceback where the connection is lost, which was said already.
        with contextlib.suppress(psycopg.Error):
            rollback(connection)

    return engine


def _share(driver: Any) -> None:
    """Has the database open, once nobody is alone with it any more."""
    driver.execute(
        f"SET lock_timeout = {_milliseconds(LOCK_WAIT_SECONDS)}; "
        f"SELECT pg_advisory_lock_shared({OPEN_KEY})"
    )


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)


def begin(driver: WritingConnection) -> None:
    """Begins a transaction that may write, once all those before it have ended.

    The lock comes first, not just before the numbers of the events: operations read rows, decide
    and write, and a counter that was read before the lock would be of the past. With it nobody
    else writes meanwhile, as on SQLite, and the operations that wait in one process share it.
    Each statement sees what was committed before it (READ COMMITTED); a transaction of a higher
    level would go on seeing the state from before it waited.

    All of it goes with the first statement of the transaction, in one message: whoever has waited
    for the lock gets what it reads with it. See `hold` for who needs the lock before.
    """
    _begin(driver)
    driver.version = driver.later(_VERSION)


def begin_locked(driver: WritingConnection) -> None:
    """`begin` for a database that may have no tables yet; has the lock when it returns."""
    _begin(driver)
    hold(driver)


def _begin(driver: WritingConnection) -> None:
    driver.later(_START)
    driver.locking = driver.later(_LOCK)
    driver.written_before = driver.written


def hold(driver: WritingConnection) -> None:
    """Returns once the transaction has the lock; raises StorageBusy, and what `check_unchanged`
    raises."""
    if not driver.has_begun:
        driver.settle()


def begin_alone(driver: Any) -> None:
    """`begin`, where no other process of this program has the database open; one that would open
    it waits for the end of the transaction."""
    begin(driver)
    hold(driver)
    driver.answers_within = None  # what is done alone may be long
    be_alone(driver)
    driver.written_before = driver.written


def be_alone(driver: Any) -> None:
    """Excludes others from the database until the end of the transaction; raises StorageBusy
    where somebody has it open, and then the transaction is at its end."""
    # The limit of idleness is for those who hold the lock by accident; a pipe may be slow.
    driver.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
    deadline = time.monotonic() + ALONE_WAIT_SECONDS
    # Not a wait in the server: others have the database open and wait for the lock of those who
    # write, and the server would take that for a deadlock and refuse what they write.
    while not driver.execute(_TRY_ALONE).fetchone()[0]:
        if time.monotonic() > deadline:
            rollback(driver)
            raise StorageBusy(
                "Other processes have the database open. Nothing was changed; end all sessions "
                "and task-copilot serve, and try again."
            )
        time.sleep(ALONE_LOOK_SECONDS)


def check_unchanged(driver: WritingConnection) -> None:
    """Raises SchemaMismatch if another process has migrated the tables since the start; where
    the transaction has not the lock yet, that is raised as soon as it has."""
    driver.check = _refuse_other_version


def _refuse_other_version(driver: WritingConnection) -> None:
    if driver.version is None or driver.version.scalar() != version_text(SCHEMA_VERSION):
        raise SchemaMismatch(
            "Another process has upgraded the database; nothing was written. Restart this server."
        )


def version_text(number: int) -> str:
    """A version as migrations are named."""
    return f"{number:04d}"


def failed_to_begin(driver: WritingConnection) -> bool:
    """Whether an error came before the transaction had the lock."""
    return driver.failed and not driver.has_begun


def rows_changed(driver: WritingConnection) -> int:
    """A number that is another one once something was written, or an error has ended what the
    transaction can do."""
    ended = driver.failed or driver.info.transaction_status == TransactionStatus.INERROR
    return -1 if ended else driver.written


def commit(driver: WritingConnection, *, announce: bool) -> None:
    """Ends the transaction; what it wrote is on disk by then.

    With it goes a number by which `is_committed` knows it again. All of it is one message, and
    with it go the statements that nobody has waited for: where one fails, the server carries
    out none that comes behind it, and does not commit.

    The server holds the lock until the disk has the commit, and so writers of several processes
    do not share one write to the disk; those of one process do. Without waiting for the disk
    (synchronous_commit=off, and a wait for it before the call is answered) they would, but others
    see such a commit before it is safe: a hub would deliver an event that may be gone after the
    server's machine has lost its power, and whose number is given anew then. Every reader would
    have to wait in turn until the disk has what it has read, and synchronous standbys too, of
    which a reader learns nothing.
    """
    writes = driver.written != driver.written_before
    driver.commits += writes  # first: `is_committed` shall not find the number of the one before
    hold(driver)
    if driver.failed:
        raise RuntimeError("a transaction that has failed was to be committed")
    if writes:
        if driver.commits == 1:
            driver.later(_FORGET_OLD)
        driver.later(_SIGN, (driver.name, driver.commits))
        if announce:
            driver.later(_NOTIFY)
    ended = driver.later(b"COMMIT")
    driver.settle()
    driver.forget()
    if ended.status != b"COMMIT":
        raise RuntimeError(
            f"a transaction that was to be committed ended with {ended.status.decode()}"
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
    if isinstance(driver, WritingConnection):
        driver.forget()
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
    if version == CLOSED_VERSION:
        raise SchemaMismatch(UNFINISHED)
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
