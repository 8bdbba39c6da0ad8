"""Datagrams that wake the hub, and what forged and lost ones cost."""

import asyncio
import contextlib
import os
import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from psutil import net_if_addrs

from memory import MemoryPages
from task_copilot import runtime
from task_copilot.events.bus import Bus
from task_copilot.events.log import LogPage, LogState
from task_copilot.runtime import HubRecord
from task_copilot.wakeup import PAUSE_SECONDS, WakeUpSender, open_receiver

LIMIT_SECONDS = 10.0
RECORD = HubRecord(
    takeovers=1,
    epoch="0123456789abcdef",
    version="0.1.0",
    host="127.0.0.1",
    started_at="2026-01-08T12:00:00.000Z",
    pid=os.getpid() + 1,  # another process
    port=9090,
    url="http://127.0.0.1:9090",
)


async def test_a_datagram_wakes_the_hub(tmp_path: Path) -> None:
    woken = asyncio.Event()
    receiver = await open_receiver(woken.set)
    runtime.write(tmp_path / "hub.json", replace(RECORD, wakeup_port=receiver.port))
    sender = WakeUpSender(tmp_path / "hub.json")
    sender.send()
    async with asyncio.timeout(LIMIT_SECONDS):
        await woken.wait()
    sender.close()
    receiver.close()


async def test_the_next_hub_is_woken_where_it_listens(tmp_path: Path) -> None:
    sender = WakeUpSender(tmp_path / "hub.json")
    sender.send()  # there is no hub yet
    for _ in range(3):
        woken = asyncio.Event()
        receiver = await open_receiver(woken.set)
        runtime.write(tmp_path / "hub.json", replace(RECORD, wakeup_port=receiver.port))
        sender.send()
        async with asyncio.timeout(LIMIT_SECONDS):
            await woken.wait()
        receiver.close()
    sender.close()


async def test_the_hub_sends_itself_nothing(tmp_path: Path) -> None:
    sender = WakeUpSender(tmp_path / "hub.json")
    runtime.write(tmp_path / "hub.json", replace(RECORD, pid=os.getpid(), wakeup_port=40_000))
    sender.send()
    assert sender._socket is None


def test_a_hub_that_is_gone_is_no_error(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        port = gone.getsockname()[1]
    sender = WakeUpSender(tmp_path / "hub.json")
    runtime.write(tmp_path / "hub.json", replace(RECORD, wakeup_port=port))
    for _ in range(3):
        sender.send()
    (tmp_path / "hub.json").write_text("{")
    sender.send()
    (tmp_path / "hub.json").unlink()
    sender.send()
    sender.close()


FLOOD = """\
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as forger:
    for number in range(int(sys.argv[2])):
        forger.sendto(b"x" * (number % 100), ("127.0.0.1", int(sys.argv[1])))
"""
DATAGRAMS = 30_000


class CountingPages(MemoryPages):
    """Counts the looks at the log, of which there is one at a time."""

    looks = 0
    running = 0

    async def after(self, position: int) -> LogPage:
        self.running += 1
        assert self.running == 1
        self.looks += 1
        await asyncio.sleep(0)
        self.running -= 1
        return await super().after(position)


async def test_a_flood_of_forged_datagrams_costs_few_looks_at_the_log() -> None:
    loop, pages = asyncio.get_running_loop(), CountingPages()
    bus = Bus(LogState("epoch-1", 0), pages)
    receiver = await open_receiver(bus.refresh)
    begun = loop.time()
    flood = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-c", FLOOD, str(receiver.port), str(DATAGRAMS))
    )
    async with asyncio.timeout(LIMIT_SECONDS):
        assert await flood.wait() == 0
    seconds = loop.time() - begun
    assert 0 < pages.looks <= seconds / PAUSE_SECONDS + 1
    assert pages.looks < DATAGRAMS / 10
    assert bus.head == 0
    receiver.close()
    await bus.close()


async def test_after_a_flood_the_last_datagram_is_not_forgotten() -> None:
    woken: list[int] = []
    sent, twice = [0], asyncio.Event()

    def wake() -> None:
        woken.append(sent[0])
        if len(woken) > 1:
            twice.set()

    receiver = await open_receiver(wake)
    for _ in range(50):
        sent[0] += 1
        receiver.datagram_received(b"", None)
    async with asyncio.timeout(LIMIT_SECONDS):
        await twice.wait()
    assert woken == [1, 50]
    receiver.close()


async def test_what_is_sent_to_another_address_of_this_machine_does_not_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    got: asyncio.Queue[bytes] = asyncio.Queue()
    receiver = await open_receiver(lambda: None)
    monkeypatch.setattr(receiver, "datagram_received", lambda data, _from: got.put_nowait(data))
    others = {"127.0.0.2", *(found.address for each in net_if_addrs().values() for found in each)}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for address in others - {"127.0.0.1"}:
            with contextlib.suppress(OSError):  # one of IPv6, or not of this machine
                sender.sendto(b"from elsewhere", (address, receiver.port))
        sender.sendto(b"from here", ("127.0.0.1", receiver.port))
        async with asyncio.timeout(LIMIT_SECONDS):
            assert await got.get() == b"from here"
    receiver.close()
