"""When workers are started, ended and given up: the rules of a run, without clock and process."""

from collections.abc import Iterable
from typing import Any, TypeVar

import pytest

from orchestrating import row
from task_copilot.orchestrator.machine import (
    Action,
    AskForHelp,
    End,
    LookStalled,
    Machine,
    ReadState,
    Rules,
    Start,
    Tell,
    Worker,
)

A = TypeVar("A")
JUDGE, STALL, LINGER = 0.5, 600.0, 30.0


class Play:
    """A machine, and a clock that only the test moves."""

    def __init__(self, *rows: dict[str, Any], **rules: Any) -> None:
        self.machine = Machine(Rules(**rules))
        self.now = 100.0
        self.pid = 1000
        self.machine.load(rows, self.now)

    def settle(self) -> list[Action]:
        """What is done now; the state that a judgement needs is read at once."""
        found = self.settle_unread()
        for asked in of(ReadState, found):
            self.machine.judged(asked.stream_id, self.now)
            found += self.settle_unread()
        return [one for one in found if not isinstance(one, ReadState)]

    def settle_unread(self) -> list[Action]:
        found = self.machine.settle(self.now)
        deadline = self.machine.deadline()
        assert deadline is None or deadline > self.now, "it would go round and round"
        return found

    def starts(self) -> list[str]:
        """The streams whose workers are started now, and run from now on."""
        found = [one.stream_id for one in self.settle() if isinstance(one, Start)]
        for stream_id in found:
            self.runs(stream_id)
        return found

    def runs(self, stream_id: str) -> None:
        self.pid += 1
        self.machine.started(stream_id, self.pid, self.now)

    def passes(self, seconds: float) -> None:
        self.now += seconds

    def event(self, data: dict[str, Any], event_type: str = "stream.progress") -> None:
        self.machine.event(event_type, data, self.now)

    def completes(self, stream_id: str, *needs: str, **given: Any) -> None:
        self.event(row(stream_id, *needs, completed=1, **given), "stream.completed")

    def blocks(self, stream_id: str, reason: str = "no key") -> None:
        self.event(row(stream_id, blocked=1, reason=reason), "stream.blocked")

    def exits(self, stream_id: str, how: str = "exit code 1") -> list[Action]:
        self.machine.exited(stream_id, how, self.now)
        return self.settle()

    def fails(self, stream_id: str) -> list[Action]:
        """The worker ends too early, and that is judged."""
        self.exits(stream_id)
        self.passes(JUDGE)
        return self.settle()

    def stage(self, stream_id: str) -> str:
        return self.machine.stage(stream_id)

    def complete(self) -> bool:
        return self.machine.complete

    def stuck(self) -> bool:
        return self.machine.stuck

    def delay(self) -> float | None:
        deadline = self.machine.deadline()
        return None if deadline is None else deadline - self.now


def told(actions: Iterable[Action], kind: str) -> list[tuple[str, str]]:
    return [
        (one.stream_id, one.text) for one in actions if isinstance(one, Tell) and one.kind == kind
    ]


def of(kind: type[A], actions: Iterable[Action]) -> list[A]:
    return [one for one in actions if isinstance(one, kind)]


# --- starting ---


def test_what_waits_for_nothing_starts_first_and_what_needs_it_when_it_is_complete() -> None:
    play = Play(row("B", "A", pending=1), row("A", pending=1))
    assert play.starts() == ["A"]
    assert (play.stage("A"), play.stage("B")) == ("running", "waiting")
    assert play.machine.waits_for("B") == ["A"]
    play.completes("A")
    assert play.starts() == ["B"]


def test_the_phases_run_one_after_the_other() -> None:
    play = Play(
        row("I", phase="integration", pending=1),
        row("P", pending=1),
        row("F", phase="foundation", pending=1),
    )
    assert play.starts() == ["F"]
    play.completes("F", phase="foundation")
    assert play.starts() == ["P"]
    play.completes("P")
    assert play.starts() == ["I"]


def test_never_more_than_so_many_run_and_the_next_starts_when_one_is_through() -> None:
    play = Play(*(row(name, pending=1) for name in "ABCD"), max_parallel=2)
    assert play.starts() == ["A", "B"]
    assert play.starts() == []
    assert play.stage("C") == "ready"
    play.completes("B")
    assert play.starts() == ["C"]


def test_where_not_all_can_run_the_foundation_comes_first_and_integration_last() -> None:
    play = Play(
        row("Done", completed=1),
        row("I", "Done", phase="integration", pending=1),
        row("P", "Done", pending=1),
        row("F", phase="foundation", pending=1),
        max_parallel=1,
    )
    assert play.starts() == ["F"]
    play.completes("F", phase="foundation")
    assert play.starts() == ["P"]


def test_a_dependent_starts_though_the_worker_before_it_still_says_good_bye() -> None:
    play = Play(row("A", pending=1), row("B", "A", pending=1), max_parallel=1)
    assert play.starts() == ["A"]
    play.completes("A")
    assert play.starts() == ["B"]
    assert play.stage("A") == "ending"
    assert play.machine.workers == 2
    assert told(play.exits("A", "exit code 0"), "exited") == [("A", "exit code 0")]
    assert play.stage("A") == "completed"
    assert play.machine.tracks["A"].failures == 0


def test_a_worker_that_lingers_too_long_is_ended_once() -> None:
    play = Play(row("A", pending=1))
    play.starts()
    play.passes(5)
    play.completes("A")
    assert of(End, play.settle()) == []
    assert play.delay() == LINGER
    play.passes(LINGER)
    assert of(End, play.settle()) == [End("A", "its stream was complete")]
    assert of(End, play.settle()) == []
    assert play.machine.deadline() is None
    [(_, how)] = told(play.exits("A", "killed by SIGTERM"), "exited")
    assert how == "killed by SIGTERM, its stream was complete"
    assert play.complete()


def test_a_start_takes_its_place_before_the_process_is_there() -> None:
    play = Play(row("A", pending=1), row("B", pending=1), max_parallel=1)
    assert of(Start, play.settle()) == [Start("A", 1)]
    assert of(Start, play.settle()) == []
    assert (play.stage("A"), play.stage("B"), play.delay()) == ("running", "ready", None)


def test_a_stream_without_tasks_is_not_started_until_it_has_one() -> None:
    play = Play(row("A"))
    assert play.starts() == []
    play.event(row("A", pending=1))
    assert play.starts() == ["A"]


def test_a_stream_that_is_made_during_the_run_is_worked_on_too() -> None:
    play = Play(row("A", completed=1))
    assert play.complete()
    play.event(row("New", pending=1))
    assert not play.complete()
    assert play.starts() == ["New"]


def test_a_dependency_that_is_added_keeps_a_stream_waiting() -> None:
    play = Play(row("A", pending=1), row("B", "A", pending=1), row("C", pending=1), max_parallel=1)
    assert play.starts() == ["A"]
    play.event(row("C", "B", pending=1))
    play.completes("A")
    assert play.starts() == ["B"]
    assert play.stage("C") == "waiting"


# --- workers that end too early ---


def test_a_worker_that_ends_too_early_is_started_again_after_2_8_and_32_seconds() -> None:
    play = Play(row("A", pending=1))
    play.starts()
    for delay in (2.0, 8.0, 32.0):
        assert of(Start, play.fails("A")) == []
        assert (play.stage("A"), play.delay()) == ("retrying", delay)
        play.passes(delay)
        assert play.starts() == ["A"]
    assert play.machine.tracks["A"].launches == 4
    assert of(AskForHelp, play.fails("A")) == [
        AskForHelp("A", "its worker ended 4 times before the stream was complete (exit code 1)")
    ]
    assert play.stage("A") == "needs help"
    play.passes(1_000_000)
    assert play.settle() == []


def test_a_worker_that_got_further_begins_to_count_anew() -> None:
    play = Play(row("A", pending=3))
    play.starts()
    for delay in (2.0, 8.0):
        play.fails("A")
        play.passes(delay)
        assert play.starts() == ["A"]
    play.event(row("A", pending=2, completed=1))
    play.fails("A")
    assert (play.machine.tracks["A"].failures, play.delay()) == (1, 2.0)


def test_progress_of_earlier_workers_does_not_count_again() -> None:
    play = Play(row("A", pending=2, completed=5), retries=1)
    play.starts()
    play.fails("A")
    play.passes(2)
    play.starts()
    assert of(AskForHelp, play.fails("A")) != []


def test_without_retries_the_first_failure_asks_for_help() -> None:
    play = Play(row("A", pending=1), retries=0)
    play.starts()
    [asked] = of(AskForHelp, play.fails("A"))
    assert asked == AskForHelp(
        "A", "its worker ended once before the stream was complete (exit code 1)"
    )


def test_without_a_delay_it_is_started_again_as_soon_as_it_is_judged() -> None:
    play = Play(row("A", pending=1), retry_delay=0.0)
    play.starts()
    assert of(Start, play.fails("A")) == [Start("A", 2)]


def test_a_worker_that_ends_before_its_last_event_has_come_has_not_failed() -> None:
    play = Play(row("A", pending=1), row("B", "A", pending=1))
    play.starts()
    assert of(Start, play.exits("A", "exit code 0")) == []
    assert play.delay() == JUDGE
    play.passes(JUDGE / 2)
    play.completes("A")
    assert play.starts() == ["B"]
    assert play.machine.tracks["A"].failures == 0
    play.passes(JUDGE)
    play.settle()
    assert play.stage("A") == "completed"


def test_an_event_that_comes_after_it_was_judged_ends_the_retrying() -> None:
    play = Play(row("A", pending=1))
    play.starts()
    play.fails("A")
    play.completes("A")
    play.passes(100)
    assert play.starts() == []
    assert play.machine.tracks["A"].failures == 0


def test_a_worker_that_could_not_be_started_has_failed() -> None:
    play = Play(row("A", pending=1))
    assert of(Start, play.settle()) == [Start("A", 1)]
    [(_, how)] = told(play.exits("A", "it could not be started: no"), "exited")
    assert how == "it could not be started: no"
    play.passes(JUDGE)
    play.settle()
    assert play.delay() == 2.0


def test_while_one_waits_for_its_next_try_another_takes_its_place() -> None:
    play = Play(row("A", pending=1), row("B", pending=1), max_parallel=1)
    play.starts()
    play.exits("A")
    assert play.machine.tracks["B"].worker is not None
    play.runs("B")
    play.passes(JUDGE)
    assert play.starts() == []
    play.passes(100)
    assert play.starts() == []
    play.completes("B")
    assert play.starts() == ["A"]


# --- blocked streams ---


def test_a_blocked_stream_waits_for_a_person_and_has_not_failed() -> None:
    play = Play(row("A", pending=1))
    play.starts()
    play.blocks("A")
    assert told(play.settle(), "blocked") == [("A", "no key")]
    assert play.stage("A") == "running"
    play.fails("A")
    assert (play.stage("A"), play.machine.tracks["A"].failures) == ("blocked", 0)
    assert play.machine.deadline() is None
    play.passes(1_000_000)
    assert play.settle() == []
    play.event(row("A", pending=1))
    acts = play.settle()
    assert told(acts, "unblocked") == [("A", "")]
    assert of(Start, acts) == [Start("A", 2)]


def test_a_stream_that_is_blocked_at_the_start_is_not_started_and_is_told_if_asked() -> None:
    play = Play(row("A", blocked=1, reason="no key"), row("B", pending=1))
    assert play.starts() == ["B"]
    play.machine.tell_blocked()
    assert told(play.settle(), "blocked") == [("A", "no key")]


def test_each_further_reason_is_told_and_the_newest_is_kept() -> None:
    play = Play(row("A", pending=3))
    play.blocks("A", "first")
    play.blocks("A", "second")
    assert told(play.settle(), "blocked") == [("A", "first"), ("A", "second")]
    play.event(row("A", blocked=2))
    assert play.machine.tracks["A"].reason == "second"
    play.event(row("A", pending=2))
    assert play.machine.tracks["A"].reason == ""


def test_once_a_person_has_unblocked_it_a_stream_does_not_wait_for_its_next_try() -> None:
    play = Play(row("A", pending=1))
    play.starts()
    for delay in (2.0, 8.0):
        play.fails("A")
        play.passes(delay)
        play.starts()
    play.fails("A")
    assert play.delay() == 32.0
    play.blocks("A")
    play.event(row("A", pending=1))
    assert play.starts() == ["A"]
    assert play.machine.tracks["A"].failures == 0


def test_a_worker_that_blocks_and_unblocks_and_then_fails_is_not_tried_for_ever() -> None:
    play = Play(row("A", pending=1))
    asked: list[Action] = []
    for _ in range(10):
        if not play.starts():
            break
        play.blocks("A")
        play.event(row("A", in_progress=1))
        asked += of(AskForHelp, play.fails("A"))
        play.passes(60)
    assert len(asked) == 1
    assert play.machine.tracks["A"].launches == 4


def test_a_worker_whose_unblocking_is_heard_of_after_its_end_is_not_tried_for_ever() -> None:
    play = Play(row("A", pending=1))
    asked: list[Action] = []
    for _ in range(10):
        if not play.starts():
            break
        play.exits("A")
        play.blocks("A")
        play.event(row("A", in_progress=1))
        assert of(Start, play.settle()) == []
        play.passes(JUDGE)
        asked += of(AskForHelp, play.settle())
        play.passes(60)
    assert len(asked) == 1


# --- stalled workers ---


def test_a_worker_of_which_nothing_is_heard_is_looked_at_once() -> None:
    play = Play(row("A", pending=1))
    play.starts()
    assert play.delay() == STALL
    play.passes(STALL)
    assert play.settle() == [LookStalled("A", 1)]
    assert play.settle() == []
    assert play.machine.deadline() is None


@pytest.mark.parametrize("event_type", ["task.updated", "checkpoint.created", "stream.progress"])
def test_every_event_of_the_stream_is_a_sign_of_life(event_type: str) -> None:
    play = Play(row("A", pending=1), row("B", "A", pending=1))
    play.starts()
    play.passes(STALL - 1)
    play.event({"streamId": "A"}, event_type)
    assert play.delay() == STALL
    play.passes(10)
    play.event({"streamId": "B"}, event_type)
    play.event({"streamId": None}, "task.updated")
    play.event({"streamId": "Unknown"}, "task.updated")
    assert play.delay() == STALL - 10


def test_output_is_a_sign_of_life_too() -> None:
    play = Play(row("A", pending=1))
    play.starts()
    play.passes(STALL)
    play.settle()
    play.machine.seen_alive("A", 1, play.now - 100)
    assert play.settle() == []
    assert play.delay() == STALL - 100


def test_a_stuck_worker_is_ended_and_started_again_as_one_that_failed() -> None:
    play = Play(row("A", pending=1))
    play.starts()
    play.passes(STALL)
    play.settle()
    assert play.machine.runs("A", 1)
    play.machine.asked_to_end("A", "nothing happened")
    assert (play.stage("A"), play.settle(), play.machine.deadline()) == ("ending", [], None)
    [(_, how)] = told(play.exits("A", "killed by SIGTERM"), "exited")
    assert how == "killed by SIGTERM, nothing happened"
    play.passes(JUDGE)
    play.settle()
    assert play.delay() == 2.0


def test_what_is_found_out_of_a_stuck_worker_is_not_taken_for_the_next_one() -> None:
    play = Play(row("A", pending=1))
    play.starts()
    play.passes(STALL)
    play.settle()
    play.fails("A")
    assert not play.machine.runs("A", 1)
    play.passes(2)
    play.starts()
    assert (play.machine.runs("A", 1), play.machine.runs("A", 2)) == (False, True)
    play.machine.seen_alive("A", 1, play.now + 500)
    assert play.delay() == STALL


def test_what_is_found_out_of_a_stream_that_is_gone_is_of_no_use() -> None:
    play = Play(row("A", pending=1))
    play.starts()
    play.exits("A")
    play.machine.load([], play.now)
    play.machine.seen_alive("A", 1, play.now)
    assert not play.machine.runs("A", 1)


# --- help ---


def helpless(play: Play) -> None:
    """Stream A needs help, and its mark is there."""
    play.starts()
    play.fails("A")
    assert play.stage("A") == "needs help"
    play.blocks("A", "Needs help")
    play.settle()


def test_help_is_over_when_a_person_unblocks_the_stream() -> None:
    play = Play(row("A", pending=2), retries=0)
    helpless(play)
    assert play.stage("A") == "needs help"
    play.event(row("A", pending=2))
    assert play.starts() == ["A"]
    assert play.machine.tracks["A"].failures == 0


def test_an_event_before_the_mark_is_there_is_no_help() -> None:
    play = Play(row("A", pending=2), retries=0)
    play.starts()
    play.fails("A")
    play.event(row("A", in_progress=1, pending=1))
    assert play.starts() == []
    assert play.stage("A") == "needs help"


def test_help_is_over_when_somebody_completes_the_stream() -> None:
    play = Play(row("A", pending=1), row("B", "A", pending=1), retries=0)
    play.starts()
    play.fails("A")
    play.completes("A")
    assert play.starts() == ["B"]
    assert play.stage("A") == "completed"


def test_while_one_stream_needs_help_the_others_go_on() -> None:
    play = Play(row("A", pending=1), row("B", "A", pending=1), row("C", pending=1), retries=0)
    play.starts()
    play.fails("A")
    assert not play.stuck()
    play.completes("C")
    play.exits("C")
    assert play.stuck()
    assert not play.machine.may_go_on
    assert play.stage("B") == "waiting"


# --- stopping ---


def test_who_stops_starts_nothing_more_and_judges_nobody() -> None:
    play = Play(row("A", pending=1), row("B", "A", pending=1), row("C", pending=1), retries=0)
    play.starts()
    play.machine.stopping = True
    play.completes("A")
    assert of(Start, play.settle()) == []
    assert play.exits("C") == []
    play.passes(1_000)
    assert play.settle() == []
    assert play.machine.deadline() is None
    assert play.machine.tracks["C"].failures == 0


def test_who_stops_just_after_a_failure_asks_nobody_for_help() -> None:
    play = Play(row("A", pending=1), retries=0)
    play.starts()
    play.exits("A")
    play.machine.stopping = True
    play.passes(JUDGE)
    assert play.settle() == []
    assert play.machine.deadline() is None


# --- earlier runs ---


def test_a_worker_of_an_earlier_run_is_taken_over_and_none_is_started_beside_it() -> None:
    play = Play(row("A", pending=2, completed=1), row("B", pending=1), max_parallel=1)
    play.machine.adopted("A", Worker(7, play.now, pid=4711), failures=2)
    assert play.starts() == []
    assert (play.stage("A"), play.delay()) == ("running", STALL)
    play.fails("A")
    assert (play.machine.tracks["A"].failures, play.delay()) == (3, 32.0)
    play.passes(32)
    play.completes("B")
    assert of(Start, play.settle()) == [Start("A", 8)]


def test_a_worker_of_an_earlier_run_whose_stream_is_complete_may_say_good_bye() -> None:
    play = Play(row("A", completed=1), row("B", "A", pending=1), max_parallel=1)
    play.machine.adopted("A", Worker(1, play.now, pid=4711), failures=0)
    assert play.starts() == ["B"]
    assert play.delay() == LINGER
    play.passes(LINGER)
    assert of(End, play.settle()) == [End("A", "its stream was complete")]


def test_the_failures_of_an_earlier_run_count_until_help_was_asked_for() -> None:
    play = Play(row("A", pending=1), row("B", pending=1), retries=2)
    play.machine.remembered("A", 5, 2)
    play.machine.remembered("B", 9, 3)
    acts = play.settle()
    assert of(Start, acts) == [Start("A", 6), Start("B", 10)]
    play.runs("A")
    play.runs("B")
    assert of(AskForHelp, play.fails("A")) != []
    play.fails("B")
    assert play.machine.tracks["B"].failures == 1


# --- streams that change ---


def test_a_stream_that_is_opened_again_while_its_worker_lingers_keeps_that_worker() -> None:
    play = Play(row("A", pending=1))
    play.starts()
    play.completes("A")
    play.settle()
    play.event(row("A", pending=1, completed=1))
    assert play.starts() == []
    assert (play.stage("A"), play.complete()) == ("running", False)
    assert play.delay() == STALL


def test_a_stream_that_is_opened_again_after_its_worker_ended_gets_another() -> None:
    play = Play(row("A", pending=1), row("B", "A", pending=1))
    play.starts()
    play.completes("A")
    play.exits("A", "exit code 0")
    play.runs("B")
    play.event(row("A", pending=1, completed=1))
    assert play.starts() == ["A"]
    assert play.stage("B") == "running"


def test_completion_is_told_each_time() -> None:
    play = Play(row("A", pending=1))
    play.completes("A")
    assert told(play.settle(), "completed") == [("A", "")]
    play.completes("A")
    assert told(play.settle(), "completed") == []
    play.event(row("A", pending=1, completed=1))
    play.completes("A")
    assert told(play.settle(), "completed") == [("A", "")]


def test_what_is_read_after_a_gap_is_told_and_acted_on() -> None:
    play = Play(
        row("A", pending=1), row("B", "A", pending=1), row("C", pending=1), row("D", blocked=1)
    )
    play.starts()
    play.machine.load(
        [
            row("A", completed=1),
            row("B", "A", pending=1),
            row("C", blocked=1, reason="why"),
            row("D", pending=1),
            row("E", blocked=1, reason="new"),
        ],
        play.now,
        told=True,
    )
    acts = play.settle()
    assert told(acts, "completed") == [("A", "")]
    assert told(acts, "blocked") == [("C", "why"), ("E", "new")]
    assert told(acts, "unblocked") == [("D", "")]
    assert [one.stream_id for one in of(Start, acts)] == ["B", "D"]


def test_a_stream_that_is_gone_is_forgotten_but_for_its_worker() -> None:
    play = Play(row("A", pending=1), row("B", pending=1))
    play.starts()
    play.completes("B")
    play.exits("B")
    play.machine.load([], play.now, told=True)
    play.settle()
    assert list(play.machine.tracks) == ["A"]
    assert told(play.exits("A"), "exited") == [("A", "exit code 1")]


def test_what_happened_while_nobody_looked_is_told_only_if_it_still_holds() -> None:
    play = Play(row("A", blocked=1, reason="now"), row("B", pending=1))
    play.machine.missed("stream.blocked", row("A", blocked=1, reason="then"))
    play.machine.missed("stream.blocked", row("B", blocked=1, reason="then"))
    play.machine.missed("stream.blocked", row("Unknown", blocked=1))
    play.machine.missed("stream.completed", row("A", completed=1))
    play.machine.missed("task.created", {"streamId": None})
    assert told(play.settle(), "blocked") == [("A", "then")]
    assert play.machine.tracks["A"].stream.blocked == 1


# --- where events do not come, as while the hub is away ---


def test_a_worker_has_not_failed_where_the_state_that_is_read_shows_its_work() -> None:
    play = Play(row("A", pending=1), row("B", "A", pending=1))
    play.starts()
    play.exits("A")
    play.passes(JUDGE)
    assert play.settle_unread() == [ReadState("A")]
    play.passes(60.0)
    assert play.settle_unread() == [], "nothing is decided before it is read"
    assert (play.stage("A"), play.machine.deadline()) == ("retrying", None)
    play.machine.load([row("A", completed=1), row("B", "A", pending=1)], play.now, told=True)
    play.machine.judged("A", play.now)
    assert told(acts := play.settle_unread(), "completed") == [("A", "")]
    assert of(Start, acts) == [Start("B", 1)]
    assert play.machine.tracks["A"].failures == 0


def test_another_task_that_the_state_shows_as_blocked_is_told() -> None:
    play = Play(row("A", pending=1, blocked=1, reason="no key"))
    play.machine.load([row("A", blocked=2, reason="no door")], play.now, told=True)
    assert play.settle() == [Tell("blocked", "A", "no door")]
    play.machine.load([row("A", blocked=2, reason="no door")], play.now, told=True)
    assert play.settle() == []


def test_a_stream_that_the_state_shows_as_blocked_waits_for_a_person() -> None:
    play = Play(row("A", pending=1))
    play.starts()
    play.exits("A")
    play.passes(JUDGE)
    assert play.settle_unread() == [ReadState("A")]
    play.machine.load([row("A", blocked=1, reason="no key")], play.now, told=True)
    play.machine.judged("A", play.now)
    assert told(play.settle_unread(), "blocked") == [("A", "no key")]
    assert (play.stage("A"), play.machine.tracks["A"].failures) == ("blocked", 0)


# --- what a run is about ---


def test_only_the_wanted_streams_get_workers_and_count() -> None:
    play = Play(
        row("A", pending=1),
        row("B", "A", pending=1),
        row("C", pending=1),
        wanted=frozenset({"B", "C"}),
    )
    assert play.starts() == ["C"]
    play.completes("C")
    play.exits("C")
    assert (play.complete(), play.stuck(), play.machine.may_go_on) == (
        False,
        True,
        True,
    )
    play.completes("A")
    assert play.starts() == ["B"]
    play.completes("B")
    assert play.complete()


def test_a_run_whose_named_stream_is_gone_is_not_complete() -> None:
    play = Play(row("A", pending=1), row("B", pending=1), wanted=frozenset({"A"}))
    assert play.starts() == ["A"]
    play.exits("A")
    play.machine.load([row("B", pending=1)], play.now)
    assert (play.complete(), play.stuck()) == (False, True)


def test_a_run_is_stuck_when_only_a_person_can_help_and_goes_on_where_one_was_asked() -> None:
    play = Play(row("A", pending=1), row("B", "A", pending=1))
    play.starts()
    assert not play.stuck()
    play.blocks("A")
    assert not play.stuck()
    play.fails("A")
    assert (play.stuck(), play.machine.may_go_on) == (True, True)
    play.event(row("A", pending=1))
    assert not play.stuck()


def test_a_run_whose_streams_wait_for_each_other_is_stuck_for_good() -> None:
    play = Play(row("A", "B", pending=1), row("B", "A", pending=1))
    assert play.starts() == []
    assert (play.stuck(), play.machine.may_go_on) == (True, False)


def test_a_run_with_nothing_to_do_is_complete_and_not_stuck() -> None:
    play = Play(row("A", completed=1), row("B"))
    assert (play.complete(), play.stuck()) == (True, False)
    assert play.settle() == []
    assert play.machine.deadline() is None
