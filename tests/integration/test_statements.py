"""How many statements each operation sends to the database, whatever the tables hold."""

from collections.abc import Callable
from typing import Any

import pytest

from support import World
from task_copilot import checkpoints, streams, task_queries, task_updates, tasks
from task_copilot.checkpoints import NewCheckpoint
from task_copilot.errors import InvalidInput
from task_copilot.streams import StreamChange
from task_copilot.task_updates import TaskChange

pytestmark = pytest.mark.sqlite_only

FRAME = ("BEGIN", "COMMIT", "ROLLBACK", "PRAGMA")


def traced(world: World, work: Callable[[], Any]) -> list[str]:
    """The statements of `work`, without those that frame a transaction."""
    world.do(lambda _tx, _scope: None)
    connection = world.database.committer.connection.connection.driver_connection
    assert connection is not None
    seen: list[str] = []
    connection.set_trace_callback(seen.append)
    try:
        work()
    finally:
        connection.set_trace_callback(None)
    return [statement for statement in seen if not statement.startswith(FRAME)]


def update(world: World, number: int, **change: Any) -> Callable[[], Any]:
    said = TaskChange(**change)
    return lambda: world.do(lambda tx, scope: task_updates.update_task(tx, scope, number, said))


def test_a_task_in_a_known_stream_takes_five_statements(world: World) -> None:
    world.task(stream="Stream-A")
    new = tasks.NewTask(title="t", stream=StreamChange(stream_id="Stream-A"))
    seen = traced(world, lambda: world.do(lambda tx, scope: tasks.create(tx, scope, new)))
    # read and write the stream, write the task, number the events and one insert for each of two
    assert len(seen) == 6, seen


@pytest.mark.parametrize("size", [1, 200])
def test_a_status_update_takes_the_same_statements_in_a_large_stream(
    world: World, size: int
) -> None:
    for _ in range(size):
        world.task(stream="Stream-A")
    seen = traced(world, update(world, 1, status="in_progress"))
    # read task and stream, write both, number the events, one insert for each of the four
    assert len(seen) == 8, seen
    assert not any("count(" in statement for statement in seen)


def test_a_refused_update_writes_nothing(world: World) -> None:
    number = world.task()

    def refused() -> None:
        with pytest.raises(InvalidInput, match="blockedReason"):
            update(world, number, blocked_reason="x")()

    seen = traced(world, refused)
    assert [statement.split()[0] for statement in seen] == ["SELECT"]


def test_a_list_of_streams_does_not_read_the_tasks(world: World) -> None:
    for place in range(50):
        world.task(stream=f"Stream-{place}")
    workspace = world.scope.workspace.id
    seen = traced(world, lambda: world.do(lambda tx, _s: streams.every(tx.connection, workspace)))
    assert len(seen) == 1
    assert "tasks" not in seen[0]


def test_a_checkpoint_takes_the_same_statements_with_many_subtasks(world: World) -> None:
    parent = world.task()
    for _ in range(100):
        world.task(parent=parent)
    new = NewCheckpoint()
    seen = traced(
        world,
        lambda: world.do(lambda tx, scope: checkpoints.create(tx, scope, parent, new, kept=5)),
    )
    # read the task, its texts and subtasks, count up, insert, look for old ones, number, event
    assert len(seen) == 8, seen


def test_a_page_of_tasks_is_one_statement(world: World) -> None:
    for _ in range(30):
        world.task()
    wanted = task_queries.TaskFilter()
    workspace = world.scope.workspace
    seen = traced(
        world,
        lambda: world.do(
            lambda tx, _s: task_queries.page(tx.connection, workspace, wanted, after=0, limit=20)
        ),
    )
    assert len(seen) == 1
