"""What tests of the Python client share: a hub in a process, a writer, and a relay with faults."""

import os
import re
import select
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import httpx2

from e2e.servers import COMMAND, environment_of, free_port
from support import World, database_at, events_of
from task_copilot.testing import MemoryServer
from task_copilot_client import AsyncTaskCopilotClient, TaskCopilotClient

LIMIT_SECONDS = 20.0
LOOK_SECONDS = 0.005
CHUNK = 65_536

MODES: dict[str, dict[str, Any]] = {
    "websocket": {"websocket_retry": 0.2},
    "http": {"use_websocket": False},
    "polling": {"use_websocket": False, "wait": 0, "poll_interval": 0.05},
}
"""The three ways of getting events, as arguments of a client."""


def until(condition: Callable[[], object], seconds: float = LIMIT_SECONDS) -> None:
    """Waits for `condition`; fails the test where it does not come true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(LOOK_SECONDS)


class Hub:
    """``task-copilot serve`` on a database of its own, with a writer in this process."""

    def __init__(self, folder: Path, port: int | None = None, **settings: object) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.database = folder / "tasks.db"
        self.settings = settings
        (folder / "project").mkdir(parents=True, exist_ok=True)
        self.world = World(database_at(folder))
        self.newest = 0
        """The number of the newest task."""
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Starts it and waits until it serves."""
        project = self.folder / "project"
        settings = {"ping_interval": 0.2, **self.settings}
        with (self.folder / "hub.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "serve"],
                cwd=project,
                env={
                    **os.environ,
                    **environment_of(project, self.database, self.port, settings),
                },
                stderr=log,
            )
        until(self._serves)
        return self

    def _serves(self) -> bool:
        with suppress(httpx2.HTTPError):
            health = httpx2.get(f"{self.address}/health", trust_env=False, verify=False).json()
            return bool(health["service"] == "task-copilot")
        return False

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(LIMIT_SECONDS)

    def stop(self) -> None:
        """Ends it in order."""
        if self.process is not None:
            self.process.terminate()
            assert self.process.wait(LIMIT_SECONDS) == 0

    def close(self) -> None:
        self.kill()
        self.world.database.committer.close()
        self.world.database.read_engine.dispose()

    def client(self, **options: Any) -> TaskCopilotClient:
        return TaskCopilotClient(self.address, **options)

    def async_client(self, **options: Any) -> AsyncTaskCopilotClient:
        return AsyncTaskCopilotClient(self.address, **options)

    def events(self) -> list[dict[str, Any]]:
        return self.world.events()

    @property
    def head(self) -> int:
        return len(self.events())

    def settle(self) -> None:
        """Waits until the hub knows of everything that was written."""
        health = f"{self.address}/health"
        until(lambda: httpx2.get(health, trust_env=False, verify=False).json()["seq"] == self.head)

    def tasks(self, count: int, stream: str | None = None) -> None:
        for _ in range(count):
            self.newest = self.world.task("A task", stream)


class MemoryHub:
    """A server in memory, with the face of a `Hub`."""

    def __init__(self, server: MemoryServer) -> None:
        self.server = server
        self.newest = 0
        """The number of the newest task."""

    def client(self, **options: Any) -> TaskCopilotClient:
        return TaskCopilotClient(self.server.address, link=self.server.link, **options)

    def async_client(self, **options: Any) -> AsyncTaskCopilotClient:
        return self.server.async_client(**options)

    def events(self) -> list[dict[str, Any]]:
        return events_of(self.server._parts[1]._database)

    @property
    def head(self) -> int:
        return len(self.events())

    def settle(self) -> None:
        """Its hub knows of everything that was written."""

    def tasks(self, count: int, stream: str | None = None) -> None:
        where = {} if stream is None else {"streamId": stream}
        for _ in range(count):
            made = self.server.call("task_create", title="A task", **where)
            self.newest = int(made["id"].removeprefix("TASK-"))


AnyHub = Hub | MemoryHub
KINDS = ("process", "memory")


@contextmanager
def a_hub(kind: str, folder: Path) -> Iterator[AnyHub]:
    """A hub of one of the KINDS, with a workspace named shop."""
    if kind == "process":
        with hub(folder) as found:
            yield found
    else:
        with MemoryServer(workspace="shop") as server:
            yield MemoryHub(server)


@contextmanager
def hub(folder: Path, port: int | None = None, **settings: object) -> Iterator[Hub]:
    """A hub that serves."""
    found = Hub(folder, port, **settings)
    try:
        yield found.start()
    finally:
        found.close()


class Relay:
    """Stands between a client and a hub, one request a connection, and can do harm.

    `refuse` answers upgrades with that status; `swallow` answers them not at all; `cut` ends
    requests that wait, after so many seconds; `bad` answers them with that status; `silent` drops
    everything on open connections; `garbage` goes to the client behind each handshake.
    """

    def __init__(self, port: int) -> None:
        self.target = port
        self.refuse = self.bad = 0
        self.swallow = self.silent = False
        self.cut: float | None = None
        self.garbage = b""
        self.upgrades = self.waits = self.polls = self.requests = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._open = True
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open = False
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.break_all()

    def break_all(self) -> None:
        """Ends every connection without a word."""
        for end in self._sockets:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while self._open:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            self._sockets.append(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                if not (chunk := client.recv(CHUNK)):
                    return
                head += chunk
            upgrade, waits = b"Upgrade: websocket" in head, b"wait=" in head.split(b"\r\n")[0]
            self.requests += 1
            self.upgrades += upgrade
            self.waits += waits
            self.polls += not waits and b"since=" in head
            status = self.refuse * upgrade or self.bad * waits
            if status:
                client.sendall(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status)
                return
            self._forward(client, head, upgrade=upgrade, waits=waits)

    def _forward(self, client: socket.socket, head: bytes, *, upgrade: bool, waits: bool) -> None:
        head = head.replace(b":%d\r\n" % self.port, b":%d\r\n" % self.target)
        if not upgrade:
            head = re.sub(rb"(?i)connection: keep-alive", b"Connection: close", head)
        silent = upgrade and self.swallow
        deadline = time.monotonic() + self.cut if waits and self.cut is not None else None
        with socket.create_connection(("127.0.0.1", self.target)) as hub_side:
            self._sockets.append(hub_side)
            hub_side.sendall(head)
            garbage = self.garbage if upgrade else b""
            while deadline is None or time.monotonic() < deadline:
                ready, _, _ = select.select([client, hub_side], [], [], 0.05)
                for source in ready:
                    if not (data := source.recv(CHUNK)):
                        return
                    if silent or self.silent:
                        continue
                    (hub_side if source is client else client).sendall(data)
                    if garbage and source is hub_side:
                        client.sendall(garbage)
                        garbage = b""


class Log:
    """A callback that keeps what it gets."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, dict[str, Any]]] = []

    def __call__(self, topic: str, event_type: str, data: dict[str, Any]) -> None:
        self.events.append((topic, event_type, data))

    @property
    def topics(self) -> list[str]:
        return [topic for topic, _, _ in self.events]

    @property
    def types(self) -> list[str]:
        return [event_type for _, event_type, _ in self.events]


def tasks_of(first: int, last: int) -> list[str]:
    """The topics of the tasks with these numbers."""
    return [f"task:TASK-{number}" for number in range(first, last + 1)]
