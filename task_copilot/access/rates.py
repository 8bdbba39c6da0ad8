"""Refuses requests beyond a rate, with 429."""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from task_copilot.buckets import Bucket
from task_copilot.entrance import machine_of

BURST_SECONDS = 2
"""So many seconds' requests may come at once."""

MAX_BUCKETS = 4_096
"""Clients that are remembered; beyond it the one that has asked for nothing for longest is
forgotten, and counts as new when it comes back."""

REFUSAL_SECONDS = 0.5
"""A refusal comes so much later, so that who sends on and on costs two answers a second."""


class RequestRates:
    """ASGI middleware: at most `per_second` requests for long, of each connection of this
    machine and of each other machine. Every handshake of a WebSocket counts as a request."""

    def __init__(
        self, app: ASGIApp, per_second: int, *, clock: Callable[[], float] | None = None
    ) -> None:
        self._app = app
        self._per_second = per_second
        self._clock = clock
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    @property
    def remembered(self) -> int:
        """How many clients are remembered."""
        return len(self._buckets)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"} or self._has_room(scope):
            await self._app(scope, receive, send)
            return
        await _while_it_stays(receive)
        answer = JSONResponse(
            {
                "error": f"More than {self._per_second} requests a second: wait, and send fewer. "
                "TASK_COPILOT_MAX_REQUEST_RATE sets how many one client may send."
            },
            status_code=429,
            # What waits behind it on the connection is refused with it.
            headers={
                "Retry-After": str(math.ceil(1 / self._per_second)),
                "Connection": "close",
            },
        )
        await answer(scope, receive, send)

    def _has_room(self, scope: Scope) -> bool:
        who = client_of(scope)
        if who is None:
            return True
        now = self._clock() if self._clock else asyncio.get_running_loop().time()
        bucket = self._buckets.get(who)
        if bucket is None:
            bucket = Bucket(self._per_second, BURST_SECONDS * self._per_second, now)
            self._buckets[who] = bucket
            if len(self._buckets) > MAX_BUCKETS:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(who)
        return bucket.take(now)


def client_of(scope: Scope) -> str | None:
    """Whose bucket a request is taken from: the connection's where it comes from this machine,
    else the machine's. None where there is no network in between."""
    client = scope.get("client")
    if not client or not client[1]:
        return None
    host, port = client[:2]
    try:
        return machine_of(host) or f"{host}:{port}"
    except ValueError:
        return None


async def _while_it_stays(receive: Receive) -> None:
    """Waits before a refusal; what is sent meanwhile is let go of."""
    try:
        async with asyncio.timeout(REFUSAL_SECONDS):
            while (await receive())["type"] not in {"http.disconnect", "websocket.disconnect"}:
                pass
    except TimeoutError:
        return
