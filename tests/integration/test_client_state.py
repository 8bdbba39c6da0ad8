"""What a client says when it cannot connect or is given nonsense, and the state that it reads."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import task_copilot_client
from client_support import KINDS, AnyHub, Hub, Log, a_hub, until
from task_copilot.api import answers
from task_copilot_client import NotFound, TaskCopilotClient

UNUSED_PORT = 9


@pytest.fixture(scope="module", params=KINDS)
def serving(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[AnyHub]:
    with a_hub(request.param, tmp_path_factory.mktemp("hub")) as found:
        yield found


# --- connecting ---


def test_connect_says_when_nobody_answers(caplog: pytest.LogCaptureFixture) -> None:
    client = TaskCopilotClient(f"http://127.0.0.1:{UNUSED_PORT}")
    assert client.connect() is False
    assert "Nobody answers" in caplog.text
    assert client.get_mode() == "disconnected"


def test_one_that_keeps_trying_connects_as_soon_as_there_is_a_hub(tmp_path: Path) -> None:
    later = Hub(tmp_path)
    log = Log()
    client = TaskCopilotClient(later.address, since=0)
    assert client.connect(keep_trying=True) is False
    client.subscribe("task:*", log)
    later.tasks(1)
    try:
        later.start()
        until(lambda: log.events and client.get_mode() == "websocket")
    finally:
        client.disconnect()
        later.close()


@pytest.mark.parametrize(
    "given",
    [
        {"api_base": "127.0.0.1:9090"},
        {"poll_interval": 0},
        {"wait": 61},
        {"since": -1},
        {"since": 1, "replay": 1},
        {"epoch": "x"},
        {"filter": {"types": ["task.created"]}},
        {"filter": {"eventTypes": ["nonsense"]}},
        {"filter": {"streams": []}},
        {"batch": {"maxEvents": 0}},
        {"workspace": ""},
    ],
)
def test_nonsense_is_refused_at_once(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"is|no|not|takes|selects|has"):
        TaskCopilotClient(**given)


def test_topics_that_are_none_and_callbacks_that_cannot_be_called_are_refused() -> None:
    client = TaskCopilotClient()
    for topics in ([], ["nonsense"], [1], "task"):
        with pytest.raises(ValueError, match="topic"):
            client.subscribe(topics, print)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="callback"):
        client.subscribe("*", None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="list of texts"):
        client.subscribe("*", print, {"streams": "Stream-A"})


# --- state ---


def test_the_state_is_read_whole_and_says_where_it_stands(serving: AnyHub) -> None:
    serving.tasks(2, "Whole")
    client = serving.client()
    listed = client.tasks(stream_id="Whole")
    assert (listed["totalTasks"], len(listed["tasks"])) == (2, 2)
    assert (listed["seq"], len(listed["epoch"])) == (serving.head, 16)
    assert client.stream("Whole")["tasks"] == listed["tasks"]
    assert client.task(listed["tasks"][0]["id"])["title"] == "A task"
    assert "Whole" in [row["streamId"] for row in client.streams()["streams"]]
    with pytest.raises(NotFound):
        client.task("TASK-99999")
    with pytest.raises(NotFound):
        client.stream("Nowhere")


def test_all_pages_of_the_tasks_come(serving: AnyHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("task_copilot.client.state.PAGE_ROWS", 2)
    serving.tasks(5, "Paged")
    listed = serving.client().tasks(stream_id="Paged")
    assert len(listed["tasks"]) == 5
    assert "nextCursor" not in listed


@pytest.mark.parametrize(
    "name", ["StreamRow", "TaskRow", "SubtaskRow", "CheckpointRow", "StreamWithTasks", "TaskWhole"]
)
def test_the_types_of_the_client_have_the_fields_of_the_answers(name: str) -> None:
    served = getattr(answers, name).model_json_schema(by_alias=True)["properties"]
    assert set(getattr(task_copilot_client, name).__annotations__) == set(served)


def test_lists_have_the_fields_of_the_answers_but_for_the_cursor() -> None:
    for name in ("StreamList", "TaskList"):
        served = getattr(answers, name).model_json_schema(by_alias=True)["properties"]
        assert set(getattr(task_copilot_client, name).__annotations__) == set(served) - {
            "nextCursor"
        }
