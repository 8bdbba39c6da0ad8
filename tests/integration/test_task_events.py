"""Which events a change of a task makes, in which order, with which fields."""

from typing import Any

import pytest

from support import World, counts, table
from task_copilot import task_updates, tasks
from task_copilot.errors import InvalidInput, NotFound
from task_copilot.streams import StreamChange
from task_copilot.task_updates import TaskChange


def update(world: World, number: int, **change: Any) -> list[dict[str, Any]]:
    """Updates a task and returns the events of that."""
    before = len(world.events())
    world.do(lambda tx, scope: task_updates.update_task(tx, scope, number, TaskChange(**change)))
    return world.events()[before:]


def types(events: list[dict[str, Any]]) -> list[str]:
    return [event["eventType"] for event in events]


def test_a_task_without_a_stream_has_no_stream_events(world: World) -> None:
    number = world.task()
    update(world, number, status="completed")
    assert world.event_types() == [
        "task.created",
        "task.updated",
        "task.status_changed",
        "task.completed",
    ]


def test_events_come_in_the_order_of_the_contract(world: World) -> None:
    number = world.task(stream="Stream-A")
    assert world.event_types() == ["task.created", "stream.progress"]
    assert types(update(world, number, status="blocked", blocked_reason="no key")) == [
        "task.updated",
        "task.status_changed",
        "task.blocked",
        "stream.progress",
        "stream.blocked",
        "stream.started",
    ]
    assert types(update(world, number, status="completed")) == [
        "task.updated",
        "task.status_changed",
        "task.completed",
        "stream.progress",
        "stream.completed",
    ]


def test_all_events_of_a_change_have_its_actor_and_time(world: World) -> None:
    world.task(stream="Stream-A")
    stamps = {(event["actor"], event["timestamp"]) for event in world.events()}
    assert len(stamps) == 1
    assert stamps.pop()[0] == "tester"


def test_an_update_that_changes_nothing_says_so_with_one_event(world: World) -> None:
    number = world.task(stream="Stream-A")
    [event] = update(world, number, status="pending", title="A task")
    assert event["eventType"] == "task.updated"
    assert event["data"]["changes"] == []


def test_changes_name_the_field_its_old_and_its_new_value(world: World) -> None:
    number = world.task(metadata={"a": 1, "b": 2})
    [event] = update(
        world, number, title="New", notes="n", metadata={"a": None, "c": 3}, files=("x.py",)
    )
    assert event["data"]["changes"] == [
        {"field": "title", "oldValue": "A task", "newValue": "New"},
        {"field": "notes", "oldValue": None, "newValue": "n"},
        {"field": "files", "oldValue": [], "newValue": ["x.py"]},
        {"field": "metadata", "oldValue": {"a": 1, "b": 2}, "newValue": {"b": 2, "c": 3}},
    ]


def test_a_blocked_task_without_a_reason_says_that_none_was_given(world: World) -> None:
    number = world.task()
    events = update(world, number, status="blocked")
    assert events[-1]["data"]["blockedReason"] == "no reason given"
    [event] = update(world, number, blocked_reason="waiting for a key")
    assert event["data"]["changes"] == [
        {
            "field": "blockedReason",
            "oldValue": "no reason given",
            "newValue": "waiting for a key",
        }
    ]


def test_a_reason_is_forgotten_when_the_task_goes_on(world: World) -> None:
    number = world.task()
    update(world, number, status="blocked", blocked_reason="x")
    assert update(world, number, status="in_progress")[0]["data"]["blockedReason"] is None


def test_a_reason_without_the_status_is_refused(world: World) -> None:
    number = world.task()
    with pytest.raises(InvalidInput, match="blockedReason: goes with status"):
        update(world, number, blocked_reason="x")
    assert len(world.events()) == 1


def test_duration_counts_from_the_first_time_in_progress(world: World) -> None:
    number = world.task()
    first = update(world, number, status="in_progress")[0]
    update(world, number, status="pending")
    update(world, number, status="in_progress")
    completed = update(world, number, status="completed")[-1]
    assert completed["eventType"] == "task.completed"
    assert completed["data"]["duration"] == 3000
    assert completed["data"]["completedAt"] > first["timestamp"]


def test_a_task_that_never_was_in_progress_has_no_duration(world: World) -> None:
    assert update(world, world.task(), status="completed")[-1]["data"]["duration"] is None


def test_a_move_tells_of_the_old_stream_before_the_new_one(world: World) -> None:
    number = world.task(stream="Stream-A")
    world.task(stream="Stream-A")
    events = update(world, number, stream_id="Stream-B", status="in_progress")
    assert [(e["eventType"], e["topic"]) for e in events] == [
        ("task.updated", "task:TASK-1"),
        ("task.status_changed", "task:TASK-1"),
        ("stream.progress", "stream:Stream-A"),
        ("stream.progress", "stream:Stream-B"),
        ("stream.started", "stream:Stream-B"),
    ]
    assert events[2]["data"]["totalTasks"] == 1
    assert events[3]["data"]["totalTasks"] == 1


def test_a_task_that_leaves_its_stream_may_complete_it(world: World) -> None:
    done, left_over = world.task(stream="Stream-A"), world.task(stream="Stream-A")
    update(world, done, status="completed")
    events = update(world, left_over, stream_id="")
    assert types(events) == ["task.updated", "stream.progress", "stream.completed"]
    assert events[1]["data"]["progressPercentage"] == 100.0


def test_a_stream_completes_once_until_it_is_reopened(world: World) -> None:
    first = world.task(stream="Stream-A")
    update(world, first, status="completed")
    second = world.task(stream="Stream-A")
    assert world.events()[-1]["data"]["status"] == "in_progress"
    update(world, second, status="cancelled")
    update(world, first, title="Renamed")
    assert world.event_types().count("stream.completed") == 2
    assert world.event_types().count("stream.started") == 1


def test_a_blocked_task_that_moves_away_leaves_the_other_blocked_ones_announced(
    world: World,
) -> None:
    for _ in range(2):
        update(world, world.task(stream="Stream-A"), status="blocked", blocked_reason="r")
    events = update(world, 1, stream_id="Stream-B")
    blocked = [e["data"] for e in events if e["eventType"] == "stream.blocked"]
    assert [(b["streamId"], b["blockedTaskIds"]) for b in blocked] == [
        ("Stream-A", ["TASK-2"]),
        ("Stream-B", ["TASK-1"]),
    ]


def test_a_stream_names_its_newest_twenty_blocked_tasks(world: World) -> None:
    for place in range(22):
        number = world.task(stream="Stream-A")
        update(world, number, status="blocked", blocked_reason=f"reason {place}")
    data = [e for e in world.events() if e["eventType"] == "stream.blocked"][-1]["data"]
    assert data["blockedTaskIds"] == [f"TASK-{n}" for n in range(22, 2, -1)]
    assert data["blockedReason"] == "reason 21"


@pytest.mark.parametrize(
    ("completed", "total", "percentage"), [(0, 3, 0.0), (1, 3, 33.3), (2, 3, 66.7), (3, 3, 100.0)]
)
def test_stream_progress_is_the_share_of_completed_tasks(
    world: World, completed: int, total: int, percentage: float
) -> None:
    numbers = [world.task(stream="Stream-A") for _ in range(total)]
    world.task(stream="Stream-A")
    update(world, total + 1, status="cancelled")
    for number in numbers[:completed]:
        update(world, number, status="completed")
    progress = [e for e in world.events() if e["eventType"] == "stream.progress"][-1]["data"]
    assert progress["totalTasks"] == total
    assert progress["completedTasks"] == completed
    assert progress["progressPercentage"] == percentage


def test_progress_is_not_100_before_the_last_task_is_done(world: World) -> None:
    numbers = [world.task(stream="Stream-A") for _ in range(2)]
    row = "UPDATE streams SET pending = 1, completed = 4999"
    world.do(lambda tx, _scope: tx.connection.exec_driver_sql(row))
    events = update(world, numbers[0], status="in_progress")
    assert events[-2]["data"]["progressPercentage"] == 99.9


def test_later_stream_arguments_replace_name_phase_and_dependencies(world: World) -> None:
    number = world.task(stream="Stream-A")
    [event] = update(
        world,
        number,
        stream_name="Types",
        stream_phase="foundation",
        stream_dependencies=("Stream-Z",),
    )
    assert event["data"]["changes"] == [
        {"field": "streamName", "oldValue": "Stream-A", "newValue": "Types"},
        {"field": "streamPhase", "oldValue": "parallel", "newValue": "foundation"},
        {"field": "streamDependencies", "oldValue": [], "newValue": ["Stream-Z"]},
    ]
    [row] = table(world.database, "streams")
    assert (row["name"], row["phase"], row["dependencies"]) == (
        "Types",
        "foundation",
        '["Stream-Z"]',
    )


def test_a_cycle_of_streams_is_refused_by_name_and_changes_nothing(world: World) -> None:
    def make(stream: str, needs: str) -> None:
        change = StreamChange(stream_id=stream, dependencies=(needs,))
        new = tasks.NewTask(title="t", stream=change)
        world.do(lambda tx, scope: tasks.create(tx, scope, new))

    make("A", "B")
    make("B", "C")
    before = counts(world.database)
    with pytest.raises(InvalidInput, match="C needs A needs B needs C, which is a cycle"):
        make("C", "A")
    with pytest.raises(InvalidInput, match="X needs X, which is a cycle"):
        make("X", "X")
    assert counts(world.database) == before


def test_a_parent_cannot_be_below_its_own_child(world: World) -> None:
    top = world.task()
    middle = world.task(parent=top)
    bottom = world.task(parent=middle)
    with pytest.raises(InvalidInput, match="TASK-3 is TASK-1 itself or one of its subtasks"):
        update(world, top, parent=bottom)
    with pytest.raises(InvalidInput, match="TASK-1 is TASK-1 itself"):
        update(world, top, parent=top)
    [event] = update(world, bottom, parent=top)
    assert event["data"]["parentId"] == "TASK-1"


def test_an_unknown_task_is_answered_with_the_newest_one(world: World) -> None:
    with pytest.raises(NotFound, match="It has no tasks yet; task_create makes one"):
        update(world, 9)
    world.task()
    with pytest.raises(NotFound, match=r"no task TASK-9 .* The newest is TASK-1; task_list"):
        update(world, 9)


def test_a_task_of_another_workspace_is_answered_with_its_name(world: World) -> None:
    number = World(world.database, "blog").task()
    with pytest.raises(NotFound, match="TASK-1 belongs to the workspace 'blog'"):
        update(world, number, title="x")


def test_metadata_may_not_grow_over_its_limit_by_merging(world: World) -> None:
    number = world.task(metadata={"a": "x" * 60_000})
    with pytest.raises(InvalidInput, match="metadata: would be 70,"):
        update(world, number, metadata={"b": "x" * 10_000})
    update(world, number, metadata={"a": None, "b": "x" * 10_000})
