"""The order in which streams can be worked on, and what can never be."""

import time
from typing import Any

import pytest

from task_copilot.errors import InvalidInput
from task_copilot.events.types import StreamPhase
from task_copilot.orchestrator.plan import Planned, is_open, plan, stream_of
from task_copilot.streams import Stream

LONG = 10_000


def stream(
    stream_id: str,
    *needs: str,
    phase: StreamPhase = "parallel",
    pending: int = 1,
    completed: int = 0,
    blocked: int = 0,
) -> Stream:
    return Stream(
        stream_id=stream_id,
        name=stream_id,
        phase=phase,
        dependencies=needs,
        pending=pending,
        completed=completed,
        blocked=blocked,
    )


def done(stream_id: str, *needs: str, phase: StreamPhase = "parallel") -> Stream:
    return stream(stream_id, *needs, phase=phase, pending=0, completed=1)


def empty(stream_id: str, *needs: str) -> Stream:
    return stream(stream_id, *needs, pending=0)


def steps(rows: list[Planned]) -> dict[str, int]:
    return {row.stream.stream_id: row.step for row in rows}


def order(rows: list[Planned]) -> list[str]:
    return [row.stream.stream_id for row in rows]


def test_what_is_needed_comes_before_what_needs_it() -> None:
    rows = plan([stream("D", "B", "C"), stream("B", "A"), stream("C", "A"), stream("A")])
    assert order(rows) == ["A", "B", "C", "D"]
    assert steps(rows) == {"A": 1, "B": 2, "C": 2, "D": 3}
    assert rows[-1].waits_for == ("B", "C")


def test_the_phases_come_one_after_the_other() -> None:
    rows = plan(
        [
            stream("I", phase="integration"),
            stream("P"),
            stream("F", phase="foundation"),
            stream("Q"),
        ]
    )
    assert steps(rows) == {"F": 1, "P": 2, "Q": 2, "I": 3}
    assert order(rows) == ["F", "P", "Q", "I"]


def test_of_one_step_the_earlier_phase_comes_first_and_then_who_was_made_first() -> None:
    rows = plan(
        [
            stream("I", "Done", phase="integration"),
            stream("P", "Done"),
            stream("O", "Done"),
            stream("F", phase="foundation"),
            done("Done"),
        ]
    )
    assert order(rows) == ["Done", "F", "P", "O", "I"]


def test_dependencies_stand_in_the_place_of_the_phases() -> None:
    rows = plan([stream("F", phase="foundation"), done("Done"), stream("P", "Done")])
    assert steps(rows) == {"Done": 0, "F": 1, "P": 1}


def test_what_is_complete_or_empty_is_waited_for_by_nobody_and_nothing_is_to_do_in_it() -> None:
    rows = plan([done("F", phase="foundation"), stream("P"), empty("E"), stream("Q", "F")])
    assert steps(rows) == {"F": 0, "E": 0, "P": 1, "Q": 1}
    assert [row.waits_for for row in rows] == [(), (), (), ()]
    assert not is_open(empty("E"))
    assert is_open(stream("B", pending=0, blocked=1))


def test_a_complete_stream_may_have_dependencies_that_are_not() -> None:
    assert steps(plan([done("Early", "Late"), stream("Late"), done("Other", "Nowhere")])) == {
        "Early": 0,
        "Other": 0,
        "Late": 1,
    }


def test_only_the_wanted_streams_are_planned_once_each_at_their_step() -> None:
    every = [stream("A"), stream("B", "A"), stream("C", "B")]
    assert steps(plan(every, ["C", "A", "C"])) == {"A": 1, "C": 3}
    assert order(plan(every, ["C", "A", "C"])) == ["A", "C"]


def test_no_streams_are_no_plan() -> None:
    assert plan([]) == []


def test_a_wanted_stream_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(InvalidInput, match="no stream Z, Y in this workspace; there are: A, B"):
        plan([stream("A"), stream("B")], ["A", "Z", "Y"])
    with pytest.raises(InvalidInput, match="there are: none"):
        plan([], ["Z"])


def test_a_needed_stream_that_does_not_exist_is_refused_unless_nobody_wants_who_needs_it() -> None:
    every = [stream("A", "Nowhere"), stream("B")]
    with pytest.raises(InvalidInput, match="A needs Nowhere, and there is no such stream"):
        plan(every)
    assert order(plan(every, ["B"])) == ["B"]


def test_a_needed_stream_that_can_never_complete_is_refused() -> None:
    with pytest.raises(InvalidInput, match="A needs E, which has no task that could be completed"):
        plan([stream("A", "E"), empty("E")])


@pytest.mark.parametrize(
    ("every", "cycle"),
    [
        ([stream("A", "A")], "A waits for A"),
        ([stream("A", "B"), stream("B", "A")], "A waits for B waits for A"),
        (
            [stream("A", "B"), stream("B", "C"), stream("C", "D"), stream("D", "B")],
            "B waits for C waits for D waits for B",
        ),
        (
            [stream("F", "I", phase="foundation"), stream("I", phase="integration")],
            "F waits for I waits for F",
        ),
        (
            [
                stream("F", "P", phase="foundation"),
                done("Done"),
                stream("P", "I"),
                stream("I", phase="integration"),
            ],
            "P waits for I waits for P",
        ),
    ],
)
def test_a_circle_of_dependencies_and_phases_is_refused_and_shown(
    every: list[Stream], cycle: str
) -> None:
    for streams in (every, every[::-1]):
        with pytest.raises(InvalidInput, match="none of them could ever start") as refused:
            plan(streams)
        shown = str(refused.value).partition(":")[0].split(" waits for ")
        assert shown[0] == shown[-1]
        known = {one.stream_id: one for one in every}
        assert all(known[one] for one in shown)
        assert len(set(shown)) == len(shown) - 1
    with pytest.raises(InvalidInput) as refused:
        plan(every)
    if len(every) < 4:
        assert str(refused.value).startswith(f"{cycle}:")


def test_a_circle_that_is_broken_by_what_is_complete_is_none() -> None:
    assert steps(plan([stream("A", "B"), done("B", "A")])) == {"A": 1, "B": 0}


def test_a_very_long_chain_is_planned_at_once_in_either_order() -> None:
    chain = [stream("S0"), *(stream(f"S{n}", f"S{n - 1}") for n in range(1, LONG))]
    began = time.process_time()
    for every in (chain, chain[::-1]):
        rows = plan(every)
        assert [row.step for row in rows] == [*range(1, LONG + 1)]
        assert rows[-1].stream.stream_id == f"S{LONG - 1}"
    assert time.process_time() - began < 5


def test_a_very_long_circle_is_found_at_once() -> None:
    circle = [stream(f"S{n}", f"S{(n + 1) % LONG}") for n in range(LONG)]
    with pytest.raises(InvalidInput, match="S0 waits for S1 waits for S2 "):
        plan(circle)


def test_a_row_of_the_server_and_the_data_of_an_event_are_the_same_stream() -> None:
    row: dict[str, Any] = {
        "streamId": "A",
        "streamName": "Alpha",
        "streamPhase": "integration",
        "dependencies": ["B", "C"],
        "pendingTasks": 1,
        "inProgressTasks": 2,
        "blockedTasks": 0,
        "completedTasks": 4,
        "status": "in_progress",
        "lastUpdated": "2026-01-08T12:00:00.000Z",
    }
    found = stream_of(row)
    assert found.dependencies == ("B", "C")
    assert (found.total, found.status, found.name) == (7, "in_progress", "Alpha")
    assert stream_of({**row, "status": "pending", "inProgressTasks": 0}).status == "pending"


def test_a_circle_that_the_named_streams_do_not_wait_for_is_none_of_theirs() -> None:
    every = [stream("A", "B"), stream("B", "A"), stream("C"), stream("D", "A")]
    assert [row.stream.stream_id for row in plan(every, ["C"])] == ["C"]
    with pytest.raises(InvalidInput, match="A waits for B waits for A"):
        plan(every, ["C", "D"])
