"""Real ``task-copilot`` processes, each with a database, a port and a folder of its own."""

import json
import os
import random
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

from e2e.raw_mcp import CLIENT_INFO, HANDSHAKE_VERSION, RawMcp
from task_copilot.database.sqlite import driver

COMMAND = (sys.executable, "-m", "task_copilot")
PORTS_TRIED = 10
"""A server tries so many ports from the wanted one on."""

PROGRAM = """
from task_copilot.cli import main
main(prog_name="task-copilot")
"""

_FIRST_PORT, _LAST_PORT = 10_000, 32_000  # below those that the system gives to clients
_ports = random.Random(os.getpid() ^ random.SystemRandom().getrandbits(32))


def after(preparation: str) -> tuple[str, ...]:
    """The command of a server whose process runs `preparation` first."""
    return (sys.executable, "-c", preparation + PROGRAM)


def free_port() -> int:
    """The first of ten free ports that no other test of this run is likely to be given."""
    for _ in range(100):
        port = _ports.randrange(_FIRST_PORT, _LAST_PORT, PORTS_TRIED)
        if all(_is_free(port + offset) for offset in range(PORTS_TRIED)):
            return port
    raise AssertionError("no ten free ports in a row")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class Server(RawMcp):
    """A `RawMcp` that knows what its server was started with."""

    def __init__(
        self,
        folder: Path,
        database: Path,
        port: int,
        environment: Mapping[str, str],
        *,
        command: Sequence[str] = COMMAND,
    ) -> None:
        super().__init__(command, environment, folder)
        self.folder, self.database, self.port = folder, database, port
        self.environment = dict(environment)

    async def __aexit__(self, *_: object) -> None:
        if "serve" in self._command and self.process.returncode is None:
            self.signal(signal.SIGTERM)  # the end of its input says nothing to it
        await super().__aexit__()

    async def introduce(self, name: str) -> None:
        """The handshake of a client that calls itself `name`."""
        params = {
            "protocolVersion": HANDSHAKE_VERSION,
            "capabilities": {},
            "clientInfo": {"name": name, "version": "1"},
        }
        await self.request("initialize", params, timeout=30)
        await self.notify("notifications/initialized")

    async def ok(self, tool: str, **arguments: object) -> dict[str, Any]:
        """The object that a call answers; fails the test where it is refused."""
        result = await self.call(tool, arguments, timeout=30)
        text: str = result["content"][0]["text"]
        assert not result.get("isError"), text
        found: dict[str, Any] = result.get("structuredContent") or json.loads(text)
        return found

    async def text(self, tool: str, **arguments: object) -> str:
        """The text that a call answers; fails the test where it is refused."""
        result = await self.call(tool, arguments, timeout=30)
        text: str = result["content"][0]["text"]
        assert not result.get("isError"), text
        return text

    async def refused(self, tool: str, **arguments: object) -> str:
        """What a call is refused with; fails the test where it is not."""
        result = await self.call(tool, arguments, timeout=30)
        text: str = result["content"][0]["text"]
        assert result.get("isError") is True, text
        assert "structuredContent" not in result
        assert "Traceback" not in text
        assert 'File "' not in text
        return text

    async def served(self) -> None:
        """Waits until the server says on which address it serves events (log level info)."""
        await self.wait_until(lambda: "Events: ws://" in self.stderr_text())


def environment_of(folder: Path, database: Path, port: int, settings: object) -> dict[str, str]:
    """The environment of a server that shares nothing with the user's own."""
    assert isinstance(settings, dict)
    given = {"database_url": f"sqlite:///{database}", "port": port, **settings}
    return {
        # Of the shell that runs the tests: empty counts as not set.
        "CLAUDE_PROJECT_DIR": "",
        **{f"TASK_COPILOT_{name}": "" for name in ("HOST", "WORKSPACE", "AGENT", "LOG_LEVEL")},
        "XDG_DATA_HOME": str(folder.parent / "data"),
        "PYTHONUNBUFFERED": "",
        **{f"TASK_COPILOT_{name.upper()}": str(value) for name, value in given.items()},
    }


def server(
    tmp_path: Path,
    *,
    database: Path | None = None,
    port: int | None = None,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    command: Sequence[str] = COMMAND,
    **settings: object,
) -> Server:
    """A server that is not started yet; `settings` are those of the program."""
    folder = folder or tmp_path / "project"
    folder.mkdir(parents=True, exist_ok=True)
    database = database or tmp_path / "tasks.db"
    port = port or free_port()
    every = environment_of(folder, database, port, settings) | dict(environment or {})
    return Server(folder, database, port, every, command=command)


@asynccontextmanager
async def start_server(
    tmp_path: Path, *, era: str | None = "handshake", **settings: Any
) -> AsyncIterator[Server]:
    """A started server in the protocol era ``handshake`` or ``modern`` (None: not greeted).

    Ends it, with code 0 unless the test has ended it already, and fails the test where there is a
    traceback on stderr.
    """
    mcp = server(tmp_path, **settings)
    async with mcp:
        if era == "handshake":
            await mcp.initialize(timeout=30)
        elif era == "modern":
            await mcp.modern("tools/list", timeout=30)
        yield mcp
        if mcp.process.returncode is None:
            mcp.close_stdin()
            assert await mcp.wait_exit() == 0, mcp.stderr_text()
    assert "Traceback" not in mcp.stderr_text(), mcp.stderr_text()


@contextmanager
def opened(database: Path, *, write: bool = False) -> Iterator[Any]:
    """A connection of the test process, read-only unless `write`."""
    mode = "rw" if write else "ro"
    module = driver()
    with closing(
        module.connect(f"file:{database}?mode={mode}", uri=True, isolation_level=None, timeout=5)
    ) as connection:
        yield connection


def contents(database: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table."""
    with opened(database) as connection:
        connection.execute("BEGIN")
        names = connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"
        ).fetchall()
        return {
            name: connection.execute(f'SELECT * FROM "{name}" ORDER BY 1').fetchall()  # noqa: S608
            for (name,) in names
        }


def row_counts(database: Path) -> dict[str, int]:
    """How many rows each table has."""
    return {name: len(rows) for name, rows in contents(database).items()}


def events(database: Path) -> list[dict[str, Any]]:
    """The event log, oldest first, each event with its ``seq``."""
    with opened(database) as connection:
        rows = connection.execute("SELECT seq, payload FROM events ORDER BY seq").fetchall()
    return [{"seq": seq, **json.loads(payload)} for seq, payload in rows]


def actors(database: Path) -> list[str]:
    """Who acted, event by event."""
    return [event["actor"] for event in events(database)]


__all__ = [
    "CLIENT_INFO",
    "COMMAND",
    "Server",
    "actors",
    "after",
    "contents",
    "events",
    "free_port",
    "opened",
    "row_counts",
    "server",
    "start_server",
]
