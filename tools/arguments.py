"""The arguments of every tool: the one declaration behind schema, checks and help.

A null counts as not given. An empty text clears a field in an update.
"""

from contextlib import suppress
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from task_copilot.events.types import CheckpointTrigger, StreamPhase, TaskStatus, camel
from task_copilot.tools.values import (
    Agent,
    Draft,
    Files,
    FreeObject,
    Id,
    LongText,
    Name,
    Reason,
    RequestId,
    Step,
    StreamId,
    StreamIdOrEmpty,
    StreamIds,
    Title,
    from_json_text,
    json_at_most,
)

PAUSE_METADATA_BYTES = 8 * 1024
MAX_EXPIRY_MINUTES = 366 * 24 * 60


class Arguments(BaseModel):
    """What all tools' arguments share: camelCase outside, strict, nothing unknown."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, alias_generator=camel, hide_input_in_errors=True
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_not_given(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: given for name, given in value.items() if given is not None}
        return value


STREAM_FIELDS = ("streamId", "streamName", "streamPhase", "streamDependencies", "files")
"""Arguments that callers of the original server put into `metadata`."""


class LiftsFromMetadata(Arguments):
    """Takes the fields of a stream at the top or, from older callers, in `metadata`."""

    @model_validator(mode="before")
    @classmethod
    def _lift_from_metadata(cls, value: Any) -> Any:
        metadata = None
        if isinstance(value, dict):
            with suppress(ValueError):  # the field's own check says what is wrong
                metadata = from_json_text(value.get("metadata"))
        if not isinstance(metadata, dict) or not any(name in metadata for name in STREAM_FIELDS):
            return value
        lifted = {name: metadata[name] for name in STREAM_FIELDS if name in metadata}
        kept = {name: item for name, item in metadata.items() if name not in STREAM_FIELDS}
        given = {name: item for name, item in value.items() if item is not None}
        return {**lifted, **given, "metadata": kept}


class TaskCreate(LiftsFromMetadata):
    title: Title
    description: LongText | None = None
    parent_id: Id | None = None
    assigned_agent: Agent | None = None
    stream_id: StreamId | None = None
    stream_name: Name | None = None
    stream_phase: StreamPhase | None = None
    stream_dependencies: StreamIds | None = None
    files: Files | None = None
    metadata: FreeObject | None = None
    agent: Annotated[Agent | None, Field(description="who acts, if not this client")] = None
    request_id: Annotated[
        RequestId | None,
        Field(description="same id within a day: same answer, nothing written twice"),
    ] = None


class OfId(Arguments):
    """Which task; where it stands in an address, the rest comes alone."""

    id: Id


class TaskChanges(LiftsFromMetadata):
    """What an update says of its task."""

    title: Title | None = None
    description: LongText | None = None
    status: TaskStatus | None = None
    assigned_agent: Agent | None = None
    notes: Annotated[LongText | None, Field(description="replaces the notes")] = None
    blocked_reason: Reason | None = None
    parent_id: Id | None = None
    stream_id: StreamIdOrEmpty | None = None
    stream_name: Name | None = None
    stream_phase: StreamPhase | None = None
    stream_dependencies: StreamIds | None = None
    files: Files | None = None
    metadata: FreeObject | None = None
    agent: Agent | None = None
    request_id: RequestId | None = None


class TaskUpdate(TaskChanges, OfId):
    pass


class TaskGet(Arguments):
    id: Id
    field: Annotated[
        Literal["description", "notes", "files", "metadata"] | None,
        Field(description="only this one, from offset, where it was cut"),
    ] = None
    offset: Annotated[int, Field(ge=0, le=10_000_000)] = 0


Format = Literal["text", "json"]


class TaskList(Arguments):
    status: TaskStatus | None = None
    stream_id: StreamId | None = None
    assigned_agent: Agent | None = None
    parent_id: Id | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    cursor: Id | None = None
    format: Format = "text"


class StreamList(Arguments):
    cursor: Annotated[str, Field(max_length=100)] | None = None
    format: Format = "text"


class PauseMetadata(Arguments):
    pause_reason: Reason | None = None
    paused_by: Agent | None = None
    next_steps: Reason | list[Reason] | None = None
    blockers: Reason | list[Reason] | None = None
    key_files: Reason | list[Reason] | None = None
    estimated_resume_time: Name | None = None


def _bounded_pause(pause: PauseMetadata) -> PauseMetadata:
    # It comes back whole with each resume, beside the context and the draft.
    json_at_most(PAUSE_METADATA_BYTES)(pause.model_dump(by_alias=True, exclude_none=True))
    return pause


class OfTaskId(Arguments):
    """Which task; where it stands in an address, the rest comes alone."""

    task_id: Id


class CheckpointContents(Arguments):
    """What a checkpoint keeps beside the task itself."""

    trigger: CheckpointTrigger = "manual"
    execution_phase: Name | None = None
    execution_step: Step | None = None
    agent_context: Annotated[
        FreeObject | None, Field(description="whatever the next agent needs to know")
    ] = None
    draft_content: Annotated[Draft | None, Field(description="unfinished work, up to 1 MiB")] = None
    draft_type: Name | None = None
    expires_in: Annotated[
        Annotated[int, Field(ge=1, le=MAX_EXPIRY_MINUTES)] | None, Field(description="minutes")
    ] = None
    pause_metadata: (
        Annotated[PauseMetadata, BeforeValidator(from_json_text), AfterValidator(_bounded_pause)]
        | None
    ) = None
    agent: Agent | None = None
    request_id: RequestId | None = None


class CheckpointCreate(CheckpointContents, OfTaskId):
    pass


class CheckpointChoice(Arguments):
    """Which checkpoint of the task, or which further piece of it."""

    checkpoint_id: Annotated[Id | None, Field(description="default: the latest")] = None
    draft_offset: Annotated[
        Annotated[int, Field(ge=0, le=10_000_000)] | None,
        Field(description="only the rest of a long draft, from this character"),
    ] = None
    context_offset: Annotated[
        Annotated[int, Field(ge=0, le=10_000_000)] | None,
        Field(description="the same for agentContext"),
    ] = None
    agent: Agent | None = None
    request_id: RequestId | None = None


class CheckpointResume(CheckpointChoice, OfTaskId):
    pass


Repeatable = TaskCreate | TaskUpdate | CheckpointCreate | CheckpointResume
"""The arguments of a change, which can be sent again with the same request id."""


class CheckpointList(Arguments):
    task_id: Id
    limit: Annotated[int, Field(ge=1, le=100)] = 20
    format: Format = "text"
