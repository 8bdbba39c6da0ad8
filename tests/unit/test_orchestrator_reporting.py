"""What people and programs are told of a run."""

import json
import unicodedata
from typing import Any

import pytest

from nasty import HARMFUL, READABLE
from orchestrating import row
from task_copilot.orchestrator.machine import AskForHelp, Machine, ReadState, Rules, Worker
from task_copilot.orchestrator.plan import plan, stream_of
from task_copilot.orchestrator.reporting import (
    JsonReporter,
    LineReporter,
    last_words,
    plan_lines,
    plan_row,
    rows_of,
    sentence,
    summary_of,
)

HELP = "its worker ended once before the stream was complete (exit code 3)"
SEEN_BY_NOBODY = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def machine(*rows: dict[str, Any], **rules: Any) -> Machine:
    found = Machine(Rules(**rules))
    found.load(rows, 0.0)
    return found


def busy() -> Machine:
    """A run in which each stream stands elsewhere."""
    found = machine(
        row("Done", completed=2),
        row("Runs", pending=1, completed=1),
        row("Waits", "Runs", "Blocked", pending=1),
        row("Blocked", blocked=1, reason="no key"),
        row("Helpless", pending=3),
        row("Ready", pending=1),
        max_parallel=2,
        retries=0,
    )
    found.settle(1.0)
    for stream_id, pid in (("Runs", 4711), ("Helpless", 4712)):
        found.started(stream_id, pid, 1.0)
    found.rules = Rules(max_parallel=1, retries=0)
    found.exited("Helpless", "exit code 3", 2.0)
    assert found.settle(10.0)[-1] == ReadState("Helpless")
    found.judged("Helpless", 10.0)
    assert any(isinstance(one, AskForHelp) for one in found.settle(10.0))
    return found


def harmless(line: str) -> bool:
    return not any(
        unicodedata.category(sign) in SEEN_BY_NOBODY for sign in line if sign not in "\u200c\u200d"
    )


def test_programs_are_told_where_each_stream_stands() -> None:
    rows = {one["streamId"]: one for one in rows_of(busy())}
    assert {name: one["state"] for name, one in rows.items()} == {
        "Done": "completed",
        "Runs": "running",
        "Waits": "waiting",
        "Blocked": "blocked",
        "Helpless": "needs help",
        "Ready": "ready",
    }
    assert rows["Runs"] == {
        "streamId": "Runs",
        "streamName": "Runs",
        "state": "running",
        "totalTasks": 2,
        "completedTasks": 1,
        "progressPercentage": 50.0,
        "waitsFor": [],
        "blockedReason": None,
        "help": None,
        "pid": 4711,
        "launches": 1,
        "failures": 0,
    }
    assert rows["Waits"]["waitsFor"] == ["Runs", "Blocked"]
    assert rows["Blocked"]["blockedReason"] == "no key"
    assert rows["Helpless"]["help"] == HELP


def test_the_summary_counts_the_states_and_says_whether_all_is_complete() -> None:
    found = summary_of(busy())
    assert found["complete"] is False
    assert found["counts"] == {
        "completed": 1,
        "running": 1,
        "waiting": 1,
        "blocked": 1,
        "needs help": 1,
        "ready": 1,
    }
    done = summary_of(machine(row("A", completed=1)))
    assert (done["complete"], done["counts"]) == (True, {"completed": 1})
    assert summary_of(machine()) == {"complete": True, "counts": {}, "streams": []}


def test_only_the_streams_that_a_run_is_about_are_told() -> None:
    found = machine(row("A", pending=1), row("B", pending=1), wanted=frozenset({"B"}))
    assert [one["streamId"] for one in rows_of(found)] == ["B"]


def test_streams_that_were_put_away_are_told_of_only_where_they_are_named() -> None:
    rows = [{**row("A", completed=1), "archivedAt": "2026-01-08T12:00:00.000Z"}]
    rows.append(row("B", "A", completed=1))
    assert list(last_words(machine(*rows))) == ["1 of 1 streams are complete."]
    assert [one["streamId"] for one in rows_of(machine(*rows))] == ["B"]
    assert [one["streamId"] for one in rows_of(machine(*rows, wanted=frozenset({"A"})))] == ["A"]


def test_people_are_told_how_it_ended_with_a_line_for_each_stream_that_is_not_complete() -> None:
    assert list(last_words(busy())) == [
        "1 of 6 streams are complete.",
        "  Runs: running, 1 of 2 tasks completed",
        "  Waits: waits for Runs, Blocked",
        "  Blocked: blocked: no key",
        f"  Helpless: needs help: {HELP}",
        "  Ready: ready, 0 of 1 task completed",
    ]
    assert list(last_words(machine(row("A", completed=1)))) == ["1 of 1 streams are complete."]


def test_each_thing_that_happens_is_a_line_of_json_and_the_summary_is_the_last(
    capsys: pytest.CaptureFixture[str],
) -> None:
    reporter = JsonReporter(busy())
    reporter.happened("started", "Runs", "worker started", pid=4711, launch=1)
    reporter.happened("stopping", None, "Asks the workers to end")
    reporter.changed()
    reporter.end()
    first, second, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert first.pop("at").endswith("Z")
    assert first == {
        "happened": "started",
        "streamId": "Runs",
        "text": "worker started",
        "pid": 4711,
        "launch": 1,
    }
    assert (second["happened"], second["streamId"]) == ("stopping", None)
    assert last["happened"] == "summary"
    assert [one["streamId"] for one in last["streams"]][:2] == ["Done", "Runs"]


@pytest.mark.parametrize("text", [*HARMFUL, *READABLE, "\0", '"', "\\"])
def test_json_says_exactly_what_an_agent_wrote_and_is_harmless(
    capsys: pytest.CaptureFixture[str], text: str
) -> None:
    found = machine(row("A", blocked=1, reason=text))
    reporter = JsonReporter(found)
    reporter.happened("blocked", "A", f"is blocked: {text}", reason=text)
    reporter.end()
    lines = capsys.readouterr().out.removesuffix("\n").split("\n")
    assert len(lines) == 2
    assert all(map(harmless, lines))
    assert json.loads(lines[0])["reason"] == text
    assert json.loads(lines[1])["streams"][0]["blockedReason"] == text


@pytest.mark.parametrize("text", [*HARMFUL, "\0", "\ud800", "line\nline"])
def test_lines_for_people_are_harmless_and_one_each(text: str) -> None:
    found = machine(row("A", blocked=1, reason=text), row("B", pending=1))
    shown: list[str] = []
    reporter = LineReporter(found, shown.append)
    reporter.happened("blocked", "A", f"is blocked: {text}", reason=text)
    reporter.changed()
    assert len(shown) == 1
    reporter.end()
    assert len(shown) == 4
    assert all(map(harmless, shown))
    named = stream_of({**row("A", pending=1), "streamName": text})
    assert all(map(harmless, plan_lines(plan([named]))))


def test_names_of_files_that_are_no_text_do_not_keep_json_from_being_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = busy()
    found.tracks["Helpless"].help = "no \udcff"
    reporter = JsonReporter(found)
    reporter.happened("started", "Runs", "output in \udcff", log="/data/\udcff")
    reporter.end()
    first, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["text"], first["log"]) == ("output in ?", "/data/?")
    assert "no ?" in [one["help"] for one in last["streams"]]
    [planned] = plan([stream_of(row("A", pending=1))])
    assert plan_row(planned, ["\udcff"], "/\udcff")["command"] == ["?"]


def test_letters_of_every_language_are_shown_to_people() -> None:
    for text in READABLE:
        assert sentence("A", text).endswith(f" A {text}")
    assert sentence(None, "Asks").count(" ") == 1


def test_a_plan_is_shown_step_by_step() -> None:
    rows = plan(
        map(
            stream_of,
            [
                row("Done", completed=1),
                {**row("A", blocked=1, pending=1, completed=1), "streamName": "Alpha"},
                row("B", "A", pending=1),
                row("F", phase="foundation", pending=1),
            ],
        )
    )
    assert list(plan_lines(rows)) == [
        "nothing to do",
        "  Done (parallel, 1 of 1 task completed)",
        "step 1",
        "  F (foundation, 0 of 1 task completed)",
        "step 2",
        "  A Alpha (parallel, 1 of 3 tasks completed), 1 blocked, waits for F",
        "step 3",
        "  B (parallel, 0 of 1 task completed), waits for A",
    ]
    assert plan_row(rows[-1], ["work", "B"], "/shop") == {
        "streamId": "B",
        "streamName": "B",
        "streamPhase": "parallel",
        "step": 3,
        "waitsFor": ["A"],
        "totalTasks": 1,
        "completedTasks": 0,
        "folder": "/shop",
        "command": ["work", "B"],
    }


def test_a_worker_that_tidies_up_is_ending_and_not_yet_complete() -> None:
    found = machine(row("A", completed=1))
    found.adopted("A", Worker(1, 0.0, pid=7), failures=0)
    assert [one["state"] for one in rows_of(found)] == ["ending"]
    assert list(last_words(found))[-1] == "  A: ending, 1 of 1 task completed"
