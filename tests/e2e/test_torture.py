"""Servers are killed again and again while agents write and listeners listen.

The short form runs with the other tests; ``make torture`` runs the long one. The seed of a run is
printed; TORTURE_SEED=… repeats it as far as the operating system does.
"""

import os
import sys
from pathlib import Path

import pytest

from torture.storm import Storm, seed_of

KILLS = int(os.environ.get("TORTURE_KILLS", "10"))
SEED = seed_of(os.environ.get("TORTURE_SEED"))


@pytest.mark.timeout(30 * KILLS)
@pytest.mark.parametrize("prune", [False, True], ids=["whole log", "with retention"])
async def test_nothing_is_lost_or_doubled_while_servers_are_killed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *, prune: bool
) -> None:
    sys.stdout.write(f"seed {SEED}\n")
    report = await Storm(tmp_path, SEED, kills=KILLS, prune=prune).run()
    with capsys.disabled():
        sys.stdout.write(f"\n{report}\n")
    assert report.kills == KILLS
    assert report.kills_in_flight * 3 >= KILLS
    assert report.repeated > 0
    if prune:
        assert report.gaps > 0
