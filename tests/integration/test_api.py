"""The reading routes over a real hub: their fields, pages, states, errors and statements."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import httpx2
import pytest
from sqlalchemy import event

from support import World, counts, database_at, table
from task_copilot import archive, checkpoints, overview, task_updates
from task_copilot.api import handlers, parameters
from task_copilot.api.routes import ROUTES
from task_copilot.checkpoints import NewCheckpoint
from task_copilot.clock import minutes_after, system_clock
from task_copilot.database.store import Database
from task_copilot.events import log
from task_copilot.events.bus import Bus
from task_copilot.events.log import LogRow
from task_copilot.events.pages import LogPages
from task_copilot.hub import Hub
from task_copilot.settings import Settings
from task_copilot.task_updates import TaskChange
from validation import validated

Get = Callable[..., Any]


class Api:
    """A hub on a database of its own, with a client and two workspaces."""

    client: httpx2.AsyncClient

    def __init__(self, database: Database[LogRow]) -> None:
        self.database = database
        self.shop, self.blog = World(database, "shop"), World(database, "blog")
        self.time = system_clock
        self.later = 0

    def clock(self) -> str:
        return minutes_after(self.time(), self.later)

    async def request(
        self, method: str, path: str, status: int = 200, **given: Any
    ) -> httpx2.Response:
        answer: httpx2.Response = await self.client.request(method, path, **given)
        assert answer.status_code == status, answer.text
        if status != 304:
            validated(method, path.partition("?")[0], status, answer.json())
        return answer

    async def get(self, path: str, status: int = 200, **given: Any) -> Any:
        return (await self.request("GET", path, status, **given)).json()

    def update(self, world: World, number: int, **change: Any) -> None:
        world.do(lambda tx, s: task_updates.update_task(tx, s, number, TaskChange(**change)))


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    found = Api(database_at(database_url))
    state = await found.database.read(log.state)
    bus = Bus(state, LogPages(found.database))
    found.database.start(bus.publish)
    hub = Hub(Settings(port=0), bus, found.clock, found.database)
    assert await hub.start()
    async with httpx2.AsyncClient(
        base_url=hub.address, trust_env=False, verify=False
    ) as found.client:
        yield found
    await hub.stop()
    await bus.close()
    await found.database.close()


# --- what the routes show ---


async def test_streams_are_listed_with_their_counters_files_and_reasons(api: Api) -> None:
    first = api.shop.task("Types", "Stream-A", files=("a.py", "b.py"))
    second = api.shop.task("Parser", "Stream-A", files=("b.py", "c.py"))
    api.shop.task("Gone", "Stream-A")
    api.blog.task("Post", "Stream-B")
    api.update(api.shop, first, status="completed")
    api.update(api.shop, second, status="blocked", blocked_reason="needs a key")
    api.update(api.shop, 3, status="cancelled")
    found = await api.get("/api/streams")
    assert [each["streamId"] for each in found["streams"]] == ["Stream-A", "Stream-B"]
    stream = found["streams"][0]
    expected = {
        "workspace": "shop",
        "streamName": "Stream-A",
        "streamPhase": "parallel",
        "status": "blocked",
        "totalTasks": 2,
        "completedTasks": 1,
        "inProgressTasks": 0,
        "blockedTasks": 1,
        "pendingTasks": 0,
        "progressPercentage": 50.0,
        "dependencies": [],
        "files": ["a.py", "b.py", "c.py"],
        "blockedReason": "needs a key",
        "archivedAt": None,
    }
    assert expected.items() <= stream.items()
    assert (found["totalStreams"], found["nextCursor"]) == (2, None)
    assert (await api.get("/api/streams?workspace=blog"))["totalStreams"] == 1


async def test_one_stream_comes_with_its_tasks(api: Api) -> None:
    api.shop.task("Types", "Stream-A")
    api.blog.task("Types too", "Stream-A")
    refusal = await api.get("/api/streams/Stream-A", 409)
    assert refusal["workspaces"] == ["shop", "blog"]
    found = await api.get("/api/streams/Stream-A?workspace=blog")
    assert [task["title"] for task in found["tasks"]] == ["Types too"]
    assert found["workspace"] == "blog"
    await api.get("/api/streams/Stream-Z", 404)
    await api.get("/api/streams/Stream-A?workspace=nowhere", 404)


async def test_a_task_has_every_field_also_those_without_a_value(api: Api) -> None:
    number = api.shop.task("Types", metadata={"a": [1, None]}, description="d")
    api.shop.task("Part", parent=number)
    new = NewCheckpoint(execution_step=2, draft_content="x")
    api.shop.do(lambda tx, scope: checkpoints.create(tx, scope, number, new, kept=5))
    found = await api.get(f"/api/tasks/TASK-{number}")
    assert found["metadata"] == {"a": [1, None]}
    assert (found["streamId"], found["notes"], found["files"]) == (None, None, [])
    assert [part["title"] for part in found["subtasks"]] == ["Part"]
    assert found["latestCheckpoint"]["executionStep"] == 2
    assert found["latestCheckpoint"]["hasDraft"] is True
    assert (await api.get(f"/api/tasks/{number}"))["id"] == "TASK-1"


async def test_tasks_are_filtered_by_each_field(api: Api) -> None:
    api.shop.task("One", "Stream-A", assigned_agent="me")
    api.shop.task("Two", "Stream-B", parent=1)
    api.blog.task("Three", "Stream-A")
    api.update(api.shop, 2, status="in_progress")
    for query, titles in (
        ("", ["One", "Two", "Three"]),
        ("workspace=shop", ["One", "Two"]),
        ("streamId=Stream-A", ["One", "Three"]),
        ("assignedAgent=me", ["One"]),
        ("status=in_progress", ["Two"]),
        ("parentId=TASK-1", ["Two"]),
        ("status=blocked", []),
    ):
        found = await api.get(f"/api/tasks?{query}")
        assert [task["title"] for task in found["tasks"]] == titles, query
        assert found["totalTasks"] == len(titles)


async def test_archived_streams_and_their_tasks_are_left_out_unless_asked_for(api: Api) -> None:
    api.shop.task("Done", "Stream-A")
    api.shop.task("Without a stream")
    api.blog.task("Of the same name elsewhere", "Stream-A")
    api.update(api.shop, 1, status="completed")
    api.shop.do(lambda tx, scope: archive.archive(tx, scope, "Stream-A"))
    for query, tasks, streams in (("", 2, 1), ("includeArchived=true", 3, 2)):
        found = await api.get(f"/api/tasks?{query}")
        assert (len(found["tasks"]), found["totalTasks"]) == (tasks, tasks)
        assert (await api.get(f"/api/streams?{query}"))["totalStreams"] == streams
    named = await api.get("/api/tasks?workspace=shop&streamId=Stream-A")
    assert [task["title"] for task in named["tasks"]] == ["Done"]
    assert (await api.get("/api/streams/Stream-A?workspace=shop"))["archivedAt"] is not None


async def test_pages_bring_every_task_once_also_when_new_ones_come_in_between(api: Api) -> None:
    for number in range(25):
        api.shop.task(f"T{number}")
    seen: list[str] = []
    cursor = ""
    while True:
        found = await api.get(f"/api/tasks?limit=10{cursor}")
        seen += [task["title"] for task in found["tasks"]]
        if found["nextCursor"] is None:
            break
        api.shop.task("late")
        cursor = f"&cursor={found['nextCursor']}"
    assert seen == [*(f"T{number}" for number in range(25)), "late", "late"]


async def test_pages_of_streams_bring_every_stream_once(api: Api) -> None:
    for number in range(7):
        api.shop.task("T", f"S{number}")
    first = await api.get("/api/streams?limit=4")
    second = await api.get(f"/api/streams?limit=4&cursor={first['nextCursor']}")
    ids = [each["streamId"] for page in (first, second) for each in page["streams"]]
    assert ids == [f"S{number}" for number in range(7)]
    assert (first["totalStreams"], second["nextCursor"]) == (7, None)


async def test_the_tasks_of_a_large_stream_go_on_under_tasks(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "TASKS_OF_A_STREAM", 3)
    for number in range(5):
        api.shop.task(f"T{number}", "Stream-A")
    found = await api.get("/api/streams/Stream-A")
    rest = await api.get(
        f"/api/tasks?workspace=shop&streamId=Stream-A&cursor={found['nextCursor']}"
    )
    titles = [task["title"] for page in (found, rest) for task in page["tasks"]]
    assert titles == [f"T{number}" for number in range(5)]


async def test_a_page_of_long_texts_ends_early_and_goes_on(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "PAGE_BYTES", 10_000)
    for _ in range(4):
        api.shop.task(description="x" * 6_000)
    first = await api.get("/api/tasks")
    assert len(first["tasks"]) == 1
    second = await api.get(f"/api/tasks?cursor={first['nextCursor']}")
    assert [task["id"] for task in second["tasks"]] == ["TASK-2"]


async def test_health_of_a_stream_tells_what_goes_on_and_what_does_not(api: Api) -> None:
    number = api.shop.task("Types", "Stream-A")
    api.update(api.shop, number, status="in_progress")
    made = NewCheckpoint()
    api.shop.do(lambda tx, scope: checkpoints.create(tx, scope, number, made, kept=5))
    found = await api.get("/api/streams/Stream-A/health")
    assert found["healthy"] is True
    assert (found["currentTask"], found["taskStatus"]) == ("TASK-1", "in_progress")
    assert found["currentCheckpoint"] == "CP-1"
    assert found["timeSinceActivity"] == 0
    api.later = 20
    found = await api.get("/api/streams/Stream-A/health")
    assert found["healthy"] is False
    assert found["warnings"] == ["No activity for 20 minutes."]
    api.later = 90
    found = await api.get("/api/streams/Stream-A/health")
    assert found["warnings"][1] == "No checkpoint for 90 minutes."
    api.update(api.shop, number, status="blocked", blocked_reason="no key")
    found = await api.get("/api/streams/Stream-A/health")
    assert found["warnings"] == ["1 task is blocked: no key"]


async def test_activity_is_what_is_in_progress_and_idle_after_five_minutes(api: Api) -> None:
    for name in ("me", "qa"):
        number = api.shop.task(f"Work of {name}", "Stream-A", assigned_agent=name)
        api.update(api.shop, number, status="in_progress")
    api.blog.task("Not begun")
    found = await api.get("/api/activity")
    assert [each["agentId"] for each in found["activities"]] == ["qa", "me"]
    assert (found["totalActive"], found["totalIdle"]) == (2, 0)
    api.later = 6
    found = await api.get("/api/activity?active=false&streamId=Stream-A")
    assert (len(found["activities"]), found["totalActive"], found["totalIdle"]) == (2, 0, 2)
    assert (await api.get("/api/activity?active=true"))["activities"] == []


async def test_workspaces_are_listed_with_what_they_hold(api: Api) -> None:
    api.shop.task("T", "Stream-A")
    found = await api.get("/api/workspaces")
    rows = [(each["workspace"], each["streams"], each["tasks"]) for each in found["workspaces"]]
    assert rows == [("blog", 0, 0), ("shop", 1, 1)]


async def test_the_latest_checkpoint_is_found_by_task_and_by_stream(api: Api) -> None:
    number = api.shop.task("T", "Stream-A")
    await api.get("/api/checkpoints?taskId=1", 404)
    assert "no task TASK-9" in (await api.get("/api/checkpoints?taskId=9", 404))["error"]
    for _ in range(2):
        new = NewCheckpoint(execution_phase="build")
        api.shop.do(lambda tx, scope, n=new: checkpoints.create(tx, scope, number, n, kept=5))  # type: ignore[misc]
    for query in ("taskId=TASK-1", "streamId=Stream-A", "streamId=Stream-A&workspace=shop"):
        found = await api.get(f"/api/checkpoints?{query}")
        assert (found["checkpointId"], found["sequence"]) == ("CP-2", 2)
    for query in ("", "taskId=1&streamId=Stream-A"):
        await api.get(f"/api/checkpoints?{query}", 422)


async def test_a_checkpoint_is_made_of_the_newest_task_in_progress(api: Api) -> None:
    first, second = api.shop.task("One", "Stream-A"), api.shop.task("Two", "Stream-A")
    path = "/api/streams/Stream-A/checkpoint"
    answer = await api.request("POST", path, 201, json={"reason": "a pause"})
    assert answer.json()["taskId"] == "TASK-2"
    api.update(api.shop, first, status="in_progress")
    api.update(api.shop, second, title="Changed later")
    answer = await api.request("POST", path, 201, json={"trigger": "error"})
    assert answer.json()["taskId"] == "TASK-1"
    rows = table(api.database, "checkpoints")
    assert [row["trigger"] for row in rows] == ["manual", "error"]
    assert json.loads(rows[0]["pause_metadata"]) == {"pauseReason": "a pause"}
    last = api.shop.events()[-1]
    assert (last["eventType"], last["actor"]) == ("checkpoint.created", "http")
    assert answer.json()["seq"] == last["seq"]


async def test_a_stream_without_tasks_has_nothing_to_make_a_checkpoint_of(api: Api) -> None:
    number = api.shop.task("T", "Stream-A")
    api.update(api.shop, number, stream_id="")
    before = counts(api.database)
    await api.request("POST", "/api/streams/Stream-A/checkpoint", 422, json={})
    await api.request("POST", "/api/streams/Stream-Z/checkpoint", 404, json={})
    assert counts(api.database) == before


# --- states ---


@pytest.mark.sqlite_only
async def test_an_unchanged_state_is_answered_with_304_and_reads_the_log_alone(api: Api) -> None:
    api.shop.task("T", "Stream-A")
    api.shop.do(lambda tx, s: checkpoints.create(tx, s, 1, NewCheckpoint(), kept=5))
    now = system_clock()  # what says how long ago something was changes with time too
    api.time = lambda: now
    for declared in [route.path for route in ROUTES if route.handler]:
        query = "?taskId=1" if declared == "/api/checkpoints" else ""
        path = declared.format(streamId="Stream-A", taskId="1", checkpointId="1") + query
        first = await api.client.get(path)
        assert first.status_code == 200
        known = {"If-None-Match": f'"other", W/{first.headers["etag"]}'}
        seen = statements(api)
        answer = await api.request("GET", path, 304, headers=known)
        assert (answer.content, answer.headers["etag"]) == (b"", first.headers["etag"])
        assert seen() == [BEGIN_READ, "SELECT log.epoch, log.head FROM log"], path
    headers = {"If-None-Match": (await api.client.get("/api/tasks")).headers["etag"]}
    api.shop.task("Another")
    assert (await api.client.get("/api/tasks", headers=headers)).status_code == 200


async def test_an_etag_of_another_resource_or_any_does_not_hide_that_one_is_missing(
    api: Api,
) -> None:
    etag = (await api.client.get("/api/workspaces")).headers["etag"]
    for known in (etag, "*"):
        await api.get("/api/tasks/9", 404, headers={"If-None-Match": known})


async def test_an_answer_is_of_one_state_while_others_write(api: Api) -> None:
    numbers = [api.shop.task(f"T{n}", "Stream-A") for n in range(20)]
    stop = asyncio.Event()

    async def write() -> None:
        place = 0
        while not stop.is_set():
            change = TaskChange(status="completed" if place % 40 < 20 else "pending")
            number, place = numbers[place % 20], place + 1
            await api.database.write(
                lambda tx, n=number, c=change: task_updates.update_task(tx, api.shop.scope, n, c)  # type: ignore[misc]
            )

    writing = asyncio.create_task(write())
    for _ in range(40):
        found = await api.get("/api/streams/Stream-A")
        done = sum(task["status"] == "completed" for task in found["tasks"])
        assert found["completedTasks"] == done
        events = [
            json.loads(row.payload)
            for row in await api.database.read(lambda c: log.rows_after(c, 0, 10**6, 10**9))
            if row.seq <= found["seq"]
        ]
        progress = [e for e in events if e["eventType"] == "stream.progress"]
        assert progress[-1]["data"]["completedTasks"] == done
    stop.set()
    await writing


def statements(api: Api) -> Callable[[], list[str]]:
    """Collects what the reading connections execute from now on."""
    seen: list[str] = []
    pool = api.database.read_engine.pool

    def traced(connection: Any, *_rest: Any) -> None:
        connection.set_trace_callback(
            lambda text: (
                seen.append(" ".join(text.split()))
                if not text.startswith(("BEGIN", "ROLLBACK", "COMMIT"))
                else None
            )
        )

    event.listen(pool, "checkout", traced)

    def stop() -> list[str]:
        event.remove(pool, "checkout", traced)
        return seen

    return stop


async def test_the_checkpoints_of_a_task_come_newest_first(api: Api) -> None:
    number = api.shop.task("Pay")
    for new in (NewCheckpoint(execution_step=1), NewCheckpoint(execution_step=2)):
        api.shop.do(partial(checkpoints.create, task=number, new=new, kept=5))
    found = await api.get(f"/api/tasks/{number}/checkpoints")
    assert [row["executionStep"] for row in found["checkpoints"]] == [2, 1]
    found = await api.get(f"/api/tasks/TASK-{number}/checkpoints?limit=1")
    assert [row["checkpointId"] for row in found["checkpoints"]] == ["CP-2"]
    assert (await api.get("/api/tasks/99/checkpoints", 404))["error"] == (
        "There is no task TASK-99. /api/tasks lists them."
    )


BEGIN_READ = "PRAGMA user_version"
"""Each read begins with a look at whether the database was moved elsewhere."""

READS = {
    "/api/streams": 4,
    "/api/streams?workspace=shop": 5,
    "/api/streams/Stream-0": 4,
    "/api/streams/Stream-0/health": 6,
    "/api/tasks": 3,
    "/api/tasks?workspace=shop": 4,
    "/api/tasks/1": 4,
    "/api/tasks/1/checkpoints": 3,
    "/api/activity": 3,
    "/api/workspaces": 2,
}


@pytest.mark.sqlite_only
@pytest.mark.parametrize("size", [1, 40])
async def test_no_route_sends_more_statements_for_more_rows(api: Api, size: int) -> None:
    for number in range(size):
        task = api.shop.task(f"T{number}", f"Stream-{number}", files=("a.py",))
        api.update(api.shop, task, status="in_progress")
    for path, expected in READS.items():
        seen = statements(api)
        await api.get(path)
        first, *found = seen()
        assert first == BEGIN_READ
        assert len(found) == expected, (path, found)


# --- bad input ---


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/api/tasks?nope=1", "'nope' is no argument of /api/tasks; it takes workspace, status"),
        ("/api/tasks?limit=0", "limit: got '0'; takes a whole number from 1 to 1,000."),
        ("/api/tasks?limit=10000000", "limit: got '10000000'"),
        ("/api/tasks?limit=x", "limit: got 'x'"),
        ("/api/tasks?limit=1&limit=2", "'limit' is given more than once"),
        ("/api/tasks?status=done", "status: got 'done'; takes one of pending"),
        ("/api/tasks?cursor=5.00000000", "cursor: is not one that this list gave"),
        ("/api/tasks?cursor=%00", "cursor: is not one"),
        ("/api/tasks?streamId=a:b", "streamId: got 'a:b'"),
        ("/api/tasks?parentId=CP-1", "parentId: 'CP-1' is not an id such as TASK-12"),
        ("/api/tasks/%00", "is not an id such as TASK-12"),
        ("/api/tasks/..%2f..", "is not an id"),
        (f"/api/tasks/{'1' * 10_000}", "taskId: got 10,000 characters"),
        (f"/api/streams/{'x' * 10_000}", "streamId: got"),
        ("/api/streams/%2e%2e%5c", "streamId: got"),
        ("/api/streams?includeArchived=maybe", "includeArchived: got 'maybe'"),
        ("/api/streams/Stream-A/health?limit=1", "'limit' is no argument"),
        ("/api/workspaces?workspace=shop", "'workspace' is no argument"),
        ("/api/activity?active=1&" + "&".join(f"a{n}=1" for n in range(60)), "at most 50"),
    ],
)
async def test_what_is_not_allowed_is_422_and_says_what_is(api: Api, path: str, words: str) -> None:
    answer = await api.client.get(path)
    assert answer.status_code in {404, 422}
    if "%2f" not in path:
        assert answer.status_code == 422, answer.text
        assert words in answer.json()["error"]


async def test_a_cursor_of_another_query_is_refused(api: Api) -> None:
    for _ in range(3):
        api.shop.task(assigned_agent="me")
    cursor = (await api.get("/api/tasks?limit=1"))["nextCursor"]
    await api.get(f"/api/tasks?limit=1&assignedAgent=me&cursor={cursor}", 422)
    await api.get(f"/api/tasks?limit=2&cursor={cursor}")


async def test_an_unknown_workspace_is_404_and_not_an_empty_list(api: Api) -> None:
    for path in ("/api/streams", "/api/tasks", "/api/activity"):
        assert "nowhere" in (await api.get(f"{path}?workspace=nowhere", 404))["error"]


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"content": b"{"}, 400),
        ({"content": b"\xff\xfe"}, 400),
        ({"content": b""}, 400),
        ({"content": b"[" * 5000}, 400),
        ({"content": b"[1]"}, 422),
        ({"content": b'"x"'}, 422),
        ({"content": b'{"nope": 1}'}, 422),
        ({"content": b'{"trigger": "whim"}'}, 422),
        ({"content": b'{"reason": 5}'}, 422),
        ({"content": b'{"reason": "\\u0000"}'}, 422),
        ({"content": b" " * 9 * 2**20}, 413),
        ({"content": b"{}", "headers": {"content-type": "text/plain"}}, 415),
        ({"data": {"reason": "x"}}, 415),
    ],
)
async def test_a_body_that_is_wrong_gets_its_code_and_writes_nothing(
    api: Api, given: dict[str, Any], status: int
) -> None:
    api.shop.task("T", "Stream-A")
    before = counts(api.database)
    headers = {} if "data" in given else {"content-type": "application/json"}
    given = {**given, "headers": {**headers, **given.get("headers", {})}}
    await api.request("POST", "/api/streams/Stream-A/checkpoint", status, **given)
    assert counts(api.database) == before


async def test_a_database_that_cannot_be_read_is_503_and_says_what_to_do(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    from task_copilot.errors import StorageError

    def away(*_given: Any) -> None:
        raise StorageError("The disk is away. Bring it back.")

    monkeypatch.setattr(api.database, "read_once", away)
    assert "disk is away" in (await api.get("/api/tasks", 503))["error"]


def test_every_handler_takes_the_parameters_that_its_route_declares() -> None:
    from typing import get_type_hints

    for route in ROUTES:
        if route.handler is not None:
            assert (
                get_type_hints(route.handler)[
                    "given" if route.query is not parameters.NoParameters else "_given"
                ]
                is route.query
            )
