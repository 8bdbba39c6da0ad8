"""Events become changes, and a change becomes one line."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from task_copilot.commands.changes import changes_of
from task_copilot.commands.sentences import percent, sentence, span
from task_copilot.events.types import EVENT_TYPES

NOON = "2026-01-08T12:00:00.000Z"
NOW = datetime(2026, 1, 8, 12, 30, tzinfo=UTC)


def task_data(**given: Any) -> dict[str, Any]:
    return {
        "workspace": "shop",
        "taskId": "TASK-12",
        "taskTitle": "Pay by card",
        "parentId": None,
        "streamId": "Stream-B",
        "assignedAgent": "ada",
        "oldStatus": "pending",
        "newStatus": "pending",
        "blockedReason": None,
        "duration": None,
        "changes": [],
        "fields": ["title"],
        **given,
    }


def stream_data(**given: Any) -> dict[str, Any]:
    return {
        "workspace": "shop",
        "streamId": "Stream-B",
        "streamName": "Payments",
        "progressPercentage": 25.0,
        "blockedTasks": 0,
        "status": "in_progress",
        **given,
    }


def checkpoint_data(**given: Any) -> dict[str, Any]:
    known = {"workspace": "shop", "checkpointId": "CP-7", "taskId": "TASK-12"}
    return {**known, "taskTitle": "Pay by card", "streamId": "Stream-B", **given}


def event(event_type: str, *, actor: str = "ada", at: str = NOON, **given: Any) -> dict[str, Any]:
    kind = event_type.partition(".")[0]
    make = {"task": task_data, "stream": stream_data, "checkpoint": checkpoint_data}[kind]
    data = make(**given)
    return {
        "eventType": event_type,
        "workspace": data["workspace"],
        "actor": actor,
        "timestamp": at,
        "data": data,
    }


def lines(*events: dict[str, Any], everywhere: bool = False) -> list[str]:
    """The sentences without their times."""
    found = [sentence(change, NOW, everywhere=everywhere) for change in changes_of(events)]
    return [line.partition(" ")[2] for line in found]


def status(old: str, new: str, **given: Any) -> list[dict[str, Any]]:
    both = {"oldStatus": old, "newStatus": new, **given}
    changes = [{"field": "status", "oldValue": old, "newValue": new}]
    return [
        event("task.updated", **both, changes=changes),
        event("task.status_changed", **both),
        *([event(f"task.{new}", **both)] if new in {"blocked", "completed"} else []),
    ]


def test_a_change_of_status_with_its_stream_is_one_line() -> None:
    found = lines(
        *status("pending", "in_progress"), event("stream.progress"), event("stream.started")
    )
    assert found == ["ada TASK-12 Pay by card: pending → in_progress (Stream-B 25 %, started)"]


def test_a_blocked_task_is_shown_with_its_reason() -> None:
    found = lines(
        *status("in_progress", "blocked", blockedReason="no key"),
        event("stream.progress", blockedTasks=1),
        event("stream.blocked", blockedTasks=1, blockedReason="no key"),
    )
    assert found == [
        "ada TASK-12 Pay by card: in_progress → blocked: no key (Stream-B 25 %, 1 blocked)"
    ]


def test_a_completed_task_is_shown_with_how_long_it_took() -> None:
    events = status("in_progress", "completed", duration=181_000)
    progress = event("stream.progress", progressPercentage=100.0)
    done = event("stream.completed", progressPercentage=100.0, duration=1)
    assert lines(*events, progress, done) == [
        "ada TASK-12 Pay by card: in_progress → completed after 3 min (Stream-B 100 %, completed)"
    ]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (event("task.created", oldStatus=None), "TASK-12 Pay by card: created for ada"),
        (event("task.created", assignedAgent=None), "TASK-12 Pay by card: created"),
        (event("task.redacted"), "TASK-12 Pay by card: redacted title"),
        (event("stream.archived"), "Stream-B Payments: archived"),
        (event("stream.archived", streamName="Stream-B"), "Stream-B: archived"),
        (event("stream.progress"), "Stream-B Payments: 25 %"),
        (
            event("stream.blocked", blockedTasks=2, blockedReason="no key"),
            "Stream-B Payments: 25 %, 2 blocked: no key",
        ),
        (
            event("stream.completed", progressPercentage=100.0, duration=60_000),
            "Stream-B Payments: 100 %, completed after 1 min",
        ),
        (
            event("checkpoint.created", trigger="manual"),
            "TASK-12 Pay by card: checkpoint CP-7 created (manual)",
        ),
        (event("checkpoint.expired"), "TASK-12 Pay by card: checkpoint CP-7 expired"),
        (
            event("task.blocked", oldStatus="pending", newStatus="blocked", blockedReason="x"),
            "TASK-12 Pay by card: pending → blocked: x",
        ),
    ],
)
def test_each_kind_of_change_is_said_in_words(given: dict[str, Any], said: str) -> None:
    assert lines(given) == [f"ada {said}"]


@pytest.mark.parametrize(
    ("changes", "given", "said"),
    [
        ([("assignedAgent", "bob")], {"assignedAgent": "bob"}, "assigned to bob"),
        ([("assignedAgent", None)], {"assignedAgent": None}, "assigned to nobody"),
        ([("streamId", "Stream-B")], {}, "moved to Stream-B"),
        ([("streamId", None)], {"streamId": None}, "left its stream"),
        ([("notes", "n"), ("metadata", {})], {}, "changed notes metadata"),
        (
            [("blockedReason", "no key")],
            {"oldStatus": "blocked", "newStatus": "blocked", "blockedReason": "no key"},
            "blocked: no key",
        ),
    ],
)
def test_an_update_says_what_it_changed(
    changes: list[tuple[str, Any]], given: dict[str, Any], said: str
) -> None:
    rows = [{"field": name, "oldValue": 1, "newValue": value} for name, value in changes]
    found = lines(event("task.updated", changes=rows, **given))
    assert found == [f"ada TASK-12 Pay by card: {said}"]


def test_a_task_that_moves_shows_both_streams_in_one_line() -> None:
    rows = [{"field": "streamId", "oldValue": "Stream-A", "newValue": "Stream-B"}]
    found = lines(
        event("task.updated", changes=rows),
        event("stream.progress", streamId="Stream-A", progressPercentage=50.0),
        event("stream.progress"),
    )
    assert found == ["ada TASK-12 Pay by card: moved to Stream-B (Stream-A 50 %, Stream-B 25 %)"]


@pytest.mark.parametrize(
    "events",
    [
        [event("task.created"), event("task.created", taskId="TASK-13")],
        [event("task.created"), event("task.updated")],
        [event("task.updated"), event("task.updated")],
        [event("task.updated"), event("task.updated", actor="bob")],
        [event("task.created"), event("stream.progress", at="2026-01-08T12:00:00.001Z")],
        [event("task.created"), event("stream.progress", workspace="blog")],
        [event("task.status_changed"), event("task.status_changed")],
        [event("stream.progress"), event("stream.progress")],
        [event("stream.progress", streamId="Stream-A"), event("stream.progress")],
        [event("stream.archived", streamId="Stream-A"), event("stream.archived")],
        [event("checkpoint.created", trigger="manual"), event("checkpoint.resumed")],
        [event("task.updated"), event("checkpoint.resumed")],
    ],
)
def test_two_changes_are_two_lines(events: list[dict[str, Any]]) -> None:
    assert len(lines(*events)) == 2


def test_with_all_workspaces_the_line_names_it() -> None:
    assert lines(event("stream.archived"), everywhere=True) == [
        "shop ada Stream-B Payments: archived"
    ]


def test_another_day_is_shown_with_its_date() -> None:
    (change,) = changes_of([event("stream.archived")])
    later = datetime(2026, 1, 20, tzinfo=UTC)
    assert sentence(change, later).startswith("2026-01-08 ")
    assert sentence(change, NOW).partition(" ")[0].count(":") == 2


def test_only_what_is_done_is_a_hundred_percent() -> None:
    assert [percent(value) for value in (0.0, 99.9, 100.0)] == ["0 %", "99 %", "100 %"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0 s"), (59.9, "59 s"), (60, "1 min"), (7200, "2 h"), (100_000, "27 h"), (3e5, "3 days")],
)
def test_spans_are_short(seconds: float, text: str) -> None:
    assert span(seconds) == text


any_text = st.text(max_size=30)
any_event = st.builds(
    lambda kind, actor, at, number, stream, title: event(
        kind,
        actor=actor,
        at=at,
        streamId=stream,
        sequence=number,
        **({} if kind.startswith("stream") else {"taskId": f"TASK-{number}", "taskTitle": title}),
        **({"streamName": title} if kind.startswith("stream") else {}),
    ),
    st.sampled_from(EVENT_TYPES),
    st.sampled_from(["ada", "bob"]) | any_text,
    st.sampled_from([NOON, "2026-01-08T12:00:00.001Z"]),
    st.integers(1, 3),
    st.sampled_from(["Stream-A", "Stream-B"]),
    any_text,
)


@given(st.lists(any_event, max_size=25))
def test_every_event_is_in_exactly_one_line_whatever_was_filtered_out(
    events: list[dict[str, Any]],
) -> None:
    changes = changes_of(events)
    assert [each for change in changes for each in change.events] == events
    for change in changes:
        assert change.events
        assert sentence(change, NOW).isprintable()
