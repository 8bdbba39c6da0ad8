"""The server in memory, as tests use it."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self, TypedDict, TypeVar, Unpack

from task_copilot.client.asynchronous import AsyncTaskCopilotClient
from task_copilot.client.registry import OnGap
from task_copilot.client.shapes import Batch, Filter
from task_copilot.client.synchronous import TaskCopilotClient
from task_copilot.clock import Clock, system_clock, timestamp
from task_copilot.database.store import open_database
from task_copilot.events import log
from task_copilot.testing.link import MemoryLink
from task_copilot.testing.serving import PORT, Serving
from task_copilot.testing.thread import Down, LoopThread

T = TypeVar("T")


class ClientOptions(TypedDict, total=False):
    """What both clients take beside their address; docs/client.md says what each does."""

    use_websocket: bool
    poll_interval: float
    token: str | None
    ca_file: str | os.PathLike[str] | None
    workspace: str | None
    wait: float
    keepalive: float
    websocket_retry: float
    answer_timeout: float


class CallbackOptions(ClientOptions, total=False):
    """What the client with callbacks takes beside that."""

    debug: bool
    since: int | None
    epoch: str | None
    replay: int | None
    filter: Filter | None
    batch: Batch | None
    on_gap: OnGap | None
    cursor_file: str | os.PathLike[str] | None


class MemoryServer:
    """The tools, the log and the listeners of a hub, without process, port or lasting files.

    Works between ``with`` (or ``async with``) and its end, on a database of its own; several do
    so side by side. `workspace` is that of calls that name none. `clock` gives the time that is
    stored with what happens; it is called in other threads. All methods may be called from any
    thread and, as they take milliseconds, in a coroutine.
    """

    address = f"http://127.0.0.1:{PORT}"
    """For `TaskCopilotClient(server.address, link=server.link)`; nobody listens there."""

    def __init__(
        self, *, workspace: str = "tests", clock: Callable[[], datetime] | None = None
    ) -> None:
        self._workspace = workspace
        self._clock: Clock = system_clock if clock is None else lambda: timestamp(clock())
        self._stack = ExitStack()
        self._running: tuple[LoopThread, Serving] | None = None
        self._clients: list[TaskCopilotClient] = []

    # --- its life ---

    def __enter__(self) -> Self:
        if self._running is not None:
            raise RuntimeError("This server runs already; make another one.")
        with ExitStack() as stack:
            name = stack.enter_context(
                TemporaryDirectory(prefix="task-copilot-memory-", ignore_cleanup_errors=True)
            )
            thread = LoopThread("memory-server")
            thread.start()
            stack.callback(thread.stop)
            serving = thread.submit(lambda: _serving(Path(name), self._clock)).result()
            stack.callback(lambda: thread.submit(serving.end).result())
            thread.submit(serving.begin).result()
            self._running = thread, serving
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        clients, self._clients = self._clients, []
        for client in clients:
            client.disconnect()
        self._stack.close()
        self._running = None

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # In a thread: clients of this event loop take their leave meanwhile.
        await asyncio.to_thread(self.__exit__, kind, error, traceback)

    @property
    def _parts(self) -> tuple[LoopThread, Serving]:
        if self._running is None:
            raise Down
        return self._running

    def _do(self, work: Callable[[Serving], Coroutine[Any, Any, T]]) -> T:
        thread, serving = self._parts
        return thread.submit(lambda: work(serving)).result()

    # --- what agents do ---

    def call(
        self, tool: str, /, *, agent: str | None = None, workspace: str | None = None, **given: Any
    ) -> dict[str, Any]:
        """Calls a tool with the arguments of docs/tools.md and returns its answer; lists come as
        objects unless `format` says otherwise, and then as ``{"text": …}``.

        `agent` is who acts (else ``tester``), `workspace` the project that it acts in. Raises
        ToolRefused with the sentence that an agent would read.
        """
        place = self._workspace if workspace is None else workspace
        return self._do(lambda serving: serving.call(tool, given, agent or "tester", place))

    # --- who listens ---

    @property
    def link(self) -> MemoryLink:
        """What leads a client here: its argument `link`."""
        return MemoryLink(*self._parts)

    def client(self, **options: Unpack[CallbackOptions]) -> TaskCopilotClient:
        """A client with callbacks, connected. The end of the server disconnects it."""
        client = TaskCopilotClient(self.address, link=self.link, **options)
        self._clients.append(client)
        client.connect()
        return client

    def async_client(self, **options: Unpack[ClientOptions]) -> AsyncTaskCopilotClient:
        """A client for ``async for``; end its loops before the server."""
        return AsyncTaskCopilotClient(self.address, link=self.link, **options)

    # --- what can go wrong ---

    @property
    def websocket(self) -> bool:
        """Whether WebSockets are accepted. Where not, a client that connects anew takes HTTP
        after three attempts; connections that are open stay."""
        return self._parts[1].websocket

    @websocket.setter
    def websocket(self, accepted: bool) -> None:
        self._parts[1].websocket = accepted

    def restart(self) -> None:
        """Drops all connections with 1012, as a hub does that another one follows, and is there
        again; nothing is lost."""
        self._do(lambda serving: serving.begin())

    def prune(self, keep: int) -> None:
        """Removes all events but the newest `keep`: who comes from further back gets a gap."""
        if keep < 0:
            raise ValueError(f"keep: {keep} is no number of events")
        self._do(lambda serving: serving.prune(keep))


async def _serving(folder: Path, clock: Clock) -> Serving:
    url = f"sqlite:///{folder / 'tasks.db'}"
    database = await asyncio.to_thread(
        lambda: open_database(url, number=log.number, durability="normal", clock=clock)
    )
    return Serving(database, clock)
