"""A process with listeners: ``python -m benchmarks.listener_program URL COUNT``.

Every listener subscribes to everything. The process says ``ready`` and then, at the end of its
input, writes a line for each frame that the first listener got: the nanoseconds of the monotonic
clock, which all processes of a machine share, a space, and the frame.
"""

import asyncio
import json
import sys
import time
from contextlib import suppress

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

SUBSCRIBE = json.dumps({"type": "subscribe", "payload": {"topics": ["*"]}})

Arrivals = list[tuple[int, str | bytes]]


async def listen(connection: ClientConnection, arrivals: Arrivals | None) -> None:
    """Receives until the connection ends."""
    with suppress(ConnectionClosed):
        while True:
            frame = await connection.recv()
            if arrivals is not None:
                arrivals.append((time.monotonic_ns(), frame))


async def subscribed(url: str) -> ClientConnection:
    """A connection that listens to everything."""
    connection = await connect(url, proxy=None, compression=None, ping_interval=None)
    await connection.send(SUBSCRIBE)
    answer = json.loads(await connection.recv())
    if answer["type"] != "subscribed":
        raise RuntimeError(str(answer))
    return connection


async def main(url: str, count: int) -> None:
    """Listens until the input ends."""
    connections = [await subscribed(url) for _ in range(count)]
    arrivals: Arrivals = []
    tasks = [
        asyncio.create_task(listen(connection, None if number else arrivals))
        for number, connection in enumerate(connections)
    ]
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ended.set)
    print("ready", flush=True)
    await ended.wait()
    for task in tasks:
        task.cancel()
    for moment, frame in arrivals:
        print(moment, frame if isinstance(frame, str) else frame.decode())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
