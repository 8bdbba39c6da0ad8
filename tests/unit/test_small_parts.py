"""Ids, times, JSON and the sentences about wrong arguments."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from task_copilot import clock, jsontext
from task_copilot.errors import InvalidInput
from task_copilot.ids import parse_checkpoint_id, parse_task_id, task_id
from task_copilot.schema import explain
from task_copilot.streams import Readiness, Stream, find_cycle
from task_copilot.tools.answers import MAX_ANSWER_BYTES, piece, prefix_that_fits, rows_that_fit
from task_copilot.tools.registry import TOOLS, TOOLS_BY_NAME, instructions


@pytest.mark.parametrize("text", ["TASK-12", "task-12", "Task-12", "12", " TASK-12 "])
def test_a_task_id_is_understood_in_every_form(text: str) -> None:
    assert parse_task_id(text) == 12


@pytest.mark.parametrize(
    "text", ["", "TASK-", "CP-12", "TASK12", "-1", "1.5", "TASK-1x", "9" * 16, "١٢"]
)
def test_what_is_no_task_id_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"parentId: .* is not an id such as TASK-12"):
        parse_task_id(text, "parentId")


def test_a_checkpoint_id_is_not_a_task_id() -> None:
    assert parse_checkpoint_id("cp-7") == 7
    with pytest.raises(InvalidInput, match="CP-7"):
        parse_checkpoint_id("TASK-7")


@given(st.integers(1, 10**15 - 1))
def test_ids_survive_a_round_trip(number: int) -> None:
    assert parse_task_id(task_id(number)) == number


moments = st.datetimes(timezones=st.just(UTC))


@given(moments, moments)
def test_timestamps_sort_by_time_and_durations_are_never_negative(
    first: datetime, second: datetime
) -> None:
    one, other = clock.timestamp(first), clock.timestamp(second)
    assert clock.milliseconds_between(one, other) >= 0
    assert (one < other) == (clock.parse(one) < clock.parse(other))
    assert one.endswith("Z")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text() | st.floats(-1e9, 1e9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(json_values)
def test_json_survives_a_round_trip_in_compact_form(value: object) -> None:
    text = jsontext.encode(value)
    assert jsontext.decode(text) == value
    assert jsontext.size(value) == len(text.encode())


@given(st.text(max_size=300), st.integers(0, 200), st.integers(2, 300))
def test_a_prefix_is_the_longest_that_fits(text: str, characters: int, size: int) -> None:
    found = prefix_that_fits(text, characters=characters, size=size)
    assert text.startswith(found)
    assert len(found) <= characters
    assert not found or jsontext.size(found) <= size
    longer = text[: len(found) + 1]
    if len(longer) > len(found) and len(longer) <= characters:
        assert jsontext.size(longer) > size


@given(st.text(max_size=200), st.integers(1, 50))
def test_pieces_put_together_are_the_whole(text: str, characters: int) -> None:
    whole, offset = "", 0
    while True:
        found = piece("part", text, offset, characters=characters, size=1000)
        whole += found["part"]
        offset += len(found["part"])
        if "partRemaining" not in found:
            break
        assert found["partRemaining"] == len(text) - offset
    assert whole == text


def test_an_answer_holds_as_many_rows_as_fit_and_at_least_one() -> None:
    assert rows_that_fit(["x" * 999] * 100, reserved=0) == MAX_ANSWER_BYTES // 1000
    assert rows_that_fit(["x" * 100_000], reserved=0) == 1


def stream(name: str, phase: str = "parallel", needs: str = "", **counts: int) -> Stream:
    return Stream(
        stream_id=name,
        name=name,
        phase=phase,  # type: ignore[arg-type]
        dependencies=tuple(needs.split()),
        **{"pending": 1, **counts},  # type: ignore[arg-type]
    )


def test_a_stream_waits_for_what_it_needs() -> None:
    done = stream("Done", pending=0, completed=2)
    ready, waits, unknown = stream("B", needs="Done"), stream("C", needs="Done B"), stream("D")
    unknown = unknown._replace(dependencies=("Nowhere",))
    readiness = Readiness([done, ready, waits, unknown])
    assert readiness.is_ready(ready)
    assert not readiness.is_ready(waits)
    assert readiness.waits_for(waits) == ["B"]
    assert readiness.waits_for(unknown) == ["Nowhere"]


def test_a_stream_without_needs_waits_for_the_phases_before_it() -> None:
    every = [stream("A", "foundation"), stream("B"), stream("Z", "integration")]
    readiness = Readiness(every)
    assert [readiness.waits_for(item) for item in every] == [[], ["A"], ["A", "B"]]


def test_a_cycle_is_found_however_long_it_is() -> None:
    graph = {str(n): (str(n + 1),) for n in range(100)} | {"100": ("0",)}
    assert find_cycle(graph, "0") == [str(n % 101) for n in range(102)]
    assert find_cycle({"a": ("b", "c"), "b": ("c",)}, "a") == []
    assert find_cycle({"a": ("a",)}, "a") == ["a", "a"]


def explained(tool: str, arguments: dict[str, object]) -> str:
    declared = TOOLS_BY_NAME[tool]
    with pytest.raises(ValidationError) as caught:
        declared.arguments.model_validate(arguments)
    return explain(tool, declared.input_schema, caught.value)


@pytest.mark.parametrize(
    ("tool", "arguments", "sentence"),
    [
        ("task_create", {}, "title: is missing; takes a text of 1 to 500 characters."),
        (
            "task_create",
            {"title": "x" * 501},
            "title: got 501 characters; takes a text of 1 to 500 characters.",
        ),
        ("task_create", {"title": 5}, "title: got 5; takes a text of 1 to 500 characters."),
        (
            "task_get",
            {"id": "1", "nope": 1},
            "'nope' is no argument of task_get; it takes id, field, offset.",
        ),
        (
            "task_update",
            {"id": "1", "status": "done"},
            "status: got 'done'; takes one of pending, in_progress, blocked, completed, cancelled.",
        ),
        (
            "task_list",
            {"limit": "5"},
            "limit: got '5'; takes a whole number from 1 to 1,000.",
        ),
        ("task_list", {"limit": True}, "limit: got True; takes a whole number from 1 to 1,000."),
        (
            "task_create",
            {"title": "t", "files": ["a", 2]},
            "files[1]: got 2; takes a text of 1 to 1,000 characters.",
        ),
        (
            "task_create",
            {"title": "t", "streamDependencies": ["a b"]},
            "streamDependencies[0]: 'a b' is not a stream id; it takes 1 to 64 of",
        ),
        (
            "checkpoint_create",
            {"taskId": "1", "executionStep": 1.5},
            "executionStep: got 1.5; takes a whole number from 0 to 1,000,000,000 or a text",
        ),
        (
            "checkpoint_create",
            {"taskId": "1", "pauseMetadata": {"why": 1}},
            "'why' is no argument of pauseMetadata; it takes pauseReason, pausedBy, nextSteps,",
        ),
        (
            "checkpoint_create",
            {"taskId": "1", "pauseMetadata": {"nextSteps": ["x" * 2000] * 5}},
            "pauseMetadata: got 10,030 bytes of JSON; takes at most 8,192.",
        ),
        ("task_create", {"title": "a\0"}, "title: holds a NUL character"),
        ("task_create", {"title": "\ud800"}, "title: holds half of a UTF-16 surrogate pair"),
        ("task_create", {"title": "t", "metadata": "{"}, "metadata: got a text that is not JSON"),
    ],
)
def test_a_wrong_argument_is_named_with_what_it_takes(
    tool: str, arguments: dict[str, object], sentence: str
) -> None:
    assert explained(tool, arguments).startswith(sentence)


def test_many_wrong_arguments_are_counted() -> None:
    text = explained("task_list", {"a": 1, "b": 1, "c": 1, "d": 1, "e": 1})
    assert text.endswith("And 2 more.")


def test_every_tool_of_the_registry_has_its_operation() -> None:
    from typing import get_type_hints

    from task_copilot.tools import operations

    for tool in TOOLS:
        hints = get_type_hints(getattr(operations, tool.name))
        assert hints["given"] is tool.arguments


def test_the_instructions_are_short_and_name_the_workspace() -> None:
    text = instructions("w" * 100)
    assert len(text) < 2000
    assert f"Workspace: {'w' * 100}" in text


def test_every_input_schema_stands_alone_and_refuses_what_it_does_not_know() -> None:
    for tool in TOOLS:
        Draft202012Validator.check_schema(tool.input_schema)
        assert "$ref" not in jsontext.encode(tool.input_schema)
        assert tool.input_schema["additionalProperties"] is False
        assert tool.input_schema["type"] == "object"
