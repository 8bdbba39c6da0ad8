"""Reads the state of streams and tasks from a hub."""

from collections.abc import Mapping
from typing import Any, TypeVar, cast
from urllib.parse import quote

import httpx2

from task_copilot.client import finding
from task_copilot.client.door import Door
from task_copilot.client.errors import HubUnavailable
from task_copilot.client.finding import json_of, refusal
from task_copilot.client.model import Json
from task_copilot.client.options import Options
from task_copilot.client.shapes import StreamList, StreamWithTasks, TaskList, TaskWhole
from task_copilot.events.types import TaskStatus

PAGE_ROWS = 1_000
T = TypeVar("T")


class State:
    """The reading methods of both clients; each finds the hub anew."""

    def __init__(self, options: Options) -> None:
        self._options = options

    def _door(self) -> Door:
        return Door(self._options)

    async def streams(self, workspace: str | None, *, include_archived: bool) -> StreamList:
        query = {"workspace": workspace, "includeArchived": include_archived or None}
        return cast("StreamList", await self._all("/api/streams", "streams", query))

    async def stream(self, stream_id: str, workspace: str | None) -> StreamWithTasks:
        async with self._door() as door:
            path = f"/api/streams/{quote(stream_id, safe='')}"
            return cast("StreamWithTasks", await self._get(door, path, {"workspace": workspace}))

    async def tasks(
        self,
        status: TaskStatus | None,
        stream_id: str | None,
        assigned_agent: str | None,
        parent_id: str | None,
        workspace: str | None,
        *,
        include_archived: bool,
    ) -> TaskList:
        query = {
            "status": status,
            "streamId": stream_id,
            "assignedAgent": assigned_agent,
            "parentId": parent_id,
            "workspace": workspace,
            "includeArchived": include_archived or None,
        }
        return cast("TaskList", await self._all("/api/tasks", "tasks", query))

    async def task(self, task_id: str) -> TaskWhole:
        async with self._door() as door:
            path = f"/api/tasks/{quote(task_id, safe='')}"
            return cast("TaskWhole", await self._get(door, path, {}, everywhere=True))

    async def _all(self, path: str, rows: str, query: Mapping[str, Any]) -> Json:
        """Every page as one answer, which says the state that the first was at."""
        async with self._door() as door:
            query = {**query, "limit": PAGE_ROWS}
            found = page = await self._get(door, path, query)
            while cursor := page.get("nextCursor"):
                page = await self._get(door, path, {**query, "cursor": cursor})
                found[rows] += page[rows]
        del found["nextCursor"]
        return found

    async def _get(
        self,
        door: Door,
        path: str,
        query: Mapping[str, Any],
        *,
        everywhere: bool = False,
    ) -> Json:
        hub = await finding.find(door, self._options.api_base)
        given = {name: value for name, value in query.items() if value is not None}
        if self._options.workspace and not everywhere:
            given.setdefault("workspace", self._options.workspace)
        try:
            answer = await door.get(hub, path, params=given)
        except HubUnavailable as reason:
            raise HubUnavailable(f"{hub.address} does not answer: {reason}") from None
        found = json_of(answer)
        if answer.status_code == httpx2.codes.OK and "epoch" in found:
            return found
        if "error" in found and answer.status_code < httpx2.codes.INTERNAL_SERVER_ERROR:
            raise refusal(door, hub, answer)
        raise HubUnavailable(f"{hub.address} answers {answer.status_code} to {path}")
