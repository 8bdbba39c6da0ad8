"""What the orchestrator changes on the server: a checkpoint for a worker that is stuck, and the
mark of a stream that needs a person. Both are rare; in a run where all goes well it asks for
nothing after the start."""

import asyncio
import logging
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from task_copilot.commands.asking import HubAt, Unreachable, request
from task_copilot.commands.common import Refusal
from task_copilot.commands.remote import MAX_ANSWER_BYTES
from task_copilot.commands.source import ANSWER_SECONDS, HubSource, target

logger = logging.getLogger(__name__)

ACTOR = "orchestrator"
TRIES = 5
PAUSE_SECONDS = 1.0
"""A hub that ends is followed by another within a fraction of a second."""

CREATED, OK = 201, 200
MAX_REASON = 2_000
"""Characters that a blockedReason may have."""

OPEN = ("in_progress", "pending")


class ServerHand:
    """Writes through a hub, found anew each time by `hub`, which raises Unreachable."""

    def __init__(self, hub: Callable[[], HubAt], workspace: str) -> None:
        self._hub = hub
        self._workspace = workspace

    async def checkpoint(self, stream_id: str, reason: str) -> str:
        """Saves where a stream stands; returns the checkpoint's id. Raises Refusal."""
        from task_copilot.api.routes import STREAM_CHECKPOINT

        body = {"trigger": "error", "reason": reason[:MAX_REASON]}
        path = {"streamId": stream_id}
        found = await self._patiently(lambda hub: self._write(hub, STREAM_CHECKPOINT, path, body))
        return str(found["checkpointId"])

    async def ask_for_help(self, stream_id: str, reason: str) -> str | None:
        """Blocks the task at which a stream stands, so that whoever looks sees why it needs a
        person; returns its id, or None where nothing is open any more. Raises Refusal."""
        # Chosen once: sent again to another task it would be another call.
        row = await self._patiently(lambda hub: self._standing_at(hub, stream_id))
        if not row:
            return None
        body = {
            "status": "blocked",
            "blockedReason": f"Needs help: {reason}"[:MAX_REASON],
            "agent": ACTOR,
            "requestId": uuid.uuid4().hex,
        }
        await self._patiently(lambda hub: self._block(hub, row["id"], body))
        return str(row["id"])

    def _standing_at(self, hub: HubAt, stream_id: str) -> Mapping[str, Any]:
        from task_copilot.api.routes import TASKS

        source = HubSource(hub)
        for status in OPEN:
            where = {"streamId": stream_id, "workspace": self._workspace, "status": status}
            for row in source.read(TASKS, {**where, "limit": "1"})["tasks"]:
                found: Mapping[str, Any] = row
                return found
        return {}

    def _block(self, hub: HubAt, task_id: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        from task_copilot.api.routes import UPDATE_TASK

        return self._write(hub, UPDATE_TASK, {"taskId": task_id}, body)

    def _write(
        self, hub: HubAt, route: Any, path: Mapping[str, str], body: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        where = target(route.path, {**path, "workspace": self._workspace})
        status, found = request(
            hub, route.method, where, body, seconds=ANSWER_SECONDS, limit=MAX_ANSWER_BYTES
        )
        if status not in {CREATED, OK} or not isinstance(found, dict):
            said = found.get("error") if isinstance(found, dict) else None
            raise Refusal(str(said or f"HTTP status {status}"))
        return found

    async def _patiently(self, step: Callable[[HubAt], Mapping[str, Any]]) -> Mapping[str, Any]:
        """The result of `step` in a thread, tried again where the hub is just changing."""
        for left in reversed(range(TRIES)):
            try:
                return await asyncio.to_thread(lambda: step(self._hub()))
            except Unreachable as reason:
                if not left:
                    raise Refusal(f"No hub answers: {reason}") from None
                logger.info("The hub does not answer (%s); trying again.", reason)
            await asyncio.sleep(PAUSE_SECONDS)
        raise AssertionError
