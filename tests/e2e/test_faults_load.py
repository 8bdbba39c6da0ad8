"""Full disks, clocks that jump, clients that do not read and crowds: nothing lost, all bounded."""

import asyncio
import json
import random
import socket
import struct
import sys
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
from websockets.asyncio.client import ClientConnection, connect

from e2e.faults import (
    LIMIT_SECONDS,
    all_reach,
    assert_has_all,
    bulk,
    everyone,
    handshake,
    head,
    health,
    masked,
    rest_of,
    running,
    until,
    until_clients,
    write_events,
)
from e2e.servers import actors, after, contents, events, free_port, start_server
from e2e.test_hub_life import event, listening, next_hub, places, session
from e2e.test_storage_faults import (
    assert_log_has_no_holes,
    has_room_again,
    is_whole,
    limit_files,
)
from task_copilot import runtime
from torture.listening import OverWebSocket

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="prlimit, SO_RCVBUF")

MIB = 1024 * 1024


# A full disk

TRIES_AGAIN_SOON = """
from task_copilot import succession
succession.TRY_AGAIN_SECONDS = 0.2
"""


async def test_on_a_full_disk_listeners_keep_what_they_have_and_go_on_when_it_has_room(
    tmp_path: Path,
) -> None:
    port = free_port()
    listeners = everyone(port)
    soon = after(TRIES_AGAIN_SOON)
    async with session(tmp_path, port, 3, command=soon) as [hub, *others], running(listeners):
        for mcp in (hub, *others):
            await mcp.ok("task_create", title="Before", streamId="A")
        last = head(hub.database)
        await all_reach(listeners, last)
        before = contents(hub.database)
        for mcp in (hub, *others):
            limit_files(mcp, 0)
        for mcp in (hub, *others):
            text = await mcp.refused("task_update", id="TASK-1", status="completed")
            assert "Nothing was written" in text
            assert "disk" in text
        assert contents(hub.database) == before
        assert (await health(port))["seq"] == last
        hub.process.kill()
        await hub.wait_exit()
        second = await next_hub(others)
        others.remove(second)
        assert "disk" in await second.refused("task_create", title="Lost")
        has_room_again(second)
        await second.ok("task_create", title="After", streamId="A")
        assert "disk" in await others[0].refused("task_create", title="Lost")
        has_room_again(others[0])
        await others[0].ok("task_update", id="TASK-1", status="completed")
        last = head(hub.database)
        await all_reach(listeners, last)
        assert is_whole(hub.database)
        assert_log_has_no_holes(hub.database)
        path, pid = places(second).runtime, second.process.pid
        await until(lambda: (found := runtime.read(path)) and found.pid == pid)
    for each in listeners:
        assert_has_all(each, last)


# A clock that is set back and forth

CLOCK = """
from datetime import UTC, datetime, timedelta
from pathlib import Path
from task_copilot import clock

def moved():
    hours = float(Path("hours").read_text())
    return clock.timestamp(datetime.now(UTC) + timedelta(hours=hours))

clock.system_clock = moved
"""


class Hours:
    """By how many hours the clock of the servers is wrong."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._path = folder / "hours"

    def set(self, hours: int) -> None:
        new = self._path.with_name("new")
        new.write_text(str(hours))
        new.replace(self._path)


def durations(database: Path) -> list[int]:
    completed = {"task.completed", "stream.completed"}
    found = [item for item in events(database) if item["eventType"] in completed]
    return [item["data"]["duration"] for item in found]


async def test_a_clock_that_is_set_back_changes_no_order_and_makes_nothing_negative(
    tmp_path: Path,
) -> None:
    port = free_port()
    given: dict[str, Any] = {"port": port, "command": after(CLOCK), "log_level": "info"}
    given |= {"retention_days": 1, "retention_events": 1, "archive_after_days": 1}
    hours = Hours(tmp_path / "project")
    hours.set(0)
    listeners = everyone(port)
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(start_server(tmp_path, **given))
        await hub.served()
        await stack.enter_async_context(running(listeners))
        http = await stack.enter_async_context(
            httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, verify=False)
        )
        new = {"title": "First", "streamId": "A", "requestId": "r-1"}
        await hub.ok("task_create", **new)
        await hub.ok("task_update", id="TASK-1", status="in_progress", assignedAgent="me")
        first = await hub.ok("checkpoint_create", taskId="TASK-1", draftContent="before")
        hours.set(-48)
        assert (await hub.ok("task_create", **new))["id"] == "TASK-1"
        second = await hub.ok("checkpoint_create", taskId="TASK-1", draftContent="after")
        assert second["createdAt"] < first["createdAt"]
        assert (await hub.ok("checkpoint_resume", taskId="TASK-1"))["draftContent"] == "after"
        found = (await http.get("/api/streams/A/health")).json()
        assert found["timeSinceActivity"] >= 0
        assert found["timeSinceCheckpoint"] >= 0
        assert (await http.get("/api/activity")).json()["totalActive"] == 1
        assert (await http.get("/api/checkpoints?taskId=TASK-1")).json()["sequence"] == 2
        await hub.ok("task_update", id="TASK-1", status="completed")
        assert durations(hub.database) == [0, 0]
        # The next hub tidies up at its start: what is young by either clock stays.
        async with start_server(tmp_path, **given) as other:
            hub.process.kill()
            await other.served()
            await other.ok("task_create", title="Second", streamId="A")
            last = head(other.database)
            await all_reach(listeners, last)
            assert_log_has_no_holes(other.database)
            assert "A " in await other.text("stream_list")
            assert (await other.ok("task_create", **new))["id"] == "TASK-1"
            hours.set(0)
            assert (await other.ok("task_create", **new))["id"] == "TASK-1"
            assert (await other.ok("checkpoint_resume", taskId="TASK-1"))["sequence"] == 2
            hours.set(240)  # all is over by then, and the id is known no more
            assert "no checkpoint" in await other.refused("checkpoint_resume", taskId="TASK-1")
            assert (await other.ok("task_create", **new))["id"] == "TASK-3"
            hours.set(0)
            assert (await other.ok("task_create", **new))["id"] == "TASK-3"
            last = head(other.database)
            await all_reach(listeners, last)
    for each in listeners:
        assert_has_all(each, last)
        times = [item["timestamp"] for item in each.events]
        assert times != sorted(times)


# Clients that do not read


async def stuck(port: int, *lines: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A client that sends `lines` and never reads more than the first bytes of the answer."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=1024)
    writer.write(b"".join(lines))
    assert b" 101 " in (first := await reader.readline()) or b" 200 " in first
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    return reader, writer


async def test_who_never_reads_costs_little_memory_holds_up_nobody_and_is_closed(
    tmp_path: Path,
) -> None:
    port, rounds, each_time = free_port(), 40, 250
    listeners = everyone(port)
    async with start_server(tmp_path, port=port, log_level="info", listener_timeout=2) as hub:
        await hub.served()
        wanted = {"type": "subscribe", "payload": {"topics": ["*"], "since": 0}}
        stream = f"GET /api/events/stream?since=0 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"
        clients = [
            await stuck(port, handshake(port), masked(wanted)),
            await stuck(port, stream.encode()),
        ]
        async with running(listeners):
            with bulk(tmp_path) as database:
                write_events(database, each_time)
                await all_reach(listeners, each_time)
                process = psutil.Process(hub.process.pid)
                before = most = process.memory_info().rss
                for number in range(2, rounds + 1):
                    write_events(database, each_time, size=2000)
                    await all_reach(listeners, number * each_time)
                    most = max(most, process.memory_info().rss)
            assert hub.database.stat().st_size > 20 * MIB
            assert most - before < 64 * MIB
            await until_clients(port, len(listeners))
            # The others have been quiet since, and stay.
            connections = [each.connections for each in listeners if each.name != "Pages"]
            await asyncio.sleep(3)  # longer than the timeout, in which nothing happens
            await hub.ok("task_create", title="Last")
            await all_reach(listeners, rounds * each_time + 1)
            assert connections == [each.connections for each in listeners if each.name != "Pages"]
            for reader, writer in clients:
                writer.transport.resume_reading()  # type: ignore[attr-defined]
                assert len(await rest_of(reader)) < 8 * MIB
                writer.close()
            assert hub.stderr_text().count("\n") == 1, hub.stderr_text()
    for each in listeners:
        assert_has_all(each, rounds * each_time + 1)


# Crowds


async def test_of_200_at_once_100_are_served_100_are_told_to_come_later_and_100_new_ones_find_room(
    tmp_path: Path,
) -> None:
    port = free_port()

    async def arrive() -> tuple[int, asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(handshake(port))
        answer = await reader.readuntil(b"\r\n\r\n")
        return int(answer.split()[1]), reader, writer

    async with session(tmp_path, port, 1) as [hub]:
        for _ in range(2):
            async with asyncio.timeout(LIMIT_SECONDS):
                arrived, *_ = await asyncio.gather(
                    asyncio.gather(*(arrive() for _ in range(200))),
                    *(health(port) for _ in range(5)),
                )
            assert Counter(status for status, _, _ in arrived) == {101: 100, 503: 100}
            for status, reader, _ in arrived:
                if status == 503:
                    assert b"at most 100 listeners" in await rest_of(reader)
            assert (await health(port))["clients"] == 100
            for _, _, writer in arrived:
                writer.transport.abort()
            await until_clients(port, 0)
        async with listening(port) as listener:
            await hub.ok("task_create", title="One")
            assert (await event(listener))["seq"] == 1
        assert hub.stderr_text().count("\n") == 1, hub.stderr_text()


FEW_FILES = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (130, 130))
"""


async def test_more_connections_than_files_are_cut_off_and_the_tools_work(
    tmp_path: Path,
) -> None:
    port = free_port()
    async with session(tmp_path, port, 1, command=after(FEW_FILES)) as [hub]:
        half = [await asyncio.open_connection("127.0.0.1", port) for _ in range(150)]
        for _, writer in half:
            writer.write(handshake(port)[:50])
        ends = [asyncio.create_task(reader.read()) for reader, _ in half]
        await until(lambda: sum(end.done() for end in ends) >= 100)
        for _ in range(5):
            await hub.ok("task_create", title="Works")
        for _, writer in half:
            writer.transport.abort()
        await asyncio.gather(*ends, return_exceptions=True)
        async with listening(port) as listener:
            await hub.ok("task_create", title="Seen")
            assert (await event(listener))["seq"] == 6
        assert hub.stderr_text().count("\n") == 1, hub.stderr_text()


@pytest.mark.parametrize("vanishes", ["at once", "with an end"])
async def test_clients_that_vanish_during_the_handshake_leave_no_word_in_the_log(
    tmp_path: Path, vanishes: str
) -> None:
    port = free_port()
    async with session(tmp_path, port, 1) as [hub]:
        for _ in range(50):
            with socket.create_connection(("127.0.0.1", port)) as sock:
                sock.sendall(handshake(port))
                if vanishes == "at once":
                    reset = struct.pack("ii", 1, 0)
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        await until_clients(port, 0)
        assert hub.stderr_text().count("\n") == 1, hub.stderr_text()


# A listener that changes its mind


async def test_who_changes_its_patterns_all_the_time_gets_what_it_holds_exactly_once(
    tmp_path: Path,
) -> None:
    port, rounds = free_port(), 150
    async with session(tmp_path, port, 2, max_message_rate=1_000) as [hub, other]:
        ended = asyncio.Event()

        async def write(title: str) -> None:
            made = await other.ok("task_create", title=title, streamId=title)
            while not ended.is_set():
                for status in ("in_progress", "pending"):
                    await other.ok("task_update", id=made["id"], status=status)

        async with connect(f"ws://127.0.0.1:{port}/ws", proxy=None) as connection:
            fickle = Fickle(connection)
            await fickle.ask("subscribe", "stream:*")
            writing = [asyncio.create_task(write(title)) for title in ("A", "B")]
            for number in range(rounds):
                # `*` also selects what is held already.
                pattern = ("task:*", "task:TASK-1", "*")[number % 3]
                await fickle.ask("subscribe", pattern)
                await fickle.events(number % 7)
                await fickle.ask("unsubscribe", pattern)
            ended.set()
            await asyncio.gather(*writing)
            await fickle.reads_up_to(head(hub.database))
        fickle.judge(events(hub.database))


class Fickle:
    """Remembers what it got, and between which of its requests."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._got: list[dict[str, Any]] = []
        self._held: list[tuple[str, int, int]] = []
        """Patterns with the positions from and up to which they were held."""
        self._since: dict[str, int] = {}

    async def _next(self) -> dict[str, Any]:
        async with asyncio.timeout(LIMIT_SECONDS):
            message: dict[str, Any] = json.loads(await self._connection.recv())
        if message["type"] == "event":
            self._got.append(message["payload"])
        return message

    async def ask(self, kind: str, pattern: str) -> None:
        request = {"type": kind, "id": "q", "payload": {"topics": [pattern]}}
        await self._connection.send(json.dumps(request))
        while (answer := await self._next()).get("id") != "q":
            assert answer["type"] == "event", answer
        assert answer["type"] == f"{kind}d", answer
        if kind == "subscribe":
            self._since[pattern] = answer["payload"]["seq"]
        elif self._got:
            self._held.append((pattern, self._since.pop(pattern), self._got[-1]["seq"]))

    async def events(self, count: int) -> None:
        for _ in range(count):
            assert (await self._next())["type"] == "event"

    async def reads_up_to(self, seq: int) -> None:
        """The last event is one of a stream, which it holds."""
        while self._got[-1]["seq"] < seq:
            await self._next()

    def judge(self, log: list[dict[str, Any]]) -> None:
        got = [item["seq"] for item in self._got]
        assert got == sorted(set(got))
        for item in log:
            seq, topic = item["seq"], item["topic"]
            held = self._is_held(seq, topic)
            if topic.startswith("stream:") or held:
                assert seq in got, item
        # Nothing that was not asked for.
        strangers = [item for item in self._got if not item["topic"].startswith("stream:")]
        for item in strangers:
            assert self._is_held(item["seq"], item["topic"]), item

    def _is_held(self, seq: int, topic: str) -> bool:
        return any(
            first < seq <= last
            and (topic == pattern or (pattern[-1] == "*" and topic.startswith(pattern[:-1])))
            for pattern, first, last in self._held
        )


# Many who write


async def test_eight_who_write_as_fast_as_they_can_all_get_their_share(tmp_path: Path) -> None:
    port, count, seconds = free_port(), 8, 2.0
    async with AsyncExitStack() as stack:
        every = [
            await stack.enter_async_context(
                start_server(tmp_path, port=port, agent=f"agent-{number}")
            )
            for number in range(count)
        ]
        listener = OverWebSocket("listener", port, random.Random(1))
        await stack.enter_async_context(running([listener]))
        deadline = asyncio.get_running_loop().time() + seconds

        async def write(number: int) -> None:
            while asyncio.get_running_loop().time() < deadline:
                await every[number].ok("task_create", title="One more")

        await asyncio.gather(*(write(number) for number in range(count)))
        last = head(every[0].database)
        await all_reach([listener], last)
        assert_log_has_no_holes(every[0].database)
        shares = Counter(actors(every[0].database))
        assert len(shares) == count
        assert min(shares.values()) * 5 > max(shares.values()), shares
        assert not any("locked" in mcp.stderr_text() for mcp in every)
    assert_has_all(listener, last)
