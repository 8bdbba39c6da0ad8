"""A folder, a database and a port for one server, so that runs disturb neither each other nor
the user's own data."""

import json
import os
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from benchmarks.clocked_server import COMMITS
from task_copilot.settings import ENVIRONMENT_PREFIX, Settings

SERVER = [str(Path(sys.executable).with_name("task-copilot"))]
WORKSPACE = "bench"
HUB_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What belongs to one server; `environment` gives it to a process. Without a `url` it has a
    SQLite file of its own."""

    folder: Path
    port: int
    url: str | None = None

    @property
    def database(self) -> Path:
        return self.folder / "bench.db"

    @property
    def commits(self) -> Path:
        """Where clocked servers note their commits."""
        return self.folder / "commits"

    @property
    def settings(self) -> Settings:
        """The server's settings, for code that opens the database itself."""
        return Settings(
            database_url=self.url or f"sqlite:///{self.database}",
            port=self.port,
            workspace=WORKSPACE,
        )

    @property
    def environment(self) -> dict[str, str]:
        """This process's environment, with the server's settings and no others of ours."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(ENVIRONMENT_PREFIX)}
        kept.pop("CLAUDE_PROJECT_DIR", None)
        return kept | {
            f"{ENVIRONMENT_PREFIX}DATABASE_URL": self.settings.database_url,
            f"{ENVIRONMENT_PREFIX}PORT": str(self.port),
            f"{ENVIRONMENT_PREFIX}WORKSPACE": WORKSPACE,
            COMMITS: str(self.commits),
        }

    @property
    def events_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    def beside(self) -> "Sandbox":
        """Another one on the same database, with a hub of its own."""
        return replace(self, port=_free_port())

    def wait_for_hub(self, listeners: int = 0) -> None:
        """Returns when the hub answers and has as many listeners; raises TimeoutError."""
        deadline = time.monotonic() + HUB_SECONDS
        while self._clients() != listeners:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no hub with {listeners} listeners on port {self.port}")
            time.sleep(0.01)

    def _clients(self) -> int | None:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/health")
            health = json.loads(connection.getresponse().read())
        except (OSError, HTTPException, ValueError):
            return None
        finally:
            connection.close()
        return int(health["clients"])


@contextmanager
def sandbox(url: str | None = None) -> Iterator[Sandbox]:
    """A new sandbox, removed at the end; on the database at `url`, if one is given."""
    with tempfile.TemporaryDirectory(prefix="task-copilot-bench-") as folder:
        yield Sandbox(Path(folder), _free_port(), url)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
