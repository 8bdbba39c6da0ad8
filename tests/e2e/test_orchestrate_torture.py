"""Orchestrators, hubs and workers are killed again and again, and every stream completes.

The short form runs with the other tests; ``make torture`` runs the long one. The seed of a run is
printed; TORTURE_SEED=… repeats it as far as the operating system does.
"""

import os
import sys
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("process groups", allow_module_level=True)

from e2e.orchestrating import Project
from torture.orchestra import Storm
from torture.storm import seed_of

KILLS = int(os.environ.get("TORTURE_KILLS", "6"))
SEED = seed_of(os.environ.get("TORTURE_SEED"))


@pytest.mark.timeout(120 + 20 * KILLS)
async def test_every_stream_completes_and_no_task_is_worked_twice_at_the_same_time(
    project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sys.stdout.write(f"seed {SEED}\n")
    report = await Storm(project, tmp_path, SEED, kills=KILLS).run()
    with capsys.disabled():
        sys.stdout.write(f"\n{report}\n")
    assert sum(report.kills.values()) * 2 >= KILLS
