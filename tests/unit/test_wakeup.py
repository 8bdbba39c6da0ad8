"""Datagrams that wake the hub, and what forged and lost ones cost."""

import asyncio
import os
import socket
from dataclasses import replace
from pathlib import Path

from memory import MemoryPages
from task_copilot import runtime
from task_copilot.events.bus import Bus
from task_copilot.events.log import LogPage, LogState
from task_copilot.runtime import HubRecord
from task_copilot.wakeup import WakeUpSender, open_receiver

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


async def test_any_number_of_forged_datagrams_costs_one_look_at_a_time(tmp_path: Path) -> None:
    looks, running, done = 0, 0, asyncio.Event()

    class Counting(MemoryPages):
        async def after(self, position: int) -> LogPage:
            nonlocal looks, running
            running += 1
            assert running == 1
            looks += 1
            await asyncio.sleep(0)
            running -= 1
            done.set()
            return await super().after(position)

    bus = Bus(LogState("epoch-1", 0), Counting())
    receiver = await open_receiver(bus.refresh)
    assert receiver.port is not None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as forger:
        for number in range(100):
            forger.sendto(b"x" * number, ("127.0.0.1", receiver.port))
    async with asyncio.timeout(LIMIT_SECONDS):
        await done.wait()
    assert looks <= 100
    assert bus.head == 0
    receiver.close()
    await bus.close()
