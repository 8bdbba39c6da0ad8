"""The overview of a past moment is the one that was answered then."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import postgres
from histories import OPEN, STREAMS, commit, operation, steps, titles, update
from support import World, close, database_at, events_of, ticking
from task_copilot import jsontext, past_log
from task_copilot.api import glances
from task_copilot.api.parameters import OverviewQuery
from task_copilot.database.store import Database
from task_copilot.errors import InvalidInput
from task_copilot.events import log, retention
from task_copilot.events.log import LogRow
from task_copilot.events.types import MAX_CHANGE_BYTES

Seen = dict[str, Any]
QUERIES: tuple[Seen, ...] = (
    {},
    {"includeArchived": True},
    {"workspace": "shop"},
)

long_lists = st.integers(60, 64).map(lambda size: tuple(f"{'S' * 60}-{n}" for n in range(size)))
files = st.lists(st.sampled_from(["a.py", "b.py", "ü.md"]), max_size=2).map(tuple)
long_files = st.integers(30, 32).map(lambda size: tuple(f"{'f' * 90}{n}" for n in range(size)))
odd_titles = titles | st.just("\x01" * 400)  # too long for an event once it is JSON
places = st.sampled_from((*STREAMS, ""))
renamings = st.builds(
    lambda stream, name, needs: (
        "create",
        {
            "title": "renames its stream",
            "stream": stream,
            "agent": None,
            "parent": None,
            "needs": needs,
            "name": name,
            "files": ("c.py",),
        },
    ),
    st.sampled_from(STREAMS),
    titles,
    st.none() | long_lists,
)
more_updates = st.one_of(
    update(files=files | long_files),
    update(title=odd_titles, stream_id=places, status=st.sampled_from(OPEN)),
    update(status=st.just("blocked"), blocked_reason=odd_titles),
    update(stream_dependencies=long_lists),
)
groups = st.lists(
    st.lists(
        st.tuples(st.integers(0, 5).map(lambda n: n == 0), steps | renamings | more_updates),
        min_size=1,
        max_size=5,
    ),
    min_size=3,
    max_size=10,
)


def seen(database: Database[LogRow], query: Seen, at: int | None = None) -> Seen:
    """What the route answers, as far as it is state; the present as of the newest event."""

    def read(connection: Any) -> Seen:
        head = log.state(connection).head
        now = past_log.time_of(connection, head) or "2026-01-08T12:00:00.000Z"
        fields = glances.show_overview(connection, OverviewQuery(**query, at=at), now)
        return {name: _plain(value) for name, value in fields.items() if name != "oldest_seq"}

    return database.read_now(read)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.model_dump() if hasattr(value, "model_dump") else value


class History:
    """What was answered at the end of each transaction."""

    def __init__(self, database: Database[LogRow]) -> None:
        self.database = database
        self.answers: dict[int, list[Seen]] = {}
        self.seq = 0

    def remember(self) -> None:
        rows = self.database.read_now(lambda c: log.rows_after(c, self.seq, 10_000, 10**9))
        for row in rows:
            if row.event_type == "task.redacted":
                self.forget(json.loads(row.payload)["data"])
        if rows:
            self.seq = rows[-1].seq
            self.answers[self.seq] = [seen(self.database, query) for query in QUERIES]

    def forget(self, data: Seen) -> None:
        """What was redacted is gone from the past too."""
        fields = {"title": "task_title", "blockedReason": "blocked_reason"}
        gone = {fields[name]: "[redacted]" for name in data["fields"] if name in fields}
        for answer in (each for answers in self.answers.values() for each in answers):
            for row in answer["blocked"] + answer["activities"]:
                if row["task_id"] == data["taskId"]:
                    row.update({name: text for name, text in gone.items() if name in row})
            reasons = {
                (row["workspace"], row["stream_id"]): row["blocked_reason"]
                for row in reversed(answer["blocked"])
            }
            for stream in answer["streams"]:
                stream["blocked_reason"] = reasons.get((stream["workspace"], stream["stream_id"]))


Groups = list[list[tuple[bool, Any]]]


@contextmanager
def history(place: Path | str, groups: Groups) -> Iterator[History]:
    database = database_at(place, clock=ticking(step_ms=50_000))
    worlds = [World(database, "shop"), World(database, "blog")]
    found = History(database)
    for number in range(4):
        worlds[number == 0].task("seed", STREAMS[number % 2] if number < 3 else None)
        found.remember()
    for group in groups:
        commit(database, [operation(worlds[other], *step) for other, step in group])
        found.remember()
    try:
        yield found
    finally:
        close(database)


SETTINGS = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    # No shrinking: a history takes a fifth of a second, and the first that fails tells enough.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)


def left_out(found: Any, answer: Any, names: set[str]) -> Any:
    """`answer` with null in those fields of `names` in which `found` has it: what a past does not
    know is null, and nothing else."""
    if isinstance(answer, dict) and isinstance(found, dict):
        return {
            name: None
            if name in names and found.get(name) is None and may_be_null(name, value)
            else left_out(found.get(name), value, names)
            for name, value in answer.items()
        }
    if isinstance(answer, list) and isinstance(found, list) and len(found) == len(answer):
        return [left_out(*pair, names) for pair in zip(found, answer, strict=True)]
    return answer


def may_be_null(name: str, value: object) -> bool:
    """A reason is known, unless it was too long for the event of its change."""
    return name != "blocked_reason" or jsontext.size(value) > MAX_CHANGE_BYTES


TOO_LONG = {"dependencies", "files"}
"""Null where a list was too long for the event of its change."""

PRUNED = {*TOO_LONG, "last_updated", "completed_at", "last_activity", "blocked_at"}
PRUNED |= {"last_heartbeat", "task_title", "timestamp", "blocked_reason"}
"""Null where it is from before the log begins."""


@pytest.mark.timeout(120)
@settings(SETTINGS, max_examples=15)
@given(groups, st.integers(0, 99))
def test_the_overview_at_an_event_is_what_was_answered_when_the_log_ended_there(
    groups: Groups, percent: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        check_pasts(Path(folder), groups, percent)


@pytest.mark.timeout(120)
@settings(SETTINGS, max_examples=2)
@given(groups, st.integers(0, 99))
def test_the_overview_at_an_event_is_what_was_answered_then_on_postgres(
    postgres_server: postgres.Server, groups: Groups, percent: int
) -> None:
    with postgres_server.database() as url:
        check_pasts(url, groups, percent)


def check_pasts(place: Path | str, groups: Groups, percent: int) -> None:
    with history(place, groups) as found:
        for position, answers in found.answers.items():
            for query, answer in zip(QUERIES, answers, strict=True):
                past = seen(found.database, query, position)
                assert past == left_out(past, answer, TOO_LONG)
        nothing = seen(found.database, {}, 0)
        assert (nothing["workspaces"], nothing["streams"], nothing["blocked"]) == ([], [], [])
        check_pruned(found, found.seq * percent // 100)


def check_pruned(found: History, pruned: int) -> None:
    """The same without the events up to `pruned`."""
    rows = events_of(found.database)
    kept = retention.Kept(None, pruned)
    found.database.write_now(lambda tx: retention.prune(tx, kept))
    for position, answers in found.answers.items():
        if position >= pruned:
            past = seen(found.database, {"includeArchived": True}, position)
            told = {key(row) for row in rows if pruned < row["seq"] <= position} - {None}
            changed = {key(row) for row in rows if row["seq"] > position} - {None}
            expected = comparable(answers[1], past, changed - told)
            assert comparable(past, past, changed - told) == left_out(past, expected, PRUNED)
    with pytest.raises(InvalidInput, match=rf"^at: got .* it takes {pruned} to {found.seq}\.$"):
        seen(found.database, {}, pruned - 1 if pruned else found.seq + 1)


def key(event: Seen) -> tuple[str, str] | None:
    """The stream that an event tells all of."""
    of_stream = event["eventType"].startswith("stream.")
    return (event["workspace"], event["data"]["streamId"]) if of_stream else None


def comparable(answer: Seen, past: Seen, unsure: set[Any]) -> Seen:
    """An answer in the order of `past`, without what cannot be known of a log that begins late:
    names of `unsure` streams, and what hangs on times from before it."""
    order = {
        row["task_id"]: place for place, row in enumerate(past["blocked"] + past["activities"])
    }
    old = {row["task_id"] for row in past["activities"] if row["last_heartbeat"] is None}
    late = {
        (row["workspace"], row["stream_id"]) for row in past["blocked"] if not row["blocked_at"]
    }

    def row_of(row: Seen) -> Seen:
        place = (row["workspace"], row["stream_id"])
        gone: set[str] = set()
        if place in unsure:
            gone |= {"stream_name", "stream_phase", "dependencies", "archived_at"}
        if place in late and "task_id" not in row:
            gone.add("blocked_reason")
        if row.get("task_id") in old:
            gone.add("is_active")
        return {name: value for name, value in row.items() if name not in gone}

    found = {name: value for name, value in answer.items() if not name.startswith("total_")}
    for name in ("streams", "blocked", "activities"):
        found[name] = [row_of(row) for row in answer[name]]
    for name in ("blocked", "activities"):
        found[name].sort(key=lambda row: order[row["task_id"]])
    found["tasks at work"] = answer["total_active"] + answer["total_idle"]
    return found
