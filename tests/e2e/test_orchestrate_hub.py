"""``task-copilot orchestrate`` and the hub: how it is asked, found again, and spoken to afar."""

import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

if sys.platform == "win32":
    pytest.skip("process groups", allow_module_level=True)

from e2e.orchestrating import DIAMOND, Project
from e2e.relays import Relay
from e2e.servers import COMMAND, Server, server
from hubs import SECRET

TWO: dict[str, tuple[str, ...]] = {"Stream-A": (), "Stream-B": ("Stream-A",)}
WAIT = {"does": "wait"}


@asynccontextmanager
async def hub(project: Project, tmp_path: Path, **settings: Any) -> AsyncIterator[Server]:
    """``task-copilot serve`` on the project's database."""
    serving = server(
        tmp_path,
        database=project.database,
        port=project.port,
        command=(*COMMAND, "serve"),
        environment={"TASK_COPILOT_TOKEN": SECRET if "auth" in settings else ""},
        **settings,
    )
    async with serving:
        await serving.served()
        yield serving
        assert "Traceback" not in serving.stderr_text()
        if serving.process.returncode is None:
            serving.signal(signal.SIGTERM)


async def test_after_the_start_it_asks_the_hub_for_nothing(
    project: Project, tmp_path: Path
) -> None:
    project.streams(DIAMOND)
    project.parts({"Base": [WAIT]})
    async with (
        Relay(project.port).serving() as relay,
        hub(project, tmp_path, allowed_hosts=f"127.0.0.1:{relay.port}"),
    ):
        with project.gate_closed() as open_the_gate:
            address = f"http://127.0.0.1:{relay.port}"
            async with project.orchestrated("--url", address) as running:
                await project.noted("plays")
                asked = list(relay.requests)
                assert any(target.startswith("/api/streams") for target in asked)
                open_the_gate()
                await running.completes()
    project.judge(DIAMOND)
    assert relay.requests == asked
    assert relay.websockets == ["/ws?workspace=project"]
    assert max(project.delays(running, DIAMOND)) < 1


async def test_a_hub_and_a_worker_that_are_killed_are_done_without(
    project: Project, tmp_path: Path
) -> None:
    needs: dict[str, tuple[str, ...]] = {"Stream-A": (), "Stream-B": (), "Stream-C": ("Stream-A",)}
    project.streams(needs)
    project.parts({"Stream-A": [WAIT], "Stream-B": [WAIT]})
    async with hub(project, tmp_path) as serving:
        with project.gate_closed() as open_the_gate:
            async with project.orchestrated() as running:
                runs = await project.noted("plays", times=2)
                serving.process.kill()
                os.kill(runs[0]["pid"], signal.SIGKILL)
                open_the_gate()
                await running.completes()
    project.judge(needs)
    assert len(project.of("run")) == 4


async def test_with_an_address_and_a_token_it_works_without_the_database(
    project: Project, tmp_path: Path
) -> None:
    project.streams(TWO)
    away = tmp_path / "away"
    away.mkdir()
    async with hub(project, tmp_path, auth="required"):
        elsewhere = {
            "TASK_COPILOT_URL": f"http://127.0.0.1:{project.port}",
            "TASK_COPILOT_TOKEN": SECRET,
            "TASK_COPILOT_DATABASE_URL": f"sqlite:///{away / 'none.db'}",
            "XDG_DATA_HOME": str(away),
        }
        async with project.orchestrated(worker=project.worker("http"), **elsewhere) as running:
            await running.completes()
        async with project.orchestrated(**{**elsewhere, "TASK_COPILOT_TOKEN": "x"}) as refused:
            assert await refused.refused() == 1
        assert b"TASK_COPILOT_TOKEN" in refused.complaints
    project.judge(TWO)
    assert not (away / "none.db").exists()
    assert SECRET.encode() not in running.complaints
