"""A run with real processes, and a hub that says what the test wants."""

import asyncio
import os
import shlex
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from client_support import until
from orchestrating import row
from task_copilot.client.errors import HubUnavailable, RequestRefused
from task_copilot.client.model import Event, Gap
from task_copilot.client.shapes import StreamList
from task_copilot.commands.common import Refusal
from task_copilot.orchestrator import processes
from task_copilot.orchestrator import run as module
from task_copilot.orchestrator.machine import Machine, Rules
from task_copilot.orchestrator.records import Launched, Records
from task_copilot.orchestrator.run import COMPLETE, INCOMPLETE, Hands, Run
from task_copilot.orchestrator.worker_command import WorkerPlan
from task_copilot.settings import Settings

LIMIT_SECONDS = 20.0
GOES_ON = "sh -c 'echo {stream} >{folder}/{stream}.runs; exec sleep 600'"
PRUNED = Gap(from_=2, to=8, reason="pruned", epoch="epoch-1")


def state(*rows: dict[str, Any], seq: int = 10) -> StreamList:
    return cast(
        "StreamList",
        {"streams": list(rows), "totalStreams": len(rows), "seq": seq, "epoch": "epoch-1"},
    )


class Around:
    """All that a run works with: what it is told comes from the test, and is written down."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records = Records("epoch-1", "shop")
        self.records.take(folder)
        self.coming: asyncio.Queue[Event | Gap | Exception] = asyncio.Queue()
        self.states: list[StreamList | Exception] = []
        self.said: list[tuple[str, str | None, str]] = []
        self.noticed: list[tuple[str, str]] = []
        self.helped: list[str] = []
        self.saved: list[str] = []
        self.panes: set[str] | None = None
        self.may_save = asyncio.Event()
        self.may_save.set()
        self.ended = False
        self.seq = 10

    # --- the client ---

    async def events(
        self, _topics: object, *, on_gap: Callable[[Gap], Any], **_: object
    ) -> AsyncIterator[Event]:
        while True:
            item = await self.coming.get()
            if isinstance(item, Exception):
                raise item
            if isinstance(item, Gap):
                await on_gap(item)
            else:
                yield item

    async def streams(self, **_: object) -> StreamList:
        found = self.states.pop(0) if self.states else state(seq=0)
        if isinstance(found, Exception):
            raise found
        return found

    # --- the hands ---

    async def checkpoint(self, stream_id: str, _reason: str) -> str:
        self.saved.append(stream_id)
        await self.may_save.wait()
        return "CP-1"

    async def ask_for_help(self, stream_id: str, _reason: str) -> str:
        self.helped.append(stream_id)
        return "TASK-1"

    async def blocked(self, stream_id: str, reason: str) -> None:
        self.noticed.append((stream_id, reason))

    # --- the panes ---

    async def show(self, stream_id: str, _log: Path) -> None:
        assert self.panes is not None
        self.panes.add(stream_id)

    async def close(self, *stream_ids: str) -> None:
        assert self.panes is not None
        self.panes -= set(stream_ids)

    # --- the reporter ---

    def happened(self, kind: str, stream_id: str | None, text: str, **_: object) -> None:
        self.said.append((kind, stream_id, text))

    def changed(self) -> None:
        pass

    def end(self) -> None:
        self.ended = True

    # --- what a test does ---

    def run(self, command: str, *, grace: float = 10.0, waits: bool = True, **rules: Any) -> Run:
        me = cast("Any", self)
        hands = Hands(
            client=me,
            server=me,
            workers=WorkerPlan(workspace="shop", settings=Settings(), given=command),
            records=self.records,
            folder=self.folder,
            worktrees=None,
            notices=me,
            panes=None if self.panes is None else me,
            environment=os.environ,
            waits=waits,
            grace=grace,
        )
        self.machine = Machine(Rules(**{"judge": 0.02, "retry_delay": 0.02, **rules}))
        return Run(hands, self.machine, self)

    def event(self, data: dict[str, Any], event_type: str = "stream.progress") -> None:
        self.seq += 1
        self.coming.put_nowait(
            Event(
                seq=self.seq,
                epoch="epoch-1",
                topic=f"stream:{data['streamId']}",
                event_type=event_type,
                workspace="shop",
                actor="me",
                timestamp="2026-01-08T12:00:00.000Z",
                data=data,
            )
        )

    def completes(self, stream_id: str) -> None:
        self.event(row(stream_id, completed=1), "stream.completed")

    def kinds(self, stream_id: str | None = None) -> list[str]:
        return [kind for kind, of, _ in self.said if of == stream_id]

    async def happens(self, condition: Callable[[], object]) -> None:
        await asyncio.to_thread(until, condition)

    async def works(self, stream_id: str, launch: int = 1) -> int:
        """The process of a worker, once it works."""
        await self.happens((self.folder / f"{stream_id}.runs").exists)
        await self.happens(lambda: self.machine.runs(stream_id, launch))
        await self.happens(lambda: self.pid(stream_id))
        return self.pid(stream_id)

    def pid(self, stream_id: str) -> int:
        worker = self.machine.tracks[stream_id].worker
        return 0 if worker is None else worker.pid or 0


@pytest.fixture
async def around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Around:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return Around(tmp_path)


async def over(running: "asyncio.Task[int]") -> int:
    async with asyncio.timeout(LIMIT_SECONDS):
        return await running


async def test_a_dependent_starts_when_what_it_needs_completes_and_all_ends_with_0(
    around: Around,
) -> None:
    run = around.run(GOES_ON, linger=0.0)
    running = asyncio.create_task(run.go(state(row("A", pending=1), row("B", "A", pending=1))))
    await around.works("A")
    assert not (around.folder / "B.runs").exists()
    around.completes("A")
    await around.works("B")
    around.completes("B")
    assert await over(running) == COMPLETE
    assert around.kinds("A") == ["started", "completed", "exited"]
    assert around.ended
    assert around.noticed == []


async def test_a_worker_that_always_fails_is_marked_and_the_person_is_told_though_the_run_ends(
    around: Around, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MARK_SECONDS", 0.2)
    run = around.run("false", retries=1)
    assert await over(asyncio.create_task(run.go(state(row("A", pending=1))))) == INCOMPLETE
    assert around.kinds("A") == ["started", "exited", "started", "exited", "help", "marked"]
    assert around.helped == ["A"]
    [(stream_id, reason)] = around.noticed
    assert (stream_id, reason.partition(" (")[0]) == (
        "A",
        "its worker ended 2 times before the stream was complete",
    )


async def test_while_others_work_the_event_of_the_mark_tells_the_person_once(
    around: Around,
) -> None:
    command = "sh -c 'test {stream} = B && exec sleep 600; exit 1'"
    run = around.run(command, retries=0, linger=0.0)
    running = asyncio.create_task(run.go(state(row("A", pending=1), row("B", pending=1))))
    await around.happens(lambda: around.helped)
    around.event(row("A", blocked=1, reason="Needs help"), "stream.blocked")
    await around.happens(lambda: around.noticed)
    around.event(row("A", completed=1), "stream.completed")
    around.completes("B")
    assert await over(running) == COMPLETE
    assert around.noticed == [("A", "Needs help")]


async def test_a_program_that_cannot_be_started_is_said_and_tried_again(
    around: Around, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MARK_SECONDS", 0.2)
    around.records.log("A").symlink_to(around.folder / "elsewhere")
    run = around.run("true", retries=1)
    assert await over(asyncio.create_task(run.go(state(row("A", pending=1))))) == INCOMPLETE
    said = [text for kind, _, text in around.said if kind == "exited"]
    assert len(said) == 2
    assert all("it could not be started: " in text for text in said)


async def test_a_gap_is_bridged_once_a_hub_answers_and_the_workers_go_on(
    around: Around, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "READ_AGAIN_SECONDS", 0.0)
    run = around.run(GOES_ON, linger=0.0)
    running = asyncio.create_task(run.go(state(row("A", pending=1), row("B", "A", pending=1))))
    await around.works("A")
    missed = state(row("A", completed=1), row("B", "A", pending=1), seq=20)
    around.states = [HubUnavailable("nobody"), HubUnavailable("nobody"), missed]
    around.coming.put_nowait(PRUNED)
    await around.works("B")
    around.seq = 20
    around.completes("B")
    assert await over(running) == COMPLETE
    assert around.kinds("A") == ["started", "completed", "exited"]


@pytest.mark.parametrize("bad", [RequestRefused("401", "No token"), None])
async def test_what_the_hub_refuses_for_good_ends_the_workers_and_the_run(
    around: Around, bad: Exception | None
) -> None:
    run = around.run(GOES_ON)
    running = asyncio.create_task(run.go(state(row("A", pending=1))))
    pid = await around.works("A")
    replaced = Gap(from_=1, to=3, reason="replaced", epoch="epoch-2")
    around.coming.put_nowait(bad or replaced)
    with pytest.raises(Refusal, match="No token" if bad else "The database was replaced"):
        await over(running)
    assert around.ended
    assert not is_there(pid)


async def test_a_signal_ends_the_workers_and_the_next_run_counts_on(around: Around) -> None:
    run = around.run(GOES_ON)
    running = asyncio.create_task(run.go(state(row("A", pending=1))))
    pid = await around.works("A")
    os.kill(os.getpid(), signal.SIGINT)
    assert await over(running) == 128 + signal.SIGINT
    assert not is_there(pid)
    assert around.kinds(None) == ["stopping"]
    assert around.records.launches(["A"]) == {"A": Launched(1, 0)}


async def test_a_signal_ends_a_run_that_waits_for_a_hub_to_judge_a_worker(
    around: Around, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "READ_AGAIN_SECONDS", 0.01)
    around.states = [HubUnavailable("nobody") for _ in range(10_000)]
    running = asyncio.create_task(around.run("false").go(state(row("A", pending=1))))
    await around.happens(lambda: len(around.states) < 10_000)
    os.kill(os.getpid(), signal.SIGINT)
    assert await over(running) == 128 + signal.SIGINT


async def test_a_second_signal_kills_workers_that_do_not_end(around: Around) -> None:
    deaf = "sh -c 'trap \"\" TERM; echo >{folder}/{stream}.runs; while :; do sleep 600; done'"
    run = around.run(deaf, grace=600.0)
    running = asyncio.create_task(run.go(state(row("A", pending=1))))
    await around.works("A")
    os.kill(os.getpid(), signal.SIGTERM)
    await around.happens(lambda: around.kinds(None))
    os.kill(os.getpid(), signal.SIGTERM)
    assert await over(running) == 128 + signal.SIGTERM


async def test_a_worker_that_starts_while_the_run_stops_is_ended_and_then_killed(
    around: Around, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = processes.start

    async def started_too_late(*words: Any, **given: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        process = await start(*words, **given)
        await around.happens((around.folder / "A.runs").exists)
        await around.happens(lambda: around.kinds(None))
        return process

    monkeypatch.setattr(processes, "start", started_too_late)
    deaf = "sh -c 'trap \"\" TERM; echo >{folder}/{stream}.runs; while :; do sleep 600; done'"
    run = around.run(deaf, grace=0.1)
    running = asyncio.create_task(run.go(state(row("A", pending=1))))
    assert await over(running) == 128 + signal.SIGTERM


async def test_a_second_signal_kills_a_worker_that_is_just_being_started(
    around: Around, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = processes.start

    async def started_too_late(*words: Any, **given: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        await around.happens(lambda: around.kinds(None))
        os.kill(os.getpid(), signal.SIGTERM)
        process = await start(*words, **given)
        await around.happens((around.folder / "A.runs").exists)
        return process

    monkeypatch.setattr(processes, "start", started_too_late)
    deaf = "sh -c 'trap \"\" TERM; echo >{folder}/{stream}.runs; while :; do sleep 600; done'"
    run = around.run(deaf, grace=600.0)
    running = asyncio.create_task(run.go(state(row("A", pending=1))))
    assert await over(running) == 128 + signal.SIGTERM


async def test_a_worker_that_starts_while_the_run_fails_is_ended_before_it_is_over(
    around: Around, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, begun = processes.start, []

    async def started_too_late(*words: Any, **given: Any) -> Any:
        around.coming.put_nowait(Gap(from_=0, to=3, reason="replaced", epoch="epoch-2"))
        await around.happens(lambda: around.machine.stopping)
        begun.append(process := await start(*words, **given))
        await around.happens((around.folder / "A.runs").exists)
        return process

    monkeypatch.setattr(processes, "start", started_too_late)
    deaf = "sh -c 'trap \"\" TERM; echo >{folder}/{stream}.runs; while :; do sleep 600; done'"
    run = around.run(deaf, grace=0.1)
    running = asyncio.create_task(run.go(state(row("A", pending=1))))
    with pytest.raises(Refusal, match="The database was replaced"):
        await over(running)
    assert [process.returncode for process in begun] == [-signal.SIGKILL]


async def test_what_a_worker_leaves_running_has_ended_before_the_next_one_starts(
    around: Around,
) -> None:
    script = around.folder / "worker.sh"
    script.write_text(
        "[ -e left ] && { echo >A.runs; exec sleep 600; }\n"
        "sh -c 'trap \"\" TERM; echo $$ >new; mv new left; while :; do sleep 600; done' &\n"
        "until [ -e left ]; do sleep 0.01; done\n"
    )
    run = around.run(f"sh {script}", grace=0.1, linger=0.0)
    running = asyncio.create_task(run.go(state(row("A", pending=1))))
    await around.works("A", 2)
    left = int((around.folder / "left").read_text())
    await around.happens(lambda: not is_there(left))
    assert around.kinds("A") == ["started", "exited", "started"]
    around.completes("A")
    assert await over(running) == COMPLETE


async def test_a_worker_that_is_stuck_is_saved_ended_and_started_again(around: Around) -> None:
    run = around.run(GOES_ON, stall_timeout=1.0, linger=0.0)
    running = asyncio.create_task(run.go(state(row("A", pending=1))))
    first = await around.works("A")
    await around.happens(lambda: around.machine.runs("A", 2))
    assert around.saved[0] == "A"
    assert around.kinds("A")[:4] == ["started", "stalled", "saved", "exited"]
    assert not is_there(first)
    around.completes("A")
    assert await over(running) == COMPLETE


async def test_a_checkpoint_that_takes_long_does_not_end_the_next_worker(around: Around) -> None:
    around.may_save.clear()
    run = around.run(GOES_ON, stall_timeout=0.1, linger=0.0)
    running = asyncio.create_task(run.go(state(row("A", pending=1))))
    first = await around.works("A")
    await around.happens(lambda: around.saved)
    around.machine.rules = Rules(judge=0.02, retry_delay=0.02, linger=0.0)
    os.kill(first, signal.SIGKILL)
    second = await around.works("A", 2)
    around.may_save.set()
    await around.happens(lambda: "saved" in around.kinds("A"))
    around.event(row("B", blocked=1, reason="a sign"), "stream.blocked")
    await around.happens(lambda: around.noticed)
    assert is_there(second)
    assert around.machine.stage("A") == "running"
    around.completes("A")
    around.completes("B")
    assert await over(running) == COMPLETE


async def test_a_worker_of_an_earlier_run_goes_on_and_its_end_is_noticed(around: Around) -> None:
    command = shlex.split(GOES_ON.replace("{folder}", str(around.folder)))
    left = await processes.start(
        [word.replace("{stream}", "A") for word in command],
        claim=around.records.claim("A", 3),
        log=around.records.log("A"),
        folder=around.folder,
        environment=os.environ,
    )
    await around.happens((around.folder / "A.runs").exists)
    around.records.write_launches({"A": Launched(3, 1)})
    run = around.run(GOES_ON, linger=0.0)
    running = asyncio.create_task(run.go(state(row("A", pending=1), row("B", "A", pending=1))))
    assert await around.works("A", 3) == left.pid
    assert around.kinds("A") == ["adopted"]
    around.completes("A")
    await around.works("B")
    around.completes("B")
    assert await over(running) == COMPLETE
    assert await left.wait() == -signal.SIGTERM
    assert around.kinds("A") == ["adopted", "completed", "exited"]


async def test_panes_are_closed_of_what_completed_while_no_orchestrator_ran(
    around: Around,
) -> None:
    left = await processes.start(
        ["sleep", "600"],
        claim=around.records.claim("A", 1),
        log=around.records.log("A"),
        folder=around.folder,
        environment=os.environ,
    )
    await around.happens(lambda: processes.is_whole(around.records.claim("A", 1)))
    around.records.write_launches({"A": Launched(1, 0)})
    around.panes = {"A", "B", "C"}
    run = around.run("true", linger=0.0, waits=False)
    rows = row("A", completed=1), row("B", completed=1), row("C", blocked=1)
    assert await over(asyncio.create_task(run.go(state(*rows)))) == INCOMPLETE
    assert around.panes == {"C"}
    assert await left.wait() == -signal.SIGTERM


async def test_where_it_cannot_be_seen_who_works_nothing_is_started(around: Around) -> None:
    around.records.write_launches({"A": Launched(1, 0)})
    around.records.claim("A", 1).symlink_to(around.folder / "elsewhere")
    run = around.run(GOES_ON)
    with pytest.raises(Refusal, match=r"cannot be seen who works already: .*symbolic link"):
        await run.go(state(row("A", pending=1)))
    assert around.ended
    assert around.said == []


async def test_what_stands_in_the_place_of_the_cursor_and_cannot_be_removed_is_named(
    around: Around,
) -> None:
    around.records.cursor.mkdir()
    with pytest.raises(Refusal, match="/cursor cannot be used: "):
        await around.run(GOES_ON).go(state(row("A", pending=1)))
    assert around.said == []


@pytest.mark.parametrize("cursor", [None, b"", b'{"epoch": "epoch-1", "position": 10}'])
async def test_what_is_blocked_is_told_at_the_first_run_and_where_its_cursor_is_lost(
    around: Around, cursor: bytes | None
) -> None:
    if cursor is not None:
        around.records.cursor.write_bytes(cursor)
    run = around.run(GOES_ON, waits=False)
    running = asyncio.create_task(run.go(state(row("A", blocked=1, reason="no key"))))
    assert await over(running) == INCOMPLETE
    assert around.noticed == ([] if cursor else [("A", "no key")])


async def test_a_run_that_waits_for_a_person_says_so_once_each_time(around: Around) -> None:
    run = around.run(GOES_ON, linger=0.0)
    running = asyncio.create_task(run.go(state(row("A", blocked=1), row("B", "A", pending=1))))
    await around.happens(lambda: around.kinds() == ["waiting"])
    around.event(row("A", blocked=2), "stream.blocked")
    await around.happens(lambda: len(around.noticed) == 2)
    assert around.kinds() == ["waiting"]
    around.event(row("A", pending=1))
    os.kill(await around.works("A"), signal.SIGKILL)
    around.event(row("A", blocked=1), "stream.blocked")
    await around.happens(lambda: around.kinds() == ["waiting"] * 2)
    around.completes("A")
    await around.works("B")
    around.completes("B")
    assert await over(running) == COMPLETE


def is_there(pid: int) -> bool:
    return processes._present(pid) is not None
