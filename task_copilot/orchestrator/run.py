"""One run of the orchestrator: brings what happens to the machine, and does what it decides."""

import asyncio
import contextlib
import logging
import os
import signal
import time
from asyncio.subprocess import Process
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from task_copilot.client.asynchronous import AsyncTaskCopilotClient
from task_copilot.client.errors import HubUnavailable, TaskCopilotClientError
from task_copilot.client.model import Event, Gap
from task_copilot.client.shapes import StreamList
from task_copilot.commands.common import Refusal
from task_copilot.errors import TaskCopilotError, report
from task_copilot.orchestrator import processes
from task_copilot.orchestrator.machine import (
    Action,
    AskForHelp,
    End,
    LookStalled,
    Machine,
    ReadState,
    Start,
    Tell,
    Worker,
)
from task_copilot.orchestrator.notices import Notices
from task_copilot.orchestrator.panes import Panes
from task_copilot.orchestrator.plan import is_open
from task_copilot.orchestrator.processes import ProcessId
from task_copilot.orchestrator.records import Launched, Records
from task_copilot.orchestrator.reporting import Reporter, of_tasks
from task_copilot.orchestrator.server_hand import ServerHand
from task_copilot.orchestrator.worker_command import WorkerPlan, branches_note
from task_copilot.orchestrator.worktrees import Worktrees

logger = logging.getLogger(__name__)

GRACE_SECONDS = 10.0
"""How long a worker that is asked to end may take before it is killed."""

READ_AGAIN_SECONDS = 0.5

COMPLETE, INCOMPLETE = 0, 1
BY_SIGNAL = 128
"""Exit codes; of a run that a signal ended, this and the signal's number, as of shells."""

STOPPING = "Stopping: the workers are asked to end; once more kills them. The same command goes on."
WAITING = (
    "No worker can start before a person helps or others complete what is waited for. This waits "
    "for it; with --no-wait it would have ended."
)

MARK_SECONDS = 5.0
"""How long a run waits for the event of its own mark."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, kw_only=True)
class Hands:
    """What a run works with."""

    client: AsyncTaskCopilotClient
    server: ServerHand
    workers: WorkerPlan
    records: Records
    folder: Path
    worktrees: Worktrees | None
    notices: Notices
    panes: Panes | None
    environment: Mapping[str, str]
    waits: bool = True
    """Whether it goes on while only a person can bring it further."""

    grace: float = GRACE_SECONDS


class Run:
    """Made with the state as it was read at the start; `go` returns the exit code."""

    def __init__(self, hands: Hands, machine: Machine, reporter: Reporter) -> None:
        self._hands, self._machine, self._reporter = hands, machine, reporter
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[int] = self._loop.create_future()
        self._known = self._read = self._position = 0
        self._timer: asyncio.TimerHandle | None = None
        self._processes: dict[str, Process | ProcessId] = {}
        self._ended: dict[str, asyncio.Event] = {}
        self._marks: dict[str, asyncio.Event] = {}
        self._writing = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stops = 0
        self._said_waiting = False

    async def go(self, state: StreamList) -> int:
        """Works until all is complete, nothing goes on any more, or a signal comes. Raises what
        the hub refuses as a Refusal."""
        self._known = state["seq"]
        self._machine.load(state["streams"], self._now())
        try:
            first = await self._is_first()
            await self._take_over()
            for number in SIGNALS:
                self._loop.add_signal_handler(number, self._stop, number)
            if first:
                self._machine.tell_blocked()
            following = self._task(self._follow(state["seq"], state["epoch"]))
            self._settle()
            await asyncio.wait({self._over})
            following.cancel()
            # A worker that was being started when the others were ended is among them.
            await asyncio.gather(*self._tasks, return_exceptions=True)
            return self._over.result()
        finally:
            for number in SIGNALS:
                self._loop.remove_signal_handler(number)
            if self._timer is not None:
                self._timer.cancel()
            with contextlib.suppress(OSError):
                self._reporter.end()

    async def _is_first(self) -> bool:
        try:
            return not await asyncio.to_thread(self._hands.records.has_cursor)
        except OSError as error:
            raise Refusal(f"{error.filename} cannot be used: {error.strerror}.") from None

    # --- what happens ---

    async def _follow(self, since: int, epoch: str) -> None:
        events = self._hands.client.events(
            ["*"],
            since=since,
            epoch=epoch,
            cursor_file=self._hands.records.cursor,
            on_gap=self._missed,
        )
        try:
            async for event in events:
                self._take(event)
        except TaskCopilotClientError as error:
            self._fail(Refusal(str(error)))

    def _take(self, event: Event) -> None:
        self._position = event.seq
        if event.seq <= self._known:
            self._machine.missed(event.event_type, event.data)
        elif event.seq > self._read:
            self._machine.event(event.event_type, event.data, self._now())
        self._settle()

    async def _missed(self, gap: Gap) -> None:
        """Events are gone: the state is read anew."""
        if gap.reason == "replaced":
            self._fail(
                Refusal(
                    "The database was replaced, or restored to an older state. The workers are "
                    "asked to end; run this again to go on with what it holds now."
                )
            )
            return
        self._load(await self._state_anew())
        self._settle()

    async def _read_state(self, stream_id: str) -> None:
        """For a worker that seems to have failed: where the hub is away, its events are too."""
        try:
            self._load(await self._state_anew())
        except TaskCopilotClientError as error:
            self._fail(Refusal(str(error)))
            return
        self._machine.judged(stream_id, self._now())
        self._settle()

    def _load(self, state: StreamList) -> None:
        """Takes a state, unless the events that have come are further already."""
        if state["seq"] > max(self._position, self._read):
            self._read = state["seq"]
            self._machine.load(state["streams"], self._now(), told=True)

    async def _state_anew(self) -> StreamList:
        """The state, once a hub answers: one that ends is followed by another."""
        while True:
            try:
                return await self._hands.client.streams(include_archived=True)
            except HubUnavailable as reason:
                if self._machine.stopping:
                    raise  # nobody needs it any more
                logger.info("The state cannot be read (%s); trying again.", reason)
            await asyncio.sleep(READ_AGAIN_SECONDS)

    def _stop(self, number: signal.Signals) -> None:
        self._stops += 1
        if self._stops == 1:
            self._say("stopping", None, STOPPING)
            self._task(self._stopped(BY_SIGNAL + number))
        else:
            self._signal_all(signal.SIGKILL)

    def _fail(self, error: Exception) -> None:
        self._task(self._stopped(error))

    async def _stopped(self, outcome: int | Exception) -> None:
        """Ends all workers, and then the run with `outcome`."""
        if self._machine.stopping:
            return
        self._machine.stopping = True
        for mark in self._marks.values():
            mark.set()
        await asyncio.gather(*(self._end(one) for one in tuple(self._processes)))
        if self._over.done():
            return
        if isinstance(outcome, int):
            self._over.set_result(outcome)
        else:
            self._over.set_exception(outcome)

    # --- what is decided ---

    def _settle(self) -> None:
        """Does what is due, and comes back when something will be."""
        for action in self._machine.settle(self._now()):
            self._do(action)
        self._reporter.changed()
        if self._timer is not None:
            self._timer.cancel()
        deadline = self._machine.deadline()
        self._timer = None if deadline is None else self._loop.call_at(deadline, self._settle)
        self._look_whether_over()

    def _look_whether_over(self) -> None:
        machine = self._machine
        if machine.stopping or machine.workers or self._marks or self._over.done():
            self._said_waiting = False
            return
        if machine.complete:
            self._over.set_result(COMPLETE)
        elif machine.stuck and not (self._hands.waits and machine.may_go_on):
            self._over.set_result(INCOMPLETE)
        elif machine.stuck and not self._said_waiting:
            self._said_waiting = True
            self._say("waiting", None, WAITING)

    def _do(self, action: Action) -> None:
        match action:
            case Start():
                self._task(self._start(action))
            case End():
                self._task(self._end(action.stream_id))
            case LookStalled():
                self._task(self._look_stalled(action))
            case ReadState():
                self._task(self._read_state(action.stream_id))
            case AskForHelp():
                self._marks[action.stream_id] = asyncio.Event()
                self._task(self._ask_for_help(action))
            case Tell():
                self._tell(action)

    def _tell(self, told: Tell) -> None:
        stream_id, track = told.stream_id, self._machine.tracks[told.stream_id]
        match told.kind:
            case "completed":
                tasks = of_tasks(track.stream.completed, track.stream.total)
                self._say("completed", stream_id, f"is complete ({tasks})")
                if self._hands.panes is not None:
                    self._task(self._hands.panes.close(stream_id))
            case "blocked":
                reason = told.text or track.reason
                self._say("blocked", stream_id, f"is blocked: {reason}", reason=reason)
                self._task(self._hands.notices.blocked(stream_id, reason))
                if (mark := self._marks.get(stream_id)) is not None:
                    mark.set()
            case "unblocked":
                self._say("unblocked", stream_id, "is not blocked any more")
            case "exited":
                self._say("exited", stream_id, f"worker ended: {told.text}")

    # --- workers ---

    async def _start(self, action: Start) -> None:
        stream_id = action.stream_id
        try:
            process = await self._started(stream_id, action.launch)
        except (OSError, TaskCopilotError) as error:
            self._exited(stream_id, f"it could not be started: {error}")
            return
        if process is None:
            self._exited(stream_id, "it was not started")
            return
        self._processes[stream_id] = process
        self._ended[stream_id] = asyncio.Event()
        self._machine.started(stream_id, process.pid, self._now())
        self._say_started(stream_id, process.pid, action.launch)
        if self._machine.stopping:
            self._task(self._end(stream_id))
        if self._stops > 1:  # it was not there yet to be killed
            self._task(self._signal(stream_id, signal.SIGKILL))
        self._settle()
        code = await process.wait()
        await processes.end_what_is_left(process.pid, self._hands.grace)
        self._exited(stream_id, processes.described(code))

    async def _started(self, stream_id: str, launch: int) -> Process | None:
        """The worker's process; None where the run has begun to stop meanwhile."""
        hands = self._hands
        folder, note = await asyncio.to_thread(self._workplace, stream_id)
        await self._remember(stream_id, launch)
        if self._machine.stopping:
            return None
        return await processes.start(
            hands.workers.command(stream_id, folder, note),
            claim=hands.records.claim(stream_id, launch),
            log=hands.records.log(stream_id),
            folder=folder,
            environment=hands.workers.environment(stream_id, folder, hands.environment),
        )

    def _workplace(self, stream_id: str) -> tuple[Path, str]:
        """The folder of a worker, and what it is told of its branch. Blocking."""
        trees = self._hands.worktrees
        if trees is None:
            return self._hands.folder, ""
        folder = trees.ready(stream_id, self._hands.folder)
        needed = self._machine.tracks[stream_id].stream.dependencies
        note = branches_note(trees.branch(stream_id), [trees.branch(one) for one in needed])
        return folder, note

    async def _remember(self, stream_id: str, launch: int) -> None:
        """Writes down what is started before it is, one after the other."""
        records = self._hands.records
        async with self._writing:
            launches = {
                one: Launched(track.launches, track.failures)
                for one, track in self._machine.tracks.items()
                if track.launches
            }
            await asyncio.to_thread(records.write_launches, launches)
            await asyncio.to_thread(records.forget_claims, stream_id, launch)

    def _say_started(self, stream_id: str, pid: int, launch: int) -> None:
        log = self._hands.records.log(stream_id)
        what = f"worker started (process {pid})"
        self._say("started", stream_id, what, pid=pid, launch=launch, log=os.fspath(log))
        self._show_pane(stream_id)

    def _show_pane(self, stream_id: str) -> None:
        """Opens the pane of a stream's worker, unless the stream is complete, which closes it."""
        panes, log = self._hands.panes, self._hands.records.log(stream_id)
        if panes is not None and is_open(self._machine.tracks[stream_id].stream):
            self._task(panes.show(stream_id, log))

    def _exited(self, stream_id: str, how: str) -> None:
        self._processes.pop(stream_id, None)
        self._machine.exited(stream_id, how, self._now())
        if (ended := self._ended.pop(stream_id, None)) is not None:
            ended.set()
        self._settle()

    async def _end(self, stream_id: str) -> None:
        """Asks a worker to end, and kills it where it does not in time."""
        ended = self._ended.get(stream_id)
        if ended is None:
            return
        await self._signal(stream_id, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._hands.grace):
                await ended.wait()
                return
        logger.info("The worker of %s did not end in time and is killed.", stream_id)
        await self._signal(stream_id, signal.SIGKILL)
        await ended.wait()

    async def _signal(self, stream_id: str, number: signal.Signals) -> None:
        process = self._processes.get(stream_id)
        if process is None:
            return
        if isinstance(process, ProcessId) and not await asyncio.to_thread(processes.lives, process):
            return
        processes.signal_group(process.pid, number)

    def _signal_all(self, number: signal.Signals) -> None:
        for stream_id in tuple(self._processes):
            self._task(self._signal(stream_id, number))

    async def _look_stalled(self, action: LookStalled) -> None:
        stream_id, seconds = action.stream_id, self._machine.rules.stall_timeout
        silence = await asyncio.to_thread(_silence, self._hands.records.log(stream_id))
        if silence < seconds:
            self._machine.seen_alive(stream_id, action.launch, self._now() - silence)
            self._settle()
            return
        if not self._machine.runs(stream_id, action.launch):
            return
        reason = f"nothing happened for {seconds:g} s"
        self._say("stalled", stream_id, f"worker is stuck: {reason}; it is started again")
        try:
            made = await self._hands.server.checkpoint(stream_id, f"Its worker was stuck: {reason}")
        except Refusal as refusal:
            logger.warning("No checkpoint could be made of %s: %s", stream_id, refusal.message)
        else:
            self._say("saved", stream_id, f"was saved as {made}", checkpointId=made)
        if self._machine.runs(stream_id, action.launch):  # it may have ended meanwhile
            self._machine.asked_to_end(stream_id, reason)
            await self._end(stream_id)

    async def _ask_for_help(self, action: AskForHelp) -> None:
        stream_id, log = action.stream_id, self._hands.records.log(action.stream_id)
        self._say("help", stream_id, f"needs help: {action.reason}. Its output: {log}")
        try:
            task = await self._hands.server.ask_for_help(stream_id, f"{action.reason}; {log}")
        except Refusal as refusal:
            logger.warning("%s could not be marked as blocked: %s", stream_id, refusal.message)
            await self._hands.notices.blocked(stream_id, action.reason)
        else:
            if task is not None:
                text = f"goes on after: task-copilot update {task} --status pending"
                self._say("marked", stream_id, text, taskId=task)
                await self._mark_seen(stream_id, action.reason)
        del self._marks[stream_id]
        self._settle()

    async def _mark_seen(self, stream_id: str, reason: str) -> None:
        """Returns when the event of the mark has come, by which a person is told; where it does
        not come, they are told without."""
        try:
            async with asyncio.timeout(MARK_SECONDS):
                await self._marks[stream_id].wait()
        except TimeoutError:
            await self._hands.notices.blocked(stream_id, reason)

    async def _take_over(self) -> None:
        """Finds the workers of an earlier run, and closes the panes that it has left over."""
        try:
            every = await asyncio.to_thread(self._found)
        except OSError as error:
            raise Refusal(f"It cannot be seen who works already: {error}") from None
        for stream_id, last in every.items():
            launched, process = last
            if process is None:
                self._machine.remembered(stream_id, launched.launch, launched.failures)
                continue
            worker = Worker(launched.launch, self._now(), pid=process.pid)
            self._machine.adopted(stream_id, worker, launched.failures)
            self._processes[stream_id] = process
            self._ended[stream_id] = asyncio.Event()
            text = f"worker of an earlier run goes on (process {process.pid})"
            self._say("adopted", stream_id, text, pid=process.pid, launch=launched.launch)
            self._show_pane(stream_id)
            self._task(self._attend(stream_id, process))
        if self._hands.panes is not None:
            tracks = self._machine.tracks.items()
            complete = [one for one, track in tracks if not is_open(track.stream)]
            self._task(self._hands.panes.close(*complete))

    def _found(self) -> dict[str, tuple[Launched, ProcessId | None]]:
        records = self._hands.records
        return {
            stream_id: (one, processes.claimed(records.claim(stream_id, one.launch)))
            for stream_id, one in records.launches(self._machine.tracks).items()
        }

    async def _attend(self, stream_id: str, process: ProcessId) -> None:
        await processes.ended(process)
        await processes.end_what_is_left(process.pid, self._hands.grace)
        self._exited(stream_id, "exit code not known, since an earlier run started it")

    # --- small things ---

    def _say(self, kind: str, stream_id: str | None, text: str, **fields: Any) -> None:
        try:
            self._reporter.happened(kind, stream_id, text, **fields)
        except BrokenPipeError as error:  # of which click makes a quiet end
            self._fail(error)
        except OSError as error:
            self._fail(Refusal(f"Its output cannot be written any more: {error.strerror}."))

    def _now(self) -> float:
        return self._loop.time()

    def _task(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        report(logger, "The orchestrator cannot go on; its workers are asked to end.", error)
        self._fail(Refusal("It ended because of a defect, which is described above."))


def _silence(log: Path) -> float:
    """Seconds since a worker has last printed something. Blocking."""
    try:
        return max(0.0, time.time() - log.stat().st_mtime)
    except OSError:
        return float("inf")
