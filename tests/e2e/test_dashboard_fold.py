"""What the page makes of events is what the server answers, whatever happened."""

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from playwright.async_api import Browser

from e2e.browsers import IN_A_BROWSER
from e2e.dashboard_browser import dashboard
from e2e.servers import free_port, start_server
from histories import STREAMS, commit, groups_of_steps, operation
from support import World, database_at, ticking
from task_copilot.api import glances
from task_copilot.api.answers import Overview
from task_copilot.api.parameters import OverviewQuery
from task_copilot.clock import system_clock
from task_copilot.events import log

pytestmark = IN_A_BROWSER

HISTORIES = 15
SCOPES: tuple[dict[str, Any], ...] = ({}, {"workspace": "shop"}, {"include_archived": True})
Steps = list[list[tuple[bool, tuple[str, dict[str, Any]]]]]
Moment = dict[str, Any]
"""The events of a commit, and what the server answered after it, in each scope."""

COMPARE = """async histories => {
  const { foldAll, newestFirst, overviewOf } = await import("/assets/scripts/fold.js");
  const scopes = [[null, false], ["shop", false], [null, true]];
  const pick = (row, ...names) => names.map(name => row[name] ?? null);
  const ofStream = row => pick(row, "workspace", "streamId", "streamName", "streamPhase",
    "status", "dependencies", "totalTasks", "completedTasks", "inProgressTasks", "blockedTasks",
    "pendingTasks", "lastUpdated");
  const seen = state => JSON.stringify({
    seq: state.seq,
    totals: state.totals,
    streams: [...state.streams.values()].map(ofStream).sort(),
    totalStreams: state.totalStreams,
    blocked: newestFirst(state.blocked, "blockedAt").map(row => pick(row, "workspace", "taskId",
      "taskTitle", "streamId", "assignedAgent", "blockedReason", "blockedAt")),
    activities: newestFirst(state.activities, "lastHeartbeat").map(row => pick(row, "workspace",
      "taskId", "taskTitle", "streamId", "agentId", "lastHeartbeat")),
  });
  const found = { compared: 0, outdated: 0, different: [] };
  for (const history of histories) {
    for (const [place, [workspace, archived]] of scopes.entries()) {
      const read = moment => overviewOf(moment.answers[place], { workspace, archived });
      let state = read(history[0]);
      for (const moment of history.slice(1)) {
        state = foldAll(state, moment.events);
        const fresh = read(moment);
        found.compared += 1;
        if (seen(state) !== seen(fresh)) {
          found.different.push([seen(state), seen(fresh), JSON.stringify(moment.events)]);
        }
        if (!state.outdated) continue;
        found.outdated += 1;
        state = fresh;
      }
    }
  }
  return found;
}"""


def moment(database: Any, after: int) -> Moment:
    def read(connection: Any) -> Moment:
        state = log.state(connection)
        found = []
        for scope in SCOPES:
            query = OverviewQuery.model_construct(workspace=None, include_archived=False, at=None)
            fields = glances.show_overview(
                connection, query.model_copy(update=scope), system_clock()
            )
            answer = Overview(**fields, seq=state.head, epoch=state.epoch)
            found.append(json.loads(answer.model_dump_json(by_alias=True)))
        rows = log.rows_after(connection, after, 10**6, 10**9)
        return {"answers": found, "events": [json.loads(row.payload) for row in rows]}

    moment: Moment = database.read_now(read)
    return moment


def played(groups: Steps) -> list[Moment]:
    """A history, as somebody saw it who looked after each commit."""
    with tempfile.TemporaryDirectory() as folder:
        database = database_at(Path(folder), clock=ticking(step_ms=5000))
        worlds = [World(database, "shop"), World(database, "blog")]
        for number in range(6):
            worlds[number == 0].task("seed", STREAMS[number % 2])
        found = [moment(database, 0)]
        for group in groups:
            commit(database, [operation(worlds[other], *step) for other, step in group])
            found.append(moment(database, found[-1]["answers"][0]["seq"]))
        database.read_engine.dispose()
        database.committer.close()
    return found


async def test_folding_events_gives_what_a_fresh_read_gives(
    browser: Browser, tmp_path: Path
) -> None:
    histories: list[list[Moment]] = []

    @settings(
        max_examples=HISTORIES,
        deadline=None,
        phases=[Phase.generate],  # what is wrong is seen when all are there
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(groups_of_steps)
    def collect(groups: Steps) -> None:
        histories.append(played(groups))

    collect()
    port = free_port()
    async with (
        start_server(tmp_path, port=port, log_level="info") as server,
        dashboard(browser, port) as page,
    ):
        await server.served()
        await page.open()
        found = await page.page.evaluate(COMPARE, histories)
    assert found["different"] == []
    assert found["compared"] > HISTORIES
    assert found["outdated"] < found["compared"] / 3  # most events tell all that they changed
