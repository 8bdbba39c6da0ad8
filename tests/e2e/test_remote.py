"""Agents, programs and people on another machine: with a token, over TLS.

They share nothing with the hub but its address, the token, and the certificate that they trust.
"""

import asyncio
import json
import os
import signal
import ssl
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from certificates import self_signed
from e2e.servers import COMMAND, Server, server
from hubs import SECRET, bearer
from task_copilot_client import AsyncTaskCopilotClient, TaskCopilotClient

LIMIT_SECONDS = 20.0


@dataclass
class Away:
    """What there is on the other machine."""

    hub: Server
    home: Path
    certificate: Path

    @property
    def address(self) -> str:
        return f"https://127.0.0.1:{self.hub.port}"

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.certificate))

    def environment(self, **given: str) -> dict[str, str]:
        ours = {
            "TASK_COPILOT_URL": self.address,
            "TASK_COPILOT_TOKEN": SECRET,
            "TASK_COPILOT_CA_FILE": str(self.certificate),
            **given,
        }
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "XDG_DATA_HOME": str(self.home / "data"),
            **{name: value for name, value in ours.items() if value},
        }

    async def run(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        """What a command of the other machine comes to."""
        process = await asyncio.create_subprocess_exec(
            *(*COMMAND, *arguments),
            cwd=self.home,
            env=self.environment(**environment),
            stdout=PIPE,
            stderr=PIPE,
        )
        async with asyncio.timeout(LIMIT_SECONDS):
            out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    def client(self, **given: Any) -> dict[str, Any]:
        return {
            "api_base": self.address,
            "token": SECRET,
            "ca_file": str(self.certificate),
            **given,
        }


@pytest.fixture
async def away(tmp_path: Path) -> AsyncIterator[Away]:
    certificate, key = self_signed(tmp_path)
    home = tmp_path / "away"
    home.mkdir()
    serving = server(
        tmp_path,
        command=(*COMMAND, "serve"),
        environment={"TASK_COPILOT_TOKEN": SECRET},
        host="0.0.0.0",  # noqa: S104
        auth="required",
        tls_certificate=certificate,
        tls_key=key,
    )
    async with serving:
        await serving.wait_until(lambda: "Events: wss://" in serving.stderr_text())
        yield Away(serving, home, certificate)
        assert "Traceback" not in serving.stderr_text()
        assert SECRET not in serving.stderr_text()


@asynccontextmanager
async def agent(away: Away, mode: str, token: str = SECRET) -> AsyncIterator[Client]:
    """An agent of the other machine, in one of the protocol's eras."""
    async with httpx2.AsyncClient(verify=away.trust, headers=bearer(token), timeout=20) as http:
        transport = streamable_http_client(f"{away.address}/mcp?workspace=shop", http_client=http)
        async with Client(transport, mode=mode, read_timeout_seconds=LIMIT_SECONDS) as client:
            yield client


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_an_agent_a_listener_and_the_commands_work_together_over_tls(
    away: Away, mode: str
) -> None:
    listener = AsyncTaskCopilotClient(**away.client())
    async with listener, agent(away, mode) as client:
        events = listener.events(["task:*"], since=0)
        made = await client.call_tool("task_create", {"title": "Pay by card", "streamId": "S"})
        assert not made.is_error
        async with asyncio.timeout(LIMIT_SECONDS):
            event = await anext(events)
        assert (event.event_type, event.data["taskTitle"]) == ("task.created", "Pay by card")
        code, out, err = await away.run("tasks", "--json", "--workspace", "shop")
        assert (code, err) == (0, "")
        assert [task["title"] for task in json.loads(out)["tasks"]] == ["Pay by card"]
        code, out, err = await away.run("events", "--json", "--all-workspaces")
        assert (code, err) == (0, "")
        assert json.loads(out.splitlines()[0])["eventType"] == "task.created"


async def test_without_the_right_token_an_agent_and_the_commands_are_told_so(away: Away) -> None:
    async with httpx2.AsyncClient(verify=away.trust, timeout=20) as http:
        for headers in ({}, bearer("another-token-than-that")):
            answer = await http.post(
                f"{away.address}/mcp?workspace=shop",
                json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"},
                headers=headers,
            )
            assert answer.status_code == 401
    for token in ("", "another-token-than-that"):
        code, out, err = await away.run("streams", "--all-workspaces", TASK_COPILOT_TOKEN=token)
        assert code != 0
        assert out == ""
        assert "TASK_COPILOT_TOKEN" in err
        assert "Traceback" not in err
        assert token == "" or token not in err


async def test_an_unknown_certificate_is_refused_with_what_to_set(away: Away) -> None:
    code, _out, err = await away.run("streams", "--all-workspaces", TASK_COPILOT_CA_FILE="")
    assert code != 0
    assert "TASK_COPILOT_CA_FILE" in err
    assert "Traceback" not in err


def test_the_synchronous_client_reads_and_listens_over_tls(tmp_path: Path) -> None:
    async def scenario() -> None:
        certificate, key = self_signed(tmp_path)
        serving = server(
            tmp_path,
            command=(*COMMAND, "serve"),
            environment={"TASK_COPILOT_TOKEN": SECRET},
            auth="required",
            tls_certificate=certificate,
            tls_key=key,
        )
        async with serving:
            await serving.wait_until(lambda: "Events: wss://" in serving.stderr_text())
            address = f"https://127.0.0.1:{serving.port}"
            await asyncio.to_thread(listens, address, str(certificate))

    asyncio.run(scenario())


def listens(address: str, certificate: str) -> None:
    client = TaskCopilotClient(api_base=address, token=SECRET, ca_file=certificate)
    try:
        assert client.connect()
        assert client.get_mode() == "websocket"
    finally:
        client.disconnect()
    assert not TaskCopilotClient(
        api_base=address, token="wrong-token-0123456789", ca_file=certificate
    ).connect()


async def test_the_token_of_this_user_is_found_by_commands_and_is_in_no_log(
    tmp_path: Path,
) -> None:
    """`task-copilot token`, a server that asks for it, and a command that needs no more."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "TASK_COPILOT_DATABASE_URL": f"sqlite:///{tmp_path / 'tasks.db'}",
    }

    async def run(*arguments: str, **more: str) -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "task_copilot", *arguments),
            cwd=tmp_path,
            env={**environment, **more},
            stdout=PIPE,
            stderr=PIPE,
        )
        async with asyncio.timeout(LIMIT_SECONDS):
            out, err = await process.communicate()
        return process.returncode or 0, out.decode(), err.decode()

    code, out, _err = await run("token")
    assert code == 0
    _code, shown, _err = await run("token", "--show")
    secret = shown.strip()
    assert len(secret) >= 32
    assert secret not in out
    serving = server(tmp_path, command=(*COMMAND, "serve"), auth="required", log_level="debug")
    async with serving:
        await serving.wait_until(lambda: "Events: ws://" in serving.stderr_text())
        address = {"TASK_COPILOT_URL": f"http://127.0.0.1:{serving.port}"}
        code, out, err = await run("streams", "--all-workspaces", **address)
        assert (code, err) == (0, "")
        code, out, err = await run("token", "--ticket", **address)
        assert (code, err) == (0, "")
        page = next(word for word in out.split() if "/?ticket=" in word)
        async with httpx2.AsyncClient(trust_env=False) as http:
            assert (await http.get(page)).status_code == 303
            # The cookie came with the first; without it the ticket is used up.
            assert (await http.get(page)).status_code == 303
            http.cookies.clear()
            assert (await http.get(page)).status_code == 401
        assert secret not in serving.stderr_text()
        assert page.partition("ticket=")[2] not in serving.stderr_text()


async def test_the_next_hub_asks_for_the_token_too_though_nobody_told_it(tmp_path: Path) -> None:
    token = {"TASK_COPILOT_TOKEN": SECRET}
    first = server(tmp_path, command=(*COMMAND, "serve"), environment=token, auth="required")
    async with first:
        await first.wait_until(lambda: "Events: ws://" in first.stderr_text())
        second = server(tmp_path, command=(*COMMAND, "serve"), environment=token, port=first.port)
        async with second:
            await second.wait_until(lambda: "waits" in second.stderr_text())
            first.signal(signal.SIGKILL)
            await second.wait_until(lambda: "Events: ws://" in second.stderr_text())
            address = f"http://127.0.0.1:{first.port}/api/streams"
            async with httpx2.AsyncClient(trust_env=False) as http:
                assert (await http.get(address)).status_code == 401
                assert (await http.get(address, headers=bearer())).status_code == 200


async def test_a_session_that_was_told_to_ask_says_that_the_hub_asks_nobody(
    tmp_path: Path,
) -> None:
    first = server(tmp_path, command=(*COMMAND, "serve"))
    async with first:
        await first.wait_until(lambda: "Events: ws://" in first.stderr_text())
        second = server(
            tmp_path,
            command=(*COMMAND, "serve"),
            environment={"TASK_COPILOT_TOKEN": SECRET},
            port=first.port,
            auth="required",
        )
        async with second:
            await second.wait_until(lambda: "asks nobody for a token" in second.stderr_text())
