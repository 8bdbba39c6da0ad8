"""The monitors of examples/ print what happens, and no error."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from client_support import LIMIT_SECONDS, LOOK_SECONDS, hub
from task_copilot.task_updates import TaskChange, update_task

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = {"monitor.py": (), "monitor_polling.py": ("0.05",)}
AGAIN_SECONDS = 0.5


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_monitor_shows_progress_and_blocked_tasks(tmp_path: Path, name: str) -> None:
    printed, errors = tmp_path / "printed", tmp_path / "errors"

    def shows(line: str, seconds: float = LIMIT_SECONDS) -> bool:
        end = time.monotonic() + seconds
        while line not in printed.read_text().splitlines():
            if time.monotonic() > end:
                return False
            time.sleep(LOOK_SECONDS)
        return True

    with hub(tmp_path) as own, printed.open("wb") as out, errors.open("wb") as err:

        def change(number: int, **fields: Any) -> None:
            own.world.do(lambda tx, scope: update_task(tx, scope, number, TaskChange(**fields)))

        own.tasks(4, "Stream-A")
        with subprocess.Popen(
            [sys.executable, ROOT / "examples" / name, *EXAMPLES[name]],
            env={**os.environ, "TASK_COPILOT_URL": own.address, "PYTHONUNBUFFERED": "1"},
            stdout=out,
            stderr=err,
        ) as program:
            try:
                change(1, status="in_progress")
                line = "Task TASK-2 blocked: needs a key"
                while not shows(line, AGAIN_SECONDS):  # until it has subscribed
                    assert program.poll() is None
                    change(2, status="pending")
                    change(2, status="blocked", blocked_reason="needs a key")
                change(1, status="completed")
                assert shows("Stream Stream-A: 25.0% complete")
                own.kill()
                own.start()
                change(2, status="completed")
                assert shows("Stream Stream-A: 50.0% complete")
                program.send_signal(signal.SIGINT)
                assert program.wait(LIMIT_SECONDS) == 0
            finally:
                program.kill()
    lines = errors.read_text().splitlines()
    assert [line for line in lines if not line.startswith("Not reached: ")] == []
    assert name == "monitor_polling.py" or lines == []
