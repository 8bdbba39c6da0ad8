"""The two threads behind a client with callbacks: one runs the engine, one calls back.

Neither holds the client or its callbacks while it waits, so that a client that nobody holds is
collected and its threads end.
"""

import asyncio
import atexit
import logging
import os
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress

from task_copilot.client.buffers import ThreadBuffer
from task_copilot.client.core import Core
from task_copilot.client.cursor_file import CursorFile
from task_copilot.client.engine import MAX_PAUSE_SECONDS, Engine
from task_copilot.client.errors import RequestRefused
from task_copilot.client.model import Event, Gap, Item, Mark, Mode, mark_of
from task_copilot.client.options import Options
from task_copilot.client.registry import Registry

logger = logging.getLogger("task_copilot_client")

EXIT_SECONDS = 1.0
"""How long a program that ends waits for the threads of a client that was not disconnected."""

ACKNOWLEDGE_SECONDS = 2.0
"""How long a subscribe waits for the hub's word that it holds."""

_running: "weakref.WeakSet[Worker]" = weakref.WeakSet()


class Worker:
    """One connect() of a client until its disconnect()."""

    def __init__(
        self, core: Core, options: Options, registry: Registry, cursor_file: CursorFile | None
    ) -> None:
        self.mode: Mode = "disconnected"
        self.reason = ""
        """Why it is not connected, once that is known."""
        self.handled: Mark | None = None
        self._core = core
        self._options = options
        self._registry = weakref.ref(registry)
        self._cursor_file = cursor_file
        self._buffer = ThreadBuffer()
        self._changed = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._engine: Engine | None = None
        self._work: asyncio.Task[None] | None = None
        self._stopped = False
        self._process = os.getpid()
        self._threads = (
            threading.Thread(target=self._run, name="task-copilot-client", daemon=True),
            threading.Thread(target=self._call_back, name="task-copilot-callbacks", daemon=True),
        )

    # --- from any thread ---

    @property
    def alive(self) -> bool:
        """Whether it works, in this process: a fork has no threads."""
        return not self._stopped and self._process == os.getpid()

    def start(self) -> None:
        """Begins to work."""
        _running.add(self)
        for thread in self._threads:
            thread.start()

    def wait_connected(self, seconds: float) -> bool:
        """Waits until it is connected, or until it is known why not."""
        with self._changed:
            self._changed.wait_for(
                lambda: self.mode != "disconnected" or self.reason or self._stopped, seconds
            )
            return self.mode != "disconnected"

    @property
    def point(self) -> tuple[str | None, int | None]:
        """Epoch and position up to which it has received."""
        return self._core.point

    def refresh(self) -> None:
        """Takes what is wanted now; returns when the hub knows, where it says so in time."""
        waits = threading.current_thread() not in self._threads
        with self._changed:
            self._changed.wait_for(lambda: self._engine is not None or self._stopped)
            loop = self._loop
        if loop is None or not self.alive:
            return
        done: Future[None] = Future()
        with suppress(RuntimeError, TimeoutError):  # it ends; or the hub takes its time
            loop.call_soon_threadsafe(self._refresh, done, waits)
            done.result(ACKNOWLEDGE_SECONDS)

    def stop(self) -> None:
        """Begins to end; returns at once."""
        if not self.alive:
            return
        with self._changed:
            self._stopped = True
            self.mode = "disconnected"
            self._changed.notify_all()
        self._buffer.end()
        if self._loop is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._cancel)

    def join(self, seconds: float | None = None) -> None:
        """Waits until the threads have ended, but not for the one that asks, nor for one that
        waits for that."""
        if self._process == os.getpid() and threading.current_thread() not in self._threads:
            for thread in self._threads:
                thread.join(seconds)

    # --- in the thread of the engine ---

    def _run(self) -> None:
        try:
            with asyncio.Runner() as runner:
                runner.run(self._main())
        finally:
            with self._changed:
                self._stopped = True
                self.mode = "disconnected"
                self._changed.notify_all()
            self._buffer.end()
            _running.discard(self)

    async def _main(self) -> None:
        self._wish()
        self._work = asyncio.current_task()
        with self._changed:
            self._loop = asyncio.get_running_loop()
            self._engine = Engine(self._core, self._options, self._buffer.put, self._report)
            self._changed.notify_all()
            if self._stopped:
                return
        with suppress(asyncio.CancelledError):
            await self._keep_running()

    async def _keep_running(self) -> None:
        while self._engine is not None:
            try:
                await self._engine.run()
            except RequestRefused as error:
                logger.error("The hub refuses: %s", error)  # noqa: TRY400 - no defect
                self._report("disconnected", str(error))
            except Exception as error:
                logger.exception("The connection failed; it is made anew.")
                self._report("disconnected", str(error))
            await asyncio.sleep(MAX_PAUSE_SECONDS)
            self._engine = Engine(self._core, self._options, self._buffer.put, self._report)

    def _cancel(self) -> None:
        if self._work is not None:
            self._work.cancel()

    def _wish(self) -> None:
        registry = self._registry()
        if registry is not None:
            self._core.wish(registry.wishes())

    def _refresh(self, done: "Future[None]", waits: bool) -> None:  # noqa: FBT001 - of call_soon
        self._wish()
        known = asyncio.ensure_future(self._engine.wanted()) if self._engine else None
        if known is None or not waits:
            done.set_result(None)
        else:
            known.add_done_callback(lambda _: done.set_result(None))

    def _report(self, mode: Mode, reason: str) -> None:
        logger.debug("Mode: %s %s", mode, reason)
        with self._changed:
            self.mode = "disconnected" if self._stopped else mode
            self.reason = reason
            self._changed.notify_all()

    # --- in the thread of the callbacks ---

    def _call_back(self) -> None:
        while (item := self._buffer.get()) is not None:
            self._deliver(item)
            del item

    def _deliver(self, item: Item) -> None:
        registry = self._registry()
        if registry is None:
            return
        if isinstance(item, Event):
            registry.deliver(item)
        elif isinstance(item, Gap):
            registry.deliver_gap(item)
        self._handled(mark_of(item))

    def _handled(self, mark: Mark) -> None:
        self.handled = mark
        if self._cursor_file is not None:
            self._cursor_file.write(mark)


def in_thread(work: Callable[[], None]) -> None:
    """Does `work` in a thread of its own and waits for it: the caller may be in an event loop."""
    thread = threading.Thread(target=work, name="task-copilot-state", daemon=True)
    thread.start()
    thread.join()


def _end_all() -> None:
    workers = [worker for worker in _running if worker.alive]
    for worker in workers:
        worker.stop()
    for worker in workers:
        worker.join(EXIT_SECONDS)


atexit.register(_end_all)
