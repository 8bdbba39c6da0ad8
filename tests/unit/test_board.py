"""What `watch` shows is what a fresh read shows, and it fits the terminal."""

import json
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.text import Text

from docs import watch_picture
from histories import commit, creations, groups_of_steps, operation, updates
from support import World, database_at, ticking
from task_copilot.api.routes import STREAMS, TASKS
from task_copilot.commands.board import Board, Outdated, Picture, Stream, Task
from task_copilot.commands.board_lines import draw
from task_copilot.commands.changes import changes_of
from task_copilot.commands.source import DatabaseSource
from task_copilot.commands.stream_lines import ASCII, UNICODE
from task_copilot.events import log

NOW = datetime(2026, 1, 8, 13, tzinfo=UTC)
PHASES = ("foundation", "parallel", "integration")
STATUSES = ("pending", "in_progress", "blocked", "completed")
FIXED = "2026-01-08T12:00:00.000Z"


def read(database: Any) -> Board:
    source = DatabaseSource(database)
    given = {"limit": "1000"}
    return Board.of(source.read(STREAMS, given)["streams"], source.read(TASKS, given)["tasks"])


def events_after(database: Any, seq: int) -> list[dict[str, Any]]:
    rows = database.read_now(lambda c: log.rows_after(c, seq, 10**6, 10**9))
    return [json.loads(row.payload) for row in rows]


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(groups_of_steps)
def test_folding_events_into_the_board_gives_what_a_fresh_read_gives(
    groups: list[list[tuple[bool, tuple[str, dict[str, Any]]]]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        database = database_at(Path(folder), clock=ticking(step_ms=5000))
        worlds = [World(database, "shop"), World(database, "blog")]
        from_the_start, seq = Board(), 0
        for number, group in enumerate(groups):
            commit(database, [operation(worlds[other], *step) for other, step in group])
            found = events_after(database, seq)
            seq += len(found)
            for event in found:
                from_the_start.fold(event)
            assert from_the_start == read(database)
            if number == len(groups) // 2:
                from_the_start = read(database)
        for event in events_after(database, seq - min(seq, 1)):
            from_the_start.fold(event)  # once more: nothing changes
        assert from_the_start == read(database)
        database.read_engine.dispose()
        database.committer.close()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(creations | updates, min_size=1, max_size=25))
def test_each_call_is_one_change_however_much_happens_in_one_millisecond(
    steps: list[tuple[str, dict[str, Any]]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        database = database_at(Path(folder), clock=lambda: FIXED)
        world = World(database)
        told, seq = 0, 0
        for step in steps:
            commit(database, [operation(world, *step)])
            head = seq + len(events_after(database, seq))
            told += head > seq
            seq = head
        assert len(changes_of(events_after(database, 0))) == told
        database.read_engine.dispose()
        database.committer.close()


def test_a_change_that_an_event_does_not_tell_asks_for_a_fresh_read() -> None:
    board = Board({("shop", "S-0"): stream(0)})
    data = {"workspace": "shop", "streamId": "S-0"}
    data["changes"] = [  # type: ignore[assignment]
        {"field": "streamDependencies", "oldValue": [], "newValue": {"omitted": 9000}}
    ]
    with pytest.raises(Outdated):
        board.fold({"eventType": "task.updated", "data": data, "timestamp": FIXED})


# --- the lines ---


def stream(number: int, **given: Any) -> Stream:
    known: dict[str, Any] = {
        "workspace": "shop",
        "id": f"S-{number}",
        "name": f"Name {number}",
        "phase": PHASES[number % 3],
        "status": STATUSES[number % 4],
        "total": 4,
        "completed": 1,
        "in_progress": 1,
        "blocked": 0,
        "percentage": 25.0,
        "dependencies": (),
    }
    return Stream(**known | given)


def task(number: int, **given: Any) -> Task:
    known: dict[str, Any] = {
        "workspace": "shop",
        "id": f"TASK-{number}",
        "title": f"Title {number}",
        "status": "in_progress",
        "stream_id": "S-1",
        "agent": f"agent-{number}",
        "reason": None,
        "changed": FIXED,
    }
    return Task(**known | given)


def picture(streams: int = 3, tasks: int = 2, blocked: int = 1, **given: Any) -> Picture:
    found = [stream(number) for number in range(streams)]
    work = [task(number) for number in range(tasks)]
    work += [
        task(100 + number, status="blocked", reason=f"because {number}")
        for number in range(blocked)
    ]
    board = Board({(s.workspace, s.id): s for s in found}, {t.id: t for t in work})
    known: dict[str, Any] = {"board": board, "link": "live", "address": "http://127.0.0.1:9090"}
    return Picture(**known | {"title": "shop", "seq": 97} | given)


def drawn(shown: Picture, width: int = 80, height: int = 24) -> str:
    return "\n".join(line.plain.rstrip() for line in draw(shown, width, height, NOW, UNICODE))


def fits(lines: list[Text], width: int, height: int) -> bool:
    return len(lines) == height and all(
        line.cell_len <= width and "\n" not in line.plain for line in lines
    )


nasty = st.text(st.characters(codec="utf-8"), max_size=120)


@settings(max_examples=80, deadline=None)
@given(
    st.builds(
        lambda streams, tasks, blocked, texts, link, everywhere: (
            streams, tasks, blocked, texts, link, everywhere
        ),
        st.integers(0, 40),
        st.integers(0, 30),
        st.integers(0, 30),
        st.lists(nasty, min_size=3, max_size=3),
        st.sampled_from(["live", "behind", "offline"]),
        st.booleans(),
    ),
    st.integers(1, 220),
    st.integers(1, 70),
    st.sampled_from([UNICODE, ASCII]),
)  # fmt: skip
def test_whatever_there_is_fits_every_size(
    given_: tuple[Any, ...], width: int, height: int, signs: Any
) -> None:
    streams, tasks, blocked, (title, reason, name), link, everywhere = given_
    shown = picture(streams, tasks, blocked, link=link, everywhere=everywhere, since=FIXED)
    board = shown.board
    board.tasks["TASK-900"] = task(900, status="blocked", title=title, reason=reason, agent=name)
    board.streams["shop", "S-900"] = stream(900, name=name)
    lines = draw(shown, width, height, NOW, signs)
    assert fits(lines, width, height)
    assert all(line.plain.isprintable() for line in lines)


def test_what_is_blocked_stands_first_with_its_reason() -> None:
    text = drawn(picture())
    assert text.index("BLOCKED") < text.index("STREAMS") < text.index("AGENTS")
    assert "! TASK-100 Title 100 (S-1, agent-100, 60 min): because 0" in text.replace(
        "1 h", "60 min"
    )


def test_a_long_reason_has_a_line_of_its_own() -> None:
    shown = picture()
    shown.board.tasks["TASK-100"] = task(100, status="blocked", reason="why " * 18)
    assert f"\n  {('why ' * 18).strip()}\n" in drawn(shown)


def test_it_says_how_many_streams_are_not_shown_and_leaves_out_the_finished_ones_first() -> None:
    shown = picture(streams=40, tasks=0, blocked=0)
    text = drawn(shown)
    hidden = int(text.partition(" more streams are not shown")[0].rpartition("\n")[2])
    assert text.count("25 %") == 40 - hidden
    assert "blocked" in text
    assert " completed \n" not in text
    assert "not shown" not in drawn(shown, 200, 60)


def test_markup_and_control_characters_in_titles_are_shown_as_text() -> None:
    shown = picture(blocked=0)
    shown.board.tasks["TASK-1"] = task(1, title="[bold]\x1b[31mred\x07 \u202e [/nonsense]")
    assert "TASK-1 [bold] [31mred [/nonsense] (S-1)" in drawn(shown)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"link": "live"}, ["live  http://127.0.0.1:9090", "event 97"]),
        ({"link": "behind", "behind": 1200}, ["behind by 1,200 events"]),
        (
            {"link": "offline", "reason": "nobody", "since": FIXED},
            ["OFFLINE", ", trying again: nobody", "What follows is the state of then."],
        ),
    ],
)
def test_the_state_of_the_connection_is_said_in_words(
    given: dict[str, Any], words: list[str]
) -> None:
    text = drawn(picture(**given))
    assert all(word in text for word in words)


def test_before_anything_is_known_no_number_is_shown() -> None:
    text = drawn(Picture(link="offline", reason="no hub", since=FIXED))
    assert "no hub" in text
    assert "0 streams" not in text


def test_the_header_counts_what_the_lists_show() -> None:
    shown = picture(3, 2, 1)
    assert "3 streams: 3 of 12 tasks completed; 2 in progress, 1 blocked\n" in _no_event(shown)
    shown.board.tasks["TASK-7"] = task(7, stream_id=None)
    assert "3 in progress, 1 blocked (1 in no stream)" in _no_event(shown)


def _no_event(shown: Picture) -> str:
    strip: Callable[[str], str] = lambda line: line.partition("  ")[0]  # noqa: E731
    return "\n".join(map(strip, drawn(shown).splitlines())) + "\n"


def test_a_stream_that_waits_says_for_which() -> None:
    shown = picture(0, 0, 0)
    shown.board.streams["shop", "A"] = stream(1, id="A")
    shown.board.streams["shop", "B"] = stream(1, id="B", status="pending", dependencies=("A", "X"))
    assert "needs A\n" in drawn(shown)


def test_the_picture_in_the_docs_is_up_to_date() -> None:
    assert watch_picture.main(["--check"]) == 0, "run docs/watch_picture.py"


def test_where_titles_do_not_fit_it_says_who_works() -> None:
    shown = picture(2, 0, 0)
    shown.board.tasks["TASK-1"] = task(1, agent="ada", title="A title of some length")
    shown.board.tasks["TASK-2"] = task(2, agent="bob", title="Another title of some length")
    assert "in progress ada, bob\n" in drawn(shown)
    assert "ada: A title of some length; bob: Another" in drawn(shown, 200)
