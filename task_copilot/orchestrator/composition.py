"""Puts a run together: the hub, the state, the plan, and the hands that carry it out."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from task_copilot.client.asynchronous import AsyncTaskCopilotClient
from task_copilot.client.errors import HubUnavailable, TaskCopilotClientError
from task_copilot.client.shapes import StreamList
from task_copilot.commands.asking import HubAt, Unreachable, hub_at
from task_copilot.commands.common import Refusal, print_json, refusals, say
from task_copilot.commands.source import (
    DatabaseSource,
    HubSource,
    living_hub,
    named_hub,
    workspace_name,
)
from task_copilot.errors import InvalidInput, NotFound
from task_copilot.orchestrator import worker_command
from task_copilot.orchestrator.machine import Machine, Rules
from task_copilot.orchestrator.notices import Notices
from task_copilot.orchestrator.panes import Panes
from task_copilot.orchestrator.plan import Planned, plan, stream_of
from task_copilot.orchestrator.records import Records
from task_copilot.orchestrator.reporting import (
    JsonReporter,
    LineReporter,
    Reporter,
    plan_lines,
    plan_row,
)
from task_copilot.orchestrator.run import Hands, Run
from task_copilot.orchestrator.server_hand import ServerHand
from task_copilot.orchestrator.worker_command import WorkerPlan, require_program, trusting
from task_copilot.orchestrator.worktrees import BRANCHES, Worktrees
from task_copilot.patience import aside
from task_copilot.settings import Settings

HUB_SECONDS = 15.0
"""How long a hub may take until it answers, where one is just beginning or takes over."""

LOOK_SECONDS = 0.05
STDOUT = 1

OTHERS = "--workspace NAME names another."
NO_CLAUDE = "Install Claude Code, or name another program with --worker."
NO_PROGRAM = "It has to be on the PATH, or be named by its path."


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the options say."""

    streams: tuple[str, ...]
    url: str | None
    ca_file: str | None
    worker: str | None
    permission_mode: str | None
    worktrees: bool
    tmux: bool
    max_parallel: int
    retries: int
    retry_delay: float
    stall_timeout: float
    grace: float
    on_blocked: str | None
    no_wait: bool
    dry_run: bool
    as_json: bool


async def orchestrated(settings: Settings, wanted: Wanted) -> int:
    """Plans, and runs until all is done; returns the exit code. Raises Refusal."""
    with refusals():
        async with _hub(settings, wanted) as (workspace, hub):
            client = AsyncTaskCopilotClient(wanted.url, ca_file=wanted.ca_file, workspace=workspace)
            state = await _state(client, HUB_SECONDS if wanted.url is None else 0)
            folder = await asyncio.to_thread(_current_folder)
            workers = _workers(settings, wanted, workspace)
            rows = _planned(state, wanted, workspace)
            trees = await asyncio.to_thread(Worktrees.of, folder) if wanted.worktrees else None
            if wanted.dry_run:
                _show_plan(rows, workers, trees, folder, wanted)
                return 0
            _check(workers, wanted, folder)
            hands = Hands(
                client=client,
                server=ServerHand(hub, workspace),
                workers=workers,
                records=Records(state["epoch"], workspace),
                folder=folder,
                worktrees=trees,
                notices=Notices(wanted.on_blocked, workspace, {}),
                panes=Panes(workspace) if wanted.tmux else None,
                environment={**os.environ, **trusting(wanted.ca_file)},
                waits=not wanted.no_wait,
                grace=wanted.grace,
            )
            return await _run(hands, rows, wanted, state)


async def _run(hands: Hands, rows: list[Planned], wanted: Wanted, state: StreamList) -> int:
    machine = Machine(_rules(wanted))
    await asyncio.to_thread(_taken, hands.records, hands.folder)
    try:
        if not wanted.as_json:
            for line in plan_lines(rows):
                say(line)
            say(f"output of the workers: {hands.records.logs}")
            if hands.panes is not None:
                say(f"  live: {hands.panes.attach}")
        return await Run(hands, machine, _reporter(machine, wanted)).go(state)
    finally:
        hands.records.release()
        await hands.client.aclose()


def _current_folder() -> Path:
    """Where the workers run; raises Refusal."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise Refusal("The current folder was removed, and workers need one to run in.") from None


def _taken(records: Records, folder: Path) -> None:
    try:
        records.take(folder)
    except OSError as error:
        where = error.filename or records.folder  # it may be a folder above
        raise Refusal(f"{where} cannot be used: {error.strerror or error}.") from None


@contextlib.asynccontextmanager
async def _hub(
    settings: Settings, wanted: Wanted
) -> AsyncIterator[tuple[str, Callable[[], HubAt]]]:
    """The workspace's name, and how to find the hub: the one that is named, else that of the
    database, which this process serves as soon as nobody else does."""
    if wanted.url is not None:
        address = wanted.url
        found = await asyncio.to_thread(named_hub, settings, address)
        name = await asyncio.to_thread(workspace_name, HubSource(found), settings.workspace, OTHERS)
        yield name, lambda: hub_at(settings, address)
        return
    from task_copilot.application import Application, open_blocking
    from task_copilot.clock import system_clock
    from task_copilot.commands.common import require_database

    require_database(settings)
    database = await aside(lambda: open_blocking(settings, system_clock))
    application = Application(database, settings, system_clock)
    serving = asyncio.create_task(application.serve())
    try:
        source = DatabaseSource(database)
        yield (
            await asyncio.to_thread(workspace_name, source, settings.workspace, OTHERS),
            lambda: _living(settings),
        )
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        await application.close()


def _living(settings: Settings) -> HubAt:
    hub = living_hub(settings)
    if hub is None:
        raise Unreachable("nobody serves the database")
    return hub


async def _state(client: AsyncTaskCopilotClient, seconds: float = HUB_SECONDS) -> StreamList:
    """All streams, archived ones too, since others may need them. Raises Refusal where the hub
    refuses, or none answers for so long."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        try:
            return await client.streams(include_archived=True)
        except HubUnavailable as error:
            if loop.time() > deadline:
                raise Refusal(str(error)) from None
        except TaskCopilotClientError as error:
            raise Refusal(str(error)) from None
        await asyncio.sleep(LOOK_SECONDS)


def _workers(settings: Settings, wanted: Wanted, workspace: str) -> WorkerPlan:
    if wanted.worker is not None:
        words = worker_command.split(wanted.worker)
        worker_command.refuse_typos(words, worker_command.PLACES)
    return WorkerPlan(
        workspace=workspace,
        settings=settings,
        given=wanted.worker,
        permission_mode=wanted.permission_mode,
        url=wanted.url,
    )


def _planned(state: StreamList, wanted: Wanted, workspace: str) -> list[Planned]:
    if not state["streams"]:
        raise NotFound(
            f"Workspace {workspace} has no streams. The first task that names one makes it: "
            "task-copilot create TITLE --stream Stream-A"
        )
    rows = plan(map(stream_of, state["streams"]), wanted.streams)
    archived = {row["streamId"] for row in state["streams"] if row["archivedAt"]}
    return [row for row in rows if row.stream.stream_id not in archived]


def _rules(wanted: Wanted) -> Rules:
    return Rules(
        max_parallel=wanted.max_parallel,
        retries=wanted.retries,
        retry_delay=wanted.retry_delay,
        stall_timeout=wanted.stall_timeout,
        wanted=frozenset(wanted.streams),
    )


def _check(workers: WorkerPlan, wanted: Wanted, folder: Path) -> None:
    """Refuses what no worker could start with."""
    words = workers.command("Stream-A", folder)
    require_program(words, folder, NO_CLAUDE if workers.given is None else NO_PROGRAM)
    if wanted.tmux:
        Panes.require()
    if wanted.on_blocked:
        try:
            require_program(worker_command.split(wanted.on_blocked), folder, NO_PROGRAM)
        except InvalidInput as error:
            raise InvalidInput(f"--on-blocked: {error}") from None


def _show_plan(
    rows: list[Planned],
    workers: WorkerPlan,
    trees: Worktrees | None,
    folder: Path,
    wanted: Wanted,
) -> None:
    if not wanted.as_json:
        for line in plan_lines(rows):
            say(line)
    for row in rows:
        stream_id = row.stream.stream_id
        place = folder if trees is None else trees.folder(stream_id)
        command = workers.command(stream_id, place)
        if wanted.as_json:
            print_json(plan_row(row, command, os.fspath(place)))
    if not wanted.as_json:
        say(f"folder: {folder if trees is None else trees.beside / '{stream}'}")
        if trees is not None:
            say(f"branch: {BRANCHES}/{{stream}}")
        first, *more = worker_command.shown(workers.command("{stream}", Path("{folder}")))
        say(f"worker: {first}")
        for line in more:
            say(f"  {line}")


def _reporter(machine: Machine, wanted: Wanted) -> Reporter:
    if wanted.as_json:
        return JsonReporter(machine)
    if os.isatty(STDOUT) and os.environ.get("TERM") != "dumb":
        from task_copilot.orchestrator.live import LiveReporter

        return LiveReporter(machine)
    return LineReporter(machine)
