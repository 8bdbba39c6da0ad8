"""Several hubs on one PostgreSQL database, as on several machines."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import psycopg
import pytest
from sqlalchemy import make_url

import postgres
from e2e.servers import free_port
from postgres import connected, cut
from support import World, close, database_at
from task_copilot import checkpoints, runtime, workspaces
from task_copilot.application import Application, open_blocking, places_of
from task_copilot.checkpoints import NewCheckpoint
from task_copilot.client.finding import candidates
from task_copilot.clock import system_clock
from task_copilot.database.tables import SCHEMA_VERSION
from task_copilot.errors import SchemaMismatch
from task_copilot.events import log
from task_copilot.location import Location
from task_copilot.settings import Settings

LIMIT_SECONDS = 20.0


@pytest.fixture
def url(postgres_server: postgres.Server) -> Iterator[str]:
    with postgres_server.database() as found:
        yield found


@asynccontextmanager
async def serving(url: str, **given: Any) -> AsyncIterator[Application]:
    """A process that serves, as `task-copilot serve` does."""
    settings = Settings(database_url=url, **{"port": free_port(), **given})
    database = await asyncio.to_thread(open_blocking, settings, system_clock)
    application = Application(database, settings, system_clock)
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            assert await application.serve()
        yield application
    finally:
        await application.close()


def bus_of(application: Application) -> Any:
    bus = application._succession._bus
    assert bus is not None
    return bus


async def reaches(application: Application, head: int) -> None:
    bus, changed = bus_of(application), asyncio.Event()
    bus.add_waker(changed.set)
    async with asyncio.timeout(LIMIT_SECONDS):
        while bus.head < head:
            changed.clear()
            await changed.wait()


def port_of(application: Application) -> int | None:
    return None if application.hub is None else application.hub.port


def window(application: Application) -> list[int]:
    return [row.seq for row in reversed(bus_of(application).window.newest_first())]


async def events_after(application: Application, since: int, epoch: str) -> list[int]:
    """What a client gets that comes with a cursor."""
    assert application.hub is not None
    async with httpx2.AsyncClient(
        base_url=application.hub.address, trust_env=False, verify=False
    ) as http:
        answer = await http.get("/api/events", params={"since": since, "epoch": epoch})
    assert answer.status_code == 200, answer.text
    return [event["seq"] for event in answer.json()["events"]]


async def test_hubs_on_several_ports_serve_all_events_at_the_same_time(url: str) -> None:
    async with serving(url) as first, serving(url) as second:
        other = World(await asyncio.to_thread(database_at, url), "c")
        writers = [World(first.database, "a"), World(second.database, "b"), other]
        for number in range(12):
            await asyncio.to_thread(writers[number % 3].task, f"T{number}")
        for hub in (first, second):
            await reaches(hub, 12)
            assert window(hub) == list(range(1, 13))
        # A client that moves goes on at its cursor.
        epoch = bus_of(first).epoch
        assert await events_after(first, 3, epoch) == list(range(4, 13))
        assert await events_after(second, 7, epoch) == list(range(8, 13))
        close(other.database)


async def test_sessions_of_one_machine_share_the_hub_of_their_port(url: str) -> None:
    port = free_port()
    async with serving(url, port=port) as first:
        settings = Settings(database_url=url, port=port)
        database = await asyncio.to_thread(open_blocking, settings, system_clock)
        second = Application(database, settings, system_clock)
        waiting = asyncio.create_task(second.serve())
        await asyncio.to_thread(World(database, "b").task, "of the one that waits")
        await reaches(first, 1)
        assert not waiting.done()
        assert port_of(second) is None
    async with asyncio.timeout(LIMIT_SECONDS):
        assert await waiting
    assert port_of(second) == port
    await second.close()


async def test_a_client_finds_the_hubs_of_the_database_on_any_port(url: str) -> None:
    written = make_url(url).set(password="secret").render_as_string(hide_password=False)
    assert "secret" in written
    async with serving(url) as first, serving(url) as second:
        assert first.hub is not None
        assert second.hub is not None
        both = {first.hub.address, second.hub.address}
        found = candidates(None, {"TASK_COPILOT_DATABASE_URL": written})
        assert both < {each.address for each in found}
        mine = {"TASK_COPILOT_DATABASE_URL": url, "TASK_COPILOT_PORT": str(second.hub.port)}
        assert candidates(None, mine)[0].address == second.hub.address
        record = runtime.record_of(places_of(make_url(url), first.hub.port or 0))
        assert record is not None
        assert record.url == first.hub.address


async def test_a_restored_database_gets_one_new_epoch_whoever_finds_it_out(url: str) -> None:
    async with serving(url) as first, serving(url) as second:
        world = World(first.database, "a")
        for number in range(5):
            await asyncio.to_thread(world.task, f"T{number}")
        for hub in (first, second):
            await reaches(hub, 5)
        before = bus_of(first).epoch
        await asyncio.to_thread(put_back, url, 3)
        for hub in (first, second):
            await restarted(hub, before)
        await asyncio.to_thread(world.task, "after")
        for hub in (first, second):
            await reaches(hub, 4)
        stored = await first.database.read(log.state)
        assert [bus_of(hub).state for hub in (first, second)] == [stored] * 2
        assert stored.head == 4


def put_back(url: str, head: int) -> None:
    """What restoring a backup does to the log."""
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        connection.execute("UPDATE log SET head = %s", (head,))
        connection.execute("DELETE FROM events WHERE seq > %s", (head,))


async def restarted(application: Application, epoch: str) -> None:
    bus, changed = bus_of(application), asyncio.Event()
    bus.add_waker(changed.set)
    async with asyncio.timeout(LIMIT_SECONDS):
        while bus.epoch == epoch:
            changed.clear()
            await changed.wait()


async def test_a_hub_goes_on_without_a_gap_where_its_connections_are_cut(url: str) -> None:
    async with serving(url) as hub:
        world = World(await asyncio.to_thread(database_at, url), "a")
        for number in range(12):
            await asyncio.to_thread(world.task, f"T{number}")
            if number % 3 == 1:
                await asyncio.to_thread(cut, url)
        await reaches(hub, 12)
        assert window(hub) == list(range(1, 13))
        close(world.database)


async def test_hubs_that_tidy_up_at_once_do_everything_once(url: str) -> None:
    async with serving(url) as first, serving(url) as second:
        world = World(first.database, "a")
        task = await asyncio.to_thread(world.task)
        new = NewCheckpoint(expires_in=0)
        for _ in range(5):
            await first.database.write(
                lambda tx: checkpoints.create(tx, world.scope, task, new, kept=9)
            )
        tidying = [hub._expire_checkpoints() for hub in (first, second) * 3]
        await asyncio.gather(*tidying)
        found = [event["eventType"] for event in await asyncio.to_thread(world.events)]
        assert found.count("checkpoint.expired") == 5


async def test_a_clock_that_is_set_back_ends_what_it_has_begun(url: str) -> None:
    async with serving(url) as hub:
        world = World(hub.database, "a")
        task = await asyncio.to_thread(world.task)
        new = NewCheckpoint(expires_in=60)
        await hub.database.write(lambda tx: checkpoints.create(tx, world.scope, task, new, kept=9))
        hub._clock = lambda: "2999-01-01T00:00:00.000Z"  # before it was set back
        async with asyncio.timeout(LIMIT_SECONDS):
            await hub._expire_checkpoints()


async def test_under_a_migration_hubs_stop_writing_and_go_on_serving_what_is_there(
    url: str,
) -> None:
    async with serving(url) as first, serving(url) as second:
        world = World(first.database, "a")
        await asyncio.to_thread(world.task)
        await asyncio.to_thread(migrated, url)
        for hub in (first, second):
            with pytest.raises(SchemaMismatch, match="Restart this server"):
                await hub.database.write(lambda tx: workspaces.ensure(tx, Location("b", None)))
        await asyncio.to_thread(written_by_the_new_version, url)
        for hub in (first, second):
            await reaches(hub, 2)
            assert await events_after(hub, 0, bus_of(hub).epoch) == [1, 2]


def migrated(url: str) -> None:
    with connected(url) as connection:
        connection.execute(
            "UPDATE task_copilot_version SET version_num = %s", (f"{SCHEMA_VERSION + 1:04d}",)
        )


def written_by_the_new_version(url: str) -> None:
    """As a program does that was upgraded already."""
    with connected(url) as connection, connection.transaction():
        connection.execute("UPDATE log SET head = head + 1")
        connection.execute("CREATE TEMP TABLE new AS SELECT * FROM events WHERE seq = 1")
        connection.execute("UPDATE new SET seq = 2")
        connection.execute("INSERT INTO events SELECT * FROM new")
        connection.execute("NOTIFY task_copilot")
