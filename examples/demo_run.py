"""Runs the demo: a server of its own, the agents, the listener, and the account at the end."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import tempfile
import textwrap
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcp import Client, MCPError, StdioServerParameters, stdio_client
from sqlalchemy import URL, Engine, func, select
from websockets.exceptions import ConnectionClosed

from examples.demo_listener import Account, Listener, ListenerFailed, Picture, account, listen
from examples.demo_screen import Screen, screen_for, standard_output
from examples.demo_story import Call, play
from task_copilot.database import tables
from task_copilot.database.sqlite import read_engine

TIME_LIMIT_SECONDS = 28.0
ANSWER_SECONDS = 10.0
NO_BREAK = "\u00a0"
STOPPED = 130
"""The exit code after Ctrl+C, as a shell gives it."""


class DemoFailed(Exception):
    """What the person in front of it should read."""


class Stop:
    """What Ctrl+C does: it cancels the work, or ends the waiting of a demo that stays up.

    Only the first one counts: a second would cut the cleaning up short and leave the server.
    """

    def __init__(self) -> None:
        self.wanted = asyncio.Event()
        self.cancels: asyncio.Task[int] | None = None

    def __call__(self) -> None:
        """Takes a signal."""
        if not self.wanted.is_set() and self.cancels is not None:
            self.cancels.cancel()
        self.wanted.set()


def main(*, fast: bool, keep: bool) -> int:
    """Runs the demo and returns its exit code; a failure is one sentence on stderr."""
    return asyncio.run(_until_signal(fast=fast, keep=keep))


async def _until_signal(*, fast: bool, keep: bool) -> int:
    stop = Stop()
    work = asyncio.create_task(_explained(stop, fast=fast, keep=keep))
    stop.cancels = work
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop)
    try:
        return await work
    except asyncio.CancelledError:
        print("\nStopped before the end.", file=sys.stderr)
        return STOPPED


async def _explained(stop: Stop, *, fast: bool, keep: bool) -> int:
    """Runs in a folder of its own; what can be expected to fail fails with a sentence."""
    with tempfile.TemporaryDirectory(
        prefix="task-copilot-demo-", ignore_cleanup_errors=True
    ) as name:
        folder = Path(name)
        try:
            await _run(folder, stop, pace=0.0 if fast else 1.0, keep=keep)
        except Exception as error:
            causes = list(_causes(error))
            if any(isinstance(cause, BrokenPipeError) for cause in causes):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                return 1  # whoever read our output has gone
            sentence = _sentence(causes)
            if sentence is None:
                raise
            print(f"The demo failed: {sentence}", file=sys.stderr)
            print(_said_by_server(folder), end="", file=sys.stderr)
            return 1
    return 0


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The errors themselves where task groups have wrapped them."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _causes(each)
    else:
        yield error


def _sentence(causes: list[BaseException]) -> str | None:
    """What errors mean; None if there is one that nobody expects."""
    for cause in causes:
        if isinstance(cause, TimeoutError):
            return f"it did not come to its end within {TIME_LIMIT_SECONDS:.0f} s."
        if not isinstance(cause, DemoFailed | ListenerFailed | MCPError):
            return None
    return str(causes[0])


async def _run(folder: Path, stop: Stop, *, pace: float, keep: bool) -> None:
    """The demo itself; raises DemoFailed if anything was lost, doubled or left undone."""
    screen = screen_for(standard_output(), os.environ)
    started = time.monotonic()
    async with asyncio.timeout(TIME_LIMIT_SECONDS) as limit, _server(folder) as (call, port):
        with _database(folder) as engine:
            listener = await listen(port, _epoch(engine))
            async with contextlib.aclosing(listener), asyncio.TaskGroup() as group:
                following = group.create_task(_follow(listener, screen))
                _say_addresses(screen, listener.port)
                await play(call, pace)
                await listener.catch_up(_stored(engine).seqs[-1])
                screen.settle()
                problem = _summary(screen, listener, _stored(engine), time.monotonic() - started)
                if keep:
                    limit.reschedule(None)
                    await _stay(screen, listener, stop)
                following.cancel()
    if problem:
        raise DemoFailed(problem)


@contextlib.asynccontextmanager
async def _server(folder: Path) -> AsyncIterator[tuple[Call, int]]:
    """A server on a database and a port of its own, driven by an MCP client over stdio."""
    port = _free_port()
    settings = ["--database-url", str(_url(folder)), "--port", str(port), "--workspace", "web-shop"]
    parameters = StdioServerParameters(
        command=sys.executable,
        args=["-m", "task_copilot", *settings],
        env={"XDG_DATA_HOME": str(folder / "data")},
        cwd=folder,
    )
    with _log(folder).open("w", encoding="utf-8") as log:
        transport = stdio_client(parameters, errlog=log)
        async with Client(transport, read_timeout_seconds=ANSWER_SECONDS) as client:

            async def call(tool: str, arguments: dict[str, Any]) -> Any:
                answer = await client.call_tool(tool, arguments)
                if answer.is_error:
                    raise DemoFailed(f"{tool} was refused: {answer.content}")
                return answer.structured_content

            await call("task_list", {"format": "json"})  # the first call makes the database
            yield call, port


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _url(folder: Path) -> URL:
    return URL.create("sqlite", database=str(folder / "demo.db"))


def _log(folder: Path) -> Path:
    return folder / "server.log"


def _said_by_server(folder: Path) -> str:
    try:
        return _log(folder).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


async def _follow(listener: Listener, screen: Screen) -> None:
    with contextlib.suppress(ConnectionClosed):
        await listener.follow(screen.show)
    raise ListenerFailed("the server closed the listener's connection.")


def _say_addresses(screen: Screen, port: int) -> None:
    screen.say(
        "Three agents (ada, ben, cleo) build a web shop over MCP; a listener shows it live.",
        f"  events     ws://127.0.0.1:{port}/ws",
        f"  dashboard  http://127.0.0.1:{port}",
        "",
    )


async def _stay(screen: Screen, listener: Listener, stop: Stop) -> None:
    screen.say(
        "",
        "Still serving, until Ctrl+C. To listen too:",
        f"  .venv/bin/python examples/listen.py ws://127.0.0.1:{listener.port}/ws",
    )
    stop.cancels = None
    await stop.wanted.wait()
    screen.say("")


@dataclass(frozen=True)
class Stored:
    """What the database holds."""

    seqs: list[int]
    types: Counter[str]
    tasks: int
    tasks_completed: int
    streams: int


@contextlib.contextmanager
def _database(folder: Path) -> Iterator[Engine]:
    """Read-only connections to the server's database, beside the server."""
    engine = read_engine(_url(folder))
    try:
        yield engine
    finally:
        engine.dispose()


def _epoch(engine: Engine) -> str:
    with engine.begin() as connection:
        return str(connection.execute(select(tables.log.c.epoch)).scalar_one())


def _stored(engine: Engine) -> Stored:
    with engine.begin() as connection:
        rows = connection.execute(
            select(tables.events.c.seq, tables.events.c.event_type).order_by(tables.events.c.seq)
        ).all()
        statuses = connection.execute(select(tables.tasks.c.status)).scalars().all()
        streams = connection.execute(select(func.count()).select_from(tables.streams)).scalar_one()
    return Stored(
        seqs=[row.seq for row in rows],
        types=Counter(row.event_type for row in rows),
        tasks=len(statuses),
        tasks_completed=statuses.count("completed"),
        streams=streams,
    )


def _summary(screen: Screen, listener: Listener, stored: Stored, seconds: float) -> str | None:
    """Says what came of it; returns what is wrong, None if nothing is."""
    found = account([seq for seq in stored.seqs if seq > listener.position], listener.seqs)
    complete = _complete(listener.picture)
    rows = {
        "tasks": f"{stored.tasks_completed} of {stored.tasks} completed",
        "streams": f"{len(complete)} of {stored.streams} complete: {', '.join(complete)}",
        "events": f"{found.stored} stored, {found.received} received: {found.lost} lost, "
        f"{found.doubled} doubled, {found.out_of_order} out of order",
        "by type": ", ".join(
            f"{name}{NO_BREAK}{count}" for name, count in sorted(stored.types.items())
        ),
        "time": f"{seconds:.1f} s",
    }
    screen.say("")
    for name, text in rows.items():
        wrapped = textwrap.wrap(text, max(10, screen.width - 10), break_on_hyphens=False)
        screen.say(
            *(
                f"{'' if place else name:<10}{row.replace(NO_BREAK, ' ')}"
                for place, row in enumerate(wrapped)
            )
        )
    return _problem(found, incomplete=stored.streams - len(complete))


def _complete(picture: Picture) -> list[str]:
    return [
        f"{stream.stream_id}{NO_BREAK}{stream.percentage:.0f}{NO_BREAK}%"
        for stream in sorted(picture.streams.values(), key=lambda stream: stream.stream_id)
        if stream.status == "completed"
    ]


def _problem(found: Account, *, incomplete: int) -> str | None:
    if not found.clean:
        return (
            f"{found.lost} events were lost, {found.doubled} came twice, "
            f"{found.out_of_order} out of order, and {found.unknown} are not in the database."
        )
    if incomplete:
        return f"{incomplete} streams are not complete."
    return None
