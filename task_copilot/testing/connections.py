"""A WebSocket in memory: its two ends live in two event loops, each in a thread of its own."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from starlette.types import Message, Scope
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK
from websockets.frames import OK_CLOSE_CODES, Close, CloseCode

from task_copilot.events.websocket import EXTENSION
from task_copilot.testing.thread import LoopThread

SWITCHING = 101
"""The status of a handshake that worked."""

FAILED = 500
MAX_UNREAD = 100
"""So many messages may wait for a client that does not read."""


class ClientEnd:
    """What the client has, in its loop; raises websockets' exceptions as the real one does."""

    def __init__(self, server: LoopThread) -> None:
        self.peer: ServerEnd | None = None
        """Set by the server, in its loop."""
        self._loop = asyncio.get_running_loop()
        self._server = server
        self._texts: deque[str] = deque()
        self._changed = asyncio.Event()
        self._end: ConnectionClosed | None = None

    # --- the client ---

    async def send(self, message: str, /) -> None:
        """Sends a text message; raises ConnectionClosed."""
        if self._end is not None:
            raise self._end
        self._tell(lambda peer: peer.take({"type": "websocket.receive", "text": message}))

    async def recv(self) -> str:
        """The next message; raises ConnectionClosed behind the last."""
        while not self._texts:
            if self._end is not None:
                raise self._end
            self._changed.clear()
            await self._changed.wait()
        self._tell(lambda peer: peer.was_read())
        return self._texts.popleft()

    async def close(self) -> None:
        """Ends it in order."""
        if self._end is None:
            normal = Close(CloseCode.NORMAL_CLOSURE, "")
            self._finish(ConnectionClosedOK(normal, normal, rcvd_then_sent=False))
            self._tell(lambda peer: peer.lose(CloseCode.NORMAL_CLOSURE))

    def abandon(self) -> None:
        """Ends it as a network does that fails."""
        self._tell(lambda peer: peer.lose(CloseCode.ABNORMAL_CLOSURE))

    def _tell(self, message: "Callable[[ServerEnd], None]") -> None:
        def arrive() -> None:
            if self.peer is not None:
                message(self.peer)

        self._server.post(arrive)

    # --- from the server: called in its loop; raises RuntimeError where this one has ended ---

    def deliver(self, texts: Sequence[str]) -> None:
        """Brings messages."""
        self._loop.call_soon_threadsafe(self._take, texts)

    def ping(self) -> None:
        """Is answered as soon as the loop of the client works."""
        self._loop.call_soon_threadsafe(self._tell, ServerEnd.pong)

    def finish(self, close: Close | None) -> None:
        """Ends it behind what was delivered; without a code where it broke."""
        end: ConnectionClosed = ConnectionClosedError(None, None)
        if close is not None:
            kind = ConnectionClosedOK if close.code in OK_CLOSE_CODES else ConnectionClosedError
            end = kind(close, close, rcvd_then_sent=True)
        self._loop.call_soon_threadsafe(self._finish, end)

    def _take(self, texts: Sequence[str]) -> None:
        self._texts.extend(texts)
        self._changed.set()

    def _finish(self, end: ConnectionClosed) -> None:
        self._end = self._end or end
        self._changed.set()


class ServerEnd:
    """What the ASGI application has, in its loop: receive, send, and what a server can do
    beyond ASGI (`events.connection.Connection`)."""

    put = None  # messages come whole here: there are no frames

    def __init__(self, client: ClientEnd) -> None:
        self.last_pong = 0.0
        self.begun: float | None = None
        self.answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """The status of the handshake."""
        self._client = client
        self._incoming: asyncio.Queue[Message] = asyncio.Queue()
        self._writable = asyncio.Event()
        self._writable.set()
        self._gone = False
        self._unread = self._read = 0
        self.take({"type": "websocket.connect"})
        client.peer = self

    # --- ASGI ---

    def scope(self, url: str, headers: dict[str, str]) -> Scope:
        """The ASGI scope of a handshake."""
        parts = urlsplit(url)
        every = {"Host": parts.netloc, **headers}
        return {
            "type": "websocket",
            "scheme": parts.scheme,
            "path": parts.path,
            "query_string": parts.query.encode(),
            "headers": [(k.lower().encode(), v.encode("latin-1")) for k, v in every.items()],
            "subprotocols": [],
            "extensions": {EXTENSION: self, "websocket.http.response": {}},
        }

    async def receive(self) -> Message:
        """The next thing that the client does."""
        return await self._incoming.get()

    async def send(self, message: Any) -> None:
        """Takes what the application says; raises ConnectionResetError."""
        kind = message["type"]
        if kind == "websocket.accept":
            self.answered(SWITCHING)
        elif kind == "websocket.http.response.start":
            self.answered(message["status"])
        elif kind == "websocket.send":
            await self.send_texts([message["text"]])
        elif kind == "websocket.close":
            self.drop(message["code"], message.get("reason") or "")

    def answered(self, status: int) -> None:
        """Says what the handshake came to, once."""
        if not self.answer.done():
            self.answer.set_result(status)

    # --- beyond ASGI ---

    def ping(self) -> None:
        """Asks the client whether it lives."""
        if not self._gone:
            self._tell(self._client.ping)

    def pong(self) -> None:
        """The client's answer."""
        self.last_pong = asyncio.get_running_loop().time()

    def abort(self) -> None:
        """Ends it at once, without a close code."""
        if not self._gone:
            self._tell(lambda: self._client.finish(None))
            self.lose(CloseCode.ABNORMAL_CLOSURE)

    def sent(self) -> int:
        """Grows while the client reads."""
        return self._read

    async def send_texts(self, texts: Sequence[str]) -> None:
        """Sends messages once the client has read most of what waits."""
        await self._writable.wait()
        if self._gone:
            raise ConnectionResetError("the listener has gone")
        self._unread += len(texts)
        if self._unread >= MAX_UNREAD:
            self._writable.clear()
        self._tell(lambda: self._client.deliver(tuple(texts)))

    def drop(self, code: int, reason: str = "") -> None:
        """Closes the connection with a code."""
        if not self._gone:
            self._tell(lambda: self._client.finish(Close(code, reason)))
            self.lose(code)

    def _tell(self, message: Callable[[], None]) -> None:
        try:
            message()
        except RuntimeError:  # the loop of the client has ended
            self.lose(CloseCode.ABNORMAL_CLOSURE)

    # --- from the client ---

    def take(self, message: Message) -> None:
        """Takes what the client does."""
        self._incoming.put_nowait(message)

    def was_read(self) -> None:
        """The client has read a message."""
        self._unread -= 1
        self._read += 1
        if self._unread <= MAX_UNREAD // 2:
            self._writable.set()

    def lose(self, code: int) -> None:
        """The connection has ended."""
        if not self._gone:
            self._gone = True
            self._writable.set()
            self.take({"type": "websocket.disconnect", "code": code})
