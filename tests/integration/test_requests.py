"""A call that comes again with its request id is answered as before, and writes nothing."""

import asyncio
import sqlite3
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError

from integration.test_statements import FRAME
from support import World, close, database_at, table, url_of
from task_copilot import redact, requests, tasks
from task_copilot.application import Application
from task_copilot.clock import minutes_after
from task_copilot.database.transaction import Transaction
from task_copilot.errors import InvalidInput
from task_copilot.location import Location
from task_copilot.requests import Request
from task_copilot.settings import Settings
from task_copilot.tools.adapter import call
from task_copilot.tools.answers import MAX_ANSWER_BYTES, of_object
from task_copilot.tools.registry import TOOLS_BY_NAME
from task_copilot.tools.requests import Change, Done, digest, once
from task_copilot.tools.session import ToolSession
from task_copilot.workspaces import Scope

START = "2026-01-08T12:00:00.000Z"
HOURS = 60
SECRET = "hunter2"
TABLES = ("workspaces", "streams", "tasks", "checkpoints", "events", "log", "requests")

# The second is another call of the same tool.
CALLS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "task_create": (
        {"title": "New", "streamId": "Stream-A", "metadata": {"b": 1, "a": [0.1, None]}},
        {"title": "New", "streamId": "Stream-B"},
    ),
    "task_update": (
        {"id": "TASK-1", "status": "completed", "notes": "done"},
        {"id": "TASK-1", "status": "completed"},
    ),
    "checkpoint_create": (
        {"taskId": "TASK-1", "draftContent": "x" * 1_048_576, "executionStep": 3},
        {"taskId": "TASK-1", "draftContent": "x" * 1_048_575, "executionStep": 3},
    ),
    "checkpoint_resume": ({"taskId": "TASK-1"}, {"taskId": "TASK-1", "checkpointId": "CP-1"}),
}
EACH = pytest.mark.parametrize("tool", CALLS)


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> str:
        return self.now

    def pass_by(self, minutes: int) -> None:
        self.now = minutes_after(self.now, minutes)


class Desk:
    """Where an agent calls the tools of one workspace."""

    def __init__(self, database: Any, clock: Clock, workspace: str = "shop") -> None:
        self.database, self.clock = database, clock

        async def opened() -> Any:
            return database

        self.session = ToolSession(opened, Location(workspace, f"/work/{workspace}"), 5, clock)

    async def call(self, tool: str, **arguments: Any) -> Any:
        async def session() -> ToolSession:
            return self.session

        return await call(TOOLS_BY_NAME[tool], arguments, session, "tester")

    async def ok(self, tool: str, **arguments: Any) -> tuple[str, Any]:
        """Text and object of an answer."""
        result = await self.call(tool, **arguments)
        assert not result.is_error, result.content[0].text
        return result.content[0].text, result.structured_content

    async def refused(self, tool: str, **arguments: Any) -> str:
        result = await self.call(tool, **arguments)
        assert result.is_error
        return str(result.content[0].text)

    async def prepare(self) -> None:
        """TASK-1 with a checkpoint, which says more than an answer may hold."""
        await self.ok("task_create", title=f"First {SECRET}", streamId="Stream-A")
        context = {"k": [SECRET, 1.5, 1e300, -0.0, None]}
        draft = SECRET + "é" * 50_000
        await self.ok(
            "checkpoint_create", taskId="TASK-1", agentContext=context, draftContent=draft
        )

    def state(self) -> dict[str, Any]:
        return {name: table(self.database, name) for name in TABLES}


@asynccontextmanager
async def desk_at(place: Path | str) -> AsyncIterator[Desk]:
    clock = Clock()
    database = database_at(place, clock=clock)
    database.start(lambda _rows: None)
    try:
        yield Desk(database, clock)
    finally:
        await database.close(timeout=5)


@pytest.fixture
async def desk(database_url: str) -> AsyncIterator[Desk]:
    async with desk_at(database_url) as found:
        await found.prepare()
        yield found


# The same id, the same answer


@EACH
async def test_a_call_with_the_same_id_is_answered_the_same_and_writes_nothing(
    desk: Desk, tool: str
) -> None:
    arguments, _other = CALLS[tool]
    first = await desk.ok(tool, **arguments, requestId="r-1")
    before = desk.state()
    desk.clock.pass_by(5)
    for _ in range(3):
        assert await desk.ok(tool, **arguments, requestId="r-1") == first
    assert desk.state() == before


@EACH
async def test_an_answer_is_the_same_with_and_without_an_id(tmp_path: Path, tool: str) -> None:
    answers = []
    for name, extra in (("with", {"requestId": "r-1"}), ("without", {})):
        (tmp_path / name).mkdir()
        async with desk_at(tmp_path / name) as desk:
            await desk.prepare()
            answers.append(await desk.ok(tool, **CALLS[tool][0], **extra))
    assert answers[0] == answers[1]


@EACH
async def test_calls_without_an_id_and_with_other_ids_are_carried_out_each_time(
    desk: Desk, tool: str
) -> None:
    head = desk.state()["log"][0]["head"]
    heads = []
    for extra in ({}, {}, {"requestId": "a"}, {"requestId": "b"}, {"requestId": None}):
        await desk.ok(tool, **CALLS[tool][0], **extra)
        heads.append(desk.state()["log"][0]["head"])
    assert [head, *heads] == sorted({head, *heads})
    assert len(desk.state()["requests"]) == 2


async def test_an_id_is_taken_as_it_is(desk: Desk) -> None:
    ids = ["a", "A", "a ", " a", "ä", "a\u0308", "'; DROP TABLE requests; --", "🎈" * 100, "1"]
    for number, name in enumerate(ids, 2):
        _text, made = await desk.ok("task_create", title="t", requestId=name)
        assert made["id"] == f"TASK-{number}"
    for number, name in enumerate(ids, 2):
        _text, made = await desk.ok("task_create", title="t", requestId=name)
        assert made["id"] == f"TASK-{number}"


@pytest.mark.parametrize("wrong", ["", " ", "a\nb", "a\0", "\u200b", "x" * 101, 7, ["a"]])
async def test_an_id_that_nobody_can_read_is_refused(desk: Desk, wrong: Any) -> None:
    before = desk.state()
    said = await desk.refused("task_create", title="t", requestId=wrong)
    assert said.startswith("requestId: ")
    assert desk.state() == before


async def test_an_update_needs_more_than_an_id_of_the_request(desk: Desk) -> None:
    assert "Nothing to change" in await desk.refused("task_update", id="1", requestId="r-1")
    assert desk.state()["requests"] == []


# The same id for something else


@EACH
async def test_an_id_with_other_arguments_is_refused_and_changes_nothing(
    desk: Desk, tool: str
) -> None:
    arguments, other = CALLS[tool]
    await desk.ok(tool, **arguments, requestId="r-1")
    before = desk.state()
    said = await desk.refused(tool, **other, requestId="r-1")
    assert "'r-1'" in said
    assert "other arguments" in said
    assert "take a new id" in said
    assert desk.state() == before


@EACH
async def test_an_id_with_another_tool_is_refused_and_changes_nothing(
    desk: Desk, tool: str
) -> None:
    await desk.ok(tool, **CALLS[tool][0], requestId="r-1")
    before = desk.state()
    for other, (arguments, _) in CALLS.items():
        if other != tool:
            said = await desk.refused(other, **arguments, requestId="r-1")
            assert f"'r-1' was used for {tool} at {START}" in said
            assert "other arguments" not in said
    assert desk.state() == before


async def test_arguments_that_mean_the_same_are_the_same_call(desk: Desk) -> None:
    first = await desk.ok("task_create", title="t", metadata={"a": 1, "b": 2}, requestId="r-1")
    for again in (
        {"metadata": {"b": 2, "a": 1}},
        {"metadata": '{"a": 1, "b": 2}'},
        {"metadata": {"a": 1, "b": 2}, "description": None},
    ):
        assert await desk.ok("task_create", title="t", **again, requestId="r-1") == first


@pytest.mark.parametrize(
    "other",
    [
        *({"metadata": {"a": changed}} for changed in (None, True, "1", [1], 2)),
        *({"metadata": changed} for changed in ({}, {"b": 1}, {"a": 1, "b": None})),
        *({name: ""} for name in ("description", "assignedAgent", "agent")),
    ],
    ids=str,
)
async def test_arguments_that_differ_in_anything_are_another_call(
    desk: Desk, other: dict[str, Any]
) -> None:
    arguments = {"title": "t", "metadata": {"a": 1}, "requestId": "r-1"}
    await desk.ok("task_create", **arguments)
    assert "other arguments" in await desk.refused("task_create", **{**arguments, **other})


async def test_each_workspace_has_ids_of_its_own(desk: Desk) -> None:
    blog = Desk(desk.database, desk.clock, "blog")
    _text, here = await desk.ok("task_create", title="Here", requestId="r-1")
    _text, there = await blog.ok("task_create", title="There", requestId="r-1")
    assert (here["id"], there["id"]) == ("TASK-2", "TASK-3")
    assert (await desk.ok("task_create", title="Here", requestId="r-1"))[1] == here
    assert (await blog.ok("task_create", title="There", requestId="r-1"))[1] == there


async def test_the_rest_of_a_draft_can_be_read_with_any_id(desk: Desk) -> None:
    # Some clients send an id with every call of a tool; what only reads needs none.
    await desk.ok("checkpoint_resume", taskId="TASK-1", requestId="r-1")
    before = desk.state()
    pieces = [
        await desk.ok("checkpoint_resume", taskId="TASK-1", draftOffset=offset, requestId="r-1")
        for offset in (10, 20, 10)
    ]
    assert pieces[0] == pieces[2] != pieces[1]
    assert desk.state() == before


# Calls that failed


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("task_create", {"title": "t", "parentId": "TASK-99"}),
        ("task_create", {"title": "t", "streamName": "no stream"}),
        ("task_create", {"title": ""}),
        ("task_update", {"id": "TASK-1", "blockedReason": "not blocked"}),
        ("task_update", {"id": "TASK-99", "notes": "n"}),
        ("checkpoint_create", {"taskId": "TASK-99"}),
        ("checkpoint_resume", {"taskId": "TASK-1", "checkpointId": "CP-99"}),
    ],
)
async def test_a_call_that_failed_leaves_its_id_free(
    desk: Desk, tool: str, arguments: dict[str, Any]
) -> None:
    before = desk.state()
    said = await desk.refused(tool, **arguments, requestId="r-1")
    assert "requestId" not in said
    assert await desk.refused(tool, **arguments, requestId="r-1") == said
    assert desk.state() == before
    await desk.ok("task_update", id="TASK-1", status="blocked", requestId="r-1")


async def test_a_call_that_failed_can_be_tried_again_with_its_id(desk: Desk) -> None:
    arguments = {"taskId": "TASK-2", "requestId": "r-1"}
    await desk.refused("checkpoint_resume", **arguments)
    await desk.ok("task_create", title="Second")
    await desk.ok("checkpoint_create", taskId="TASK-2")
    first = await desk.ok("checkpoint_resume", **arguments)
    assert await desk.ok("checkpoint_resume", **arguments) == first


@pytest.mark.sqlite_only
async def test_a_change_that_was_not_committed_is_not_remembered(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_driver: Any) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorname = "SQLITE_FULL"
        raise DBAPIError("COMMIT", None, error)

    before = desk.state()
    monkeypatch.setattr("task_copilot.database.sqlite.commit", full)
    assert "disk is full" in await desk.refused("task_create", title="t", requestId="r-1")
    monkeypatch.undo()
    assert desk.state() == before
    assert (await desk.ok("task_create", title="t", requestId="r-1"))[1]["id"] == "TASK-2"


# At once


async def test_many_at_once_with_one_id_are_carried_out_once(desk: Desk) -> None:
    calls = (desk.ok("task_create", title="t", requestId="r-1") for _ in range(200))
    answers = await asyncio.gather(*calls)
    assert {text for text, _ in answers} == {answers[0][0]}
    assert len(desk.state()["tasks"]) == 2


async def test_many_at_once_on_two_connections_are_carried_out_once(
    desk: Desk, database_url: str
) -> None:
    other = Desk(database_at(database_url, clock=desk.clock), desk.clock)
    other.database.start(lambda _rows: None)
    calls = (
        each.ok("task_create", title="t", requestId=f"r-{number}")
        for number in range(40)
        for each in (desk, other, other, desk)
    )
    answers = await asyncio.gather(*calls)
    await other.database.close(timeout=5)
    assert all(len(set(map(str, answers[at : at + 4]))) == 1 for at in range(0, 160, 4))
    assert len(desk.state()["tasks"]) == 41


def creating(title: str) -> Change:
    def change(tx: Transaction, scope: Scope) -> Done:
        saved = tasks.create(tx, scope, tasks.NewTask(title=title))
        return Done(saved.id, of_object({"id": saved.id, "title": title}))

    return change


def test_repetitions_in_one_commit_are_carried_out_once_also_when_it_is_run_again(
    world: World,
) -> None:
    def repeatable(title: str, name: str) -> Any:
        request = Request(name, "task_create", title)
        return lambda tx: once(tx, world.scope, creating(title), request)

    def writes_and_fails(tx: Transaction) -> None:
        tasks.create(tx, world.scope, tasks.NewTask(title="Gone"))
        raise InvalidInput("after all")

    waiting: deque[Any] = deque(
        [
            repeatable("One", "r-1"),
            repeatable("One", "r-1"),
            repeatable("Two", "r-1"),
            writes_and_fails,  # the whole commit is undone, and each gets one of its own
            repeatable("One", "r-1"),
            repeatable("Two", "r-2"),
        ]
    )
    outcomes, rows = world.database.committer.commit(waiting)
    texts = [outcome.result.text if outcome.result else None for outcome in outcomes]
    one, two = '{"id":1,"title":"One"}', '{"id":2,"title":"Two"}'
    assert texts == [one, one, None, None, one, two]
    assert "other arguments" in str(outcomes[2].error)
    assert [row["title"] for row in table(world.database, "tasks")] == ["One", "Two"]
    assert len(rows) == 2


# How long


@pytest.mark.parametrize(("minutes", "known"), [(24 * HOURS, True), (24 * HOURS + 1, False)])
@EACH
async def test_an_id_is_known_for_a_day(desk: Desk, tool: str, minutes: int, known: bool) -> None:
    arguments, other = CALLS[tool]
    await desk.ok("checkpoint_create", taskId="TASK-1", expiresIn=100 * 24 * HOURS)
    await desk.ok(tool, **arguments, requestId="r-1")
    before = desk.state()
    desk.clock.pass_by(minutes)
    await desk.ok(tool, **arguments, requestId="r-1")
    assert (desk.state() == before) is known
    if not known:
        assert [row["created_at"] for row in desk.state()["requests"]] == [desk.clock.now]
        desk.clock.pass_by(minutes)
        await desk.ok(tool, **other, requestId="r-1")  # nor does it stand in the way


async def test_a_call_that_fails_with_an_id_of_yesterday_changes_nothing(desk: Desk) -> None:
    await desk.ok("task_create", title="t", requestId="r-1")
    desk.clock.pass_by(25 * HOURS)
    before = desk.state()
    await desk.refused("task_update", id="TASK-99", notes="n", requestId="r-1")
    assert desk.state() == before


async def test_the_sweep_forgets_ids_of_yesterday_and_prunes_the_log(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "FORGOTTEN_AT_ONCE", 3)
    for number in range(10):
        await desk.ok("task_create", title="t", requestId=f"old-{number}")
    desk.clock.pass_by(25 * HOURS)
    await desk.ok("task_create", title="t", requestId="young")
    rules = Settings(retention_days=1, retention_events=2)
    application = Application(desk.database, rules, desk.clock)
    forget, portions, swept = requests.forget, [], asyncio.Event()

    def counted(tx: Transaction, before: str) -> int:
        portions.append(forget(tx, before))
        return portions[-1]

    forget_requests = application._forget_requests

    async def last() -> None:
        await forget_requests()
        swept.set()

    monkeypatch.setattr(requests, "forget", counted)
    monkeypatch.setattr(application, "_forget_requests", last)
    sweep = asyncio.create_task(application._sweep())
    await asyncio.wait_for(swept.wait(), 10)
    sweep.cancel()
    assert portions == [3, 3, 3, 1]
    assert [row["request_id"] for row in desk.state()["requests"]] == ["young"]
    head = desk.state()["log"][0]["head"]
    assert [row["seq"] for row in desk.state()["events"]] == [head - 1, head]


async def test_a_sweep_with_nothing_to_do_asks_for_no_lock(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.ok("task_create", title="t", requestId="young")
    application = Application(desk.database, Settings(), desk.clock)

    def locked(_driver: Any) -> None:
        raise AssertionError("a transaction was begun")

    monkeypatch.setattr("task_copilot.database.sqlite.begin", locked)
    await application._forget_requests()
    await application._prune()


# What is stored


async def test_what_is_stored_is_the_answer_and_never_the_draft(desk: Desk) -> None:
    for tool, (arguments, _) in CALLS.items():
        await desk.ok(tool, **arguments, requestId=tool)
    rows = {row["request_id"]: row for row in desk.state()["requests"]}
    assert set(rows) == set(CALLS)
    assert "xxx" not in rows["checkpoint_create"]["answer"]
    assert all(len(str(row).encode()) < MAX_ANSWER_BYTES + 1000 for row in rows.values())
    # The newest checkpoint: its draft of a mebibyte comes in pieces.
    assert len(rows["checkpoint_resume"]["answer"]) > 40_000


def test_a_digest_does_not_depend_on_the_id() -> None:
    def made(**given: Any) -> str:
        tool = TOOLS_BY_NAME["task_create"]
        found: Any = tool.arguments.model_validate({"title": "t", **given})
        return digest(found)

    assert made(requestId="a") == made(requestId="b")
    assert made(requestId="a") != made(requestId="a", description="d")
    assert len(made(description="x" * 60_000)) == 64


# Redaction


def redacted(desk: Desk, field: str, number: int = 1) -> redact.Redacted:
    """On a connection of its own, as the command does it."""
    database = database_at(url_of(desk.database), clock=desk.clock)
    try:
        return World(database).do(lambda tx, scope: redact.redact(tx, scope, number, field))
    finally:
        close(database)


@EACH
async def test_a_repetition_after_a_redaction_is_told_so_and_writes_nothing(
    desk: Desk, tool: str
) -> None:
    arguments, other = CALLS[tool]
    _text, answer = await desk.ok(tool, **arguments, requestId="r-1")
    number = int(str(answer.get("taskId", answer.get("id"))).removeprefix("TASK-"))
    redacted(desk, "title", number)
    before = desk.state()
    for given_arguments in (arguments, other):
        said = await desk.refused(tool, **given_arguments, requestId="r-1")
        assert "was carried out, and its answer has been redacted since" in said
        assert f"task_get id=TASK-{number}" in said
    assert desk.state() == before
    [row] = before["requests"]
    assert (row["answer"], row["digest"]) == (None, None)


@pytest.mark.sqlite_only
async def test_the_bytes_of_stored_answers_are_in_no_file_after_a_redaction(desk: Desk) -> None:
    resume = {"taskId": "TASK-1", "requestId": "r-1"}
    await desk.ok("checkpoint_resume", **resume)
    redacted(desk, "title")
    redacted(desk, "checkpoints")
    assert SECRET not in str(desk.state())
    assert await asyncio.to_thread(desk.database.scrub) is None
    path = Path(str(desk.database.url.database))
    await desk.database.close(timeout=5)
    files = list(path.parent.glob(f"{path.name}*"))
    assert SECRET.encode() not in b"".join(file.read_bytes() for file in files)


async def test_an_answer_that_outlived_its_checkpoint_can_be_redacted(desk: Desk) -> None:
    await desk.ok("checkpoint_resume", taskId="TASK-1", requestId="r-1")
    for _ in range(5):
        await desk.ok("checkpoint_create", taskId="TASK-1")  # the newest five stay
    assert SECRET not in str(desk.state()["checkpoints"][0]["draft_content"])
    done = redacted(desk, "checkpoints")
    assert done == redact.Redacted(events=0, checkpoints=0, answers=1)
    assert "hunter2é" not in str(desk.state())


async def test_answers_about_other_tasks_stay(desk: Desk) -> None:
    first = await desk.ok("task_create", title="Second", requestId="second")
    await desk.ok("checkpoint_resume", taskId="TASK-1", requestId="r-1")
    redacted(desk, "title")
    assert await desk.ok("task_create", title="Second", requestId="second") == first


async def test_a_field_that_holds_nothing_is_refused_though_short_answers_are_stored(
    desk: Desk,
) -> None:
    first = await desk.ok("task_update", id="TASK-1", status="completed", requestId="r-1")
    with pytest.raises(InvalidInput, match="no notes to redact"):
        redacted(desk, "notes")
    assert await desk.ok("task_update", id="TASK-1", status="completed", requestId="r-1") == first


async def test_an_answer_of_the_same_commit_is_redacted_too(world: World) -> None:
    number = world.task(SECRET)
    request = Request("r-1", "checkpoint_resume", "d")

    def both(tx: Transaction, scope: Scope) -> None:
        requests.keep(tx, scope, request, number, SECRET)
        redact.redact(tx, scope, number, "title")

    world.do(both)
    assert SECRET not in str([table(world.database, name) for name in TABLES])


# What it costs


async def traced(desk: Desk, tool: str, **arguments: Any) -> list[str]:
    """The statements of a call, without those that frame a transaction."""
    connection: Any = desk.database.committer.connection.connection.driver_connection
    seen: list[str] = []
    connection.set_trace_callback(seen.append)
    try:
        await desk.ok(tool, **arguments)
    finally:
        connection.set_trace_callback(None)
    return [statement for statement in seen if not statement.startswith(FRAME)]


@pytest.mark.sqlite_only
@pytest.mark.parametrize(
    ("tool", "arguments", "count"),
    [
        ("task_create", {"title": "t", "streamId": "Stream-A"}, 6),
        ("task_update", {"id": "TASK-1", "status": "in_progress"}, 8),
        ("checkpoint_create", {"taskId": "TASK-1"}, 8),
        ("checkpoint_resume", {"taskId": "TASK-1"}, 7),
    ],
)
async def test_an_id_costs_a_read_and_a_row_and_without_one_nothing(
    desk: Desk, tool: str, arguments: dict[str, Any], count: int
) -> None:
    seen = await traced(desk, tool, **arguments)
    assert len(seen) == count, seen
    assert not any("requests" in statement for statement in seen)
    if tool == "task_update":
        await desk.ok(tool, id="TASK-1", status="pending")
    with_id = await traced(desk, tool, **arguments, requestId="r-1")
    of_id = [statement.split()[0] for statement in with_id if "requests" in statement]
    assert of_id == ["SELECT", "INSERT"]
    again = await traced(desk, tool, **arguments, requestId="r-1")
    assert [statement.split()[0] for statement in again] == ["SELECT"]


# Whatever comes


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from([None, "r-1", "r-2", "r-3"]), st.integers(0, 9)),
        st.tuples(st.just("wait"), st.sampled_from([60, 13 * HOURS, 24 * HOURS])),
        st.tuples(st.just("sweep"), st.just(0)),
    ),
    max_size=25,
)
SAID: list[tuple[str, dict[str, Any]]] = [
    ("task_create", {"title": "A", "streamId": "Stream-A"}),
    ("task_create", {"title": "B", "streamId": "Stream-A", "parentId": "TASK-1"}),
    ("task_update", {"id": "TASK-1", "status": "completed"}),
    ("task_update", {"id": "TASK-1", "status": "blocked", "blockedReason": "x"}),
    ("task_update", {"id": "TASK-2", "notes": "n", "agent": "another"}),
    ("checkpoint_create", {"taskId": "TASK-1", "agentContext": {"a": 1}}),
    ("checkpoint_create", {"taskId": "TASK-2", "expiresIn": 60}),
    ("checkpoint_resume", {"taskId": "TASK-1"}),
    ("checkpoint_resume", {"taskId": "TASK-2"}),
    ("task_create", {"title": "C", "streamId": "Stream-B", "parentId": "TASK-2"}),
]


@settings(max_examples=40, deadline=None)
@given(steps=STEPS)
def test_a_sequence_of_calls_equals_the_same_sequence_without_the_repetitions(
    steps: list[tuple[str | None, int]],
) -> None:
    asyncio.run(compare(steps))


async def compare(steps: list[tuple[str | None, int]]) -> None:
    with TemporaryDirectory() as one, TemporaryDirectory() as two:
        async with desk_at(Path(one)) as desk, desk_at(Path(two)) as plain:
            known: dict[str, tuple[int, str, Any]] = {}
            for name, number in steps:
                if name == "wait":
                    desk.clock.pass_by(number)
                    plain.clock.pass_by(number)
                elif name == "sweep":
                    await Application(desk.database, Settings(), desk.clock)._forget_requests()
                else:
                    await compare_call(desk, plain, known, name, number)
            assert shown(desk) == shown(plain)


async def compare_call(
    desk: Desk,
    plain: Desk,
    known: dict[str, tuple[int, str, Any]],
    name: str | None,
    number: int,
) -> None:
    tool, arguments = SAID[number]
    extra = {} if name is None else {"requestId": name}
    answer = await desk.call(tool, **arguments, **extra)
    first, at, told = known.get(name or "", (0, "", None))
    if told is not None and at >= minutes_after(desk.clock.now, -24 * HOURS):
        if first == number:
            assert answer == told
        else:
            assert answer.is_error
            assert "requestId" in answer.content[0].text
        return
    assert answer == await plain.call(tool, **arguments)
    if name is not None and not answer.is_error:
        known[name] = (number, desk.clock.now, answer)


def shown(desk: Desk) -> dict[str, Any]:
    state = desk.state()
    del state["requests"]
    state["log"] = state["log"][0]["head"]
    return state
