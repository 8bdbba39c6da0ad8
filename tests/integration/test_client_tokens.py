"""Clients and commands find the token of their user's hub, and show it to nobody else."""

import asyncio
import http.client
import logging
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from client_support import MODES, Hub, Log, hub, until
from e2e.shells import Shell
from strangers import stranger
from task_copilot import runtime
from task_copilot.client import door
from task_copilot.credentials import CHALLENGE_HEADER, PROOF_HEADER, make_secret
from task_copilot.places import Places
from task_copilot_client import AsyncTaskCopilotClient, RequestRefused, TaskCopilotClient

SECRET = make_secret()


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub that asks for the token in its data directory."""
    folder = tmp_path_factory.mktemp("locked")
    write_token(folder, SECRET)
    with hub(folder, auth="required", token="") as found:
        found.tasks(1, "S")
        found.settle()
        yield found


def write_token(folder: Path, secret: str) -> None:
    path = folder / "data" / "task-copilot" / "token"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name("new")
    new.touch(mode=0o600)
    new.write_text(f"{secret}\n")
    new.replace(path)


@pytest.fixture(autouse=True)
def nothing_is_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("TOKEN", "TOKEN_FILE", "URL", "DATABASE_URL", "CA_FILE"):
        monkeypatch.delenv(f"TASK_COPILOT_{name}", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def at_home(locked: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is of the user whose hub it is."""
    monkeypatch.setenv("XDG_DATA_HOME", str(locked.folder / "data"))


@pytest.fixture
def no_secret_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    records = caplog.get_records("call")
    text = "\n".join(f"{r.name} {r.getMessage()} {r.exc_text}" for r in records)
    assert "/health" in text  # something was logged
    assert SECRET not in text
    assert "wrong-token" not in text


@pytest.mark.usefixtures("at_home", "no_secret_is_logged")
@pytest.mark.parametrize("mode", MODES)
def test_a_client_of_the_same_user_needs_no_token_said(locked: Hub, mode: str) -> None:
    log = Log()
    with TaskCopilotClient(locked.address, debug=True, **MODES[mode]) as client:
        assert client.get_mode() == ("websocket" if mode == "websocket" else "http")
        client.subscribe(["task:*"], log)
        locked.tasks(1)
        until(lambda: log.topics[-1:] == [f"task:TASK-{locked.newest}"])
        assert client.streams()["totalStreams"] == 1


@pytest.mark.usefixtures("at_home")
def test_the_hub_of_the_users_database_gets_the_token_too(
    locked: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASK_COPILOT_DATABASE_URL", f"sqlite:///{locked.database}")
    assert TaskCopilotClient().streams()["totalStreams"] == 1


@pytest.mark.usefixtures("at_home")
def test_a_token_that_is_replaced_is_followed(locked: Hub) -> None:
    log = Log()
    with TaskCopilotClient(locked.address, **MODES["polling"]) as client:
        client.subscribe(["task:*"], log)
        new = make_secret()
        write_token(locked.folder, new)
        try:
            locked.tasks(1)
            until(lambda: log.topics == [f"task:TASK-{locked.newest}"])
            assert client.streams()["totalStreams"] == 1
        finally:
            write_token(locked.folder, SECRET)
    until(lambda: _answers(locked))


def _answers(found: Hub) -> bool:
    try:
        return bool(TaskCopilotClient(found.address, token=SECRET).streams())
    except RequestRefused:
        return False


@pytest.mark.usefixtures("no_secret_is_logged")
def test_a_token_that_is_given_is_shown_and_a_wrong_one_is_named(
    locked: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert TaskCopilotClient(locked.address, token=SECRET).streams()["totalStreams"] == 1
    monkeypatch.setenv("TASK_COPILOT_TOKEN", SECRET)
    assert TaskCopilotClient(locked.address).streams()["totalStreams"] == 1
    client = TaskCopilotClient(locked.address, token="wrong-token-of-nobody")
    assert not client.connect()
    with pytest.raises(RequestRefused, match="the token of the argument token") as refused:
        client.streams()
    assert refused.value.code == "401"
    monkeypatch.setenv("TASK_COPILOT_TOKEN", "wrong-token-of-nobody")
    with pytest.raises(RequestRefused, match="the token of TASK_COPILOT_TOKEN"):
        TaskCopilotClient(locked.address).streams()
    monkeypatch.setenv("TASK_COPILOT_TOKEN", "wrong-token of nobody")
    with pytest.raises(RequestRefused, match="TASK_COPILOT_TOKEN: is no token"):
        TaskCopilotClient(locked.address).streams()


def test_without_a_token_it_is_said_where_one_would_be(locked: Hub, tmp_path: Path) -> None:
    client = TaskCopilotClient(locked.address)
    assert not client.connect()
    with pytest.raises(RequestRefused, match="there is no file") as refused:
        client.streams()
    assert str(tmp_path / "data" / "task-copilot" / "token") in str(refused.value)


async def test_events_for_a_loop_end_where_the_token_is_refused(locked: Hub) -> None:
    client = AsyncTaskCopilotClient(locked.address, token="wrong-token-of-nobody")
    with pytest.raises(RequestRefused, match="argument token"):
        await anext(client.events(["*"], since=0))


def test_a_stranger_who_holds_the_port_gets_no_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_token(tmp_path, SECRET)
    shell = Shell(tmp_path, monkeypatch)
    write_token(shell.home, SECRET)
    with stranger() as other:
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
        client = TaskCopilotClient(other.address)
        assert not client.connect()
        with pytest.raises(RequestRefused, match="has not proved to know it"):
            client.streams()
        said = shell.refused("streams", "--url", other.address)
        assert "has not proved to know it" in said
        assert CHALLENGE_HEADER in other.seen
        assert "Authorization" not in other.seen
        assert SECRET not in other.seen


def test_a_stranger_who_passes_the_question_on_gets_no_token(locked: Hub, tmp_path: Path) -> None:
    def pass_on(challenge: str) -> str | None:
        asked = http.client.HTTPConnection(urlsplit(locked.address).netloc)
        asked.request("GET", "/health", headers={CHALLENGE_HEADER: challenge})
        answer = asked.getresponse().headers.get(PROOF_HEADER)
        asked.close()
        if challenge:
            passed.append(answer)
        return answer

    passed: list[str | None] = []
    write_token(tmp_path, SECRET)
    with stranger(prove=pass_on) as other:
        with pytest.raises(RequestRefused, match="has not proved to know it"):
            TaskCopilotClient(other.address).streams()
        assert passed[0] is not None
        assert "Authorization" not in other.seen


def test_a_hub_that_asks_for_no_token_is_asked_no_question(tmp_path: Path) -> None:
    write_token(tmp_path, SECRET)
    with stranger(status=200) as other:
        client = TaskCopilotClient(other.address, use_websocket=False)
        assert client.connect()
        client.disconnect()
        assert CHALLENGE_HEADER not in other.seen
        assert "Authorization" not in other.seen


def test_the_runtime_file_may_lead_to_a_stranger_who_gets_no_token_of_the_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = Shell(tmp_path, monkeypatch)
    shell.said("create", "One", "--stream", "S")
    write_token(shell.home, SECRET)
    with stranger() as other:
        record = runtime.HubRecord(
            takeovers=1,
            epoch="e1",
            version="1",
            host="127.0.0.1",
            started_at="x",
            url=other.address,
        )
        runtime.write(Places.of(shell.database).runtime, record)
        # The database answers in its place.
        assert "1 stream" in shell.said("streams", TASK_COPILOT_TOKEN="made-up-token-of-tests")
        assert "1 stream" in shell.said("streams")
    assert "made-up-token-of-tests" not in other.heads[0]
    assert SECRET not in other.seen


def test_a_token_without_encryption_to_another_machine_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    address = f"http://hub-{id(caplog)}.example:9090"
    door._tell_in_the_open(address)
    door._tell_in_the_open(address)
    door._tell_in_the_open(address.replace("http", "https"))
    door._tell_in_the_open("http://127.0.0.1:9090")
    (told,) = [r.getMessage() for r in caplog.records if "without encryption" in r.getMessage()]
    assert address in told


async def test_a_token_that_expires_while_connected_ends_in_a_refusal_and_no_haste(
    caplog: pytest.LogCaptureFixture,
) -> None:
    requests: list[str] = []
    expired = asyncio.Event()

    def answer(connection: ServerConnection, request: Request) -> Response | None:
        requests.append(request.path)
        if expired.is_set():
            return _json(connection, HTTPStatus.UNAUTHORIZED, '{"error": "It has expired."}')
        if request.path == "/ws":
            return None
        body = '{"service": "task-copilot", "epoch": "e", "seq": 0, "next": 0}'
        return _json(connection, HTTPStatus.OK, body)

    async def listen(connection: ServerConnection) -> None:
        await connection.recv()
        expired.set()
        await connection.close(1008, "the token has expired")

    async with serve(listen, "127.0.0.1", 0, process_request=answer) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        client = AsyncTaskCopilotClient(f"http://127.0.0.1:{port}", token="once-good-token")
        with pytest.raises(RequestRefused, match=r"It has expired\. That was the token"):
            await anext(client.events(["*"]))
    assert requests == ["/health", "/api/events?limit=1", "/ws", "/health"]
    (warning,) = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert "1008" in warning.getMessage()


def _json(connection: ServerConnection, status: HTTPStatus, body: str) -> Response:
    response = connection.respond(status, body)
    del response.headers["Content-Type"]
    response.headers["Content-Type"] = "application/json"
    return response


# --- commands ---


@pytest.fixture
def shell(locked: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Commands of the user whose hub it is."""
    found = Shell(tmp_path, monkeypatch)
    monkeypatch.setenv("XDG_DATA_HOME", str(locked.folder / "data"))
    monkeypatch.setenv("TASK_COPILOT_DATABASE_URL", f"sqlite:///{locked.database}")
    return found


def test_commands_find_the_token_by_themselves(shell: Shell, locked: Hub) -> None:
    for url in ([], ["--url", locked.address]):
        assert "1 stream" in shell.said("streams", "--all-workspaces", *url)
        (line,) = shell.said("events", "--all-workspaces", "--limit", "1", *url).splitlines()
        assert " shop " in line
    assert shell.said("task", "TASK-1", "--url", locked.address).startswith("TASK-1 ")


def test_commands_say_what_is_wrong_with_a_token(shell: Shell, locked: Hub) -> None:
    words = ("streams", "--all-workspaces", "--url", locked.address)
    wrong = {"TASK_COPILOT_TOKEN": "wrong-token-of-nobody"}
    said = shell.refused(*words, **wrong)
    assert "That was the token of TASK_COPILOT_TOKEN" in said
    assert wrong["TASK_COPILOT_TOKEN"] not in said
    assert "is no token" in shell.refused(*words, TASK_COPILOT_TOKEN="two words")
    none = str(shell.home / "none")
    said = shell.refused(*words, TASK_COPILOT_TOKEN_FILE=none)
    assert f"there is no file {none}" in said
    localhost = locked.address.replace("127.0.0.1", "localhost")
    assert "Use the number" in shell.refused("streams", "--all-workspaces", "--url", localhost)


def test_a_ticket_lets_a_browser_in_once(shell: Shell, locked: Hub) -> None:
    address = shell.said("token", "--ticket").strip()
    assert address.startswith(f"{locked.address}/?ticket=")
    target = address.removeprefix(locked.address)
    assert _status(locked, target) in {302, 303, 307}
    assert _status(locked, target) == 401
    named = shell.said("token", "--ticket", "--url", locked.address)
    assert named.startswith(f"{locked.address}/?ticket=")
    assert "is no token" in shell.refused("token", "--ticket", TASK_COPILOT_TOKEN="two words")


def _status(found: Hub, target: str) -> int:
    asked = http.client.HTTPConnection(urlsplit(found.address).netloc)
    asked.request("GET", target)
    status = asked.getresponse().status
    asked.close()
    return status


def test_doctor_looks_at_the_hub_with_its_token(shell: Shell, locked: Hub) -> None:
    found = shell.run("doctor")
    assert f"on {locked.address}" in found.stdout
    wrong = shell.run("doctor", TASK_COPILOT_TOKEN="wrong-token-of-nobody")
    assert "That was the token of TASK_COPILOT_TOKEN" in wrong.stdout
