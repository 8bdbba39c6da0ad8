"""Every route of the HTTP API, declared once: routing, checks and description come from it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import BaseModel

from task_copilot.api import answers, glances, handlers
from task_copilot.api import parameters as params
from task_copilot.identity import READ, WRITE
from task_copilot.schema import compact
from task_copilot.tools import arguments

Handler = Callable[[Any, Any, str], dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class ApiRoute:
    """One route. The parameters in the braces of `path` are fields of `query` too.

    `handler` reads in a transaction; a route without one is served otherwise. An `answer`
    that is no JSON has only its `media_type`. What a `volatile` route answers also changes
    with time, so its ETag is good for ten seconds. `errors` are the statuses besides those
    that any route can answer.
    """

    method: str = "GET"
    path: str
    summary: str
    query: type[params.Parameters] = params.NoParameters
    body: type[BaseModel] | None = None
    answer: type[answers.Shape] | None
    media_type: str = "application/json"
    status: int = 200
    errors: tuple[int, ...] = ()
    handler: Handler | None = None
    volatile: bool = False
    etag: bool = False
    """Whether answers name their state; true of all that a handler reads."""

    tool: str | None = None
    """The tool that carries out what a request asks for; `body` are its arguments."""

    scope: str = READ
    """What a token has to allow."""

    at_once: int | None = None
    """So many requests are read at once and the others wait for their turn; None for as many as
    come. For what takes long: other routes need threads too."""

    coded: bool = False
    """Whether a 422 has the `code` that the same mistake has on a WebSocket."""

    @property
    def is_reading_post(self) -> bool:
        """Whether it takes a POST that changes nothing. Another route may have the same path."""
        return self.method == "POST" and self.scope == READ

    @cached_property
    def parameters_schema(self) -> dict[str, Any]:
        """The JSON schema of the parameters, for sentences about wrong ones."""
        return compact(self.query)

    @property
    def says_field(self) -> bool:
        """Whether a 422 says which argument of a tool was wrong."""
        return self.tool is not None

    @cached_property
    def body_schema(self) -> dict[str, Any]:
        """The JSON schema of the body, for sentences about a wrong one."""
        return {} if self.body is None else compact(self.body)


ANYWHERE = (401, 403, 429)
"""What may be answered before a route is reached."""

READ_ERRORS = (*ANYWHERE, 422, 503)
WRITE_ERRORS = (400, *ANYWHERE, 408, 413, 415, 422, 503)

HEALTH = ApiRoute(
    path="/health",
    summary="That this is Task Copilot, and where its log stands.",
    answer=answers.Health,
    errors=ANYWHERE,
)

EVENTS = ApiRoute(
    path="/api/events",
    summary="The events after a position, or the newest; with `wait`, as soon as there is one.",
    query=params.EventsQuery,
    answer=answers.EventPage,
    errors=READ_ERRORS,
    etag=True,
    coded=True,
)

EVENT_STREAM = ApiRoute(
    path="/api/events/stream",
    summary="The same as server-sent events; `Last-Event-ID` goes on after an event.",
    query=params.EventSource,
    answer=None,
    media_type="text/event-stream",
    errors=READ_ERRORS,
    coded=True,
)

METRICS = ApiRoute(
    path="/metrics",
    summary="What this hub has done and how it is, for Prometheus.",
    answer=None,
    media_type="text/plain",
    errors=ANYWHERE,
)

STREAM_CHECKPOINT = ApiRoute(
    method="POST",
    path="/api/streams/{streamId}/checkpoint",
    summary="Make a checkpoint of the stream's newest task in progress, else of the one that "
    "changed last.",
    query=params.OneStream,
    body=params.StreamCheckpointBody,
    answer=answers.CheckpointMade,
    status=201,
    scope=WRITE,
    errors=(404, 409, *WRITE_ERRORS),
)

TICKETS = ApiRoute(
    method="POST",
    path="/api/tickets",
    summary="A ticket for a browser: opened once within a minute as `/?ticket=…`, it becomes a "
    "cookie that allows what the token of this request allows.",
    body=params.NoBody,
    answer=answers.Ticket,
    status=201,
    errors=WRITE_ERRORS,
)

STREAMS = ApiRoute(
    path="/api/streams",
    summary="All streams with their progress.",
    query=params.StreamsQuery,
    answer=answers.StreamList,
    errors=(404, *READ_ERRORS),
    handler=handlers.list_streams,
)

TASKS = ApiRoute(
    path="/api/tasks",
    summary="Tasks by status, stream, agent, parent or text, page by page.",
    query=params.TasksQuery,
    answer=answers.TaskList,
    errors=(404, *READ_ERRORS),
    handler=handlers.list_tasks,
)

TASK = ApiRoute(
    path="/api/tasks/{taskId}",
    summary="One task with its subtasks and its latest checkpoint.",
    query=params.OneTask,
    answer=answers.TaskWhole,
    errors=(404, *READ_ERRORS),
    handler=handlers.show_task,
    volatile=True,
)

TASK_CHECKPOINTS = ApiRoute(
    path="/api/tasks/{taskId}/checkpoints",
    summary="The checkpoints of a task that have not expired, newest first.",
    query=params.TaskCheckpointsQuery,
    answer=answers.CheckpointList,
    errors=(404, *READ_ERRORS),
    handler=handlers.list_checkpoints,
    volatile=True,
)

CREATE_TASK = ApiRoute(
    method="POST",
    path="/api/tasks",
    summary="Make a task, as the tool `task_create` does.",
    query=params.NewTaskQuery,
    body=arguments.TaskCreate,
    answer=answers.TaskMade,
    status=201,
    tool="task_create",
    scope=WRITE,
    errors=(404, 409, *WRITE_ERRORS),
)

UPDATE_TASK = ApiRoute(
    method="PATCH",
    path="/api/tasks/{taskId}",
    summary="Change a task, as the tool `task_update` does.",
    query=params.ChangedTask,
    body=arguments.TaskChanges,
    answer=answers.TaskSaved,
    tool="task_update",
    scope=WRITE,
    errors=(404, *WRITE_ERRORS),
)

CREATE_CHECKPOINT = ApiRoute(
    method="POST",
    path="/api/tasks/{taskId}/checkpoints",
    summary="Make a checkpoint of a task, as the tool `checkpoint_create` does.",
    query=params.ChangedTask,
    body=arguments.CheckpointContents,
    answer=answers.CheckpointSaved,
    status=201,
    tool="checkpoint_create",
    scope=WRITE,
    errors=(404, *WRITE_ERRORS),
)

RESUME_TASK = ApiRoute(
    method="POST",
    path="/api/tasks/{taskId}/resume",
    summary="Go on from a task's checkpoint, as the tool `checkpoint_resume` does.",
    query=params.ChangedTask,
    body=arguments.CheckpointChoice,
    answer=answers.CheckpointOpened,
    tool="checkpoint_resume",
    scope=WRITE,
    errors=(404, *WRITE_ERRORS),
)

OVERVIEW = ApiRoute(
    path="/api/overview",
    summary="All that the first page of the dashboard shows, at one moment: now, or right after "
    "an event that is still in the log.",
    query=params.OverviewQuery,
    answer=answers.Overview,
    errors=(404, *READ_ERRORS),
    handler=glances.show_overview,
    volatile=True,
    at_once=2,
)

COMPLETIONS = ApiRoute(
    path="/api/completions",
    summary="How many tasks were completed in each of 48 stretches of the last hours.",
    query=params.CompletionsQuery,
    answer=answers.Completions,
    errors=(404, *READ_ERRORS),
    handler=glances.show_completions,
    volatile=True,
)

CHECKPOINT = ApiRoute(
    path="/api/checkpoints/{checkpointId}",
    summary="One checkpoint with what it keeps.",
    query=params.OneCheckpoint,
    answer=answers.CheckpointWhole,
    errors=(404, *READ_ERRORS),
    handler=glances.show_checkpoint,
    volatile=True,
)

WORKSPACES = ApiRoute(
    path="/api/workspaces",
    summary="The projects that share this database.",
    answer=answers.Workspaces,
    errors=READ_ERRORS,
    handler=handlers.list_workspaces,
)

ROUTES: tuple[ApiRoute, ...] = (
    HEALTH,
    OVERVIEW,
    COMPLETIONS,
    STREAMS,
    ApiRoute(
        path="/api/streams/{streamId}",
        summary="One stream with its tasks.",
        query=params.OneStream,
        answer=answers.StreamWithTasks,
        errors=(404, 409, *READ_ERRORS),
        handler=handlers.show_stream,
    ),
    ApiRoute(
        path="/api/streams/{streamId}/health",
        summary="Whether work on a stream goes on.",
        query=params.OneStream,
        answer=answers.StreamHealth,
        errors=(404, 409, *READ_ERRORS),
        handler=handlers.show_stream_health,
        volatile=True,
    ),
    STREAM_CHECKPOINT,
    TASKS,
    CREATE_TASK,
    TASK,
    UPDATE_TASK,
    TASK_CHECKPOINTS,
    CREATE_CHECKPOINT,
    RESUME_TASK,
    ApiRoute(
        path="/api/checkpoints",
        summary="The latest checkpoint of a task or a stream.",
        query=params.CheckpointsQuery,
        answer=answers.CheckpointLatest,
        errors=(404, 409, *READ_ERRORS),
        handler=handlers.show_latest_checkpoint,
        volatile=True,
    ),
    CHECKPOINT,
    ApiRoute(
        path="/api/activity",
        summary="What each agent is doing: the tasks in progress.",
        query=params.ActivityQuery,
        answer=answers.Activity,
        errors=(404, *READ_ERRORS),
        handler=handlers.list_activity,
        volatile=True,
    ),
    WORKSPACES,
    EVENTS,
    EVENT_STREAM,
    METRICS,
    TICKETS,
)
