"""A worker of a stream: a program that works its tasks with the tools of a server of its own.

    worker.py FOLDER [sdk]              the stream of TASK_COPILOT_STREAM
    worker.py FOLDER claude -p …        with the arguments of Claude Code
    worker.py FOLDER http               through the hub of TASK_COPILOT_URL

FOLDER holds the part that each run has to play, and takes the notes of what was done.
"""

import asyncio
import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

Call = Callable[..., Awaitable[dict[str, Any]]]
"""A tool with its arguments; a refusal is an answer with ``isError``."""

CALL_SECONDS = 60
SERVER = (sys.executable, "-m", "task_copilot")
CLASH = 9


class Notes:
    """What the runs of all workers did, a line of JSON each, written as a whole."""

    def __init__(self, folder: Path, stream: str) -> None:
        self.folder, self._stream = folder, stream
        self._file = os.open(
            folder / "notes", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
        )

    def note(self, what: str, **fields: object) -> None:
        note = {"at": time.monotonic(), "what": what, "stream": self._stream, "pid": os.getpid()}
        os.write(self._file, json.dumps({**note, **fields}).encode() + b"\n")

    def runs(self) -> int:
        """How many runs the stream has had."""
        lines = map(json.loads, (self.folder / "notes").read_bytes().splitlines())
        return sum(line["stream"] == self._stream and line["what"] == "run" for line in lines)

    def alone(self, name: str) -> bool:
        """Whether no other living process has said so of `name`; the system forgets it with the
        process, and only then."""
        lock = os.open(self.folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.note("clash", of=name)
            return False
        return True

    def pass_gate(self) -> None:
        """Returns once the test has opened the gate."""
        gate = os.open(self.folder / "gate", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(gate, fcntl.LOCK_SH)
        os.close(gate)


class Part:
    """What a run has to play. `does` happens with a task begun, once `after` are completed."""

    def __init__(self, given: Mapping[str, Any], notes: Notes) -> None:
        self._given, self._notes = given, notes
        self.backwards = bool(given.get("backwards"))
        self.pace = float(given.get("pace", 0))
        if given.get("stubborn"):
            signal.signal(signal.SIGTERM, lambda *_: notes.note("asked"))

    def at_the_start(self) -> None:
        if "dies" in self._given:
            sys.exit(int(self._given["dies"]))

    def is_due(self, completed: int) -> bool:
        return "does" in self._given and completed == self._given.get("after", 0)

    async def play(self, call: Call, task: str) -> bool:
        """Whether it goes on after that."""
        await getattr(self, f"_{self._given['does']}")(call, task)
        return self._given["does"] in {"wait", "chat"}

    async def _exit(self, _call: Call, _task: str) -> None:
        # At once, as a crash is: its server is not said good-bye.
        os._exit(int(self._given.get("code", 3)))

    async def _kill(self, _call: Call, _task: str) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    async def _wait(self, _call: Call, _task: str) -> None:
        self._notes.pass_gate()

    async def _silence(self, _call: Call, _task: str) -> None:
        signal.pause()
        os._exit(0)

    async def _chat(self, _call: Call, _task: str) -> None:
        """Only prints, for as long as it was told to."""
        until = time.monotonic() + self._given["seconds"]
        while time.monotonic() < until:
            sys.stdout.write("thinking\n")
            sys.stdout.flush()
            await asyncio.sleep(0.05)

    async def _block(self, call: Call, task: str) -> None:
        await call("task_update", id=task, status="blocked", blockedReason=self._given["reason"])

    def at_the_end(self) -> None:
        while self._given.get("lingers"):
            signal.pause()


async def work(notes: Notes, part: Part, call: Call, stream: str) -> None:
    """Works the open tasks of the stream, those that were begun first."""
    answer = await call("task_list", streamId=stream, format="json")
    tasks = [row for row in answer["tasks"] if row["status"] not in {"completed", "cancelled"}]
    tasks.sort(key=lambda row: int(row["id"].partition("-")[2]), reverse=part.backwards)
    tasks.sort(key=lambda row: row["status"] != "in_progress")
    for completed, task in enumerate(tasks):
        if not notes.alone(task["id"]):
            sys.exit(CLASH)
        found = await call("checkpoint_resume", taskId=task["id"])
        if "checkpointId" in found:
            notes.note("resumed", task=task["id"], found=found.get("agentContext"))
        notes.note("begin", task=task["id"])
        await call("task_update", id=task["id"], status="in_progress")
        await call("checkpoint_create", taskId=task["id"], agentContext={"by": os.getpid()})
        if part.is_due(completed):
            notes.note("plays", task=task["id"])
            if not await part.play(call, task["id"]):
                return
        await asyncio.sleep(part.pace)
        await call("task_update", id=task["id"], status="completed")
        notes.note("end", task=task["id"])


@asynccontextmanager
async def raw_tools(command: tuple[str, ...], environment: dict[str, str]) -> AsyncIterator[Call]:
    """Over stdio, as cheaply as can be."""
    from e2e.raw_mcp import RawMcp

    async with RawMcp(command, environment) as mcp:
        await mcp.initialize(CALL_SECONDS)

        async def call(tool: str, **arguments: object) -> dict[str, Any]:
            result = await mcp.call(tool, arguments, CALL_SECONDS)
            if result.get("isError"):
                return {"isError": True}
            found: dict[str, Any] = result.get("structuredContent") or json.loads(
                result["content"][0]["text"]
            )
            return found

        yield call


@asynccontextmanager
async def sdk_tools(*, over_http: bool) -> AsyncIterator[Call]:
    """With the client of the official SDK."""
    import httpx2
    from mcp import Client
    from mcp.client.stdio import StdioServerParameters
    from mcp.client.streamable_http import streamable_http_client
    from mcp_types import TextContent

    token = os.environ.get("TASK_COPILOT_TOKEN", "")
    address = f"{os.environ.get('TASK_COPILOT_URL')}/mcp"
    workspace = os.environ["TASK_COPILOT_WORKSPACE"]
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(
        headers=headers, timeout=CALL_SECONDS, trust_env=False, verify=False
    ) as http:
        target: Any = (
            streamable_http_client(f"{address}?workspace={workspace}", http_client=http)
            if over_http
            else StdioServerParameters(
                command=SERVER[0], args=list(SERVER[1:]), env=dict(os.environ)
            )
        )
        async with Client(target, read_timeout_seconds=CALL_SECONDS) as client:

            async def call(tool: str, **arguments: object) -> dict[str, Any]:
                result = await client.call_tool(tool, arguments)
                if result.is_error:
                    return {"isError": True}
                first = result.content[0]
                assert isinstance(first, TextContent)
                found: dict[str, Any] = result.structured_content or json.loads(first.text)
                return found

            yield call


def tools(way: list[str]) -> Any:
    match way:
        case []:
            return raw_tools(SERVER, {})
        case ["claude", *words]:
            servers = json.loads(words[words.index("--mcp-config") + 1])["mcpServers"]
            ours = servers["task-copilot"]
            # Nothing but what the configuration says: Claude Code gives its servers that.
            given = {name: "" for name in os.environ if name.startswith("TASK_COPILOT_")}
            return raw_tools((ours["command"], *ours["args"]), {**given, **ours["env"]})
        case _:
            return sdk_tools(over_http=way == ["http"])


async def main(folder: Path, way: list[str]) -> None:
    stream = os.environ["TASK_COPILOT_STREAM"]
    notes = Notes(folder, stream)
    if not notes.alone(stream):
        sys.exit(CLASH)
    parts = json.loads((folder / "parts").read_text()).get(stream, [])
    run = notes.runs()
    part = Part(parts[run] if run < len(parts) else {}, notes)
    notes.note("run", number=run + 1, folder=str(Path.cwd()), arguments=way)
    sys.stdout.write(f"run {run + 1} of {stream}\n")
    sys.stdout.flush()
    part.at_the_start()
    async with tools(way) as call:
        await work(notes, part, call, stream)
        part.at_the_end()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))
