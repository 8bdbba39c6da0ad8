"""A loop over events that remembers on disk how far it has come."""

import asyncio
import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from client_support import MODES, AnyHub, a_hub, tasks_of, until
from task_copilot_client import AsyncTaskCopilotClient, Event, Gap

LIMIT_SECONDS = 20


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnyHub]:
    with a_hub("memory", tmp_path_factory.mktemp("hub")) as found:
        found.tasks(3)
        yield found


@pytest.fixture(params=["websocket", "polling"])
def client(serving: AnyHub, request: pytest.FixtureRequest) -> AsyncTaskCopilotClient:
    return serving.async_client(**MODES[request.param])


@pytest.fixture
def cursor(tmp_path: Path) -> Path:
    return tmp_path / "cursor"


async def handled(
    client: AsyncTaskCopilotClient, cursor: Path, count: int, *, last: bool = True, **given: Any
) -> list[Event]:
    """So many events; the last one is handled too, or the loop breaks at it."""
    found: list[Event] = []
    events = client.events(**{"topics": ["task:*"], "cursor_file": cursor, **given})
    async with asyncio.timeout(LIMIT_SECONDS):
        async for event in events:
            found.append(event)
            if len(found) == count:
                break
        if last:
            step = asyncio.ensure_future(anext(events))
            await until_written(cursor, found[-1].seq)
            step.cancel()
            await asyncio.gather(step, return_exceptions=True)
        await events.aclose()
    return found


async def until_written(cursor: Path, seq: int) -> None:
    await asyncio.to_thread(until, lambda: read(cursor).get("position", 0) >= seq)


def read(cursor: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cursor.read_text()) if cursor.exists() else {}
    return found


def rights(cursor: Path) -> int:
    return stat.S_IMODE(cursor.stat().st_mode)


def topics(events: list[Event]) -> list[str]:
    return [event.topic for event in events]


async def test_it_goes_on_after_the_last_event_that_was_handled(
    client: AsyncTaskCopilotClient, serving: AnyHub, cursor: Path
) -> None:
    first = await handled(client, cursor, 2, since=0)
    assert topics(first) == tasks_of(1, 2)
    assert read(cursor) == {"epoch": first[-1].epoch, "position": first[-1].seq}
    assert rights(cursor) == 0o600
    assert topics(await handled(client, cursor, 1, since=0)) == tasks_of(3, 3)


async def test_a_loop_that_breaks_at_an_event_gets_it_again(
    client: AsyncTaskCopilotClient, cursor: Path
) -> None:
    assert topics(await handled(client, cursor, 2, last=False, since=0)) == tasks_of(1, 2)
    assert topics(await handled(client, cursor, 2, last=False)) == tasks_of(2, 3)
    assert topics(await handled(client, cursor, 1)) == tasks_of(3, 3)


async def test_an_event_at_which_the_loop_fails_comes_again(
    client: AsyncTaskCopilotClient, cursor: Path
) -> None:
    async def fail_at_the_second() -> None:
        events = client.events("task:*", since=0, cursor_file=str(cursor))
        try:
            async for event in events:
                if event.topic == "task:TASK-2":
                    raise RuntimeError("not handled")
        finally:
            await events.aclose()

    with pytest.raises(RuntimeError, match="not handled"):
        await asyncio.wait_for(fail_at_the_second(), LIMIT_SECONDS)
    assert topics(await handled(client, cursor, 1)) == tasks_of(2, 2)


async def test_what_nobody_asked_for_is_passed_over_in_the_file_too(
    client: AsyncTaskCopilotClient, serving: AnyHub, cursor: Path
) -> None:
    events = client.events("stream:Nobody", since=0, cursor_file=cursor)
    step = asyncio.ensure_future(anext(events))
    serving.settle()
    async with asyncio.timeout(LIMIT_SECONDS):
        await until_written(cursor, serving.head)
    step.cancel()
    await asyncio.gather(step, return_exceptions=True)
    await events.aclose()


async def test_the_first_time_it_begins_as_without_a_file(
    client: AsyncTaskCopilotClient, cursor: Path
) -> None:
    assert topics(await handled(client, cursor, 1, last=False, replay=1)) == tasks_of(3, 3)


async def test_a_file_of_another_database_gives_a_gap_and_goes_on_behind_it(
    client: AsyncTaskCopilotClient, serving: AnyHub, tmp_path: Path
) -> None:
    cursor = tmp_path / "cursor"
    cursor.write_text('{"epoch": "another", "position": 1}')
    gaps: list[Gap] = []
    events = client.events("task:*", cursor_file=cursor, on_gap=gaps.append)
    step = asyncio.ensure_future(anext(events))
    serving.settle()
    async with asyncio.timeout(LIMIT_SECONDS):
        await until_written(cursor, serving.head)
    step.cancel()
    await asyncio.gather(step, return_exceptions=True)
    await events.aclose()
    assert [gap.reason for gap in gaps] == ["replaced"]
    assert read(cursor) == {"epoch": gaps[0].epoch, "position": gaps[0].to}


@pytest.mark.parametrize(
    "content", [b"", b"{", b"7", b'{"epoch": "x"}', b'{"epoch": "x", "position": -1}', b"\xff"]
)
def test_a_file_that_is_no_cursor_is_refused_at_once(cursor: Path, content: bytes) -> None:
    cursor.write_bytes(content)
    with pytest.raises(ValueError, match="is no cursor; remove it to begin anew"):
        AsyncTaskCopilotClient().events("*", cursor_file=cursor)
    assert cursor.read_bytes() == content


async def test_a_file_that_cannot_be_written_is_warned_of_once_and_the_events_come(
    client: AsyncTaskCopilotClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cursor = tmp_path / "no folder" / "cursor"
    assert topics(await handled(client, cursor, 3, last=False, since=0)) == tasks_of(1, 3)
    assert [one.getMessage()[:24] for one in caplog.records] == ["The cursor is not kept: "]
