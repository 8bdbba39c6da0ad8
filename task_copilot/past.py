"""Everything that mattered right after an event, computed backwards from the present.

What happened since is taken back, so it does not matter what the log had before that event.
Of what lies further back than the log begins, some times cannot be known; they are None.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, func, select

from task_copilot import jsontext, overview, stream_queries
from task_copilot.database.tables import tasks, workspaces
from task_copilot.errors import InvalidInput
from task_copilot.events import log, retention
from task_copilot.glance import (
    BLOCKED_SHOWN,
    COUNTED,
    STREAMS_SHOWN,
    WORKING_SHOWN,
    Glance,
    StreamSeen,
    TaskSeen,
    Wanted,
    WorkspaceSeen,
)
from task_copilot.past_log import (
    LOST,
    After,
    Before,
    Key,
    Place,
    TaskThen,
    answer,
    read_after,
    time_of,
)
from task_copilot.past_streams import StreamsThen, key_of

OPEN = ("blocked", "in_progress")
ROWS_AT_ONCE = 500
NEVER = "9999"
"""After every time; without any event nothing is known to have changed lately."""


def at(connection: Connection, wanted: Wanted, position: int) -> Glance:
    """What there was right after event `position`.

    Raises InvalidInput where the log does not reach back so far, or not so far yet.
    """
    _check(connection, position)
    return _Moment(connection, wanted, position).glance()


def _check(connection: Connection, position: int) -> None:
    head, oldest = log.state(connection).head, retention.oldest(connection)
    if not oldest - 1 <= position <= head:
        raise InvalidInput(
            f"at: got {position}; the log begins with event {oldest} and ends with {head}, so it "
            f"takes {oldest - 1} to {head}."
        )


class _Moment:
    """What is known of one moment while it is put together: what changed after it, those tasks as
    they are now, and what only earlier events can tell."""

    def __init__(self, connection: Connection, wanted: Wanted, position: int) -> None:
        self.connection = connection
        self.wanted = wanted
        self.position = position
        self.after = read_after(connection, position)
        self.time = time_of(connection, position)
        self.asked = Before()
        self.rows = dict(_present_rows(connection, self.after))
        self.differences = self._differences()

    def glance(self) -> Glance:
        existing = {n: task for n, task in self.after.tasks.items() if task.existed}
        self._ask(existing)
        streams = StreamsThen(
            stream_queries.every(self.connection),
            self.differences,
            self.after,
            self.time,
            self.asked,
        )
        answer(self.connection, self.position, self.asked)
        every = streams.seen()
        shown = [
            seen
            for seen in every
            if self._sees(seen.found.workspace)
            and (self.wanted.archived or not seen.found.stream.archived_at)
        ]
        names = {key_of(seen.found): seen.found.stream.name for seen in every}
        blocked, working = self._open_tasks(existing, names)
        # Where the log does not have the event, the next one is the nearest that is known.
        time = self.time or time_of(self.connection, self.position + 1)
        since = overview.active_since(time) if time else NEVER
        active = sum(1 for task in working if task.since is not None and task.since >= since)
        return Glance(
            time=self.time,
            active_since=since,
            workspaces=self._workspaces(existing, every),
            streams=self._with_tasks(shown[:STREAMS_SHOWN], existing, blocked),
            total_streams=len(shown),
            counts=self._counts(shown),
            blocked=blocked[:BLOCKED_SHOWN],
            total_blocked=len(blocked),
            working=working[:WORKING_SHOWN],
            active=active,
            idle=len(working) - active,
        )

    def _sees(self, workspace: str) -> bool:
        return self.wanted.workspace in {None, workspace}

    def _differences(self) -> dict[Place, Counter[str]]:
        """What has to be added to the present counters."""
        found: dict[Place, Counter[str]] = defaultdict(Counter)
        for number, task in self.after.tasks.items():
            row = self.rows[number]
            found[task.workspace, row.stream_id][row.status] -= 1
            if task.existed:
                found[task.workspace, task.stream_id][task.status] += 1
        return found

    def _ask(self, existing: dict[int, TaskThen]) -> None:
        """What only earlier events can tell."""
        for number, task in existing.items():
            self.asked.workspaces[task.workspace] = None
            if task.status not in OPEN or not self._sees(task.workspace):
                continue
            if task.status == "in_progress":
                self.asked.changed[number] = None
            elif task.changed_status:
                self.asked.blocked[number] = None
            if task.title is None or (task.status == "blocked" and task.reason is None):
                self.asked.texts[number] = None

    def _counts(self, shown: list[StreamSeen]) -> Counter[str]:
        found = Counter(dict.fromkeys(COUNTED, 0))
        for seen in shown:
            found.update({status: getattr(seen.found.stream, status) for status in COUNTED})
        query = select(tasks.c.status, func.count()).join_from(tasks, workspaces)
        if self.wanted.workspace is not None:
            query = query.where(workspaces.c.name == self.wanted.workspace)
        query = query.where(tasks.c.stream_id.is_(None)).group_by(tasks.c.status)
        for status, count in self.connection.execute(query):
            found[status] += count
        for (workspace, stream_id), difference in self.differences.items():
            if stream_id is None and self._sees(workspace):
                found.update(difference)
        return Counter({status: found[status] for status in COUNTED})

    def _open_tasks(
        self, existing: dict[int, TaskThen], names: dict[Key, str]
    ) -> tuple[list[TaskSeen], list[TaskSeen]]:
        """Those that were blocked and those in progress, the newest first."""
        found: dict[str, list[TaskSeen]] = {status: [] for status in OPEN}
        query = select(
            *(tasks.c.id, tasks.c.title, tasks.c.stream_id, tasks.c.status),
            *(tasks.c.assigned_agent, tasks.c.blocked_reason, tasks.c.started_at),
            *(tasks.c.blocked_at, tasks.c.updated_at, workspaces.c.name.label("workspace")),
        ).join_from(tasks, workspaces)
        for row in self.connection.execute(query.where(tasks.c.status.in_(OPEN))):
            if row.id not in self.after.tasks and self._sees(row.workspace):
                found[row.status].append(_unchanged(row))
        for number, task in existing.items():
            if task.status in OPEN and self._sees(task.workspace):
                found[task.status].append(self._changed(number, task))
        for tasks_found in found.values():
            tasks_found.sort(key=lambda task: (task.since or "", task.id), reverse=True)
        working = [
            task._replace(stream_name=names.get((task.workspace, task.stream_id or "")))
            for task in found["in_progress"]
        ]
        return found["blocked"], working

    def _changed(self, number: int, task: TaskThen) -> TaskSeen:
        row, told = self.rows[number], self.asked.texts.get(number) or {}
        blocked = task.status == "blocked"
        if blocked:
            since = self.asked.blocked[number] if task.changed_status else row.blocked_at
        else:
            since = self.asked.changed[number]
        return TaskSeen(
            workspace=task.workspace,
            id=number,
            title=told.get("taskTitle") if task.title is None else task.title,
            stream_id=task.stream_id,
            stream_name=None,
            agent=task.agent,
            reason=(task.reason or told.get("blockedReason")) if blocked else None,
            started_at=None if blocked else row.started_at,
            since=since,
        )

    def _with_tasks(
        self, shown: list[StreamSeen], existing: dict[int, TaskThen], blocked: list[TaskSeen]
    ) -> list[StreamSeen]:
        """The streams with what their tasks add to them."""
        reasons: dict[Place, str | None] = {}
        for task in blocked:
            reasons.setdefault((task.workspace, task.stream_id), task.reason)
        files, lost = self._files(existing)
        return [
            StreamSeen(
                replace(
                    seen.found,
                    blocked_reason=reasons.get(key_of(seen.found)),
                    files=tuple(files.get(key_of(seen.found), ())),
                ),
                seen.unknown | ({"files"} if key_of(seen.found) in lost else set()),
            )
            for seen in shown
        ]

    def _files(
        self, existing: dict[int, TaskThen]
    ) -> tuple[dict[Place, dict[str, None]], set[Place]]:
        """The files of each stream's tasks in their order; and streams where some are unknown."""
        query = select(
            tasks.c.id, tasks.c.stream_id, tasks.c.files, workspaces.c.name.label("workspace")
        ).join_from(tasks, workspaces)
        every: list[tuple[int, Place, Any]] = [
            (row.id, (row.workspace, row.stream_id), jsontext.decode(row.files))
            for row in self.connection.execute(query.where(tasks.c.files != "[]"))
            if row.id not in self.after.tasks and self._sees(row.workspace)
        ]
        for number, task in existing.items():
            names = jsontext.decode(self.rows[number].files) if task.files is None else task.files
            every.append((number, (task.workspace, task.stream_id), names))
        found: dict[Place, dict[str, None]] = {}
        for _number, place, names in sorted(every, key=lambda item: item[0]):
            if names is not LOST:
                found.setdefault(place, {}).update(dict.fromkeys(names))
        return found, {place for _number, place, names in every if names is LOST}

    def _workspaces(
        self, existing: dict[int, TaskThen], every: list[StreamSeen]
    ) -> list[WorkspaceSeen]:
        added = Counter(task.workspace for task in self.after.tasks.values() if not task.existed)
        streams = Counter(seen.found.workspace for seen in every)
        touched = {task.workspace for task in self.after.tasks.values()}
        changed = {task.workspace for task in existing.values()}
        return [
            WorkspaceSeen(
                name=row.name,
                path=row.path,
                streams=streams[row.name],
                tasks=row.tasks - added[row.name],
                last_activity=self._last_activity(row, touched, changed),
            )
            for row in overview.every_workspace(self.connection)
            if row.tasks - added[row.name]
        ]

    def _last_activity(self, row: Any, touched: set[str], changed: set[str]) -> str | None:
        if row.name not in touched:
            found: str | None = row.last_activity
            return found
        if row.name in changed:
            return self.asked.workspaces[row.name]
        # Tasks were only added since: the others say it.
        query = select(tasks.c.id, tasks.c.updated_at).join_from(tasks, workspaces)
        others = self.connection.execute(query.where(workspaces.c.name == row.name))
        return max(
            (other.updated_at for other in others if other.id not in self.after.tasks),
            default=None,
        )


def _present_rows(connection: Connection, after: After) -> Iterator[tuple[int, Any]]:
    """The rows of the tasks that have changed, as they are now."""
    query = select(
        *(tasks.c.id, tasks.c.stream_id, tasks.c.status, tasks.c.started_at),
        *(tasks.c.blocked_at, tasks.c.files),
    )
    numbers = sorted(after.tasks)
    for start in range(0, len(numbers), ROWS_AT_ONCE):
        some = query.where(tasks.c.id.in_(numbers[start : start + ROWS_AT_ONCE]))
        for row in connection.execute(some):
            yield row.id, row


def _unchanged(row: Any) -> TaskSeen:
    blocked = row.status == "blocked"
    return TaskSeen(
        workspace=row.workspace,
        id=row.id,
        title=row.title,
        stream_id=row.stream_id,
        stream_name=None,
        agent=row.assigned_agent,
        reason=row.blocked_reason if blocked else None,
        started_at=None if blocked else row.started_at,
        since=row.blocked_at if blocked else row.updated_at,
    )
