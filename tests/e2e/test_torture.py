"""Servers are killed again and again while agents write and listeners listen.

The short form runs with the other tests; ``make torture`` runs the long one. The seed of a run is
printed; TORTURE_SEED=… repeats it as far as the operating system does.
"""

import os
import random
import sys
from pathlib import Path

import pytest

import postgres
from torture.grounds import OnPostgres, OnSqlite
from torture.storm import Report, Storm, seed_of

LONG = "TORTURE_KILLS" in os.environ
KILLS = int(os.environ.get("TORTURE_KILLS", "10"))
SEED = seed_of(os.environ.get("TORTURE_SEED"))
WRITERS = 8 if LONG else 3


async def judged(storm: Storm, capsys: pytest.CaptureFixture[str]) -> Report:
    sys.stdout.write(f"seed {SEED}\n")
    report = await storm.run()
    with capsys.disabled():
        sys.stdout.write(f"\n{report}\n")
    return report


@pytest.mark.timeout(30 * KILLS)
@pytest.mark.parametrize("prune", [False, True], ids=["whole log", "with retention"])
async def test_nothing_is_lost_or_doubled_while_servers_are_killed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *, prune: bool
) -> None:
    report = await judged(Storm(OnSqlite(tmp_path), SEED, kills=KILLS, prune=prune), capsys)
    assert report.kills == KILLS
    assert report.kills_in_flight * 3 >= KILLS
    assert report.repeated > 0
    assert report.refused == 0
    if prune:
        assert report.gaps > 0


@pytest.mark.timeout(60 * KILLS)
@pytest.mark.parametrize("prune", [False, True] if LONG else [False])
async def test_nothing_is_lost_or_doubled_while_hubs_and_their_database_fail(
    tmp_path: Path,
    postgres_server: postgres.Server,
    capsys: pytest.CaptureFixture[str],
    *,
    prune: bool,
) -> None:
    with postgres_server.database() as url:
        ground = OnPostgres(tmp_path, postgres_server, url, random.Random(SEED))
        kills = KILLS if LONG else len(ground.troubles)
        storm = Storm(ground, SEED, kills=kills, agents=WRITERS, prune=prune)
        report = await judged(storm, capsys)
    assert len(report.troubles) == len(ground.troubles)
    assert report.repeated > 0
    assert report.refused == 0
    if prune:
        assert report.gaps > 0
