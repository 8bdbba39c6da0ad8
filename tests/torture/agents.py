"""Agents that write as fast as they can, each through a server of its own that may be killed."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from e2e.raw_mcp import RawMcpError
from e2e.servers import Server

STATUSES = ("in_progress", "blocked", "completed", "pending")
CALL_SECONDS = 30.0
SHARE_WITH_ID = 0.7


@dataclass
class Ledger:
    """What the agents were told: calls that were answered, and those whose fate is unknown."""

    created: dict[str, str] = field(default_factory=dict)
    """Title to id, of calls that answered."""

    unknown: set[str] = field(default_factory=set)
    """Titles of calls without a requestId of which nobody was told what became of them."""

    refused: list[str] = field(default_factory=list)
    """What calls were answered that were not carried out."""

    notes: dict[str, str] = field(default_factory=dict)
    """Id to the newest notes that were answered."""

    uncertain_notes: dict[str, str] = field(default_factory=dict)
    """Id to notes of a later call whose server was killed before it answered."""

    answered: int = 0
    repeated: int = 0


class Agent:
    """One agent; `start_server` gives it a new server whenever it has none."""

    def __init__(
        self,
        number: int,
        ledger: Ledger,
        chance: random.Random,
        start_server: Callable[[], Server],
    ) -> None:
        self.number = number
        self.in_flight = False
        self._ledger = ledger
        self._chance = chance
        self._start_server = start_server
        self._server: Server | None = None
        self._ready = asyncio.Event()
        self._ended = asyncio.Event()
        self._calls = 0
        self._mine: list[str] = []

    async def run(self, stopping: asyncio.Event) -> None:
        """Works until `stopping`, with one server after the other."""
        while not stopping.is_set():
            async with self._serving() as server:
                await self._work(server, stopping)

    @asynccontextmanager
    async def _serving(self) -> AsyncIterator[Server]:
        async with self._start_server() as server:
            await server.introduce(f"agent-{self.number}")
            self._server = server
            self._ready.set()
            try:
                yield server
            finally:
                self._ready.clear()
                self._server = None
        assert "Traceback" not in server.stderr_text(), server.stderr_text()

    async def kill(self) -> bool:
        """Kills its server, once it has one; whether a call was waiting for its answer."""
        await self._ready.wait()
        assert self._server is not None
        waiting = self.in_flight
        self._ready.clear()
        self._server.process.kill()
        return waiting

    async def _work(self, server: Server, stopping: asyncio.Event) -> None:
        if (again := self._unanswered) is not None and not await self._carry_out(server, again):
            return
        while not stopping.is_set():
            if not await self._carry_out(server, self._next()):
                return

    _unanswered: "dict[str, Any] | None" = None

    def _next(self) -> dict[str, Any]:
        self._calls += 1
        name = f"a{self.number}-{self._calls}"
        call: dict[str, Any] = {"notes": name}
        if self._mine and self._chance.random() < 0.6:
            status = self._chance.choice(STATUSES)
            call |= {"id": self._chance.choice(self._mine), "status": status}
        else:
            call |= {"title": name, "streamId": f"Stream-{self._calls % 3}"}
            del call["notes"]
        if self._chance.random() < SHARE_WITH_ID:
            call["requestId"] = name
        return call

    async def _carry_out(self, server: Server, call: dict[str, Any]) -> bool:
        """Whether the call was answered; where not, the server is gone."""
        tool = "task_update" if "id" in call else "task_create"
        self.in_flight = True
        try:
            result = await server.call(tool, call, timeout=CALL_SECONDS)
        except (ConnectionError, RawMcpError):
            self._lost(call)
            return False
        finally:
            self.in_flight = False
        if result.get("isError"):
            self._failed(call, result["content"][0]["text"])
            return False
        self._told(call, result["structuredContent"])
        return True

    def _lost(self, call: dict[str, Any]) -> None:
        if "requestId" in call:
            self._unanswered = call
        elif "id" in call:
            self._ledger.uncertain_notes[call["id"]] = call["notes"]
        else:
            self._ledger.unknown.add(call["title"])

    def _failed(self, call: dict[str, Any], text: str) -> None:
        assert "othing was written" in text or "may be written or not" in text, text
        self._ledger.refused.append(text)
        if "requestId" in call or "may be written or not" in text:
            self._lost(call)

    def _told(self, call: dict[str, Any], answer: dict[str, Any]) -> None:
        if call is self._unanswered:
            self._ledger.repeated += 1
        self._unanswered = None
        self._ledger.answered += 1
        if "id" in call:
            self._ledger.notes[call["id"]] = call["notes"]
            self._ledger.uncertain_notes.pop(call["id"], None)
        else:
            self._ledger.created[call["title"]] = answer["id"]
            self._mine.append(answer["id"])
