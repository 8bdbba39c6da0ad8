"""An event loop in a thread of its own, and ways into it from other threads and loops."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


class Down(RuntimeError):
    """The server has ended, or has not begun."""

    def __init__(self) -> None:
        super().__init__("the server in memory does not run")


class LoopThread:
    """Runs from `start` until `stop`; what is submitted in between begins in order."""

    def __init__(self, name: str) -> None:
        self._gate = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over = asyncio.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Returns when it runs."""
        self._thread.start()
        self._started.wait()

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            runner.run(self._main())

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._started.set()
        await self._over.wait()

    def submit(self, work: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
        """Begins `work` in the loop; raises Down."""
        with self._gate:
            if self._loop is None:
                raise Down
            return asyncio.run_coroutine_threadsafe(work(), self._loop)

    def post(self, callback: Callable[..., object], *arguments: object) -> None:
        """Calls `callback` in the loop, where that still runs."""
        with self._gate, suppress(RuntimeError):
            if self._loop is not None:
                self._loop.call_soon_threadsafe(callback, *arguments)

    def stop(self) -> None:
        """Ends the loop and what still runs in it; returns when the thread has ended."""
        with self._gate:
            loop, self._loop = self._loop, None
        if loop is not None:
            loop.call_soon_threadsafe(self._over.set)
        self._thread.join()


async def bridged(work: Future[T], seconds: float | None) -> T:
    """What `work` in another loop gives. Raises what it raises, TimeoutError, and Down where
    the loop has ended. Whoever is cancelled here cancels it there."""
    try:
        async with asyncio.timeout(seconds):
            return await asyncio.wrap_future(work)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise Down from None
