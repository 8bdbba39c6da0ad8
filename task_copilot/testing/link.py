"""What leads clients to a server in memory instead of one on the network."""

from collections.abc import Mapping
from ssl import SSLContext

import httpx2

from task_copilot.client.errors import NoWebSocket
from task_copilot.client.options import Connection, Options
from task_copilot.testing.connections import SWITCHING, ClientEnd
from task_copilot.testing.serving import Serving
from task_copilot.testing.thread import Down, LoopThread, bridged


class MemoryLink:
    """The `Link` of a server in memory; may be used from any event loop."""

    def __init__(self, thread: LoopThread, serving: Serving) -> None:
        self._thread = thread
        self._serving = serving

    def http_client(
        self,
        options: Options,
        context: SSLContext | None = None,  # noqa: ARG002 - nothing is on a network here
    ) -> httpx2.AsyncClient:
        """A client whose requests go to the application itself."""
        transport = _Transport(self._thread, self._serving)
        return httpx2.AsyncClient(timeout=options.answer_timeout, transport=transport)

    async def open_websocket(
        self,
        url: str,
        options: Options,
        headers: Mapping[str, str] | None = None,
        context: SSLContext | None = None,  # noqa: ARG002 - nothing is on a network here
    ) -> Connection:
        """A connection in memory; raises NoWebSocket."""
        client = ClientEnd(self._thread)
        try:
            work = self._thread.submit(
                lambda: self._serving.open_websocket(client, url, dict(headers or {}))
            )
            status = await bridged(work, options.answer_timeout)
        except Down as error:
            raise NoWebSocket(str(error)) from None
        except TimeoutError:
            client.abandon()
            raise NoWebSocket("no answer to the handshake", silent=True) from None
        except BaseException:
            client.abandon()
            raise
        if status != SWITCHING:
            raise NoWebSocket(f"answered with {status}", status=status)
        return client


class _Transport(httpx2.AsyncBaseTransport):
    def __init__(self, thread: LoopThread, serving: Serving) -> None:
        self._thread = thread
        self._serving = serving

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        await request.aread()  # here: its stream may belong to this loop
        limit = request.extensions.get("timeout", {}).get("read")
        try:
            work = self._thread.submit(lambda: self._serving.respond(request))
            return await bridged(work, limit)
        except Down as error:
            raise httpx2.ConnectError(str(error), request=request) from None
        except TimeoutError:
            raise httpx2.ReadTimeout("no answer in time", request=request) from None
