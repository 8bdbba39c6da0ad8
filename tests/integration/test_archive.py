"""Finished streams are put away, by hand or after a while, and come back with work in them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from support import World, database_at, table, ticking
from task_copilot import archive, streams, task_updates, tasks
from task_copilot.application import Application
from task_copilot.errors import InvalidInput, NotFound
from task_copilot.location import Location
from task_copilot.settings import Settings
from task_copilot.streams import Stream
from task_copilot.tools import operations
from task_copilot.tools.answers import Answer
from task_copilot.tools.arguments import StreamList, TaskList
from task_copilot.tools.session import ToolSession

LATER = "2026-02-08T12:00:00.000Z"


def update(world: World, number: int, **change: Any) -> None:
    said = task_updates.TaskChange(**change)
    world.do(lambda tx, scope: task_updates.update_task(tx, scope, number, said))


def finished(world: World, stream: str = "Stream-A") -> int:
    number = world.task(stream=stream)
    update(world, number, status="completed")
    return number


def put_away(world: World, stream: str = "Stream-A") -> Stream:
    return world.do(lambda tx, scope: archive.archive(tx, scope, stream))


def is_archived(world: World, stream: str = "Stream-A") -> bool:
    workspace = world.scope.workspace.id
    found = world.database.read_now(lambda c: streams.find(c, workspace, stream))
    assert found is not None
    return found.archived_at is not None


def test_archiving_a_finished_stream_tells_listeners(world: World) -> None:
    finished(world)
    put_away(world)
    event = world.events()[-1]
    assert event["eventType"] == "stream.archived"
    assert event["topic"] == "stream:Stream-A"
    assert event["data"]["archivedAt"] == event["timestamp"] == event["data"]["lastUpdated"]
    assert event["data"]["status"] == "completed"
    assert is_archived(world)


@pytest.mark.parametrize(
    ("statuses", "reason"),
    [
        (("completed", "pending"), "1 open task"),
        (("blocked", "in_progress", "pending"), "3 open tasks"),
        (("cancelled",), "no completed task"),
    ],
)
def test_only_a_finished_stream_can_be_archived(
    world: World, statuses: tuple[str, ...], reason: str
) -> None:
    for status in statuses:
        update(world, world.task(stream="Stream-A"), status=status)
    before = world.events()
    with pytest.raises(InvalidInput, match=rf"Stream-A is not finished: it has {reason}\."):
        put_away(world)
    assert world.events() == before
    assert not is_archived(world)


def test_archiving_twice_says_since_when(world: World) -> None:
    finished(world)
    stream = put_away(world)
    with pytest.raises(InvalidInput, match=f"archived already, since {stream.archived_at}"):
        put_away(world)


def test_an_unknown_stream_is_refused_with_those_that_exist(world: World) -> None:
    with pytest.raises(NotFound, match="it has no streams"):
        put_away(world)
    finished(world)
    with pytest.raises(NotFound, match=r"No stream 'Stream-X' in the workspace shop; it has Strea"):
        put_away(world, "Stream-X")
    other = World(world.database, "blog")
    with pytest.raises(NotFound):
        put_away(other)


def moved_in(world: World, status: str) -> Callable[[], None]:
    number = world.task(stream="Stream-B")
    update(world, number, status=status)
    return lambda: update(world, number, stream_id="Stream-A")


@pytest.mark.parametrize(
    ("change", "comes_back"),
    [
        (lambda w, n: lambda: w.task(stream="Stream-A"), True),
        (lambda w, n: lambda: update(w, n, status="in_progress"), True),
        (lambda w, n: moved_in(w, "pending"), True),
        (lambda w, n: moved_in(w, "completed"), True),
        (lambda w, n: moved_in(w, "cancelled"), True),
        (lambda w, n: lambda: update(w, n, stream_id="Stream-B"), True),
        (lambda w, n: lambda: update(w, n, notes="afterthought"), False),
        (lambda w, n: lambda: update(w, n, title="Renamed", stream_name="Renamed too"), False),
        (lambda w, n: lambda: update(w, n, status="completed"), False),
    ],
    ids=[
        *("created", "reopened", "open one moves in", "completed one moves in"),
        *("cancelled one moves in", "one leaves", "notes", "names", "no change"),
    ],
)
def test_a_stream_comes_back_with_what_changes_its_tasks_and_progress_says_so(
    world: World, change: Callable[[World, int], Callable[[], None]], *, comes_back: bool
) -> None:
    number = finished(world)
    act = change(world, number)
    put_away(world)
    seen = len(world.events())
    act()
    told = [
        event["eventType"] for event in world.events()[seen:] if event["topic"] == "stream:Stream-A"
    ]
    assert is_archived(world) is not comes_back
    assert ("stream.progress" in told) is comes_back


def test_a_stream_that_came_back_can_be_archived_again(world: World) -> None:
    number = finished(world)
    put_away(world)
    update(world, number, status="pending")
    update(world, number, status="completed")
    put_away(world)
    assert world.event_types().count("stream.archived") == 2


def test_all_finished_streams_are_archived_a_portion_at_a_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in range(3):
        finished(world, f"Stream-{place}")
    world.task(stream="Stream-open")
    finished(World(world.database, "blog"), "Stream-other")
    monkeypatch.setattr(archive, "_FINISHED", archive._FINISHED.limit(2))
    portions = [world.do(archive.archive_finished) for _ in range(3)]
    assert [[s.stream_id for s in found] for found in portions] == [
        ["Stream-0", "Stream-1"],
        ["Stream-2"],
        [],
    ]
    rows = table(world.database, "streams")
    away = [row["stream_id"] for row in rows if row["archived_at"]]
    assert away == ["Stream-0", "Stream-1", "Stream-2"]


# After a while


def test_what_did_not_change_for_long_is_archived_in_every_workspace(world: World) -> None:
    other = World(world.database, "blog")
    finished(world)
    finished(other)
    world.task(stream="Stream-open")
    assert world.database.read_now(lambda c: archive.any_unchanged(c, LATER))
    assert world.database.write_now(lambda tx: archive.archive_unchanged(tx, LATER)) == 2
    assert not world.database.read_now(lambda c: archive.any_unchanged(c, LATER))
    told = [e for e in world.events() if e["eventType"] == "stream.archived"]
    assert [(e["workspace"], e["actor"]) for e in told] == [
        ("shop", "task-copilot"),
        ("blog", "task-copilot"),
    ]


def test_a_change_of_any_task_keeps_a_stream_in_view(world: World) -> None:
    number = finished(world)
    stream_changed = table(world.database, "streams")[0]["updated_at"]
    update(world, number, notes="still at it")
    task_changed = table(world.database, "tasks")[0]["updated_at"]
    assert task_changed > stream_changed

    def unchanged(before: str) -> bool:
        return world.database.read_now(lambda c: archive.any_unchanged(c, before))

    assert not unchanged(task_changed)
    assert unchanged(task_changed + "0")


@pytest.mark.parametrize(("days", "archived"), [(0, 0), (7, 1), (60, 0)])
async def test_the_sweep_archives_after_the_days_of_the_setting(
    database_url: str, days: int, archived: int
) -> None:
    database = database_at(database_url, clock=ticking())
    world = World(database)
    finished(world)
    application = Application(database, Settings(archive_after_days=days), lambda: LATER)
    await application._archive_streams()
    assert world.event_types().count("stream.archived") == archived
    await application.close()


async def test_a_failing_step_of_the_sweep_leaves_the_others_working(
    database_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    database = database_at(database_url, clock=ticking())
    finished(World(database))
    application = Application(database, Settings(archive_after_days=7), lambda: LATER)

    async def broken() -> None:
        raise ZeroDivisionError

    archive_streams, swept = application._archive_streams, asyncio.Event()

    async def archiving() -> None:
        await archive_streams()
        swept.set()

    monkeypatch.setattr(application, "_expire_checkpoints", broken)
    monkeypatch.setattr(application, "_archive_streams", archiving)
    sweep = asyncio.create_task(application._sweep())
    await asyncio.wait_for(swept.wait(), 10)
    sweep.cancel()
    assert table(database, "streams")[0]["archived_at"]
    assert "Expired checkpoints could not be removed; trying later" in caplog.text
    await application.close()


# What agents see


async def answer(world: World, tool: Callable[..., Awaitable[Answer]], given: Any) -> Answer:
    async def opened() -> Any:
        return world.database

    session = ToolSession(opened, Location("shop", "/work/shop"), 5, lambda: LATER)
    return await tool(session, "tester", given)


async def lines(world: World, tool: Callable[..., Awaitable[Answer]], given: Any) -> list[str]:
    return (await answer(world, tool, given)).text.splitlines()


async def test_lists_leave_out_archived_streams_and_their_tasks_and_say_so(world: World) -> None:
    finished(world)
    finished(world)
    world.task("Next", "Stream-B")
    world.task("In no stream")
    before = await lines(world, operations.task_list, TaskList())
    assert before[0] == "shop: 4 tasks: 2 pending, 2 completed"
    put_away(world)
    assert await lines(world, operations.stream_list, StreamList()) == [
        "shop: 1 stream (+1 archived), ready to start: Stream-B",
        "Stream-B pending 0/1 parallel READY",
    ]
    assert await lines(world, operations.task_list, TaskList()) == [
        "shop: 2 tasks (+2 in archived streams): 2 pending",
        "TASK-3 pending Stream-B Next",
        "TASK-4 pending - In no stream",
    ]
    completed = await lines(world, operations.task_list, TaskList(status="completed"))
    assert completed == ["shop: 0 tasks (+2 in archived streams)"]
    named = await lines(
        world, operations.task_list, TaskList.model_validate({"streamId": "Stream-A"})
    )
    assert named[0] == "shop: 2 tasks: 2 completed"


async def test_a_stream_that_needs_an_archived_one_is_ready(world: World) -> None:
    finished(world)
    put_away(world)
    needs = streams.StreamChange(stream_id="Stream-B", dependencies=("Stream-A",))
    new = tasks.NewTask(title="Next", stream=needs)
    world.do(lambda tx, scope: tasks.create(tx, scope, new))
    found = await lines(world, operations.stream_list, StreamList())
    assert found[1] == "Stream-B pending 0/1 parallel needs Stream-A READY"


async def test_a_page_of_streams_goes_on_where_it_was_though_some_were_archived(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in range(6):
        finished(world, f"Stream-{place}")
    put_away(world, "Stream-1")
    monkeypatch.setattr(operations, "rows_that_fit", lambda rows, reserved: min(2, len(rows)))
    seen, cursor = [], None
    for archived in ("Stream-0", "Stream-3", "Stream-5"):
        given = StreamList.model_validate({"format": "json", "cursor": cursor})
        page = (await answer(world, operations.stream_list, given)).structured
        assert page is not None
        seen += [row["streamId"] for row in page["streams"]]
        cursor = page.get("nextCursor")
        put_away(world, archived)
    assert seen == ["Stream-0", "Stream-2", "Stream-3", "Stream-4", "Stream-5"]
    assert cursor is None
