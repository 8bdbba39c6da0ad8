"""The package websockets alone, with its own `broadcast`: frames once, writes to each transport.

Run as ``python -m benchmarks.peers.websockets_broadcast``.
"""

import asyncio
import contextlib
from collections.abc import Sequence

from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed

from benchmarks.peers.control import obey
from benchmarks.peers.event import Event, encode
from benchmarks.peers.serving import listening
from benchmarks.peers.topics import OK, Topics

topics: Topics[ServerConnection] = Topics()


async def listen(connection: ServerConnection) -> None:
    """A listener says its topic, and then nothing more."""
    topic = str(await connection.recv())
    topics.add(topic, connection)
    with contextlib.suppress(ConnectionClosed):
        await connection.send(OK)
        await connection.wait_closed()
    topics.remove(topic, connection)


async def send(events: Sequence[Event]) -> None:
    for event in events:
        broadcast(topics.of(event.topic), encode(event.message))


async def main() -> None:
    sock = listening()
    async with serve(listen, sock=sock, compression=None, ping_interval=None):
        await obey(sock.getsockname()[1], send)


if __name__ == "__main__":
    asyncio.run(main())
