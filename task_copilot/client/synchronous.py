"""The client with callbacks."""

import asyncio
import logging
import os
import threading
import weakref
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self, TypeVar

from task_copilot.client.core import Core, Start
from task_copilot.client.cursor_file import CursorFile
from task_copilot.client.model import Mark, Mode
from task_copilot.client.options import (
    ANSWER_SECONDS,
    KEEPALIVE_SECONDS,
    POLL_SECONDS,
    WAIT_SECONDS,
    WEBSOCKET_RETRY_SECONDS,
    Link,
    Options,
)
from task_copilot.client.registry import Callback, OnGap, Registration, Registry
from task_copilot.client.selection import checked_batch, checked_patterns, condition, wish
from task_copilot.client.shapes import (
    Batch,
    Filter,
    StreamList,
    StreamWithTasks,
    TaskList,
    TaskWhole,
)
from task_copilot.client.state import State
from task_copilot.client.worker import Worker, in_thread
from task_copilot.events.types import TaskStatus

logger = logging.getLogger("task_copilot_client")

CONNECT_SECONDS = 30.0
"""How long connect() waits at most until it is known whether there is a hub."""

DISCONNECT_SECONDS = 10.0
"""How long disconnect() waits for a callback that runs."""

T = TypeVar("T")


class TaskCopilotClient:
    """Calls back with each event and reads the state, over WebSocket or HTTP, whichever works.

    Without `api_base` the hub is found through ``TASK_COPILOT_URL``, the files of the user's
    database (or of the one that ``TASK_COPILOT_DATABASE_URL`` names), and
    ``http://127.0.0.1:9090``, in this order. All times are in seconds: `poll_interval` between
    two requests where nothing better works, `wait` (0 to 60) for an event in one request over
    HTTP, `keepalive` between two pings on a WebSocket, `websocket_retry` between two looks at
    whether WebSockets work again, `answer_timeout` for every other answer. `token`, else
    ``TASK_COPILOT_TOKEN``, is sent as a bearer token; without it a hub of this user that asks for
    one gets that of the user's token file. `ca_file`, else ``TASK_COPILOT_CA_FILE``, names
    certificates (PEM) that are trusted beside the system's; `workspace` shows one workspace only.
    `debug` logs what happens. `link` is that of a ``task_copilot.testing.MemoryServer``.

    It begins after `since` (of `epoch`, where that is known; 0 is the oldest that is kept), with
    the newest `replay` events, or at the head of the log at ``connect()``. With `cursor_file` it
    goes on where a program with the same file has ended. `filter` holds for every subscribe that
    has none of its own; `batch` is that of docs/events.md. `on_gap` is called in order with each
    Gap; without it a gap is logged as a warning.

    May be used from several threads, and in callbacks. Raises ValueError and TypeError for
    nonsense, and OSError where the cursor's file cannot be read.
    """

    def __init__(
        self,
        api_base: str | None = None,
        use_websocket: bool = True,  # noqa: FBT001, FBT002 - arguments as they always were
        poll_interval: float = POLL_SECONDS,
        debug: bool = False,  # noqa: FBT001, FBT002
        *,
        token: str | None = None,
        ca_file: str | os.PathLike[str] | None = None,
        workspace: str | None = None,
        since: int | None = None,
        epoch: str | None = None,
        replay: int | None = None,
        filter: Filter | None = None,
        batch: Batch | None = None,
        on_gap: OnGap | None = None,
        cursor_file: str | os.PathLike[str] | None = None,
        wait: float = WAIT_SECONDS,
        keepalive: float = KEEPALIVE_SECONDS,
        websocket_retry: float = WEBSOCKET_RETRY_SECONDS,
        answer_timeout: float = ANSWER_SECONDS,
        link: Link | None = None,
    ) -> None:
        self._options = Options(
            api_base=api_base,
            token=token,
            ca_file=None if ca_file is None else os.fspath(ca_file),
            workspace=workspace,
            use_websocket=use_websocket,
            poll_interval=poll_interval,
            wait=wait,
            keepalive=keepalive,
            websocket_retry=websocket_retry,
            answer_timeout=answer_timeout,
            link=link,
        )
        condition(filter)
        self._start = Start(since=since, epoch=epoch, replay=replay)
        self._batch = checked_batch(batch)
        self._filter = filter
        self._cursor_file = None if cursor_file is None else CursorFile(cursor_file)
        self._handled: Mark | None = None if cursor_file is None else self._kept()
        self._registry = Registry(on_gap)
        self._state = State(self._options)
        self._lock = threading.Lock()
        self._worker: Worker | None = None
        self._former: Worker | None = None
        self._finalizer: weakref.finalize[..., TaskCopilotClient] | None = None
        if debug:
            _log_everything()

    def _kept(self) -> Mark | None:
        return None if self._cursor_file is None else self._cursor_file.read()

    # --- the connection ---

    def connect(self, *, keep_trying: bool = False) -> bool:
        """Connects, and stays connected: whatever breaks is made anew, at the same place.

        Returns whether a hub answers. Where none does the reason is logged, and with
        `keep_trying` it goes on trying in the background. Takes at most 30 seconds.
        """
        with self._lock:
            worker = self._worker
            if worker is None or not worker.alive:
                self._former = worker or self._former
                worker = self._worker = self._new_worker()
                worker.start()
                self._let_end_with_this(worker)
        if worker.wait_connected(CONNECT_SECONDS):
            return True
        logger.warning("Not connected: %s", worker.reason or "no hub answers")
        if not keep_trying:
            self.disconnect()
        return False

    def _let_end_with_this(self, worker: Worker) -> None:
        if self._finalizer is not None:
            self._finalizer.detach()
        self._finalizer = weakref.finalize(self, worker.stop)
        self._finalizer.atexit = False  # the workers see to that themselves

    def _new_worker(self) -> Worker:
        self._registry.restart()
        core = Core(self._beginning(), self._batch)
        return Worker(core, self._options, self._registry, self._cursor_file)

    def _beginning(self) -> Start:
        """Where to begin: a client that was told where, or keeps a file, goes on after what it
        has handled; another begins at the head."""
        if self._former is not None:
            self._handled = self._former.handled or self._handled
        if self._handled is not None and (self._cursor_file or self._start != Start()):
            return Start(since=self._handled.position, epoch=self._handled.epoch)
        return self._start

    def disconnect(self) -> None:
        """Ends the connection and the threads; no callback runs after it returns, except the one
        that it may be called from, or one that takes more than 10 seconds. Callbacks stay
        subscribed for the next ``connect()``."""
        with self._lock:
            worker, self._worker = self._worker, None
            self._former = worker or self._former
        if worker is not None:
            worker.stop()
            worker.join(DISCONNECT_SECONDS)

    def get_mode(self) -> Mode:
        """How events come now: ``websocket``, ``http``, or ``disconnected``, also for the
        moment in which a connection is made anew."""
        worker = self._worker
        return worker.mode if worker is not None and worker.alive else "disconnected"

    def __enter__(self) -> Self:
        """Connects, or goes on trying in the background."""
        self.connect(keep_trying=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.disconnect()

    # --- events ---

    def subscribe(
        self, topics: Sequence[str] | str, callback: Callback, filter: Filter | None = None
    ) -> None:
        """Calls ``callback(topic, event_type, data)`` with each event whose topic matches one of
        the patterns `topics`, where `filter` (see docs/events.md) lets it pass.

        All callbacks run in one thread, in the order of the events; one that raises is logged
        and the others run. A function that several subscribes name is called once an event. The
        first subscribe begins where the client does, a later one at the moment it returns. May
        be called before ``connect()``. Waits up to 2 seconds for the hub's answer, in a callback
        not at all. Raises ValueError and TypeError for nonsense.
        """
        if not callable(callback):
            raise TypeError(f"callback: {callback!r} cannot be called")
        wanted = wish(topics, self._filter if filter is None else filter)
        worker = self._worker
        begins = (None, None) if worker is None else worker.point
        self._registry.add(Registration(wanted, callback, begins))
        self._refresh()

    def unsubscribe(self, topics: Sequence[str] | str) -> None:
        """Lets go of these patterns, for all callbacks; of those that are not held, nothing
        happens. Raises ValueError for what is no pattern."""
        self._registry.remove(checked_patterns(topics))
        self._refresh()

    def _refresh(self) -> None:
        worker = self._worker
        if worker is not None and worker.alive:
            worker.refresh()

    # --- state ---

    def streams(
        self, workspace: str | None = None, *, include_archived: bool = False
    ) -> StreamList:
        """All streams with their progress, of one workspace or of all. Raises HubUnavailable
        and RequestRefused."""
        return _now(lambda: self._state.streams(workspace, include_archived=include_archived))

    def stream(self, stream_id: str, workspace: str | None = None) -> StreamWithTasks:
        """One stream with its first 1,000 tasks. Raises NotFound, RequestRefused (also where
        several workspaces have such a stream and none is named) and HubUnavailable."""
        return _now(lambda: self._state.stream(stream_id, workspace))

    def tasks(
        self,
        status: TaskStatus | None = None,
        stream_id: str | None = None,
        assigned_agent: str | None = None,
        parent_id: str | None = None,
        workspace: str | None = None,
        *,
        include_archived: bool = False,
    ) -> TaskList:
        """All tasks for which every condition that is given holds, however many pages they
        take. Raises RequestRefused and HubUnavailable."""
        return _now(
            lambda: self._state.tasks(
                status,
                stream_id,
                assigned_agent,
                parent_id,
                workspace,
                include_archived=include_archived,
            )
        )

    def task(self, task_id: str) -> TaskWhole:
        """One task with its subtasks and its latest checkpoint. Raises NotFound, RequestRefused
        and HubUnavailable."""
        return _now(lambda: self._state.task(task_id))


def _now(ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
    answer: Future[T] = Future()

    def work() -> None:
        try:
            answer.set_result(asyncio.run(ask()))
        except Exception as error:  # noqa: BLE001 - whoever asked gets it
            answer.set_exception(error)

    in_thread(work)
    return answer.result()


def _log_everything() -> None:
    """For people who look for a fault: on stderr, unless the program says where logs go."""
    logger.setLevel(logging.DEBUG)
    if not logger.hasHandlers():
        logger.addHandler(logging.StreamHandler())
