"""The vocabulary of events, against the contract written out by hand."""

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from task_copilot.events.types import (
    EVENT_CLASSES,
    Change,
    CheckpointCreated,
    CheckpointExpired,
    CheckpointResumed,
    Event,
    StreamArchived,
    StreamBlocked,
    StreamCompleted,
    StreamProgress,
    StreamStarted,
    TaskBlocked,
    TaskCompleted,
    TaskCreated,
    TaskRedacted,
    TaskStatusChanged,
    TaskUpdated,
    data,
    numbered,
    payload,
)

# How long an example takes says how busy the machine is, and nothing about the program.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
AT = "2026-01-08T12:00:30.125Z"
KIB = 1024
CONTROL = "\x01"  # six bytes in JSON
WIDE = "\U0001f600"  # four bytes in UTF-8

EVERY_EVENT = {"workspace"}
EVERY_TASK_EVENT = EVERY_EVENT | {
    *("taskId", "taskTitle", "parentId", "streamId", "assignedAgent"),
    *("oldStatus", "newStatus", "blockedReason"),
}
EVERY_STREAM_EVENT = EVERY_EVENT | {
    *("streamId", "streamName", "totalTasks", "completedTasks", "inProgressTasks"),
    *("blockedTasks", "pendingTasks", "progressPercentage", "lastUpdated", "status"),
    *("streamPhase", "dependencies"),
}
EVERY_CHECKPOINT_EVENT = EVERY_EVENT | {
    *("checkpointId", "taskId", "taskTitle", "streamId", "sequence"),
}

# In the order of the contract, in which one change emits them.
CONTRACT: dict[str, tuple[str, set[str]]] = {
    "task.created": ("task:TASK-12", EVERY_TASK_EVENT | {"createdAt"}),
    "task.updated": ("task:TASK-12", EVERY_TASK_EVENT | {"status", "changes", "updatedAt"}),
    "task.status_changed": ("task:TASK-12", EVERY_TASK_EVENT | {"statusChangedAt"}),
    "task.blocked": ("task:TASK-12", EVERY_TASK_EVENT | {"blockedAt"}),
    "task.completed": ("task:TASK-12", EVERY_TASK_EVENT | {"completedAt", "duration"}),
    "task.redacted": ("task:TASK-12", EVERY_TASK_EVENT | {"fields", "redactedAt"}),
    "stream.progress": ("stream:Stream-A", EVERY_STREAM_EVENT),
    "stream.completed": ("stream:Stream-A", EVERY_STREAM_EVENT | {"completedAt", "duration"}),
    "stream.blocked": (
        "stream:Stream-A",
        EVERY_STREAM_EVENT | {"blockedReason", "blockedTaskIds"},
    ),
    "stream.started": ("stream:Stream-A", EVERY_STREAM_EVENT | {"startedAt"}),
    "stream.archived": ("stream:Stream-A", EVERY_STREAM_EVENT | {"archivedAt"}),
    "checkpoint.created": (
        "checkpoint:TASK-12",
        EVERY_CHECKPOINT_EVENT
        | {"trigger", "executionPhase", "executionStep", "hasDraft", "expiresAt", "createdAt"},
    ),
    "checkpoint.resumed": ("checkpoint:TASK-12", EVERY_CHECKPOINT_EVENT | {"resumedAt"}),
    "checkpoint.expired": ("checkpoint:TASK-12", EVERY_CHECKPOINT_EVENT | {"expiredAt"}),
}

EMPTY_TASK: dict[str, Any] = {
    "workspace": "w",
    "task_id": "TASK-12",
    "task_title": "t",
    "parent_id": None,
    "stream_id": None,
    "assigned_agent": None,
    "old_status": None,
    "new_status": "pending",
    "blocked_reason": None,
}
EMPTY_STREAM: dict[str, Any] = {
    "workspace": "w",
    "stream_id": "Stream-A",
    "stream_name": "n",
    "total_tasks": 0,
    "completed_tasks": 0,
    "in_progress_tasks": 0,
    "blocked_tasks": 0,
    "pending_tasks": 0,
    "progress_percentage": 0.0,
    "last_updated": AT,
    "status": "pending",
    "stream_phase": "parallel",
    "dependencies": (),
}
EMPTY_CHECKPOINT: dict[str, Any] = {
    "workspace": "w",
    "checkpoint_id": "CP-7",
    "task_id": "TASK-12",
    "task_title": "t",
    "stream_id": None,
    "sequence": 1,
}

# Each with null in every field that may be null.
EMPTY: list[Event] = [
    TaskCreated(**EMPTY_TASK, created_at=AT),
    TaskUpdated(**EMPTY_TASK, status="pending", changes=(), updated_at=AT),
    TaskStatusChanged(**EMPTY_TASK, status_changed_at=AT),
    TaskBlocked(**EMPTY_TASK, blocked_at=AT),
    TaskCompleted(**EMPTY_TASK, completed_at=AT, duration=None),
    TaskRedacted(**EMPTY_TASK, fields=("notes",), redacted_at=AT),
    StreamProgress(**EMPTY_STREAM),
    StreamCompleted(**EMPTY_STREAM, completed_at=AT, duration=0),
    StreamBlocked(**EMPTY_STREAM, blocked_reason=None, blocked_task_ids=()),
    StreamStarted(**EMPTY_STREAM, started_at=AT),
    StreamArchived(**EMPTY_STREAM, archived_at=AT),
    CheckpointCreated(
        **EMPTY_CHECKPOINT,
        trigger="manual",
        execution_phase=None,
        execution_step=None,
        has_draft=False,
        expires_at=AT,
        created_at=AT,
    ),
    CheckpointResumed(**EMPTY_CHECKPOINT, resumed_at=AT),
    CheckpointExpired(**EMPTY_CHECKPOINT, expired_at=AT),
]


def wire(event: Event, actor: str = "me") -> dict[str, Any]:
    """The payload of an event as a listener reads it."""
    text = numbered(812, payload(event, actor=actor, timestamp=AT))
    found: dict[str, Any] = json.loads(text)
    return found


def size_on_the_wire(event: Event, actor: str = "me") -> int:
    return len(numbered(2**63 - 1, payload(event, actor=actor, timestamp=AT)).encode())


def updated(*changes: Change, **fields: Any) -> TaskUpdated:
    return TaskUpdated(**{**EMPTY_TASK, **fields}, status="pending", changes=changes, updated_at=AT)


def test_the_event_types_are_those_of_the_contract_in_its_order() -> None:
    assert [event_class.event_type for event_class in EVENT_CLASSES] == list(CONTRACT)
    assert [type(event) for event in EMPTY] == list(EVENT_CLASSES)


@pytest.mark.parametrize("event", EMPTY, ids=lambda event: str(event.event_type))
def test_an_event_has_exactly_the_fields_of_the_contract_also_where_they_are_null(
    event: Event,
) -> None:
    topic, fields = CONTRACT[event.event_type]
    assert event.topic == topic
    assert set(data(event)) == fields
    content = wire(event)
    assert set(content["data"]) == fields
    assert content | {"data": {}} == {
        "seq": 812,
        "topic": topic,
        "eventType": event.event_type,
        "workspace": "w",
        "actor": "me",
        "timestamp": AT,
        "data": {},
    }


def test_values_without_a_value_are_null_on_the_wire() -> None:
    content = {event.event_type: wire(event)["data"] for event in EMPTY}
    task = content["task.created"]
    for field in ("parentId", "streamId", "assignedAgent", "oldStatus", "blockedReason"):
        assert task[field] is None
    assert content["task.completed"]["duration"] is None
    assert content["stream.blocked"]["blockedReason"] is None
    assert content["checkpoint.created"]["executionPhase"] is None
    assert content["checkpoint.created"]["executionStep"] is None
    assert content["checkpoint.resumed"]["streamId"] is None


def test_numbers_booleans_and_lists_keep_their_types_on_the_wire() -> None:
    progress = StreamProgress(
        **{**EMPTY_STREAM, "total_tasks": 3, "progress_percentage": 33.3, "dependencies": ("B",)}
    )
    content = wire(progress)["data"]
    assert content["totalTasks"] == 3
    assert content["progressPercentage"] == 33.3
    assert content["dependencies"] == ["B"]
    nothing = payload(StreamProgress(**EMPTY_STREAM), actor="me", timestamp=AT)
    assert '"progressPercentage":0.0' in nothing
    created = wire(EMPTY[list(CONTRACT).index("checkpoint.created")])["data"]
    assert created["hasDraft"] is False
    assert created["sequence"] == 1
    completed = wire(TaskCompleted(**EMPTY_TASK, completed_at=AT, duration=86_400_000))["data"]
    assert completed["duration"] == 86_400_000


@pytest.mark.parametrize("step", [None, 3, "third"])
def test_an_execution_step_is_a_number_or_a_text_or_null(step: int | str | None) -> None:
    event = CheckpointCreated(
        **EMPTY_CHECKPOINT,
        trigger="error",
        execution_phase="p",
        execution_step=step,
        has_draft=True,
        expires_at=AT,
        created_at=AT,
    )
    assert wire(event)["data"]["executionStep"] == step


@pytest.mark.parametrize("event", EMPTY, ids=lambda event: str(event.event_type))
def test_an_event_cannot_be_changed(event: Event) -> None:
    for field in dataclasses.fields(event):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(event, field.name, "x")
    # Without the decorator's slots Python raises one of these, by version.
    with pytest.raises((AttributeError, TypeError)):
        event.other = 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("event", EMPTY, ids=lambda event: str(event.event_type))
def test_the_stored_text_of_an_event_is_one_line_without_a_seq(event: Event) -> None:
    text = payload(event, actor="me\nand\x00you", timestamp=AT)
    assert text.isprintable()
    assert "seq" not in json.loads(text)
    assert json.loads(text)["actor"] == "me\nand\x00you"


def test_changes_are_written_with_field_old_and_new_value() -> None:
    event = updated(
        Change("title", "old", "new"),
        Change("notes", None, "text"),
        Change("metadata", {"a": [1, None]}, {}),
        Change("files", ["a"], []),
    )
    assert wire(event)["data"]["changes"] == [
        {"field": "title", "oldValue": "old", "newValue": "new"},
        {"field": "notes", "oldValue": None, "newValue": "text"},
        {"field": "metadata", "oldValue": {"a": [1, None]}, "newValue": {}},
        {"field": "files", "oldValue": ["a"], "newValue": []},
    ]


# --- sizes ---


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("a" * 2046, None),
        ("a" * 2049, 2049),
        ("a" * 65_536, 65_536),
        (WIDE * 511, None),
        (WIDE * 513, 2052),
        ({"key": "a" * 2030}, None),
        ({"key": "a" * 2049}, 2059),
        (["a" * 100] * 30, 3091),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_changed_value_over_2_kib_is_left_out_and_its_bytes_are_told(
    value: Any, size: int | None
) -> None:
    [change] = wire(updated(Change("notes", value, "short")))["data"]["changes"]
    assert change["newValue"] == "short"
    if size is None:
        assert change["oldValue"] == value
    else:
        [(name, told)] = change["oldValue"].items()
        assert name == "omitted"
        assert size <= told <= size + 2  # with or without the quotes of a text


def test_old_and_new_value_are_left_out_each_by_its_own_size() -> None:
    [change] = wire(updated(Change("notes", "short", "a" * 3000)))["data"]["changes"]
    assert change["oldValue"] == "short"
    assert set(change["newValue"]) == {"omitted"}


def longest_update(sign: str, title: int = 500) -> TaskUpdated:
    """The biggest update that the limits of the tools allow, made of one character."""
    return updated(
        Change("title", sign * title, sign * (title - 1) + "x"),
        Change("status", "in_progress", "blocked"),
        Change("assignedAgent", sign * 100, sign * 99 + "x"),
        Change("blockedReason", sign * 2000, sign * 1999 + "x"),
        Change("streamId", "a" * 64, "b" * 64),
        Change("parentId", "TASK-1", "TASK-2"),
        Change("description", sign * 16_000, sign * 15_999 + "x"),
        Change("notes", sign * 16_000, sign * 15_999 + "x"),
        Change("files", [sign * 100] * 50, [sign * 99 + "x"] * 50),
        Change("metadata", {sign * 50: sign * 2000}, {sign * 51: sign * 2000}),
        Change("streamName", sign * 200, sign * 199 + "x"),
        Change("streamPhase", "parallel", "integration"),
        Change("streamDependencies", ["a" * 64] * 100, ["b" * 64] * 100),
        workspace=WIDE * 100,
        task_title=sign * 500,
        assigned_agent=sign * 100,
        blocked_reason=sign * 2000,
        stream_id="s" * 64,
        parent_id="TASK-" + "9" * 15,
    )


@pytest.mark.parametrize("sign", ["a", CONTROL, WIDE, '"', "\\", "\u2028"], ids=ascii)
def test_the_biggest_possible_update_is_an_event_of_at_most_32_kib(sign: str) -> None:
    event = longest_update(sign)
    assert size_on_the_wire(event, actor=sign * 100) <= 32 * KIB
    content = wire(event, actor=sign * 100)["data"]
    assert [change["field"] for change in content["changes"]] == [
        change.field for change in event.changes
    ]
    assert content["taskTitle"] == sign * 500
    assert content["blockedReason"] == sign * 2000
    by_field = {change["field"]: change for change in content["changes"]}
    assert by_field["status"]["newValue"] == "blocked"
    assert by_field["streamPhase"]["newValue"] == "integration"
    assert set(by_field["notes"]["oldValue"]) == {"omitted"}


@pytest.mark.parametrize("sign", ["a", CONTROL, WIDE], ids=ascii)
def test_many_changes_just_below_2_kib_still_make_an_event_of_at_most_32_kib(sign: str) -> None:
    each = sign * (2046 // len(json.dumps(sign, ensure_ascii=False)[1:-1].encode()))
    fields = ["title", "description", "notes", "files", "metadata", "streamName", "assignedAgent"]
    event = updated(
        *(Change(field, each, each) for field in [*fields, "blockedReason", "streamDependencies"]),
        blocked_reason=sign * 2000,
        task_title=sign * 500,
    )
    assert size_on_the_wire(event) <= 32 * KIB
    changes = wire(event)["data"]["changes"]
    assert {change["field"] for change in changes} == {*fields, "blockedReason"} | {
        "streamDependencies"
    }
    assert any(change["oldValue"] == each for change in changes), "not more is left out than needed"


@pytest.mark.parametrize("sign", ["a", CONTROL, WIDE], ids=ascii)
def test_the_biggest_possible_events_of_streams_and_checkpoints_are_at_most_32_kib(
    sign: str,
) -> None:
    stream = {
        **EMPTY_STREAM,
        "workspace": WIDE * 100,
        "stream_id": "s" * 64,
        "stream_name": sign * 200,
        "dependencies": tuple(f"{number:064}" for number in range(100)),
    }
    ids = tuple("TASK-" + "9" * 15 for _ in range(20))
    blocked = StreamBlocked(**stream, blocked_reason=sign * 2000, blocked_task_ids=ids)
    checkpoint = {
        **EMPTY_CHECKPOINT,
        "workspace": WIDE * 100,
        "task_title": sign * 500,
        "stream_id": "s" * 64,
    }
    created = CheckpointCreated(
        **checkpoint,
        trigger="auto_subtask",
        execution_phase=sign * 200,
        execution_step=sign * 200,
        has_draft=True,
        expires_at=AT,
        created_at=AT,
    )
    for event in (blocked, created):
        assert size_on_the_wire(event, actor=sign * 100) <= 32 * KIB


def test_an_event_that_grows_byte_by_byte_never_passes_32_kib() -> None:
    # 15 values of 2,048 bytes, and a last one that brings the text around the limit.
    changes = [Change(f"f{number}", "a" * 2046, None) for number in range(15)]
    without = len(payload(updated(*changes, Change("last", "", None)), actor="me", timestamp=AT))
    rest = 32 * KIB - without
    for size in range(rest - 100, rest + 20):
        event = updated(*changes, Change("last", "a" * size, None))
        assert size_on_the_wire(event) <= 32 * KIB, f"with {rest - size} bytes to spare"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=400),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)


@unhurried
@given(
    st.lists(st.builds(Change, st.text(max_size=20), json_values, json_values), max_size=13),
    st.text(max_size=500),
    st.text(max_size=100),
)
def test_any_update_arrives_as_it_was_or_with_values_left_out(
    changes: list[Change], title: str, actor: str
) -> None:
    event = updated(*changes, task_title=title)
    assert size_on_the_wire(event, actor=actor) <= 32 * KIB
    content = wire(event, actor=actor)
    assert content["actor"] == actor
    assert content["data"]["taskTitle"] == title
    for change, found in zip(changes, content["data"]["changes"], strict=True):
        assert found["field"] == change.field
        for was, became in (
            (change.old_value, found["oldValue"]),
            (change.new_value, found["newValue"]),
        ):
            assert became == was or set(became) == {"omitted"}


# --- the number ---


@unhurried
@given(st.integers(1, 2**63 - 1), st.dictionaries(st.text(), json_values, min_size=1))
def test_the_seq_is_spliced_into_any_stored_object(seq: int, content: dict[str, Any]) -> None:
    content.pop("seq", None)
    content["topic"] = "task:TASK-1"
    stored = json.dumps(content, ensure_ascii=False)
    text = numbered(seq, stored)
    assert json.loads(text) == {"seq": seq, **content}
    assert text.endswith(stored[1:])


def test_the_stored_text_is_not_parsed_to_number_it() -> None:
    assert numbered(7, '{"topic": this is no JSON}') == '{"seq":7,"topic": this is no JSON}'
