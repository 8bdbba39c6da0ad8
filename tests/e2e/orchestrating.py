"""``task-copilot orchestrate`` as a process, with workers that play parts, and what they did."""

import asyncio
import fcntl
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2

from e2e.programs import invoked
from e2e.servers import COMMAND, environment_of, events, free_port
from support import database_at
from task_copilot import tasks, workspaces
from task_copilot.clock import parse
from task_copilot.database.transaction import Transaction
from task_copilot.location import Location
from task_copilot.streams import StreamChange
from task_copilot.workspaces import Scope

Note = dict[str, Any]
Row = dict[str, Any]

WITHIN_SECONDS = 60.0
LOOK_SECONDS = 0.02
WORKERS = Path(__file__).resolve().parents[1] / "workers"
WORKER, TELL = WORKERS / "worker.py", WORKERS / "tell.py"

DIAMOND: Mapping[str, Sequence[str]] = {
    "Base": (),
    "Left": ("Base",),
    "Right": ("Base",),
    "Top": ("Left", "Right"),
}


async def until(
    condition: Callable[[], object], what: str, seconds: float = WITHIN_SECONDS
) -> None:
    """Waits for something that a process does to files."""
    try:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - nobody tells of it
                await asyncio.sleep(LOOK_SECONDS)
    except TimeoutError:
        raise AssertionError(f"{what} did not come") from None


def lives(pid: int) -> bool:
    """Whether a process runs: one that has ended and was not waited for yet does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}


def _is_worker(pid: int) -> bool:
    """Whether this process is a worker, and not another one that got its number."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return os.fsencode(WORKER) in words and lives(pid)


class Orchestrator:
    """A running one, with ``--json``: the lines that it has printed are in `rows`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.rows: list[Row] = []
        self.complaints = b""
        self._changed = asyncio.Condition()
        self._reading = asyncio.gather(self._read(), self._read_complaints())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.rows.append(json.loads(line))
            async with self._changed:
                self._changed.notify_all()
        async with self._changed:
            self._changed.notify_all()

    async def _read_complaints(self) -> None:
        assert self.process.stderr is not None
        while found := await self.process.stderr.read(65_536):
            self.complaints += found

    def of(self, happened: str, *streams: str) -> list[Row]:
        """What happened so far of one kind, to these streams or to all."""
        return [
            row
            for row in self.rows
            if row["happened"] == happened and (not streams or row["streamId"] in streams)
        ]

    async def says(self, happened: str, *streams: str, times: int = 1) -> list[Row]:
        """Waits for it."""
        try:
            async with asyncio.timeout(WITHIN_SECONDS), self._changed:
                await self._changed.wait_for(lambda: len(self.of(happened, *streams)) >= times)
        except TimeoutError:
            raise AssertionError(
                f"{times} x {happened} {streams} did not come; {self.rows} {self.complaints!r}"
            ) from None
        return self.of(happened, *streams)

    async def ends(self) -> int:
        """Its exit code; what it printed is complete then."""
        try:
            async with asyncio.timeout(WITHIN_SECONDS):
                await self._reading
                code = await self.process.wait()
        except TimeoutError:
            raise AssertionError(f"it goes on; {self.rows} {self.complaints!r}") from None
        assert b"Traceback" not in self.complaints, self.complaints.decode()
        if code >= 0:
            assert [row["happened"] for row in self.rows[-1:]] == ["summary"], self.complaints
        return code

    async def refused(self) -> int:
        """Its exit code, where it ends before it begins, with one line that says why."""
        async with asyncio.timeout(WITHIN_SECONDS):
            await self._reading
            code = await self.process.wait()
        said = [line for line in self.complaints.splitlines() if b": INFO: " not in line]
        assert len(said) == 1, self.complaints
        assert self.rows == []
        return code

    async def completes(self) -> None:
        assert await self.ends() == 0, (self.rows, self.complaints)
        assert self.summary["complete"] is True
        assert {row["state"] for row in self.summary["streams"]} == {"completed"}

    @property
    def summary(self) -> Row:
        assert self.rows[-1]["happened"] == "summary"
        return self.rows[-1]

    def state(self, stream: str) -> str:
        (row,) = [row for row in self.summary["streams"] if row["streamId"] == stream]
        return str(row["state"])

    async def killed(self) -> None:
        self.process.kill()
        await self._reading
        await self.process.wait()

    async def signalled(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return await self.ends()

    def pauses(self, stream: str) -> list[float]:
        """Seconds between the end of each worker of a stream and the start of its next."""
        ends = [parse(row["at"]) for row in self.of("exited", stream)]
        starts = [parse(row["at"]) for row in self.of("started", stream)[1:]]
        return [(start - end).total_seconds() for end, start in zip(ends, starts, strict=False)]

    def most_at_once(self) -> int:
        """How many streams had a worker and were not complete, at the most."""
        busy: set[str] = set()
        most = 0
        for row in self.rows:
            if row["happened"] in {"started", "adopted"}:
                busy.add(row["streamId"])
            elif row["happened"] in {"exited", "completed"}:
                busy.discard(row["streamId"])
            most = max(most, len(busy))
        return most


class Project:
    """A project's folder with streams, its database, and the parts and notes of its workers."""

    def __init__(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "project"
        self.play = tmp_path / "play"
        self.database = tmp_path / "tasks.db"
        self.port = free_port()
        for folder in (self.folder, self.play):
            folder.mkdir()
        (self.play / "parts").write_text("{}")
        (self.play / "notes").touch()
        (self.play / "gate").touch()
        settings = {"log_level": "info"}
        self.environment = {
            **environment_of(self.folder, self.database, self.port, settings),
            "TASK_COPILOT_URL": "",
            "TASK_COPILOT_TOKEN": "",
        }
        self.tasks: dict[str, list[str]] = {}

    # --- what is to be done ---

    def streams(
        self,
        needs: Mapping[str, Sequence[str]],
        *,
        count: int = 1,
        phases: Mapping[str, Any] | None = None,
    ) -> None:
        """Makes streams of `count` tasks, each with those that it needs."""
        database = database_at(self.database.parent)
        place = Location(name=self.folder.name, path=str(self.folder.resolve()))

        def make(transaction: Transaction) -> None:
            scope = Scope(workspaces.ensure(transaction, place), "tester")
            for stream, needed in needs.items():
                change = StreamChange(
                    stream_id=stream,
                    phase=(phases or {}).get(stream),
                    dependencies=tuple(needed),
                )
                for number in range(count):
                    new = tasks.NewTask(title=f"{stream} {number + 1}", stream=change)
                    made = tasks.create(transaction, scope, new)
                    self.tasks.setdefault(stream, []).append(f"TASK-{made.id}")

        database.write_now(make)
        database.committer.close()
        database.read_engine.dispose()

    def parts(self, parts: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """What the first, second, … runs of a stream's worker play; all others only work."""
        (self.play / "parts").write_text(json.dumps(parts))

    def worker(self, *way: str) -> str:
        return " ".join((sys.executable, str(WORKER), str(self.play), *way))

    @contextmanager
    def gate_closed(self) -> Iterator[Callable[[], None]]:
        """No worker passes the gate, until it is opened by what is given or at the end."""
        with (self.play / "gate").open("r+b") as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)
            yield lambda: fcntl.flock(gate, fcntl.LOCK_UN)

    # --- who does it ---

    @asynccontextmanager
    async def orchestrated(
        self,
        *words: str,
        worker: str | None = None,
        command: Sequence[str] = COMMAND,
        **environment: str,
    ) -> AsyncIterator[Orchestrator]:
        """An orchestrator that runs; it and all workers are killed at the end."""
        worker = self.worker() if worker is None else worker
        given = ["--worker", worker] if worker else []
        process = await asyncio.create_subprocess_exec(
            *command,
            *("orchestrate", "--json", "--retry-delay", "0.05", *given, *words),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=self.folder,
            env={**os.environ, **self.environment, **environment},
            limit=1 << 20,
        )
        running = Orchestrator(process)
        try:
            yield running
        finally:
            if process.returncode is None:
                await running.killed()
            # Shown where a test fails.
            sys.stdout.write(f"{running.rows}\n{running.complaints.decode()}\n")

    def living(self) -> list[int]:
        """The workers that run."""
        return [note["pid"] for note in self.of("run") if _is_worker(note["pid"])]

    def clear(self) -> None:
        """Kills what is left of the workers."""
        for pid in self.living():
            os.killpg(pid, signal.SIGKILL)

    async def unblock(self, task: str) -> None:
        """What a person does while no orchestrator runs."""
        here = {**self.environment, "CLAUDE_PROJECT_DIR": str(self.folder)}
        words = ("update", task, "--status", "pending")
        result = await asyncio.to_thread(invoked, words, here)
        assert result.exit_code == 0, (result.output, result.exception)

    @property
    def on_blocked(self) -> tuple[str, str]:
        """The option by which a person is told."""
        return "--on-blocked", f"{sys.executable} {TELL} {self.play / 'told'} {{stream}} {{reason}}"

    @property
    def told(self) -> list[list[str]]:
        """What a person was told: streams and reasons."""
        try:
            text = (self.play / "told").read_text()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in text.splitlines()]

    async def update(self, task: str, **fields: object) -> None:
        """What a person changes through the hub, once there is one."""
        address = f"http://127.0.0.1:{self.port}/api/tasks/{task}"
        workspace = {"workspace": self.folder.name}
        async with (
            httpx2.AsyncClient(trust_env=False, verify=False, timeout=20) as http,
            asyncio.timeout(WITHIN_SECONDS),
        ):
            while True:
                with suppress(httpx2.ConnectError):
                    answer = await http.patch(address, params=workspace, json=fields)
                    break
                await asyncio.sleep(LOOK_SECONDS)
        assert answer.status_code == httpx2.codes.OK, answer.text

    # --- what was done ---

    @property
    def notes(self) -> list[Note]:
        return [json.loads(line) for line in (self.play / "notes").read_bytes().splitlines()]

    def of(self, what: str, *streams: str) -> list[Note]:
        return [
            note
            for note in self.notes
            if note["what"] == what and (not streams or note["stream"] in streams)
        ]

    async def noted(self, what: str, *streams: str, times: int = 1) -> list[Note]:
        await until(lambda: len(self.of(what, *streams)) >= times, f"{times} x {what} {streams}")
        return self.of(what, *streams)

    def events(self, event_type: str) -> list[dict[str, Any]]:
        return [event for event in events(self.database) if event["eventType"] == event_type]

    def cursor_is_at_the_head(self) -> bool:
        """Whether the orchestrator has written down that it handled all events."""
        (cursor,) = self.database.parent.glob("data/task-copilot/orchestrate/*/cursor")
        return bool(json.loads(cursor.read_text())["position"] == events(self.database)[-1]["seq"])

    def judge(self, needs: Mapping[str, Sequence[str]]) -> None:
        """Every task was completed, by one worker at a time, none again after that, and none
        before what its stream needs was complete."""
        notes = self.notes
        assert [note for note in notes if note["what"] == "clash"] == []
        self._judge_events(needs)
        first: dict[str, float] = {}
        last: dict[str, float] = {}
        ended: set[str] = set()
        begun: dict[str, int] = {}
        for note in notes:
            if note["what"] == "begin":
                assert note["task"] not in ended, note
                begun[note["task"]] = note["pid"]
                first.setdefault(note["stream"], note["at"])
            elif note["what"] == "end":
                assert begun[note["task"]] == note["pid"], note
                ended.add(note["task"])
                last[note["stream"]] = note["at"]
        for stream, needed in needs.items():
            for one in needed:
                # One that is killed when it has completed its last task notes no end.
                assert last.get(one, 0.0) < first[stream], (one, stream)

    def _judge_events(self, needs: Mapping[str, Sequence[str]]) -> None:
        """The same as the log of the database tells it."""
        completed: set[str] = set()
        streams: set[str] = set()
        for event in events(self.database):
            data = event["data"]
            if event["eventType"] == "task.status_changed":
                assert data["taskId"] not in completed, event
                if data["newStatus"] == "completed":
                    completed.add(data["taskId"])
                if data["newStatus"] == "in_progress":
                    assert set(needs[data["streamId"]]) <= streams, event
            elif event["eventType"] == "stream.completed":
                streams.add(data["streamId"])
        assert completed == {task for tasks in self.tasks.values() for task in tasks}

    def delays(self, running: Orchestrator, needs: Mapping[str, Sequence[str]]) -> list[float]:
        """Seconds from the event that completed the last stream that one needs to its start."""
        completed = {
            event["data"]["streamId"]: parse(event["timestamp"])
            for event in self.events("stream.completed")
        }
        return [
            (
                parse(running.of("started", stream)[0]["at"])
                - max(completed[one] for one in needed)
            ).total_seconds()
            for stream, needed in needs.items()
            if needed
        ]
