"""The client for programs with an event loop."""

import asyncio
import inspect
import logging
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from types import TracebackType
from typing import Self

from task_copilot.client.buffers import AsyncBuffer
from task_copilot.client.core import Core, Start
from task_copilot.client.cursor_file import CursorFile
from task_copilot.client.engine import Engine
from task_copilot.client.model import Event, Gap, Item, Mark, Mode, mark_of
from task_copilot.client.options import (
    ANSWER_SECONDS,
    KEEPALIVE_SECONDS,
    POLL_SECONDS,
    WAIT_SECONDS,
    WEBSOCKET_RETRY_SECONDS,
    Link,
    Options,
)
from task_copilot.client.selection import checked_batch, wish
from task_copilot.client.shapes import (
    Batch,
    Filter,
    StreamList,
    StreamWithTasks,
    TaskList,
    TaskWhole,
)
from task_copilot.client.state import State
from task_copilot.events.types import TaskStatus

logger = logging.getLogger("task_copilot_client")

OnGap = Callable[[Gap], Awaitable[object] | object]


class AsyncTaskCopilotClient:
    """Yields events and reads the state, over WebSocket or HTTP, whichever works.

    Without `api_base` the hub is found through ``TASK_COPILOT_URL``, the files of the user's
    database (or of the one that ``TASK_COPILOT_DATABASE_URL`` names), and
    ``http://127.0.0.1:9090``, in this order. All times are in seconds: `poll_interval` between
    two requests where nothing better works, `wait` (0 to 60) for an event in one request over
    HTTP, `keepalive` between two pings on a WebSocket, `websocket_retry` between two looks at
    whether WebSockets work again, `answer_timeout` for every other answer. `token`, else
    ``TASK_COPILOT_TOKEN``, is sent as a bearer token; without it a hub of this user that asks for
    one gets that of the user's token file. `ca_file`, else ``TASK_COPILOT_CA_FILE``, names
    certificates (PEM) that are trusted beside the system's; `workspace` shows one workspace only.
    `link` is that of a ``task_copilot.testing.MemoryServer``. Raises ValueError for nonsense.
    """

    def __init__(
        self,
        api_base: str | None = None,
        *,
        use_websocket: bool = True,
        poll_interval: float = POLL_SECONDS,
        token: str | None = None,
        ca_file: str | os.PathLike[str] | None = None,
        workspace: str | None = None,
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
        self._state = State(self._options)
        self._open: dict[AsyncBuffer, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Ends every ``events()`` of this client; their loops end after what is buffered."""
        for buffer, work in tuple(self._open.items()):
            await buffer.end()
            await _cancelled(work)

    def events(
        self,
        topics: Sequence[str] | str,
        since: int | None = None,
        epoch: str | None = None,
        replay: int | None = None,
        filter: Filter | None = None,
        batch: Batch | None = None,
        on_gap: OnGap | None = None,
        cursor_file: str | os.PathLike[str] | None = None,
    ) -> AsyncGenerator[Event, None]:
        """The events whose topics match one of the patterns `topics`, for ever, each once and in
        order, on a connection of its own.

        Begins with the first step: after `since` (of `epoch`, where that is known; 0 is the
        oldest that is kept), with the newest `replay` events (at most 100,000), or at the head.
        `filter` and `batch` are those of docs/events.md. `on_gap`, a function or a coroutine
        function, is called in order with each Gap; without it a gap is logged as a warning.

        With `cursor_file` it begins where a loop with the same file has come to, and the first
        time as without it. The file is replaced when the next event is asked for, since the one
        before is handled then: after a crash at most that one comes again.

        Raises ValueError and TypeError for nonsense at once, and RequestRefused from the loop
        where the hub refuses for good. That no hub answers is waited out.
        """
        start = Start(since=since, epoch=epoch, replay=replay)
        kept = None if cursor_file is None else CursorFile(cursor_file)
        if kept is not None and (mark := kept.read()) is not None:
            start = Start(since=mark.position, epoch=mark.epoch)
        core = Core(start, checked_batch(batch))
        core.wish([wish(topics, filter)])
        return self._events(core, on_gap, kept)

    async def _events(
        self, core: Core, on_gap: OnGap | None, kept: CursorFile | None
    ) -> AsyncGenerator[Event, None]:
        buffer = AsyncBuffer()
        work = self._open[buffer] = asyncio.create_task(
            _run(core, self._options, buffer, marks=kept is not None)
        )
        try:
            while (item := await buffer.get()) is not None:
                if isinstance(item, Event):
                    yield item
                elif isinstance(item, Gap):
                    await _tell(item, on_gap)
                if kept is not None:
                    await asyncio.to_thread(kept.write, mark_of(item))
        finally:
            self._open.pop(buffer, None)
            await _cancelled(work)

    async def streams(
        self, workspace: str | None = None, *, include_archived: bool = False
    ) -> StreamList:
        """All streams with their progress, of one workspace or of all. Raises HubUnavailable
        and RequestRefused."""
        return await self._state.streams(workspace, include_archived=include_archived)

    async def stream(self, stream_id: str, workspace: str | None = None) -> StreamWithTasks:
        """One stream with its first 1,000 tasks. Raises NotFound, RequestRefused (also where
        several workspaces have such a stream and none is named) and HubUnavailable."""
        return await self._state.stream(stream_id, workspace)

    async def tasks(
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
        return await self._state.tasks(
            status,
            stream_id,
            assigned_agent,
            parent_id,
            workspace,
            include_archived=include_archived,
        )

    async def task(self, task_id: str) -> TaskWhole:
        """One task with its subtasks and its latest checkpoint. Raises NotFound, RequestRefused
        and HubUnavailable."""
        return await self._state.task(task_id)


async def _run(core: Core, options: Options, buffer: AsyncBuffer, *, marks: bool) -> None:
    async def sink(item: Item) -> None:
        if marks or not isinstance(item, Mark):
            await buffer.put(item)

    error: BaseException | None = None
    try:
        await Engine(core, options, sink, _say).run()
    except asyncio.CancelledError:
        raise
    except Exception as failure:  # noqa: BLE001 - whoever iterates gets it
        error = failure
    await buffer.end(error)


async def _cancelled(work: asyncio.Task[None]) -> None:
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)


def _say(mode: Mode, reason: str) -> None:
    logger.debug("Mode: %s %s", mode, reason)


async def _tell(gap: Gap, on_gap: OnGap | None) -> None:
    if on_gap is None:
        logger.warning("Events %d to %d did not come: %s", gap.from_, gap.to, gap.reason)
        return
    answer = on_gap(gap)
    if inspect.isawaitable(answer):
        await answer
