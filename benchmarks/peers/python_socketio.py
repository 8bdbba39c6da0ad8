"""python-socketio on uvicorn, over WebSockets only and without compression; topics are rooms.

Run as ``python -m benchmarks.peers.python_socketio``.
"""

import asyncio
from collections.abc import Sequence

import socketio

from benchmarks.peers.control import obey
from benchmarks.peers.event import Event
from benchmarks.peers.serving import served
from benchmarks.peers.topics import EVERYTHING, OK

server = socketio.AsyncServer(async_mode="asgi", transports=["websocket"], http_compression=False)
everybody: set[str] = set()
"""Who wants everything is in no room: it is sent to everybody then."""


async def subscribe(sid: str, topic: str) -> None:
    if topic == EVERYTHING:
        everybody.add(sid)
    else:
        await server.enter_room(sid, topic)
    await server.emit(OK, to=sid)


async def disconnect(sid: str, _reason: str) -> None:
    everybody.discard(sid)


async def send(events: Sequence[Event]) -> None:
    for event in events:
        await server.emit("event", event.message, room=None if everybody else event.topic)


async def main() -> None:
    server.on("subscribe", subscribe)
    server.on("disconnect", disconnect)
    async with served(socketio.ASGIApp(server)) as port:
        await obey(port, send)


if __name__ == "__main__":
    asyncio.run(main())
