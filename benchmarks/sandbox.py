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
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from benchmarks.clocked_server import COMMITS
from task_copilot.settings import ENVIRONMENT_PREFIX, Settings

SERVER = [str(Path(sys.executable).with_name("task-copilot"))]
WORKSPACE = "bench"
SANDBOX_PREFIX = "task-copilot-bench-"
HUB_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What belongs to one server; `environment` gives it to a process."""

    folder: Path
    port: int

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
            database_url=f"sqlite:///{self.database}",
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
def sandbox() -> Iterator[Sandbox]:
    """A new sandbox, removed at the end."""
    with tempfile.TemporaryDirectory(prefix=SANDBOX_PREFIX) as folder:
        yield Sandbox(Path(folder), _free_port())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
