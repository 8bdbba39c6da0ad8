"""Sessions, hubs and listeners of a database that is moved to a server while they run."""

import asyncio
import contextlib
import json
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import make_url
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

import postgres
from e2e.servers import free_port
from support import World, close, database_at, table
from task_copilot import standalone
from task_copilot.application import Application, open_blocking
from task_copilot.clock import system_clock
from task_copilot.commands import migrate_to
from task_copilot.database import checksums, sqlite
from task_copilot.errors import DatabaseMoved, SchemaMismatch
from task_copilot.move import Report
from task_copilot.settings import Settings

LIMIT_SECONDS = 20.0


@pytest.fixture
def url(postgres_server: postgres.Server) -> Iterator[str]:
    with postgres_server.database(empty=True) as found:
        yield found


def settings(place: Path | str, port: int) -> Settings:
    url = place if isinstance(place, str) else f"sqlite:///{place / 'tasks.db'}"
    return Settings(database_url=url, port=port, durability="normal")


@asynccontextmanager
async def serving(place: Path | str, port: int) -> AsyncIterator[Application]:
    """A process that serves, as `task-copilot serve` does."""
    given = settings(place, port)
    database = await asyncio.to_thread(open_blocking, given, system_clock)
    application = Application(database, given, system_clock)
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            assert await application.serve()
        yield application
    finally:
        await application.close()


def written(place: Path | str, title: str) -> None:
    """By another process."""
    database = database_at(place)
    World(database).task(title)
    close(database)


def move(folder: Path, url: str) -> Report:
    file = folder / "tasks.db"
    return migrate_to._moved(settings(folder, 1), file, make_url(url), dry=False)


@asynccontextmanager
async def listening(port: int, **given: Any) -> AsyncIterator[ClientConnection]:
    async with connect(f"ws://127.0.0.1:{port}/ws", proxy=None) as connection:
        payload = {"topics": ["*"], **given}
        await connection.send(json.dumps({"type": "subscribe", "payload": payload}))
        subscribed = json.loads(await connection.recv())
        assert subscribed["type"] == "subscribed", subscribed
        yield connection


async def events_of(connection: ClientConnection, last: int) -> list[int]:
    """The numbers of what comes, up to `last`."""
    found: list[int] = []
    async with asyncio.timeout(LIMIT_SECONDS):
        while last not in found:
            message = json.loads(await connection.recv())
            if message["type"] == "event":
                found.append(message["payload"]["seq"])
    return found


async def closed(connection: ClientConnection) -> int | None:
    async with asyncio.timeout(LIMIT_SECONDS):
        with contextlib.suppress(ConnectionClosed):
            while True:
                await connection.recv()
    return connection.close_code


async def test_a_listener_goes_on_at_its_cursor_at_the_hub_of_the_new_place(
    tmp_path: Path, url: str
) -> None:
    port = free_port()
    async with serving(tmp_path, port) as hub:
        for number in range(3):
            await asyncio.to_thread(written, tmp_path, f"T{number}")
        async with listening(port, since=0) as listener:
            assert await events_of(listener, 3) == [1, 2, 3]
            report = await asyncio.to_thread(move, tmp_path, url)
            assert await closed(listener) == 1012
        async with asyncio.timeout(LIMIT_SECONDS):
            await hub.moved.wait()
        # The port is free for the next one, although this process still runs.
        async with serving(url, port) as other:
            assert other.hub is not None
            assert other.hub.port == port
            await asyncio.to_thread(written, url, "T3")
            async with listening(port, since=2, epoch=report.epoch) as again:
                assert await events_of(again, 4) == [3, 4]
            async with listening(port, since=3, epoch=report.epoch) as again:
                await asyncio.to_thread(written, url, "T4")
                assert await events_of(again, 5) == [4, 5]


async def test_a_hub_says_once_where_its_database_is_and_serves_no_longer(
    tmp_path: Path, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    async with serving(tmp_path, port) as hub:
        await asyncio.to_thread(written, tmp_path, "T0")
        waiting = asyncio.create_task(second(tmp_path, port))
        await asyncio.to_thread(move, tmp_path, url)
        async with asyncio.timeout(LIMIT_SECONDS):
            await hub.moved.wait()
            assert not await waiting, "who comes next is no hub of a moved database"
        async with httpx2.AsyncClient(trust_env=False, verify=False) as http:
            with pytest.raises(httpx2.ConnectError):
                await http.get(f"http://127.0.0.1:{port}/health")
        with pytest.raises(DatabaseMoved, match="was moved to postgresql"):
            await hub.database.write(lambda _tx: None)
    said = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(said) == 2, said
    assert said[0].startswith("Events are served no longer. This database was moved to ")
    assert said[1].startswith("Events are not served. This database was moved to ")


async def second(folder: Path, port: int) -> bool:
    given = settings(folder, port)
    database = await asyncio.to_thread(open_blocking, given, system_clock)
    application = Application(database, given, system_clock)
    try:
        return await application.serve()
    finally:
        await application.close()


async def test_serve_ends_where_its_database_was_moved_before_or_meanwhile(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    serves = asyncio.Event()

    class Noted(Application):
        async def serve(self) -> bool:
            found = await super().serve()
            serves.set()
            return found

    monkeypatch.setattr(standalone, "Application", Noted)
    given = settings(tmp_path, free_port())
    serving = asyncio.create_task(standalone._serve(given))
    async with asyncio.timeout(LIMIT_SECONDS):
        await serves.wait()
        await asyncio.to_thread(move, tmp_path, url)
        assert await serving == standalone.CANNOT_SERVE
        assert await standalone._serve(given) == standalone.CANNOT_SERVE


def test_sessions_that_run_read_meanwhile_and_are_refused_after_it(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = World(database_at(tmp_path))
    running.task("before")
    compare, seen = checksums.of_postgres, []

    def noted(driver: Any, table: Any) -> Any:
        seen.append(len(running.events()))
        return compare(driver, table)

    monkeypatch.setattr(checksums, "of_postgres", noted)
    move(tmp_path, url)
    assert set(seen) == {1}
    for use in (running.task, running.events):
        with pytest.raises(DatabaseMoved, match="was moved to postgresql") as found:
            use()
        assert "TASK_COPILOT_DATABASE_URL" in str(found.value)
    close(running.database)


def test_a_session_that_waits_for_the_lock_finds_the_mark(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = World(database_at(tmp_path))
    running.task("before")
    compare, begin = checksums.of_postgres, sqlite.begin
    waits = threading.Event()
    failed: list[Exception] = []

    def waiting(driver: Any) -> None:
        waits.set()
        begin(driver)

    def write() -> None:
        monkeypatch.setattr(sqlite, "begin", waiting)
        try:
            running.task("meanwhile")
        except DatabaseMoved as error:
            failed.append(error)

    writing = threading.Thread(target=write)

    def noted(driver: Any, table: Any) -> Any:
        if not waits.is_set():
            writing.start()
            assert waits.wait(LIMIT_SECONDS)
        return compare(driver, table)

    monkeypatch.setattr(checksums, "of_postgres", noted)
    move(tmp_path, url)
    writing.join(LIMIT_SECONDS)
    assert len(failed) == 1
    database = database_at(url)
    assert [row["title"] for row in table(database, "tasks")] == ["before"]
    close(database)
    close(running.database)


def test_programs_that_know_no_marks_refuse_a_moved_database(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They compare the number of the tables' version, as every version has done."""
    running = World(database_at(tmp_path))
    move(tmp_path, url)
    monkeypatch.setattr(sqlite, "CLOSED_VERSION", -1)
    with pytest.raises(SchemaMismatch, match=r"nothing was written\. Restart this server"):
        running.task()
    with pytest.raises(SchemaMismatch, match="made by a newer Task Copilot"):
        database_at(tmp_path)
    close(running.database)
