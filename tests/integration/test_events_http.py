"""``GET /api/events`` and ``/metrics`` over a real hub."""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.exceptions import InvalidStatus

from integration.test_websocket import LIMIT_SECONDS, Client, Running, running
from listening import event_source
from task_copilot.api.routes import ROUTES
from task_copilot.errors import StorageError
from task_copilot.events import bus as bus_module
from task_copilot.events import feed as feed_module
from task_copilot.events import http as events_http
from task_copilot.events.log import LogPage, LogState
from task_copilot.events.messages import MAX_SEQ
from validation import validated

PATH = "/api/events"


async def get(hub: Running, status: int = 200, **query: Any) -> dict[str, Any]:
    answer = await hub.http.get(PATH, params=query, timeout=2 * LIMIT_SECONDS)
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = validated("GET", PATH, status, answer.json())
    return found


def seqs(page: dict[str, Any]) -> list[int]:
    return [event["seq"] for event in page["events"]]


async def test_pages_follow_one_another_by_next(tmp_path: Path) -> None:
    async with running(tmp_path) as hub:
        await hub.create_many(25)
        got: list[int] = []
        page = await get(hub, since=0, limit=10)
        assert page["next"] == 10
        while page["events"]:
            assert (page["seq"], page["epoch"], page["gap"]) == (25, hub.bus.epoch, None)
            got += seqs(page)
            page = await get(hub, since=page["next"], limit=10, epoch=page["epoch"])
        assert got == [*range(1, 26)]
        assert page["next"] == 25


async def test_without_since_a_page_begins_at_the_head(tmp_path: Path) -> None:
    async with running(tmp_path) as hub:
        await hub.create_many(3)
        page = await get(hub)
        assert (page["events"], page["next"], page["seq"]) == ([], 3, 3)


async def test_next_moves_on_where_nothing_matches(tmp_path: Path) -> None:
    async with running(tmp_path) as hub:
        await hub.create_many(30)
        asked: list[dict[str, Any]] = [
            {"topics": "stream:*"},
            {"workspace": "nowhere"},
            {"notActors": "me"},
        ]
        for query in asked:
            page = await get(hub, since=0, limit=1, **query)
            assert (page["events"], page["next"]) == ([], 30)


async def test_a_page_that_looks_at_many_events_ends_on_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_http, "MAX_ROWS_LOOKED_AT", 10)
    async with running(tmp_path) as hub:
        await hub.create_many(30)
        hub.bus.window = type(hub.bus.window)(30)
        page = await get(hub, since=0, topics="stream:*", limit=5)
        assert page["events"] == []
        assert 10 <= page["next"] <= 30
        await hub.create("S")
        page = await get(hub, since=0, topics="stream:*", limit=5, wait=5)
        assert seqs(page) == [32]


async def test_a_page_of_large_events_is_bounded_in_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_http, "PAGE_CHARACTERS", 100_000)
    async with running(tmp_path) as hub:
        await hub.create()
        await hub.update_with_long_texts(1, 40)
        page = await get(hub, since=0, limit=1_000)
        assert 1 < len(page["events"]) < 20
        assert seqs(page) == [*range(1, page["next"] + 1)]


async def test_next_is_never_above_seq_although_others_write(tmp_path: Path) -> None:
    async with running(tmp_path) as hub:
        await hub.create_many(3)
        pages = hub.bus._pages
        head = 3

        class Ahead:
            """As if another process wrote between two reads."""

            async def after(self, position: int) -> LogPage:
                nonlocal head
                hub.database.start(lambda rows: None)
                await hub.create()
                head += 1
                return await pages.after(position)

            up_to = pages.up_to

        hub.bus._pages = Ahead()
        hub.bus.window = type(hub.bus.window)(3)
        page = await get(hub, since=0)
        assert seqs(page) == [1, 2, 3, 4]
        assert (page["next"], page["seq"]) == (4, 4)


# --- waiting ---


async def test_who_waits_is_answered_as_soon_as_something_matches(tmp_path: Path) -> None:
    async with running(tmp_path) as hub:
        loop = asyncio.get_running_loop()
        waiting = asyncio.create_task(get(hub, topics="stream:*", wait=60))
        await hub.clients_are(1)
        await hub.create_many(3)
        assert not waiting.done()
        begun = loop.time()
        await hub.create("S")
        page = await waiting
        assert loop.time() - begun < 2
        assert (seqs(page), page["next"], page["seq"]) == ([5], 5, 5)
        await hub.clients_are(0)


async def test_who_waits_in_vain_gets_an_empty_page_that_moves_on(tmp_path: Path) -> None:
    async with running(tmp_path) as hub:
        await hub.create_many(2)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        page = await get(hub, since=0, topics="stream:*", wait=0.3)
        assert 0.25 < loop.time() - begun < 3
        assert (page["events"], page["next"], page["gap"]) == ([], 2, None)


@pytest.mark.parametrize("path", [PATH, f"{PATH}/stream"])
async def test_a_client_that_goes_away_frees_its_place_at_once(tmp_path: Path, path: str) -> None:
    async with running(tmp_path) as hub:
        await hub.health()
        wakers, readers = len(hub.bus._wakers), len(hub.hub.listeners._readers)
        connections = []
        for _ in range(5):
            _reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
            request = f"GET {path}?wait=60" if path == PATH else f"GET {path}?since=0"
            writer.write(f"{request} HTTP/1.1\r\nHost: 127.0.0.1:{hub.port}\r\n\r\n".encode())
            connections.append(writer)
        await hub.clients_are(5)
        for number, writer in enumerate(connections):
            if number % 2:
                writer.close()
            else:
                writer.transport.abort()
        async with asyncio.timeout(2):
            await hub.clients_are(0)
        assert len(hub.bus._wakers) == wakers
        assert len(hub.hub.listeners._readers) == readers


async def test_who_waits_is_answered_or_cut_off_when_the_hub_stops(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path) as hub:
        waiting = asyncio.create_task(get(hub, wait=60))
        await hub.clients_are(1)
        await asyncio.wait_for(hub.hub.stop(), 1)
        with contextlib.suppress(httpx2.TransportError):
            await asyncio.wait_for(waiting, 1)
    assert [entry.getMessage() for entry in caplog.records if entry.levelname == "ERROR"] == []


# --- states and errors ---


async def test_an_unchanged_state_is_answered_with_304_and_a_changed_one_is_not(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as hub:
        await hub.create_many(2)
        first = await hub.http.get(PATH, params={"since": 0})
        known = {"If-None-Match": f'"x", W/{first.headers["etag"]}'}
        again = await hub.http.get(PATH, params={"since": 0}, headers=known)
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
        other = await hub.http.get(PATH, params={"since": 1}, headers=known)
        assert other.status_code == 200
        waited = await hub.http.get(PATH, params={"since": 0, "wait": 1}, headers=known)
        assert waited.status_code == 200
        await hub.create()
        changed = await hub.http.get(PATH, params={"since": 0}, headers=known)
        assert seqs(validated("GET", PATH, 200, changed.json())) == [1, 2, 3]


CURSOR, MESSAGE = "WS_INVALID_CURSOR", "WS_INVALID_MESSAGE"


NOT_ALLOWED: list[tuple[dict[str, str], str, str]] = [
    ({"since": "-1"}, CURSOR, "since"),
    ({"since": "x"}, CURSOR, "a whole number"),
    ({"since": ""}, CURSOR, "a whole number"),
    ({"since": "1.5"}, CURSOR, "a whole number"),
    ({"since": "true"}, CURSOR, "a whole number"),
    ({"since": "1"}, CURSOR, "above the head of the log, which is 0"),
    ({"since": str(MAX_SEQ)}, CURSOR, "above the head"),
    ({"since": str(MAX_SEQ + 1)}, CURSOR, "a whole number from 0"),
    ({"since": "9" * 5_000}, CURSOR, "since"),
    ({"since": "0", "epoch": "other"}, CURSOR, "another database's"),
    ({"epoch": "other"}, CURSOR, "belongs to since"),
    ({"since": "0", "epoch": ""}, CURSOR, "epoch"),
    ({"since": "0", "replay": "1"}, CURSOR, "not both"),
    ({"replay": "-1"}, CURSOR, "from 0 to 100,000"),
    ({"replay": "100001"}, CURSOR, "from 0 to 100,000"),
    ({"topics": "nope"}, "WS_INVALID_TOPIC", "a pattern is"),
    ({"topics": ""}, "WS_INVALID_TOPIC", "a pattern is"),
    ({"topics": "task:*,"}, "WS_INVALID_TOPIC", "a pattern is"),
    ({"topics": ",".join(f"task:{n}" for n in range(51))}, "WS_SUBSCRIPTION_LIMIT", "most 50"),
    ({"eventTypes": "nope"}, MESSAGE, "task.created"),
    ({"eventTypes": ""}, MESSAGE, "1 to 200 characters"),
    ({"streams": ",".join(["A"] * 101)}, MESSAGE, "1 to 100 items"),
    ({"agents": "x" * 201}, MESSAGE, "1 to 200 characters"),
    ({"workspace": ""}, MESSAGE, "1 to 200 characters"),
    ({"nope": "1"}, MESSAGE, "is no argument"),
]


@pytest.mark.parametrize("path", [PATH, f"{PATH}/stream"])
async def test_what_is_not_allowed_is_422_with_its_code_and_says_what_is(
    tmp_path: Path, path: str
) -> None:
    async with running(tmp_path) as hub:
        for query, code, words in NOT_ALLOWED:
            hub.hub.listeners.errors.clear()
            answer = await hub.http.get(path, params=query)
            assert answer.status_code == 422, (query, answer.text)
            found = validated("GET", path, 422, answer.json())
            assert (found["code"], words in found["error"]) == (code, True), (query, found)
            assert hub.hub.listeners.errors == {code: 1}
        assert hub.hub.listeners.count == 0


@pytest.mark.parametrize(
    "query", [{"limit": "0"}, {"limit": "1001"}, {"limit": "x"}, {"wait": "61"}, {"wait": "nan"}]
)
async def test_limit_and_wait_are_bounded(tmp_path: Path, query: dict[str, str]) -> None:
    async with running(tmp_path) as hub:
        assert (await get(hub, 422, **query))["code"] == MESSAGE
        answer = await hub.http.get(f"{PATH}/stream", params=query)
        assert answer.status_code == 422


async def test_a_replaced_database_is_503_for_who_waits_and_422_for_who_comes_back(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as hub:
        epoch = hub.bus.epoch
        waiting = asyncio.create_task(get(hub, 503, since=0, epoch=epoch, wait=60))
        await hub.clients_are(1)
        hub.bus.restart(LogState("another", 0))
        assert "replaced" in (await waiting)["error"]
        await get(hub)  # the bus finds the true epoch again
        hub.bus.restart(LogState("another", 0))
        assert hub.bus.epoch != epoch


async def test_a_log_that_cannot_be_read_is_503_and_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "LOG_SECONDS", 0.2)
    monkeypatch.setattr(bus_module, "READ_AGAIN_SECONDS", 0.01)
    async with running(tmp_path) as hub:

        async def away(_position: int) -> LogPage:
            raise StorageError("the disk is away")

        monkeypatch.setattr(hub.bus._pages, "after", away)
        monkeypatch.setattr(hub.bus._pages, "up_to", away)
        assert "cannot be read" in (await get(hub, 503))["error"]
        answer = await hub.http.get(f"{PATH}/stream")
        assert answer.status_code == 503


# --- places ---


async def test_where_all_places_are_taken_every_transport_gets_503(tmp_path: Path) -> None:
    async with running(tmp_path, max_listeners=3) as hub, contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(Client.to(hub, "*"))
        await stack.enter_async_context(event_source(hub))
        waiting = asyncio.create_task(get(hub, wait=60))
        await hub.clients_are(3)
        for path, query in ((PATH, {"wait": 1}), (f"{PATH}/stream", {})):
            answer = await hub.http.get(path, params=query)
            assert answer.status_code == 503
            assert "at most 3 listeners" in validated("GET", path, 503, answer.json())["error"]
            assert answer.headers["retry-after"] == "5"
        assert (await get(hub))["events"] == [], "who does not wait needs no place"
        await hub.create()
        assert seqs(await waiting) == [1]
        assert (await get(hub, since=0, wait=1))["next"] == 1


async def test_of_200_at_once_100_are_served_and_100_get_503(tmp_path: Path) -> None:
    async with running(tmp_path) as hub:
        limits = httpx2.Limits(max_connections=None)
        url = f"http://127.0.0.1:{hub.port}"
        async with httpx2.AsyncClient(
            base_url=url, trust_env=False, verify=False, limits=limits
        ) as http:
            asking = [
                asyncio.create_task(http.get(PATH, params={"wait": 60}, timeout=LIMIT_SECONDS))
                for _ in range(200)
            ]
            async with asyncio.timeout(LIMIT_SECONDS):
                while sum(task.done() for task in asking) < 100:
                    await hub.health()
            await hub.clients_are(100)
            await hub.create()
            answers = await asyncio.gather(*asking)
        assert sorted(answer.status_code for answer in answers) == [200] * 100 + [503] * 100
        assert {seqs(answer.json())[0] for answer in answers if answer.status_code == 200} == {1}
        await hub.clients_are(0)


async def test_of_200_websockets_at_once_100_are_served_and_100_get_503(tmp_path: Path) -> None:
    async with running(tmp_path) as hub, contextlib.AsyncExitStack() as stack:
        opening = (stack.enter_async_context(Client.to(hub, "*")) for _ in range(200))
        found = await asyncio.wait_for(
            asyncio.gather(*opening, return_exceptions=True), 2 * LIMIT_SECONDS
        )
        clients = [each for each in found if isinstance(each, Client)]
        refused = [each for each in found if isinstance(each, InvalidStatus)]
        assert (len(clients), len(refused)) == (100, 100)
        assert {each.response.status_code for each in refused} == {503}
        await hub.create()
        assert await asyncio.gather(*(each.seqs(1) for each in clients)) == [[1]] * 100
    assert hub.hub.listeners.count == 0


async def test_head_answers_on_every_route_without_a_body(tmp_path: Path) -> None:
    async with running(tmp_path) as hub:
        await hub.create("S")
        for route in ROUTES:
            if route.method == "GET":
                path = route.path.format(streamId="S", taskId="TASK-1", checkpointId="CP-1")
                answer = await hub.http.head(path)
                assert answer.status_code in {200, 404, 422}, path
                assert answer.content == b""
        for path in ("/openapi.json", "/asyncapi.json"):
            assert (await hub.http.head(path)).status_code == 200
        await hub.clients_are(0)


# --- metrics ---


async def scraped(hub: Running) -> dict[str, float]:
    answer = await hub.http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        sample.name + "".join(sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def test_metrics_count_what_happened(tmp_path: Path) -> None:
    async with running(tmp_path) as hub, Client.to(hub) as idle:
        before = await scraped(hub)
        async with (
            Client.to(hub, "task:*") as client,
            event_source(hub, topics="stream:*") as source,
        ):
            for _ in range(3):
                await hub.create("S")
            await client.events(3)
            await source.take(4)
            await client.ask("subscribe", topics=["nope"])
            found = await scraped(hub)
            assert found["task_copilot_listeners"] == 3
            assert found["task_copilot_slowest_listener_lag"] == 0
        await get(hub, since=0)
        await get(hub, since=5, wait=1)
        await get(hub, 422, since=99)
        assert (await idle.ask("ping"))["type"] == "pong"
        await hub.clients_are(1)
        found = await scraped(hub)
        assert found["task_copilot_events_appended_total"] == 6
        assert found["task_copilot_events_delivered_total"] == 3 + 3 + 6 + 1
        assert found["task_copilot_gaps_total"] == 0
        assert found["task_copilot_log_head"] == 6
        assert found["task_copilot_listeners"] == 1
        assert found["task_copilot_takeovers_total"] == 1
        assert found["task_copilot_errors_totalWS_INVALID_TOPIC"] == 1
        assert found["task_copilot_errors_totalWS_INVALID_CURSOR"] == 1
        commits = "task_copilot_commit_seconds_count"
        assert found[commits] - before[commits] == 3
        assert found["task_copilot_commit_seconds_sum"] > 0


async def test_who_asked_for_nothing_yet_is_not_slow(tmp_path: Path) -> None:
    async with running(tmp_path) as hub, Client.to(hub):
        await hub.create_many(5)
        assert (await scraped(hub))["task_copilot_slowest_listener_lag"] == 0


async def test_an_answer_that_is_not_read_is_cut_off(tmp_path: Path) -> None:
    async with running(tmp_path, listener_timeout=0.3) as hub:
        await hub.create()
        await hub.update_with_long_texts(1, 600)
        _reader, writer = await asyncio.open_connection("127.0.0.1", hub.port, limit=1024)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        request = f"GET {PATH}?since=0&limit=1000 HTTP/1.1\r\nHost: 127.0.0.1:{hub.port}\r\n\r\n"
        writer.write(request.encode() * 20)
        await hub.health()
        async with asyncio.timeout(LIMIT_SECONDS):
            while len(hub.transports()) < 2:
                await hub.health()
            while len(hub.transports()) > 1:
                await hub.health()
        writer.transport.abort()
