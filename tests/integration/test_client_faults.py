"""Hubs that end, move and are replaced, and networks that fail: no event is lost and none twice."""

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from client_support import MODES, Hub, Log, Relay, hub, tasks_of, until
from e2e.servers import free_port
from task_copilot.client.engine import longest_pause
from task_copilot_client import Gap, TaskCopilotClient

QUICK: dict[str, Any] = {"keepalive": 0.2, "answer_timeout": 0.5, "websocket_retry": 0.3}
"""A client that notices soon."""


@pytest.fixture(autouse=True)
def no_error_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR] == []
    until(lambda: not [t for t in threading.enumerate() if t.name.startswith("task-copilot-")])


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Hub]:
    with hub(tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with hub(tmp_path_factory.mktemp("steady")) as found:
        yield found


@pytest.fixture
def relay(steady: Hub) -> Iterator[Relay]:
    with Relay(steady.port) as found:
        yield found


# --- hubs ---


@pytest.mark.parametrize("last", ["kill", "stop"])
def test_a_hub_that_is_killed_or_ends_and_comes_back_loses_nothing(
    own: Hub, mode: str, last: str
) -> None:
    log = Log()
    with TaskCopilotClient(own.address, **MODES[mode]) as client:
        client.subscribe(["task:*"], log)
        own.tasks(3)
        until(lambda: len(log.events) == 3)
        getattr(own, last)()
        own.tasks(3)
        until(lambda: client.get_mode() == "disconnected")
        own.start()
        own.tasks(1)
        until(lambda: len(log.events) == 7)
        until(lambda: client.get_mode() == ("websocket" if mode == "websocket" else "http"))
    assert log.topics == tasks_of(1, 7)


def test_a_hub_that_has_moved_to_another_port_is_found(
    own: Hub, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(own.folder / "data"))
    monkeypatch.setenv("TASK_COPILOT_DATABASE_URL", f"sqlite:///{own.database}")
    monkeypatch.delenv("TASK_COPILOT_URL", raising=False)
    log = Log()
    with TaskCopilotClient(**MODES[mode]) as client:
        client.subscribe(["task:*"], log)
        own.tasks(1)
        until(lambda: len(log.events) == 1)
        own.kill()
        own.port = free_port()
        own.tasks(1)
        own.start()
        until(lambda: len(log.events) == 2)
    assert log.topics == tasks_of(1, 2)


def test_the_address_of_the_environment_goes_before_the_files(
    own: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASK_COPILOT_URL", own.address + "/")
    client = TaskCopilotClient()
    with client:
        assert client.get_mode() == "websocket"
    monkeypatch.setenv("TASK_COPILOT_URL", "nonsense")
    assert client.connect() is False


def test_a_database_that_is_replaced_is_told_once_and_events_go_on(
    own: Hub, mode: str, tmp_path: Path
) -> None:
    log = Log()
    gaps: list[Gap] = []
    with TaskCopilotClient(own.address, on_gap=gaps.append, **MODES[mode]) as client:
        client.subscribe(["task:*"], log)
        own.tasks(3)
        until(lambda: len(log.events) == 3)
        own.kill()
        (tmp_path / "other").mkdir()
        other = Hub(tmp_path / "other", own.port)
        other.tasks(2)
        try:
            other.start()
            until(lambda: gaps)
            other.tasks(1)
            until(lambda: len(log.events) == 4)
        finally:
            other.close()
    [gap] = gaps
    assert (gap.from_, gap.to, gap.reason) == (1, 2, "replaced")
    assert log.topics == [*tasks_of(1, 3), "task:TASK-3"]


def test_events_that_are_no_longer_kept_are_told(tmp_path: Path, mode: str) -> None:
    gaps: list[Gap] = []
    log = Log()
    with hub(tmp_path, retention_days=0, retention_events=5) as own:
        own.tasks(20)
        own.kill()
        own.start()  # prunes when it starts
        until(lambda: own.world.events()[0]["seq"] == 16)
        options: dict[str, Any] = {**MODES[mode], "since": 3, "on_gap": gaps.append}
        with TaskCopilotClient(own.address, **options) as client:
            client.subscribe(["task:*"], log)
            until(lambda: len(log.events) == 5)
    assert [(gap.from_, gap.to, gap.reason) for gap in gaps] == [(4, 15, "pruned")]
    assert log.topics == tasks_of(16, 20)


def test_a_hub_without_websockets_is_listened_to_over_http(tmp_path: Path) -> None:
    log = Log()
    with hub(tmp_path, no_websocket=True) as own, TaskCopilotClient(own.address) as client:
        until(lambda: client.get_mode() == "http")
        client.subscribe(["task:*"], log)
        own.tasks(3)
        until(lambda: len(log.events) == 3)


# --- networks ---


def test_it_returns_to_the_websocket_when_that_works_again(steady: Hub, relay: Relay) -> None:
    log, first = Log(), steady.newest + 1
    relay.refuse = 403
    with TaskCopilotClient(relay.address, **QUICK) as client:
        client.subscribe(["task:*"], log)
        assert client.get_mode() == "http"
        assert relay.upgrades == 3
        steady.tasks(2)
        until(lambda: len(log.events) == 2)
        until(lambda: relay.upgrades > 3)
        relay.refuse = 0
        until(lambda: client.get_mode() == "websocket")
        steady.tasks(2)
        until(lambda: len(log.events) == 4)
        relay.refuse = 403
        relay.break_all()
        steady.tasks(2)
        until(lambda: len(log.events) == 6)
        until(lambda: client.get_mode() == "http")
    assert log.topics == tasks_of(first, steady.newest)


def test_an_upgrade_that_nobody_answers_leads_to_http(steady: Hub, relay: Relay) -> None:
    relay.swallow = True
    log, first = Log(), steady.newest + 1
    with TaskCopilotClient(relay.address, **QUICK) as client:
        client.subscribe(["task:*"], log)
        assert client.get_mode() == "http"
        steady.tasks(2)
        until(lambda: len(log.events) == 2)
    assert log.topics == tasks_of(first, steady.newest)


@pytest.mark.parametrize("options", [{}, {"use_websocket": False, "wait": 0.5}])
def test_a_connection_that_brings_nothing_any_more_is_noticed(
    steady: Hub, relay: Relay, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("task_copilot.client.over_http.MARGIN_SECONDS", 0.3)
    log, first = Log(), steady.newest + 1
    with TaskCopilotClient(relay.address, **{**QUICK, **options}) as client:
        client.subscribe(["task:*"], log)
        steady.tasks(1)
        until(lambda: len(log.events) == 1)
        relay.silent = True
        steady.tasks(1)
        until(lambda: client.get_mode() == "disconnected")
        relay.silent = False
        steady.tasks(1)
        until(lambda: len(log.events) == 3)
    assert log.topics == tasks_of(first, steady.newest)


@pytest.mark.parametrize("harm", [{"cut": 0.1}, {"bad": 502}])
def test_where_waiting_is_cut_off_it_asks_now_and_then(
    steady: Hub, relay: Relay, harm: dict[str, Any]
) -> None:
    for name, value in harm.items():
        setattr(relay, name, value)
    log, first = Log(), steady.newest + 1
    options: dict[str, Any] = {"use_websocket": False, "poll_interval": 0.05}
    with TaskCopilotClient(relay.address, **options) as client:
        client.subscribe(["task:*"], log)
        until(lambda: relay.waits >= 2)
        steady.tasks(3)
        until(lambda: len(log.events) == 3)
        until(lambda: relay.polls >= 3)
        waits = relay.waits
        until(lambda: relay.polls >= 8)
        assert relay.waits == waits
    assert log.topics == tasks_of(first, steady.newest)


@pytest.mark.parametrize(
    "frame", [b"\x81\x07garbage", b"\x81\x02[]", b"\x82\x01\xff", b"\x83\x00", b"\xff" * 9]
)
def test_garbage_on_the_websocket_is_not_the_end(steady: Hub, relay: Relay, frame: bytes) -> None:
    relay.garbage = frame
    log, first = Log(), steady.newest + 1
    with TaskCopilotClient(relay.address, **QUICK) as client:
        client.subscribe(["task:*"], log)
        steady.tasks(2)
        until(lambda: len(log.events) == 2)
        relay.garbage = b""
        until(lambda: client.get_mode() == "websocket")
        steady.tasks(1)
        until(lambda: len(log.events) == 3)
    assert log.topics == tasks_of(first, steady.newest)


def test_connections_that_break_all_the_time_lose_nothing(steady: Hub, relay: Relay) -> None:
    log, over, first = Log(), threading.Event(), steady.newest + 1

    def tear() -> None:
        while not over.wait(0.05):
            relay.break_all()

    tearing = threading.Thread(target=tear)
    with TaskCopilotClient(relay.address, **QUICK) as client:
        client.subscribe(["task:*"], log)
        tearing.start()
        for _ in range(40):
            steady.tasks(5)
        over.set()
        tearing.join()
        until(lambda: len(log.events) == 200)
    assert log.topics == tasks_of(first, steady.newest)


def test_a_stranger_is_not_talked_to(caplog: pytest.LogCaptureFixture, steady: Hub) -> None:
    with Relay(steady.port) as stranger:
        client = TaskCopilotClient(f"{stranger.address}/elsewhere")
        assert client.connect() is False
        assert "something else than Task Copilot" in caplog.text
        assert (stranger.requests, stranger.upgrades) == (1, 0)


def test_the_pauses_grow_and_end_at_30_seconds() -> None:
    assert [longest_pause(n) for n in (0, 1, 2, 3, 8, 99)] == [0.25, 0.25, 0.5, 1.0, 30.0, 30.0]


@pytest.mark.parametrize("given", ["made-up", None], ids=["argument", "environment"])
def test_a_token_is_sent(steady: Hub, monkeypatch: pytest.MonkeyPatch, given: str | None) -> None:
    if given is None:
        monkeypatch.setenv("TASK_COPILOT_TOKEN", "made-up")
    seen: list[bytes] = []
    with Relay(steady.port) as relay:
        forward = relay._forward

        def look(client: Any, head: bytes, **how: bool) -> None:
            seen.append(head)
            forward(client, head, **how)

        relay._forward = look  # type: ignore[method-assign]
        with TaskCopilotClient(relay.address, token=given) as client:
            client.subscribe("*", print)
    assert len(seen) >= 3
    assert all(b"Authorization: Bearer made-up\r\n" in re_cased(head) for head in seen)


def re_cased(head: bytes) -> bytes:
    return head.replace(b"authorization:", b"Authorization:")
