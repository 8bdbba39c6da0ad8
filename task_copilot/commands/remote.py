"""Writing through a hub: the tools' routes, asked as a shell would."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from task_copilot.commands.asking import HubAt, NotAnswered, Unreachable, health, hub_at, request
from task_copilot.commands.common import Refusal
from task_copilot.commands.source import ANSWER_SECONDS, HubSource, Source, target
from task_copilot.settings import Settings
from task_copilot.tools.registry import Tool

if TYPE_CHECKING:
    from task_copilot.tools.answers import Answer

MAX_ANSWER_BYTES = 1024 * 1024
"""More than any tool answers."""

MADE, DONE = 201, 200
OF_THE_ANSWER = ("seq", "epoch")
"""What the routes add to the tools' answers."""


def carried_out(settings: Settings, tool: Tool, arguments: Mapping[str, Any], url: str) -> "Answer":
    """What `tool` answers through the hub at `url`; raises Refusal."""
    from task_copilot.tools.answers import of_object

    hub = hub_at(settings, url)
    try:
        health(hub)
        workspace = _workspace(HubSource(hub), settings, url)
    except Unreachable as reason:
        raise Refusal(f"Nobody serves at {url}: {reason}. Nothing was written.") from None
    try:
        found = _asked(hub, tool, arguments, settings.agent, workspace)
    except NotAnswered as reason:
        raise Refusal(
            f"{url} did not answer: {reason}. Whether it was written is not known; the same call "
            "with the same --request-id is carried out once."
        ) from None
    except Unreachable as reason:
        raise Refusal(f"Nobody serves at {url}: {reason}. Nothing was written.") from None
    return of_object({name: found[name] for name in found if name not in OF_THE_ANSWER})


def _asked(
    hub: HubAt, tool: Tool, arguments: Mapping[str, Any], agent: str | None, workspace: str
) -> dict[str, Any]:
    from task_copilot.api.routes import CREATE_TASK, UPDATE_TASK

    route = CREATE_TASK if tool.name == CREATE_TASK.tool else UPDATE_TASK
    body = {"agent": agent, **arguments} if agent else dict(arguments)
    places = {"workspace": workspace}
    if "id" in body:
        places["taskId"] = body.pop("id")
    status, found = request(
        hub,
        route.method,
        target(route.path, places),
        body,
        seconds=ANSWER_SECONDS,
        limit=MAX_ANSWER_BYTES,
    )
    if not isinstance(found, dict):
        raise NotAnswered("what is there does not answer as a hub does")
    if status not in {MADE, DONE}:
        raise Refusal(str(found.get("error", f"HTTP status {status}")))
    return found


def _workspace(hub: Source, settings: Settings, url: str) -> str:
    """What the hub calls the present workspace: that of the same folder, or the one that is
    named, which the first task makes. Raises Refusal where neither is there."""
    from task_copilot.api.routes import WORKSPACES
    from task_copilot.location import current_folder, locate

    location = locate(settings.workspace, os.environ, current_folder())
    if location.path is None:
        return location.name
    rows = hub.read(WORKSPACES, {})["workspaces"]
    for row in rows:
        if row["path"] == location.path:
            return str(row["workspace"])
    names = ", ".join(str(row["workspace"]) for row in rows) or "none yet"
    raise Refusal(
        f"{url} has no workspace of this folder, {location.path}; it has {names}. Say which with "
        "task-copilot --workspace NAME …; a new name makes one. Nothing was written."
    )
