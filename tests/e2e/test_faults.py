"""Hubs that are killed, stopped and replaced in awkward moments: every listener has everything."""

import asyncio
import random
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest

from e2e.faults import (
    LIMIT_SECONDS,
    Watch,
    all_reach,
    assert_has_all,
    bulk,
    everyone,
    handshake,
    head,
    health,
    listening_processes,
    masked,
    rest_of,
    running,
    until,
    until_clients,
    write_events,
)
from e2e.servers import COMMAND, Server, after, free_port, server, start_server
from e2e.test_hub_life import closed, event, listening, next_hub, places, session
from task_copilot import runtime
from task_copilot.leader import LeaderLock, held
from torture.listening import OverWebSocket

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")


# A hub that is killed


async def test_a_hub_killed_in_the_middle_of_anything_costs_no_listener_an_event(
    tmp_path: Path,
) -> None:
    port, count = free_port(), 20_000
    with bulk(tmp_path) as database:
        write_events(database, count, size=300)
    listeners = everyone(port)
    async with session(tmp_path, port, 3) as [hub, *others]:
        half, half_writer = await asyncio.open_connection("127.0.0.1", port)
        half_writer.write(handshake(port)[:60])
        frame, frame_writer = await asyncio.open_connection("127.0.0.1", port)
        frame_writer.write(handshake(port) + masked({"type": "ping"})[:7])
        await asyncio.wait_for(frame.readuntil(b"\r\n\r\n"), LIMIT_SECONDS)
        async with running(listeners):
            await until(lambda: all(each.cursor > 0 for each in listeners))
            hub.process.kill()
            at = {each.name: each.cursor for each in listeners}
            assert max(at.values()) < count, at
            assert await rest_of(half) == await rest_of(frame) == b""
            await all_reach(listeners, count)
            second = await next_hub(others)
            others.remove(second)
            # Now all of them wait, the long poll too.
            await others[0].ok("task_create", title="While they wait")
            await all_reach(listeners, count + 1)
            second.process.kill()
            await others[0].ok("task_create", title="Without a hub, or with the next one")
            await all_reach(listeners, count + 2)
        half_writer.close()
        frame_writer.close()
    for each in listeners:
        assert_has_all(each, count + 2)
        assert each.connections >= 2, each.name


async def test_of_many_started_at_once_one_is_the_hub_and_one_after_each_that_is_killed(
    tmp_path: Path,
) -> None:
    port, count = free_port(), 6
    every = [server(tmp_path, port=port, log_level="info") for _ in range(count)]
    async with AsyncExitStack() as stack:
        await asyncio.gather(*(stack.enter_async_context(mcp) for mcp in every))
        await asyncio.gather(*(mcp.initialize(timeout=30) for mcp in every))
        hubs: list[Server] = []
        with Watch(every) as watch:
            for takeovers in range(1, count + 1):
                left = [mcp for mcp in every if mcp not in hubs]
                hub = await next_hub(left)
                hubs.append(hub)
                record = runtime.read(places(hub).runtime)
                assert record is not None
                assert (record.takeovers, record.pid, record.port) == (
                    takeovers,
                    hub.process.pid,
                    port,
                )
                assert [mcp for mcp in every if "Events: ws" in mcp.stderr_text()] == [
                    mcp for mcp in every if mcp in hubs
                ]
                assert listening_processes(left) == [hub.process.pid]
                hub.process.kill()  # the last one may be in the midst of telling who it is
                await hub.wait_exit()
        assert len(watch.looks) > count
        assert watch.held_twice() == []
        assert [mcp.stderr_text().count("Events: ws") for mcp in every] == [1] * count
        assert not [mcp.stderr_text() for mcp in every if "Traceback" in mcp.stderr_text()]


KILLED_AFTER_THE_COMMIT = """
import os, signal
from pathlib import Path
from task_copilot.database import sqlite
commit = sqlite.commit
def commit_and_end(connection):
    commit(connection)
    if Path("end").exists():
        os.kill(os.getpid(), signal.SIGKILL)
sqlite.commit = commit_and_end
"""


@pytest.mark.parametrize("busy", [False, True], ids=["idle hub", "busy hub"])
async def test_what_a_process_commits_with_its_last_breath_reaches_listeners_at_once(
    tmp_path: Path, *, busy: bool
) -> None:
    port = free_port()
    call = {"title": "Last words", "requestId": "r-1"}
    async with session(tmp_path, port, 1) as [hub], listening(port) as listener:
        ended = asyncio.Event()

        async def refused_calls() -> None:
            while not ended.is_set():
                await hub.refused("task_update", id="TASK-99", status="completed")

        work = [asyncio.create_task(refused_calls()) for _ in range(8)] if busy else []
        dying = after(KILLED_AFTER_THE_COMMIT)
        async with start_server(tmp_path, port=port, command=dying) as other:
            await other.ok("task_create", title="First")
            assert (await event(listener))["seq"] == 1
            (other.folder / "end").touch()
            with pytest.raises(ConnectionResetError):
                await other.call("task_create", call, timeout=30)
            assert await other.wait_exit() == -signal.SIGKILL
        try:
            async with asyncio.timeout(5):  # it is 0.05 s
                assert (await event(listener))["data"]["taskTitle"] == "Last words"
        finally:
            ended.set()
            await asyncio.gather(*work)
        answers = [await hub.ok("task_create", **call) for _ in range(2)]
        assert [answer["id"] for answer in answers] == ["TASK-2"] * 2
        await hub.ok("task_create", title="Next")
        assert (await event(listener))["data"]["taskTitle"] == "Next"
        assert head(hub.database) == 3


# A hub that is stopped


async def test_a_hub_stopped_for_longer_than_its_patience_dismisses_nobody_and_stays_the_only_one(
    tmp_path: Path,
) -> None:
    port = free_port()
    given: dict[str, Any] = {"ping_interval": 0.3, "listener_timeout": 1.0, "log_level": "info"}
    listeners = everyone(port)
    async with (
        start_server(tmp_path, port=port, **given) as hub,
        start_server(tmp_path, port=port, **given) as other,
    ):
        await next_hub([hub])
        await other.wait_until(lambda: "waits to take its place" in other.stderr_text())
        known = places(hub).runtime.read_bytes()
        async with running(listeners):
            await other.ok("task_create", title="Before")
            await all_reach(listeners, 1)
            connections = [each.connections for each in listeners]
            hub.signal(signal.SIGSTOP)
            try:
                loop = asyncio.get_running_loop()
                deadline = loop.time() + 2.5  # the fault itself
                written = 1
                while loop.time() < deadline:
                    await asyncio.wait_for(other.ok("task_create", title="Meanwhile"), 2)
                    written += 1
                with pytest.raises(httpx2.TimeoutException):
                    await health(port, timeout=0.2)
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(LeaderLock(places(hub).lock).acquire(), 0.2)
                assert listening_processes([other]) == []
                assert places(hub).runtime.read_bytes() == known
            finally:
                hub.signal(signal.SIGCONT)
            await all_reach(listeners, written)
            await other.ok("task_create", title="After")
            await all_reach(listeners, written + 1)
            assert [each.connections for each in listeners] == connections
        assert "Events: ws" not in other.stderr_text()
    for each in listeners:
        assert_has_all(each, written + 1)


# A process that is stopped while it opens the database

SHORT_PATIENCE = """
from task_copilot import leader
leader.HELD_SECONDS = 0.3
"""


async def test_a_process_that_is_stopped_while_it_opens_the_database_does_not_keep_others_waiting(
    tmp_path: Path,
) -> None:
    port = free_port()
    async with start_server(tmp_path, port=port) as mcp:
        await mcp.ok("task_create", title="Made the database")
    with held(places(mcp).opening):
        async with start_server(tmp_path, port=port, command=after(SHORT_PATIENCE)) as other:
            assert (await other.ok("task_create", title="Works"))["id"] == "TASK-2"


# A hub that leaves in order


async def test_a_hub_that_leaves_tells_everyone_and_no_event_of_those_who_write_on_is_lost(
    tmp_path: Path,
) -> None:
    port = free_port()
    listeners = everyone(port)
    async with session(tmp_path, port, 3) as [hub, *others]:
        ended = asyncio.Event()

        async def write(mcp: Server) -> None:
            while not ended.is_set():
                await mcp.ok("task_create", title="On and on")

        for mcp in (hub, *others):
            await mcp.ok("task_create", title="First")
        async with (
            running(listeners),
            listening(port) as listener,
            httpx2.AsyncClient(
                base_url=f"http://127.0.0.1:{port}", trust_env=False, verify=False
            ) as http,
        ):
            far = {"topics": "checkpoint:*"}
            poll = asyncio.create_task(
                http.get("/api/events", params={**far, "wait": 60}, timeout=LIMIT_SECONDS)
            )
            opened_stream = asyncio.Event()

            async def whole_stream() -> str:
                async with http.stream(
                    "GET", "/api/events/stream", params=far, timeout=LIMIT_SECONDS
                ) as answer:
                    opened_stream.set()
                    return (await answer.aread()).decode()

            stream = asyncio.create_task(whole_stream())
            await opened_stream.wait()
            await until_clients(port, len(listeners) + 3)
            writing = [asyncio.create_task(write(mcp)) for mcp in others]
            await all_reach(listeners, 20)
            hub.signal(signal.SIGTERM)
            assert await closed(listener) == 1012
            answer = await poll
            assert (answer.status_code, answer.json()["events"]) == (200, [])
            assert "event: subscribed" in await stream  # and no error: it has ended in order
            assert await hub.wait_exit() == 0
            await next_hub(others)
            goal = head(hub.database) + 20
            await all_reach(listeners, goal)
            ended.set()
            await asyncio.gather(*writing)
            last = head(hub.database)
            await all_reach(listeners, last)
    for each in listeners:
        assert_has_all(each, last)
        assert each.connections <= 2, each.name


# A hub without an agent


async def test_a_session_takes_over_from_a_killed_serve_and_a_new_serve_waits(
    tmp_path: Path,
) -> None:
    port = free_port()
    serve = (*COMMAND, "serve")
    listener = OverWebSocket("listener", port, random.Random(1))
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(server(tmp_path, port=port, command=serve))
        await first.served()
        await stack.enter_async_context(running([listener]))
        async with start_server(tmp_path, port=port) as brief:
            await brief.ok("task_create", title="One")
        stays = await stack.enter_async_context(start_server(tmp_path, port=port, log_level="info"))
        await stays.wait_until(lambda: "waits to take its place" in stays.stderr_text())
        async with start_server(tmp_path, port=port) as brief:
            await brief.ok("task_create", title="Two")
            first.process.kill()
            await stays.served()
            await brief.ok("task_create", title="Three")
        second = await stack.enter_async_context(server(tmp_path, port=port, command=serve))
        words = f"process {stays.process.pid} on http://127.0.0.1:{port}"
        await second.wait_until(lambda: words in second.stderr_text())
        await stays.ok("task_create", title="Four")
        await all_reach([listener], 4)
        stays.process.kill()
        await second.served()
        assert (await health(port))["seq"] == 4
        record = runtime.read(places(second).runtime)
        assert record is not None
        assert (record.pid, record.takeovers) == (second.process.pid, 3)
        second.signal(signal.SIGTERM)
        assert await second.wait_exit() == 0
    assert_has_all(listener, 4)


# A foreign program that is faster


async def test_where_a_foreign_program_takes_the_port_of_a_killed_hub_the_file_says_the_next(
    tmp_path: Path,
) -> None:
    port = free_port()

    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with session(tmp_path, port, 3) as [hub, *others]:
        await hub.ok("task_create", title="One")
        for mcp in others:
            mcp.signal(signal.SIGSTOP)  # so that the foreign program is faster
        hub.process.kill()
        await hub.wait_exit()
        foreign = await asyncio.start_server(hang_up, "127.0.0.1", port)
        for mcp in others:
            mcp.signal(signal.SIGCONT)
        second = await next_hub(others)
        others.remove(second)
        record = runtime.read(places(second).runtime)
        assert record is not None
        assert record.url == f"http://127.0.0.1:{port + 1}"
        assert f"events are served on port {port + 1}" in second.stderr_text()
        async with listening(int(record.url.rpartition(":")[2])) as listener:
            await others[0].ok("task_create", title="Two")
            assert (await event(listener))["seq"] == 2
        foreign.close()
        await foreign.wait_closed()
        second.process.kill()
        [last] = others
        await last.served()
        async with listening(port) as listener:
            await last.ok("task_create", title="Three")
            assert (await event(listener))["seq"] == 3
        record = runtime.read(places(last).runtime)
        assert record is not None
        assert (record.port, record.takeovers) == (port, 3)
