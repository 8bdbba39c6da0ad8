"""What the orchestrator changes on the server, where hubs end in the middle of it."""

from pathlib import Path
from typing import Any

import pytest

from hubs import running_hub
from support import events_of
from task_copilot.commands.asking import HubAt, Unreachable, request
from task_copilot.orchestrator import server_hand
from task_copilot.orchestrator.server_hand import ServerHand


async def test_a_mark_whose_answer_is_lost_is_made_once_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[Any] = []

    def losing(hub: HubAt, method: str, *words: Any, **given: Any) -> Any:
        answer = request(hub, method, *words, **given)
        if method == "PATCH" and not lost:
            lost.append(answer)
            raise Unreachable("it was killed")
        return answer

    monkeypatch.setattr(server_hand, "request", losing)
    monkeypatch.setattr(server_hand, "PAUSE_SECONDS", 0.0)
    async with running_hub(tmp_path) as hub:
        for title in ("One", "Two"):
            made = {"title": title, "streamId": "A"}
            await hub.http.post("/api/tasks?workspace=shop", json=made)
        at = HubAt(f"http://127.0.0.1:{hub.port}", own=True)
        marked = await ServerHand(lambda: at, "shop").ask_for_help("A", "it ended")
        events = events_of(hub.database)
    assert lost
    assert [one["data"]["taskId"] for one in events if one["eventType"] == "task.blocked"] == [
        marked
    ]
