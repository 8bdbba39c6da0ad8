"""What the routes take: parameters of the path and the query, and bodies."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from task_copilot.events.messages import MAX_FILTER_ITEMS, MAX_REPLAY, MAX_SEQ
from task_copilot.events.topics import STREAM_ID
from task_copilot.events.types import CheckpointTrigger, TaskStatus, camel
from task_copilot.tools.values import Agent, Reason

MAX_PAGE = 1_000
MAX_CURSOR = 200
MAX_SEARCH = 200
MAX_HOURS = 31 * 24


def _stream_id(text: str) -> str:
    if STREAM_ID.fullmatch(text) is None:
        raise ValueError(f"got {text[:60]!r}; a stream id is 1 to 64 of A-Z a-z 0-9 . _ -")
    return text


Id = Annotated[str, Field(min_length=1, max_length=100)]
StreamId = Annotated[
    str,
    # Shown only: the validator says better what is wrong.
    Field(json_schema_extra={"pattern": r"^[A-Za-z0-9._-]{1,64}$"}),
    AfterValidator(_stream_id),
]
WorkspaceName = Annotated[str, Field(min_length=1, max_length=200)]
Limit = Annotated[int, Field(ge=1, le=MAX_PAGE, description="rows of one answer")]
Cursor = Annotated[str, Field(max_length=MAX_CURSOR, description="`nextCursor` of the page before")]


class Parameters(BaseModel):
    """Parameters of a request; an unknown one is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=camel)


class Everywhere(Parameters):
    """Routes that show every workspace unless one is named."""

    workspace: WorkspaceName | None = None


class StreamsQuery(Everywhere):
    include_archived: bool = False
    limit: Limit = MAX_PAGE
    cursor: Cursor | None = None


class OneStream(Everywhere):
    stream_id: StreamId


class TasksQuery(Everywhere):
    status: TaskStatus | None = None
    stream_id: StreamId | None = None
    assigned_agent: Agent | None = None
    parent_id: Id | None = None
    text: Annotated[str, Field(min_length=1, max_length=MAX_SEARCH)] | None = None
    include_archived: bool = False
    limit: Limit = 100
    cursor: Cursor | None = None


class OneTask(Parameters):
    task_id: Id


class NewTaskQuery(Parameters):
    workspace: Annotated[
        WorkspaceName | None,
        Field(
            description="Where; needed unless there is exactly one. One that does not exist yet "
            "is made."
        ),
    ] = None


class ChangedTask(OneTask):
    workspace: Annotated[
        WorkspaceName | None,
        Field(description="The task's own, to make sure: with another one nothing is changed."),
    ] = None


class OverviewQuery(Everywhere):
    include_archived: bool = False
    at: Annotated[int, Field(ge=0, le=MAX_SEQ)] | None = None


class CompletionsQuery(Everywhere):
    hours: Annotated[int, Field(ge=1, le=MAX_HOURS)] = 24


class OneCheckpoint(Parameters):
    checkpoint_id: Id


class TaskCheckpointsQuery(OneTask):
    limit: Limit = 100


class CheckpointsQuery(Everywhere):
    task_id: Id | None = None
    stream_id: StreamId | None = None


class ActivityQuery(Everywhere):
    stream_id: StreamId | None = None
    active: bool | None = None


MAX_WAIT_SECONDS = 60
MAX_TOPICS = 1_000


def _split(text: object) -> object:
    return text.split(",") if isinstance(text, str) else text


Name = Annotated[str, Field(min_length=1, max_length=200)]
Names = Annotated[
    list[Name], BeforeValidator(_split), Field(min_length=1, max_length=MAX_FILTER_ITEMS)
]
Patterns = Annotated[list[str], BeforeValidator(_split), Field(min_length=1, max_length=MAX_TOPICS)]


class EventSource(Everywhere):
    """Which events, and from where on; lists are separated by commas."""

    since: Annotated[int, Field(ge=0, le=MAX_SEQ)] | None = None
    epoch: Name | None = None
    replay: Annotated[int, Field(ge=0, le=MAX_REPLAY)] | None = None
    topics: Patterns | None = None
    event_types: Names | None = None
    streams: Names | None = None
    agents: Names | None = None
    not_actors: Names | None = None


class EventsQuery(EventSource):
    limit: Limit = 100
    wait: Annotated[float, Field(ge=0, le=MAX_WAIT_SECONDS, allow_inf_nan=False)] = 0


class NoParameters(Parameters):
    pass


class StreamCheckpointBody(BaseModel):
    """Why the checkpoint is made."""

    model_config = ConfigDict(extra="forbid", strict=True, alias_generator=camel)

    trigger: CheckpointTrigger = "manual"
    reason: Reason | None = None


class NoBody(BaseModel):
    """An object without fields."""

    model_config = ConfigDict(extra="forbid")
