"""Server-sent events through Starlette: a streaming answer that a queue feeds for each listener.

Run as ``python -m benchmarks.peers.starlette_sse``.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from benchmarks.peers.control import obey
from benchmarks.peers.event import Event, encode
from benchmarks.peers.serving import served
from benchmarks.peers.topics import Topics

topics: Topics["asyncio.Queue[str]"] = Topics()


async def listen(request: Request) -> StreamingResponse:
    """It listens before its answer begins."""
    topic, queue = request.query_params["topic"], asyncio.Queue[str]()
    topics.add(topic, queue)
    return StreamingResponse(stream(topic, queue), media_type="text/event-stream")


async def stream(topic: str, queue: "asyncio.Queue[str]") -> AsyncIterator[str]:
    try:
        while True:
            yield await queue.get()
    finally:
        topics.remove(topic, queue)


async def send(events: Sequence[Event]) -> None:
    for event in events:
        text = f"data: {encode(event.message)}\n\n"
        for queue in topics.of(event.topic):
            queue.put_nowait(text)


async def main() -> None:
    async with served(Starlette(routes=[Route("/", listen)])) as port:
        await obey(port, send)


if __name__ == "__main__":
    asyncio.run(main())
