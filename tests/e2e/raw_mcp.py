"""A raw JSON-RPC client over the standard streams of a child process: no SDK, no sleeps."""

import asyncio
import json
import os
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

HANDSHAKE_VERSION = "2025-11-25"
MODERN_VERSION = "2026-07-28"
CLIENT_INFO = {"name": "raw", "version": "1"}
MODERN_META = {
    "io.modelcontextprotocol/protocolVersion": MODERN_VERSION,
    "io.modelcontextprotocol/clientInfo": CLIENT_INFO,
    "io.modelcontextprotocol/clientCapabilities": {},
}
KILL_AFTER_SECONDS = 5.0


class RawMcpError(Exception):
    """A JSON-RPC error where a result was expected."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error.get('code')}: {error.get('message')}")
        self.error = error


def envelope(params: Mapping[str, Any] | None = None, **meta: object) -> dict[str, Any]:
    """Return params with the `_meta` that every 2026-07-28 request carries."""
    return {**(params or {}), "_meta": MODERN_META | meta}


class RawMcp:
    """Starts `command` and talks to it; leaving the context ends it.

    `env` is added to the environment of the tests. All of stdout is in `stdout_lines` and, parsed,
    in `messages`; what it ends with after the last newline is `unfinished`.
    """

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
    ) -> None:
        self._command, self._env, self._cwd = list(command), dict(env or {}), cwd
        self.stdout_lines: list[str] = []
        self.messages: list[dict[str, Any]] = []
        self.unfinished = b""
        self._stderr = bytearray()
        self._waiting: dict[int | str, asyncio.Future[dict[str, Any]]] = {}
        self._changed = asyncio.Condition()
        self._may_read = asyncio.Event()
        self._may_read.set()
        self._last_id = 0
        self._modern = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self.process: Process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env={**os.environ, **self._env},
            cwd=self._cwd,
        )
        self._tasks = [
            asyncio.create_task(self._collect_stdout()),
            asyncio.create_task(self._collect_stderr()),
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.resume()
        self.close_stdin()
        try:
            await self.wait_exit(KILL_AFTER_SECONDS)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()
        await asyncio.wait(self._tasks, timeout=KILL_AFTER_SECONDS)
        for task in self._tasks:
            task.cancel()
        self._transport().close()

    async def send(self, message: object) -> None:
        """Send one line: bytes as they are (with a newline if they have none), else as JSON."""
        data = message if isinstance(message, bytes) else json.dumps(message).encode()
        stdin = self._stdin()
        stdin.write(data if data.endswith(b"\n") else data + b"\n")
        await stdin.drain()

    async def request(
        self, method: str, params: Mapping[str, Any] | None = None, timeout: float = 10
    ) -> dict[str, Any]:
        """Send a request and return its whole answer, result or error."""
        self._last_id += 1
        message = {"jsonrpc": "2.0", "id": self._last_id, "method": method}
        answer = self.answer_to(self._last_id)
        await self.send(message if params is None else message | {"params": dict(params)})
        return await asyncio.wait_for(answer, timeout)

    def answer_to(self, request_id: int | str) -> asyncio.Future[dict[str, Any]]:
        """Return the answer to a request that is sent by hand; ask before sending."""
        return self._waiting.setdefault(request_id, asyncio.get_running_loop().create_future())

    async def notify(self, method: str, params: Mapping[str, Any] | None = None) -> None:
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
        await self.send(message if params is None else message | {"params": dict(params)})

    async def initialize(self, timeout: float = 20) -> dict[str, Any]:
        """Do the handshake of 2025-11-25 and return its result."""
        params = {
            "protocolVersion": HANDSHAKE_VERSION,
            "capabilities": {},
            "clientInfo": CLIENT_INFO,
        }
        result = result_of(await self.request("initialize", params, timeout))
        await self.notify("notifications/initialized")
        self._modern = False
        return result

    async def modern(
        self, method: str, params: Mapping[str, Any] | None = None, timeout: float = 10
    ) -> dict[str, Any]:
        """Send a 2026-07-28 request; `call` does so too from then on."""
        self._modern = True
        return await self.request(method, envelope(params), timeout)

    async def call(
        self, tool: str, arguments: Mapping[str, Any] | None = None, timeout: float = 10
    ) -> dict[str, Any]:
        """Call a tool in the era in use and return its result, also one with isError."""
        params = {"name": tool, "arguments": dict(arguments or {})}
        send = self.modern if self._modern else self.request
        return result_of(await send("tools/call", params, timeout))

    def stderr_text(self) -> str:
        return self._stderr.decode(errors="replace")

    async def wait_until(self, condition: Callable[[], object], timeout: float = 10) -> None:
        """Wait until something that arrived on stdout or stderr makes `condition` true."""
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(lambda: bool(condition()))

    def pause(self) -> None:
        """Stop reading stdout, but for what the buffers between take: some 250 kB."""
        self._may_read.clear()

    def resume(self) -> None:
        self._may_read.set()

    def close_stdin(self) -> None:
        self._stdin().close()

    def close_stdout(self) -> None:
        """Close the client's end of the server's stdout."""
        stdout = self._transport().get_pipe_transport(1)
        assert stdout is not None
        stdout.close()

    async def wait_exit(self, timeout: float = 10) -> int:
        """Return the exit code, after all output has been collected."""
        code = await asyncio.wait_for(self.process.wait(), timeout)
        await asyncio.wait(self._tasks, timeout=timeout)
        return code

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def _transport(self) -> asyncio.SubprocessTransport:
        # asyncio has no public way to close one of a child's pipes for reading.
        transport: asyncio.SubprocessTransport = self.process._transport  # type: ignore[attr-defined]
        return transport

    def _stdin(self) -> asyncio.StreamWriter:
        assert self.process.stdin is not None
        return self.process.stdin

    async def _collect_stdout(self) -> None:
        assert self.process.stdout is not None
        parts: list[bytes] = []
        with suppress(ConnectionError):
            while chunk := await self.process.stdout.read(1 << 16):
                await self._may_read.wait()
                *lines, unfinished = chunk.split(b"\n")
                if lines:
                    lines[0] = b"".join([*parts, lines[0]])
                    parts.clear()
                parts.append(unfinished)
                for line in lines:
                    self._take(line)
                await self._announce()
        self.unfinished = b"".join(parts)
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ConnectionResetError("the server has closed its stdout"))
                future.exception()  # seen: nobody has to wait for it
        await self._announce()

    def _take(self, line: bytes) -> None:
        self.stdout_lines.append(line.decode())
        message = json.loads(line)
        self.messages.append(message)
        if "method" not in message and message.get("id") in self._waiting:
            future = self._waiting.pop(message["id"])
            if not future.done():
                future.set_result(message)

    async def _collect_stderr(self) -> None:
        assert self.process.stderr is not None
        while chunk := await self.process.stderr.read(1 << 16):
            self._stderr += chunk
            await self._announce()

    async def _announce(self) -> None:
        async with self._changed:
            self._changed.notify_all()


def result_of(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the result of an answer; raise `RawMcpError` for an error."""
    if "error" in answer:
        raise RawMcpError(answer["error"])
    result: dict[str, Any] = answer["result"]
    return result
