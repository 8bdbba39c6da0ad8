"""A command that goes on running, with what it says on its pipes."""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, chdir
from pathlib import Path

from click.testing import CliRunner, Result

from e2e.servers import Server
from task_copilot.cli import main

WITHIN_SECONDS = 20.0


class Program:
    """A running process; stdout and stderr are read line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self) -> str:
        """The next line of stdout."""
        return await self._next(self.process.stdout)

    async def complaint(self) -> str:
        """The next line of stderr."""
        return await self._next(self.process.stderr)

    async def waits(self) -> None:
        """Until it says that it waits (log level info)."""
        while "Waits for what comes after" not in (said := await self.complaint()):
            assert said, "it ended"

    @staticmethod
    async def _next(pipe: asyncio.StreamReader | None) -> str:
        assert pipe is not None
        async with asyncio.timeout(WITHIN_SECONDS):
            return (await pipe.readline()).decode()

    async def ends(self) -> tuple[int, str, str]:
        """Its exit code, and what was left to read."""
        async with asyncio.timeout(WITHIN_SECONDS):
            out, err = await self.process.communicate()
        assert self.process.returncode is not None
        assert b"Traceback" not in err, err.decode()
        return self.process.returncode, out.decode(), err.decode()

    async def interrupted(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return (await self.ends())[0]


@asynccontextmanager
async def running(
    words: Sequence[str], environment: Mapping[str, str], folder: Path
) -> AsyncIterator[Program]:
    process = await asyncio.create_subprocess_exec(
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=folder,
        env={**os.environ, **environment, "TASK_COPILOT_LOG_LEVEL": "info"},
    )
    try:
        yield Program(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


def invoked(words: Sequence[str], environment: Mapping[str, str]) -> Result:
    """The program in this process and its folder, for what needs no process of its own."""
    return CliRunner().invoke(main, list(words), env=dict(environment))


def beside(
    mcp: Server, *words: str, folder: Path | None = None
) -> "subprocess.CompletedProcess[str]":
    """A command in the folder and with the settings of a server, in a thread of this process:
    that of the test may have an event loop."""
    with chdir(folder or mcp.folder), ThreadPoolExecutor(1) as thread:
        done = thread.submit(invoked, words, mcp.environment).result()
    if not isinstance(done.exception, SystemExit | None):
        raise done.exception
    return subprocess.CompletedProcess(words, done.exit_code, done.stdout, done.stderr)


def remove_database(folder: Path) -> None:
    """Deletes the database of a test, as nobody does while a server runs."""
    for file in folder.glob("tasks.db*"):
        file.unlink()
