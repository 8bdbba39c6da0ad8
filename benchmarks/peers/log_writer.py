"""A process that commits events to a database whose hub another process is: the real way.

What it commits goes through the program's own log, with its numbers and its wake-up of the hub.

Run as ``python -m benchmarks.peers.log_writer``, with the settings in the environment.
"""

import asyncio
import gc
import os
from collections.abc import Sequence

from benchmarks.peers.control import obey
from benchmarks.peers.event import EVENT_TYPE, TIMESTAMP, Event, encode
from task_copilot.application import open_blocking
from task_copilot.clock import system_clock
from task_copilot.database.transaction import OutboxEntry, Transaction
from task_copilot.events.log import LogRow
from task_copilot.settings import Settings


def entry(event: Event) -> OutboxEntry:
    """Without the number, which the log gives it."""
    payload = {name: value for name, value in event.payload.items() if name != "seq"}
    return OutboxEntry(event.topic, EVENT_TYPE, TIMESTAMP, encode(payload))


async def main() -> None:
    settings = Settings(
        database_url=os.environ["TASK_COPILOT_DATABASE_URL"],
        port=int(os.environ["TASK_COPILOT_PORT"]),
    )
    database = open_blocking(settings, system_clock)
    numbers: list[int] = []

    def committed(rows: list[LogRow]) -> None:
        numbers.extend(row.seq for row in rows)

    async def send(events: Sequence[Event]) -> None:
        """All in one transaction, and durable by the time it returns."""

        def append(transaction: Transaction) -> None:
            transaction.outbox += [entry(event) for event in events]

        await database.write(append)
        if numbers != [event.seq for event in events]:
            raise RuntimeError("somebody else writes to this log")
        numbers.clear()

    database.start(committed)
    gc.freeze()  # as the program itself does
    await obey(settings.port, send)
    await database.close()


if __name__ == "__main__":
    asyncio.run(main())
