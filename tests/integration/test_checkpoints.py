"""Checkpoints: what they keep, how long, and which events tell of them."""

from typing import Any

import pytest

from support import World, table
from task_copilot import checkpoints, task_updates
from task_copilot.checkpoints import Checkpoint, NewCheckpoint
from task_copilot.clock import minutes_after
from task_copilot.errors import NotFound
from task_copilot.task_updates import TaskChange
from task_copilot.tools.views import changed_since


def checkpoint(world: World, task: int, kept: int = 5, **given: Any) -> Checkpoint:
    new = NewCheckpoint(**given)
    return world.do(lambda tx, scope: checkpoints.create(tx, scope, task, new, kept=kept))


def resume(world: World, task: int, number: int | None = None) -> Checkpoint:
    return world.do(lambda tx, scope: checkpoints.resume(tx, scope, task, number))[1]


def let_expire(world: World, number: int) -> None:
    sql = f"UPDATE checkpoints SET expires_at = '2020' WHERE id = {number}"  # noqa: S608
    world.do(lambda tx, _scope: tx.connection.exec_driver_sql(sql))


def test_creating_one_emits_checkpoint_created(world: World) -> None:
    number = world.task(stream="Stream-A")
    made = checkpoint(world, number, execution_phase="build", execution_step=2, draft_content="d")
    event = world.events()[-1]
    assert (event["eventType"], event["topic"]) == ("checkpoint.created", "checkpoint:TASK-1")
    assert event["data"] == {
        "workspace": "shop",
        "checkpointId": "CP-1",
        "taskId": "TASK-1",
        "taskTitle": "A task",
        "streamId": "Stream-A",
        "sequence": 1,
        "trigger": "manual",
        "executionPhase": "build",
        "executionStep": 2,
        "hasDraft": True,
        "expiresAt": made.expires_at,
        "createdAt": made.created_at,
    }


@pytest.mark.parametrize(
    ("given", "minutes"),
    [({}, 7 * 24 * 60), ({"trigger": "error"}, 24 * 60), ({"expires_in": 5}, 5)],
)
def test_one_expires_after_its_time(world: World, given: dict[str, Any], minutes: int) -> None:
    made = checkpoint(world, world.task(), **given)
    assert made.expires_at == minutes_after(made.created_at, minutes)


def test_resuming_gives_the_latest_or_the_one_that_is_named(world: World) -> None:
    number = world.task()
    first = checkpoint(world, number, agent_context={"at": "one"})
    second = checkpoint(world, number, agent_context={"at": "two"}, execution_step="b")
    assert resume(world, number) == second
    assert resume(world, number, first.id) == first
    assert world.event_types()[-2:] == ["checkpoint.resumed"] * 2


def test_one_keeps_the_task_and_its_subtasks_as_they_were(world: World) -> None:
    number = world.task(metadata={"a": 1}, assigned_agent="me")
    child = world.task(parent=number)
    made = checkpoint(world, number)
    for task, change in (
        (number, TaskChange(status="blocked", notes="new", metadata={"a": 2})),
        (child, TaskChange(status="completed")),
    ):
        world.do(lambda tx, s, t=task, c=change: task_updates.update_task(tx, s, t, c))  # type: ignore[misc]
    new_child = world.task(parent=number)
    kept = resume(world, number)
    assert kept.snapshot == made.snapshot
    now = checkpoint(world, number).snapshot
    assert changed_since(kept.snapshot, now) == [
        {"field": "status", "then": "pending", "now": "blocked"},
        {"field": "blockedReason", "then": None, "now": "no reason given"},
        {"field": "notes", "then": None, "now": "new"},
        {"field": "metadata", "then": {"a": 1}, "now": {"a": 2}},
        {"subtask": "TASK-2", "then": "pending", "now": "completed"},
        {"subtask": f"TASK-{new_child}", "then": None, "now": "pending"},
    ]


def test_the_newest_five_stay_and_sequence_goes_on(world: World) -> None:
    number = world.task()
    made = [checkpoint(world, number) for _ in range(7)]
    assert [row["sequence"] for row in table(world.database, "checkpoints")] == [3, 4, 5, 6, 7]
    assert "checkpoint.expired" not in world.event_types()
    with pytest.raises(
        NotFound, match=r"TASK-1 has no checkpoint CP-1\. The newest of TASK-1 is CP-7"
    ):
        resume(world, number, made[0].id)


def test_sequence_goes_on_after_all_have_expired(world: World) -> None:
    number = world.task()
    let_expire(world, checkpoint(world, number).id)
    world.do(lambda tx, _scope: checkpoints.expire(tx))
    assert checkpoint(world, number).sequence == 2


def test_an_expired_one_is_refused_and_says_when(world: World) -> None:
    number = world.task()
    old = checkpoint(world, number)
    let_expire(world, old.id)
    before = len(world.events())
    with pytest.raises(NotFound, match=r"CP-1 expired at 2020\. TASK-1 has none"):
        resume(world, number, old.id)
    with pytest.raises(NotFound, match="TASK-1 has no checkpoint"):
        resume(world, number)
    assert len(world.events()) == before


def test_expired_ones_are_removed_with_an_event_each(world: World) -> None:
    number = world.task(stream="Stream-A")
    other = World(world.database, "blog")
    foreign = other.task()
    checkpoint(world, number)
    for owner, task in ((world, number), (other, foreign)):
        let_expire(owner, checkpoint(owner, task).id)
    assert world.do(lambda tx, _scope: checkpoints.expire(tx)) == 2
    expired = [e["data"] for e in world.events() if e["eventType"] == "checkpoint.expired"]
    assert [(e["workspace"], e["checkpointId"], e["streamId"]) for e in expired] == [
        ("shop", "CP-2", "Stream-A"),
        ("blog", "CP-3", None),
    ]
    assert [row["id"] for row in table(world.database, "checkpoints")] == [1]
    assert world.do(lambda tx, _scope: checkpoints.expire(tx)) == 0


def test_an_expired_one_that_must_make_room_gets_its_event_too(world: World) -> None:
    number = world.task()
    let_expire(world, checkpoint(world, number, kept=1).id)
    checkpoint(world, number, kept=1)
    assert world.event_types()[-2:] == ["checkpoint.created", "checkpoint.expired"]


def test_one_of_another_task_is_refused(world: World) -> None:
    mine, other = world.task(), world.task()
    made = checkpoint(world, other)
    with pytest.raises(NotFound, match="CP-1 is not a checkpoint of TASK-1"):
        resume(world, mine, made.id)
