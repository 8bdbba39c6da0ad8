"""What ``/mcp`` has of its hub, and how its calls end with it."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.types import Send

from task_copilot.clock import Clock
from task_copilot.database.store import Database
from task_copilot.events.bus import Bus
from task_copilot.events.log import LogRow
from task_copilot.mcp_http.address import Address

MAX_BODY_BYTES = 8 * 1024 * 1024
"""A checkpoint's draft of 1 MiB may take six times that with escapes."""

GRACE_SECONDS = 0.05
"""How long calls may go on when the hub ends; it lets go of its connections 0.1 s after."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Of one hub. `short_id` tells it apart in the names of callers that give none."""

    bus: Bus
    database: Database[LogRow]
    clock: Clock
    checkpoints_kept: int
    short_id: str = field(default_factory=lambda: secrets.token_hex(2))


Exchange = Callable[[Address, bytes, Request, Send], Awaitable[None]]
"""Answers a request whose outside is right; raises Fault where its inside is not."""


async def finished(bus: Bus, run: Coroutine[Any, Any, None]) -> bool:
    """Waits for `run`, but a moment only once the hub ends; False where that was too short.
    What it wrote, or will, is written whole."""
    loop = asyncio.get_running_loop()
    call = loop.create_task(run)

    def look() -> None:
        if bus.closed:
            loop.call_later(GRACE_SECONDS, call.cancel)

    bus.add_waker(look)
    try:
        look()
        await asyncio.wait({call})
    finally:
        bus.remove_waker(look)
        call.cancel()  # where this request itself is cancelled
    if call.cancelled():
        return False
    call.result()
    return True
