"""Starlette's plain `send_text` on uvicorn: a queue and a task that writes for each listener.

Run as ``python -m benchmarks.peers.starlette_send``.
"""

import asyncio
import contextlib
from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from benchmarks.peers.control import obey
from benchmarks.peers.event import Event, encode
from benchmarks.peers.serving import served
from benchmarks.peers.topics import OK, Topics

topics: Topics["asyncio.Queue[str]"] = Topics()


async def listen(socket: WebSocket) -> None:
    """A listener says its topic, and then nothing more."""
    await socket.accept()
    topic, queue = await socket.receive_text(), asyncio.Queue[str]()
    topics.add(topic, queue)
    await socket.send_text(OK)
    writing = asyncio.create_task(write(socket, queue))
    with contextlib.suppress(WebSocketDisconnect):
        await socket.receive_text()
    topics.remove(topic, queue)
    writing.cancel()


async def write(socket: WebSocket, queue: "asyncio.Queue[str]") -> None:
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            await socket.send_text(await queue.get())


async def send(events: Sequence[Event]) -> None:
    for event in events:
        text = encode(event.message)
        for queue in topics.of(event.topic):
            queue.put_nowait(text)


async def main() -> None:
    app = Starlette(routes=[WebSocketRoute("/", listen)])
    async with served(app) as port:
        await obey(port, send)


if __name__ == "__main__":
    asyncio.run(main())
