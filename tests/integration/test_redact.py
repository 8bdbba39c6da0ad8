"""A redacted value is in no row, no checkpoint, no event and no byte of the database's files."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from support import World, close, database_at, events_of, table, ticking, url_of
from task_copilot import checkpoints, redact, task_updates, tasks
from task_copilot.database import sqlite
from task_copilot.errors import InvalidInput, NotFound
from task_copilot.events import log
from task_copilot.events.bus import Bus
from task_copilot.events.log import LogRow, LogState
from task_copilot.events.pages import LogPages
from task_copilot.events.types import MAX_EVENT_BYTES

SECRET = "hunter2"
MARK = {"redacted": True}


def update(world: World, number: int, **change: Any) -> None:
    said = task_updates.TaskChange(**change)
    world.do(lambda tx, scope: task_updates.update_task(tx, scope, number, said))


def keep(world: World, number: int, **given: Any) -> None:
    new = checkpoints.NewCheckpoint(**given)
    world.do(lambda tx, scope: checkpoints.create(tx, scope, number, new, kept=9))


def removed(world: World, number: int, field: str) -> redact.Redacted:
    return world.do(lambda tx, scope: redact.redact(tx, scope, number, field))


def everything(world: World) -> str:
    """All rows of all tables."""
    names = ("workspaces", "streams", "tasks", "checkpoints", "events", "log")
    return str([table(world.database, name) for name in names])


def secret_title(world: World) -> int:
    number = world.task(SECRET, "Stream-A")
    keep(world, number)
    update(world, number, title="harmless", status="blocked", blocked_reason="x")
    update(world, number, status="completed")
    world.do(lambda tx, scope: checkpoints.resume(tx, scope, number, None))
    return number


def secret_description(world: World) -> int:
    number = world.task(description=SECRET)
    keep(world, number)
    update(world, number, description=f"{SECRET} and more")
    return number


def secret_notes(world: World) -> int:
    number = world.task()
    update(world, number, notes=SECRET)
    keep(world, number)
    update(world, number, notes="without it")
    return number


def secret_metadata(world: World) -> int:
    number = world.task(metadata={"token": SECRET, "kept": 1})
    update(world, number, metadata={"token": None, "other": [SECRET]})
    keep(world, number)
    update(world, number, metadata={"token": {"deep": SECRET}, "other": "fine"})
    return number


def secret_key(world: World) -> int:
    number = world.task(metadata={"token": SECRET, "kept": 1})
    keep(world, number)
    update(world, number, metadata={"more": 2})
    update(world, number, metadata={"token": None})
    return number


def secret_reason(world: World) -> int:
    number = world.task("blocked", "Stream-A")
    update(world, number, status="blocked", blocked_reason=SECRET)
    keep(world, number)
    update(world, number, blocked_reason=f"{SECRET}!")
    update(world, world.task("next", "Stream-A"), status="blocked", blocked_reason="another")
    update(world, 2, status="pending")
    return number


def secret_files(world: World) -> int:
    number = world.task(files=(SECRET, "b.py"))
    update(world, number, files=("c.py",))
    return number


def secret_checkpoints(world: World) -> int:
    number = world.task()
    keep(world, number, agent_context={"k": SECRET}, draft_content=SECRET, draft_type=SECRET)
    keep(world, number, pause_metadata={"pauseReason": SECRET})
    keep(world, number, execution_phase=SECRET, execution_step=SECRET)
    return number


FIELDS: dict[str, Callable[[World], int]] = {
    "title": secret_title,
    "description": secret_description,
    "notes": secret_notes,
    "metadata": secret_metadata,
    "metadata.token": secret_key,
    "blockedReason": secret_reason,
    "files": secret_files,
    "checkpoints": secret_checkpoints,
}


@pytest.mark.parametrize("field", FIELDS)
def test_a_redacted_value_is_nowhere_and_all_else_stays(world: World, field: str) -> None:
    world.task("Another", "Stream-A", description="harmless")
    world.scope = type(world.scope)(world.scope.workspace, "me")
    number = FIELDS[field](world)
    assert SECRET in everything(world)
    before = world.events()
    removed(world, number, field)
    assert SECRET not in everything(world)
    after = world.events()
    assert [strip(event) for event in after[:-1]] == [strip(event) for event in before]
    assert [event["seq"] for event in after] == list(range(1, len(before) + 2))


def strip(event: dict[str, Any]) -> dict[str, Any]:
    """An event without the values that a redaction may change."""
    values = ("taskTitle", "blockedReason", "executionPhase", "executionStep", "changes")
    data = {name: value for name, value in event["data"].items() if name not in values}
    changed = [change["field"] for change in event["data"].get("changes", ())]
    return {**event, "data": {**data, "changed": changed}}


@pytest.mark.parametrize("field", FIELDS)
def test_a_redaction_tells_listeners_which_field(world: World, field: str) -> None:
    number = FIELDS[field](world)
    removed(world, number, field)
    event = world.events()[-1]
    assert event["eventType"] == "task.redacted"
    assert event["topic"] == f"task:TASK-{number}"
    assert event["data"]["fields"] == [field]
    assert event["data"]["redactedAt"] == event["timestamp"]
    assert event["data"]["oldStatus"] == event["data"]["newStatus"]


def test_a_title_stands_as_redacted_wherever_it_stood(world: World) -> None:
    number = secret_title(world)
    done = removed(world, number, "title")
    [task] = table(world.database, "tasks")
    assert task["title"] == "[redacted]"
    titles = {e["data"]["taskTitle"] for e in world.events() if "taskTitle" in e["data"]}
    assert titles == {"[redacted]"}
    [change] = [
        change
        for event in world.events()
        for change in event["data"].get("changes", ())
        if change["field"] == "title"
    ]
    assert change == {"field": "title", "oldValue": MARK, "newValue": MARK}
    assert done == redact.Redacted(events=9, checkpoints=1)


def test_only_the_named_key_of_the_metadata_goes(world: World) -> None:
    number = secret_key(world)
    removed(world, number, "metadata.token")
    [task] = table(world.database, "tasks")
    assert task["metadata"] == '{"kept":1,"more":2}'
    assert '"metadata":{"kept":1}' in table(world.database, "checkpoints")[0]["snapshot"]
    changes = [
        (change["oldValue"], change["newValue"])
        for event in world.events()
        for change in event["data"].get("changes", ())
    ]
    assert changes == [
        ({"token": MARK, "kept": 1}, {"token": MARK, "kept": 1, "more": 2}),
        ({"token": MARK, "kept": 1, "more": 2}, {"kept": 1, "more": 2}),
    ]


def test_the_reason_of_another_blocked_task_stays(world: World) -> None:
    number = secret_reason(world)
    removed(world, number, "blockedReason")
    reasons = [e["data"]["blockedReason"] for e in world.events() if "block" in e["eventType"]]
    assert "another" in reasons
    assert table(world.database, "tasks")[number - 1]["blocked_reason"] == "[redacted]"


def test_what_one_task_says_stays_when_another_is_redacted(world: World) -> None:
    for _ in range(12):
        world.task(SECRET)
    removed(world, 1, "title")
    titles = [e["data"]["taskTitle"] for e in world.events() if e["eventType"] == "task.created"]
    assert titles == ["[redacted]", *[SECRET] * 11]


def test_an_update_of_the_same_commit_is_redacted_too(world: World) -> None:
    number = world.task("Named once", "Stream-A")
    said = task_updates.TaskChange(notes=SECRET, status="blocked", blocked_reason=SECRET)

    def both(tx: Any, scope: Any) -> None:
        task_updates.update_task(tx, scope, number, said)
        redact.redact(tx, scope, number, "notes")
        redact.redact(tx, scope, number, "blockedReason")

    world.do(both)
    assert SECRET not in everything(world)


def test_a_checkpoint_can_be_resumed_after_a_redaction(world: World) -> None:
    number = secret_checkpoints(world)
    for field in ("checkpoints", "title"):
        removed(world, number, field)
    task, checkpoint = world.do(lambda tx, scope: checkpoints.resume(tx, scope, number, 1))
    assert (checkpoint.agent_context, checkpoint.draft_content) == (None, None)
    assert checkpoint.snapshot["title"] == task.title == "[redacted]"


def test_many_events_are_redacted_in_portions(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redact, "EVENTS_AT_ONCE", 3)
    number = world.task()
    for place in range(20):
        update(world, number, notes=f"{SECRET} {place}")
    assert removed(world, number, "notes").events == 20
    assert SECRET not in everything(world)


def test_an_event_at_the_limit_of_its_size_stays_within_it(world: World) -> None:
    number = world.task("t", metadata={"token": 1})
    changes = {f"k{place}": "x" * 127 for place in range(13)}
    for place in range(3):
        update(world, number, title="t" * 500, metadata={**changes, "token": 2 + place})
        update(world, number, title="t", description="d" * 2000, notes="n" * 2000)
    for field in ("title", "metadata.token"):
        removed(world, number, field)
    assert all(len(row["payload"]) <= MAX_EVENT_BYTES for row in table(world.database, "events"))


# Refusals


@pytest.mark.parametrize(
    "field", ["", "status", "Title", "metadata.", "title.x", "notes.token", "workspace"]
)
def test_only_what_people_write_can_be_redacted(world: World, field: str) -> None:
    number = secret_title(world)
    with pytest.raises(InvalidInput, match=r"title, description, .* and metadata\.KEY"):
        removed(world, number, field)
    assert world.event_types()[-1] != "task.redacted"


@pytest.mark.parametrize("field", ["notes", "metadata.tokem", "blockedReason", "checkpoints"])
def test_nothing_is_written_where_there_is_nothing_to_redact(world: World, field: str) -> None:
    number = world.task(metadata={"token": 1})
    before = everything(world)
    with pytest.raises(InvalidInput, match=f"TASK-1 has no {field} to redact, now or before"):
        removed(world, number, field)
    assert everything(world) == before


def test_a_field_is_redacted_once(world: World) -> None:
    number = secret_title(world)
    removed(world, number, "title")
    with pytest.raises(InvalidInput, match="no title to redact"):
        removed(world, number, "title")


def test_a_task_of_another_workspace_cannot_be_redacted(world: World) -> None:
    number = secret_title(world)
    other = World(world.database, "blog")
    with pytest.raises(NotFound, match="belongs to the workspace 'shop'"):
        removed(other, number, "title")


# The files


def bytes_of(world: World) -> bytes:
    path = Path(str(world.database.url.database))
    return b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))


@pytest.mark.sqlite_only
def test_the_writing_connection_overwrites_what_it_deletes(world: World) -> None:
    on = world.do(lambda tx, _s: tx.connection.exec_driver_sql("PRAGMA secure_delete").scalar())
    assert on == 1


@pytest.mark.sqlite_only
def test_the_bytes_are_in_no_file_of_the_database_afterwards(world: World) -> None:
    # Rows that grow between others make SQLite split pages, and copies of rows stay behind:
    # with this seed some do where nothing but secure_delete removes them.
    chance = random.Random(3)
    secrets, others = [], []
    for _ in range(75):
        long = {"title": SECRET + "t" * chance.randrange(200)}
        long["description"] = SECRET + "y" * chance.randrange(300)
        secrets.append(world.task(**long))
        others.append(world.task("t"))
    for _ in range(150):
        number = chance.choice(others + secrets)
        if number in others:
            update(world, number, description="z" * chance.randrange(2500))
        else:
            update(world, number, notes="z" * chance.randrange(900))
    keep(world, secrets[0], draft_content=SECRET * 5000)
    removed(world, secrets[0], "checkpoints")
    for number in secrets:
        removed(world, number, "description")
        removed(world, number, "title")
    assert world.database.scrub() is None
    world.database.committer.close()
    world.database.read_engine.dispose()
    assert SECRET.encode() not in bytes_of(world)


def test_other_processes_write_on_after_a_scrub(world: World) -> None:
    number = secret_title(world)
    other = World(database_at(url_of(world.database), clock=ticking()))
    other.task("before")
    removed(world, number, "title")
    world.database.scrub()
    other.task("after")
    world.task("and here")
    assert [event["seq"] for event in events_of(other.database)] == list(
        range(1, len(world.events()) + 1)
    )
    close(other.database)


@pytest.mark.sqlite_only
def test_a_scrub_says_when_a_reader_keeps_the_old_bytes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "LOCK_WAIT_SECONDS", 0.05)
    number = secret_title(world)
    with world.database.read_engine.connect() as connection, connection.begin():
        connection.exec_driver_sql("SELECT count(*) FROM tasks").all()
        removed(world, number, "title")
        assert "may still hold" in str(world.database.scrub())
    assert world.database.scrub() is None


# A running hub


def payloads(rows: Sequence[LogRow]) -> str:
    return "".join(row.payload for row in rows)


async def test_a_hub_serves_no_event_from_memory_that_was_redacted(world: World) -> None:
    state = world.database.read_now(log.state)
    bus = Bus(LogState(state.epoch, 0), LogPages(world.database))

    def rows_after(position: int) -> list[LogRow]:
        return world.database.read_now(lambda c: log.rows_after(c, position))

    number = secret_title(world)
    bus.publish(rows_after(0))
    assert SECRET in payloads((await bus.after(0, 100)).rows)
    head = bus.head
    removed(world, number, "title")
    world.task("and on")
    bus.publish(rows_after(head))
    rows = (await bus.after(0, 100)).rows
    assert SECRET not in payloads(rows)
    assert [row.seq for row in rows] == list(range(1, bus.head + 1))
    later = (await bus.after(head, 100)).rows
    assert [row.seq for row in later] == list(range(head + 1, bus.head + 1))


@pytest.mark.parametrize(
    "words", ['"eventType":"task.redacted"', '{"seq":1,"topic":"task:TASK-1","eventType":"task.red']
)
def test_words_of_a_task_are_not_taken_for_a_redaction(world: World, words: str) -> None:
    world.do(lambda tx, scope: tasks.create(tx, scope, tasks.NewTask(title=words)))
    rows = world.database.read_now(lambda c: log.rows_after(c, 0))
    assert not any(map(log.tells_of_redaction, rows))
