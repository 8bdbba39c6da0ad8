"""The client with callbacks, over WebSocket, HTTP with waiting, and HTTP without, on a hub in a
process and on a server in memory."""

import gc
import json
import logging
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import task_copilot_client
from client_support import KINDS, MODES, AnyHub, Hub, Log, a_hub, hub, tasks_of, until
from task_copilot import tasks
from task_copilot.client.cursor_file import CursorFile
from task_copilot_client import TaskCopilotClient

NAMES = "task-copilot-"


@pytest.fixture(scope="module", params=KINDS)
def serving(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[AnyHub]:
    with a_hub(request.param, tmp_path_factory.mktemp("hub")) as found:
        yield found


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with hub(tmp_path_factory.mktemp("process")) as found:
        yield found


@pytest.fixture(autouse=True)
def nothing_is_left(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    gc.freeze()  # what was there before need not be looked through after each test
    yield
    gc.collect()
    gc.unfreeze()
    until(lambda: not threads())
    expected = "A callback failed"
    errors = [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]
    assert [text for text in errors if expected not in text] == []


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(NAMES)]


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def client(serving: AnyHub, mode: str) -> Iterator[TaskCopilotClient]:
    with serving.client(**MODES[mode]) as found:
        assert found.get_mode() == ("websocket" if mode == "websocket" else "http")
        yield found


def number(serving: AnyHub) -> int:
    """The number of the newest task."""
    found = (int(e["topic"][10:]) for e in serving.events() if "TASK" in e["topic"])
    return max(found, default=0)


# --- what a callback gets ---


def test_a_callback_gets_what_it_asked_for_once_and_in_order(
    client: TaskCopilotClient, serving: AnyHub
) -> None:
    log, streams = Log(), Log()
    client.subscribe(["task:*", "task:TASK-*"], log)
    client.subscribe("stream:Own-*", streams)
    serving.tasks(5, "Own-1")
    last = number(serving)
    until(lambda: len(log.events) >= 5 and len(streams.events) >= 5)
    assert log.topics == tasks_of(last - 4, last)
    assert streams.topics == ["stream:Own-1"] * 5


def test_nothing_is_missed_between_connect_and_subscribe(
    client: TaskCopilotClient, serving: AnyHub
) -> None:
    serving.tasks(3)
    last = number(serving)
    log = Log()
    client.subscribe(["task:*"], log)
    until(lambda: len(log.events) >= 3)
    assert log.topics == tasks_of(last - 2, last)


def test_a_later_subscribe_misses_nothing_from_its_return_on(
    client: TaskCopilotClient, serving: AnyHub
) -> None:
    first, later = Log(), Log()
    client.subscribe(["stream:*"], first)
    for _ in range(5):
        serving.tasks(1, "Own-2")
        client.unsubscribe(["task:*"])
        client.subscribe(["task:*"], later)
        before = len(later.events)
        serving.tasks(1, "Own-2")
        newest = f"task:TASK-{number(serving)}"
        until(lambda newest=newest: newest in later.topics)  # type: ignore[misc]
        assert len(later.events) > before
    until(lambda: len(first.events) == 10)


def test_filters_hold_for_each_callback_also_with_the_same_pattern(
    client: TaskCopilotClient, serving: AnyHub
) -> None:
    created, own, every = Log(), Log(), Log()
    client.subscribe(["task:*"], created, {"eventTypes": ["task.created"]})
    client.subscribe(["task:*"], own, {"streams": ["Own-3"], "eventTypes": ["task.*"]})
    client.subscribe(["task:*"], every, filter={"notActors": ["nobody"]})
    serving.tasks(1, "Own-3")
    serving.tasks(1, "Own-4")
    until(lambda: len(every.events) == 2)
    last = number(serving)
    assert created.topics == tasks_of(last - 1, last)
    assert own.topics == tasks_of(last - 1, last - 1)


def test_after_unsubscribe_a_callback_gets_nothing(
    client: TaskCopilotClient, serving: AnyHub
) -> None:
    gone, kept = Log(), Log()
    client.subscribe(["task:*", "checkpoint:*"], gone)
    client.subscribe(["stream:*"], kept)
    client.unsubscribe(["task:*", "stream:Never-held"])
    serving.tasks(2, "Own-5")
    until(lambda: len(kept.events) == 2)
    assert gone.events == []


def test_subscribing_again_after_nothing_was_wanted_begins_at_the_present(
    client: TaskCopilotClient, serving: AnyHub
) -> None:
    log = Log()
    client.subscribe(["task:*"], log)
    client.unsubscribe(["task:*"])
    serving.tasks(2)
    serving.settle()
    client.subscribe(["task:*"], log)
    serving.tasks(1)
    last = number(serving)
    until(lambda: f"task:TASK-{last}" in log.topics)
    assert log.topics == tasks_of(last, last)


def test_one_that_begins_earlier_gets_what_was(serving: AnyHub, mode: str) -> None:
    serving.tasks(3)
    serving.settle()
    last = number(serving)
    for given in ({"since": 0}, {"replay": 3, "filter": {"eventTypes": ["task.created"]}}):
        log = Log()
        with serving.client(**{**MODES[mode], **given}) as client:
            client.subscribe(["task:*"], log)
            until(lambda log=log: f"task:TASK-{last}" in log.topics)  # type: ignore[misc]
        assert log.topics == tasks_of(1 if "since" in given else last - 2, last)


def test_batches_bring_the_same(serving: AnyHub) -> None:
    log = Log()
    batch: task_copilot_client.Batch = {"maxEvents": 7, "maxDelayMs": 5}
    with serving.client(since=0, batch=batch) as client:
        client.subscribe("*", log)
        until(lambda: len(log.events) >= serving.head)
    assert log.topics == [event["topic"] for event in serving.events()]


def test_more_patterns_than_a_hub_takes_work_all_the_same(
    client: TaskCopilotClient, serving: AnyHub
) -> None:
    last = number(serving)
    log = Log()
    for pattern in tasks_of(last + 1, last + 60):
        client.subscribe(pattern, log)
    serving.tasks(60)
    until(lambda: len(log.events) == 60)
    assert log.topics == tasks_of(last + 1, last + 60)


def test_a_workspace_shows_no_other(serving: AnyHub, mode: str) -> None:
    shown, hidden = Log(), Log()
    with (
        serving.client(workspace="shop", **MODES[mode]) as one,
        serving.client(workspace="other", **MODES[mode]) as two,
    ):
        one.subscribe("*", shown)
        two.subscribe("*", hidden)
        serving.tasks(1)
        until(lambda: shown.events)
    assert hidden.events == []


# --- callbacks ---


def test_a_callback_that_raises_is_logged_and_the_others_run(
    serving: AnyHub, caplog: pytest.LogCaptureFixture
) -> None:
    log = Log()

    def fails(topic: str, event_type: str, data: dict[str, Any]) -> None:
        data.clear()
        raise LookupError(topic)

    with serving.client() as client:
        client.subscribe(["task:*"], fails)
        client.subscribe(["task:*"], sys.exit)  # type: ignore[arg-type]
        client.subscribe(["task:*"], log)
        serving.tasks(2)
        until(lambda: len(log.events) == 2)
    assert all(data["taskId"] for _, _, data in log.events)
    assert "LookupError: task:TASK-" in caplog.text
    assert caplog.text.count("A callback failed") == 4


def test_a_slow_callback_loses_nothing_of_5000_events(tmp_path: Path) -> None:
    with hub(tmp_path, listener_timeout=60) as own:
        log, go = Log(), threading.Event()

        def slow(topic: str, event_type: str, data: dict[str, Any]) -> None:
            go.wait()
            log(topic, event_type, data)

        with TaskCopilotClient(own.address) as client:
            client.subscribe(["task:*"], slow)
            new = tasks.NewTask(title="One of many", stream=None)
            for _ in range(10):
                own.world.do(lambda tx, scope: [tasks.create(tx, scope, new) for _ in range(500)])
            until(lambda: ((client._worker and client._worker.point[1]) or 0) >= 1000)
            go.set()
            until(lambda: len(log.events) == 5000)
        assert log.topics == tasks_of(1, 5000)


def test_a_callback_may_disconnect_and_connect_again(serving: AnyHub, mode: str) -> None:
    client = serving.client(**MODES[mode])
    seen: list[str] = []
    done = threading.Event()

    def once(topic: str, event_type: str, data: dict[str, Any]) -> None:
        seen.append(topic)
        client.disconnect()
        client.disconnect()
        done.set()

    client.subscribe(["task:*"], once)
    assert client.get_mode() == "disconnected"
    for _ in range(2):
        done.clear()
        assert client.connect()
        assert client.connect()
        serving.tasks(3)
        assert done.wait(20)
        until(lambda: not threads())
        assert client.get_mode() == "disconnected"
    last = number(serving)
    assert seen == [f"task:TASK-{last - 5}", f"task:TASK-{last - 2}"]


def test_a_client_that_was_told_where_to_begin_goes_on_after_what_it_has_handled(
    serving: AnyHub,
) -> None:
    log = Log()
    client = serving.client(since=0)
    client.subscribe(["task:*"], log)
    for _ in range(2):
        with client:
            serving.tasks(2)
            until(lambda: f"task:TASK-{number(serving)}" in log.topics)
        serving.tasks(1)
    assert log.topics == tasks_of(1, number(serving) - 1)


def test_threads_may_share_a_client(serving: AnyHub) -> None:
    log = Log()
    with serving.client() as client:
        start = number(serving)

        def work(offset: int) -> None:
            for step in range(5):
                client.subscribe(tasks_of(start + 1, start + 60)[offset * 5 + step], log)

        workers = [threading.Thread(target=work, args=(offset,)) for offset in range(8)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        serving.tasks(45)
        until(lambda: len(log.events) == 40)
    assert log.topics == tasks_of(start + 1, start + 40)


def test_a_client_that_nobody_holds_ends_with_its_threads(serving: AnyHub) -> None:
    client = serving.client()
    assert client.connect()

    def callback(*_: object, held: TaskCopilotClient = client) -> None:
        assert held is not None

    client.subscribe(["task:*"], callback)
    gone = weakref.ref(client)
    del client, callback
    gc.collect()
    assert gone() is None
    until(lambda: not threads())


PROGRAM = """
import os, sys, threading
from task_copilot_client import TaskCopilotClient
client = TaskCopilotClient(sys.argv[1])
assert client.connect()
seen = threading.Event()
client.subscribe("*", lambda *_: seen.set())
if sys.argv[2] == "fork" and os.fork() == 0:
    assert client.get_mode() == "disconnected"
    client.disconnect()
    assert client.connect() and client.get_mode() == "websocket"
    client.disconnect()
    sys.exit(0)
if sys.argv[2] == "fork":
    assert os.wait()[1] == 0
print(client.get_mode())
"""


@pytest.mark.parametrize("how", ["plain", "fork"])
def test_a_program_ends_without_disconnecting(process: Hub, how: str) -> None:
    done = subprocess.run(
        # Later Pythons warn of every fork of a program with threads.
        [sys.executable, "-W", "ignore", "-c", PROGRAM, process.address, how],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "websocket\n", "")


# --- the cursor's file ---


def test_a_program_goes_on_where_its_file_says(serving: AnyHub, mode: str, tmp_path: Path) -> None:
    path = tmp_path / "cursor.json"
    log = Log()
    for _ in range(3):
        with serving.client(cursor_file=path, **MODES[mode]) as client:
            client.subscribe(["task:*"], log)
            until(lambda: number(serving) == 0 or path.exists())
            if log.events:
                until(lambda: f"task:TASK-{number(serving)}" in log.topics)
            serving.tasks(1)
            until(lambda: f"task:TASK-{number(serving)}" in log.topics)
        serving.tasks(2)
    last = number(serving)
    assert log.topics == tasks_of(last - 8, last - 2)
    assert json.loads(path.read_text())["position"] <= serving.head


def test_a_file_with_something_else_in_it_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cursor.json"
    for text in ("", "[]", '{"epoch": 1, "position": 2}', '{"epoch": "x", "position": -1}'):
        path.write_text(text)
        with pytest.raises(ValueError, match="is no cursor"):
            CursorFile(path).read()
