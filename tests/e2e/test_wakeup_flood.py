"""Forged wake-ups disturb nobody."""

import socket
import threading
from pathlib import Path

from e2e.servers import free_port
from e2e.test_hub_life import event, listening, places, session
from task_copilot import runtime

CALLS = 10


def flood(port: int, ended: threading.Event) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as forger:
        while not ended.is_set():
            for number in range(500):
                forger.sendto(b"x" * number, ("127.0.0.1", port))


async def test_under_a_flood_of_forged_wake_ups_calls_are_answered_and_events_come(
    tmp_path: Path,
) -> None:
    port = free_port()
    async with session(tmp_path, port, 2) as [hub, other], listening(port) as listener:
        record = runtime.read(places(hub).runtime)
        assert record is not None
        assert record.wakeup_port is not None
        ended = threading.Event()
        flooding = threading.Thread(target=flood, args=(record.wakeup_port, ended))
        flooding.start()
        try:
            for number in range(CALLS):
                writer = (hub, other)[number % 2]
                await writer.ok("task_create", title=f"Task {number}")
                assert (await event(listener))["seq"] == number + 1
        finally:
            ended.set()
            flooding.join()
