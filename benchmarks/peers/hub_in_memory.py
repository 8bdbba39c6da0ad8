"""This program's own hub, whose bus is handed finished rows: its delivery without its log.

Everything behind the bus is the program's: application, protocol, access, and a database for
what else is asked. Only the events are never written: the log that slow listeners read is a list.

Run as ``python -m benchmarks.peers.hub_in_memory``, with the settings in the environment.
"""

import asyncio
import gc
import os
from collections.abc import Sequence

from benchmarks.peers.control import obey
from benchmarks.peers.event import EVENT_TYPE, TIMESTAMP, Event, encode
from benchmarks.sampling import Sampler
from task_copilot.application import open_blocking
from task_copilot.clock import system_clock
from task_copilot.events.bus import Bus
from task_copilot.events.log import PAGE_ROWS, LogPage, LogRow, LogState
from task_copilot.hub import Hub
from task_copilot.settings import Settings

EPOCH = "bench"


class MemoryPages:
    """The log of a bus, in memory."""

    def __init__(self) -> None:
        self.rows: list[LogRow] = []

    @property
    def _state(self) -> LogState:
        return LogState(EPOCH, len(self.rows))

    async def after(self, position: int) -> LogPage:
        return LogPage(self._state, self.rows[position : position + PAGE_ROWS])

    async def up_to(self, position: int) -> LogPage:
        return LogPage(self._state, self.rows[max(0, position - PAGE_ROWS) : position][::-1])


def row(event: Event) -> LogRow:
    """As a commit hands it to the bus."""
    return LogRow(event.seq, event.topic, EVENT_TYPE, TIMESTAMP, encode(event.payload))


async def main() -> None:
    settings = Settings(
        database_url=os.environ["TASK_COPILOT_DATABASE_URL"],
        port=int(os.environ["TASK_COPILOT_PORT"]),
    )
    database = open_blocking(settings, system_clock)
    pages = MemoryPages()
    bus = Bus(LogState(EPOCH, 0), pages)

    async def send(events: Sequence[Event]) -> None:
        rows = [row(event) for event in events]
        pages.rows += rows
        bus.publish(rows)

    hub = Hub(settings, bus, system_clock, database)
    if not await hub.start() or hub.port is None:
        raise RuntimeError("the hub does not serve")
    gc.freeze()  # as the program itself does
    sampler = Sampler()
    sampler.start()
    await obey(hub.port, send)
    sampler.stop()
    await bus.close()
    await hub.stop()
    await database.close()


if __name__ == "__main__":
    asyncio.run(main())
