"""Filters and subscriptions against naive ones that follow the words of the contract."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memory import event_row
from task_copilot.errors import InvalidInput
from task_copilot.events.filters import EVERYTHING, EventFilter, Subscriptions, check_event_types
from task_copilot.events.log import LogRow
from task_copilot.events.types import EVENT_TYPES

# How long an example takes says how busy the machine is, and nothing about the program.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

NAMES = ["A", "a", "AB", "me", "*", "\u00e4", ""]
TYPES = ["task.created", "task.completed", "stream.progress", "stream.completed"]
TYPE_PATTERNS = [*TYPES, "*", "task.*", "task.c*", "stream*", "t*", "stream.progress*"]
TOPICS = ["task:A", "task:AB", "stream:A", "checkpoint:A"]
PATTERNS = [*TOPICS, "*", "task:*", "task:A*", "t*", "stream:*"]
WORKSPACES = ["shop", "blog"]

some_names = st.frozensets(st.sampled_from(NAMES), max_size=3)
filters = st.builds(
    EventFilter,
    event_types=st.frozensets(st.sampled_from(TYPE_PATTERNS), max_size=3),
    streams=some_names,
    agents=some_names,
    not_actors=some_names,
)
events = st.builds(
    lambda topic, kind, workspace, actor, data: event_row(
        1, topic, kind, workspace=workspace, actor=actor, **data
    ),
    st.sampled_from(TOPICS),
    st.sampled_from(TYPES),
    st.sampled_from(WORKSPACES),
    st.sampled_from(NAMES),
    st.dictionaries(
        st.sampled_from(["streamId", "assignedAgent"]), st.sampled_from(NAMES) | st.none()
    ),
)


def selects(pattern: str, text: str) -> bool:
    return text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern


def accepts(wanted: EventFilter, row: LogRow) -> bool:
    """What the contract says of a filter: all conditions that are given hold."""
    about = row.about
    conditions = []
    if wanted.event_types:
        conditions.append(any(selects(item, row.event_type) for item in wanted.event_types))
    if wanted.streams:
        conditions.append(any(about.stream_id == item for item in wanted.streams))
    if wanted.agents:
        conditions.append(any(about.assigned_agent == item for item in wanted.agents))
    if wanted.not_actors:
        conditions.append(all(about.actor != item for item in wanted.not_actors))
    return all(conditions)


@unhurried
@given(filters, events)
def test_a_filter_accepts_what_all_its_conditions_hold_for(
    wanted: EventFilter, row: LogRow
) -> None:
    assert wanted.accepts(row) is accepts(wanted, row)


def test_a_filter_without_conditions_accepts_everything_and_looks_at_no_payload() -> None:
    broken = LogRow(1, "task:A", "task.created", "", "no JSON")
    assert EVERYTHING.accepts(broken)
    assert EventFilter(event_types=frozenset({"task.*"})).accepts(broken)
    assert not EventFilter(event_types=frozenset({"x"}), streams=frozenset({"A"})).accepts(broken)
    subscriptions = Subscriptions()
    subscriptions.add(["*"])
    assert subscriptions.match(broken)


def test_an_event_without_the_field_does_not_match_a_condition_on_it() -> None:
    row = event_row(1)
    assert not EventFilter(streams=frozenset({""})).accepts(row)
    assert not EventFilter(agents=frozenset({"None"})).accepts(row)


steps = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "remove"]),
        st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=3),
        filters | st.just(EVERYTHING),
    ),
    max_size=8,
)


@unhurried
@given(steps, st.lists(events, min_size=1, max_size=5), st.none() | st.sampled_from(WORKSPACES))
def test_subscriptions_match_what_any_pattern_with_its_newest_filter_selects(
    asked: list[tuple[str, list[str], EventFilter]], rows: list[LogRow], workspace: str | None
) -> None:
    subscriptions = Subscriptions(workspace)
    held: dict[str, EventFilter] = {}
    for kind, patterns, wanted in asked:
        if kind == "add":
            subscriptions.add(patterns, wanted)
            held.update(dict.fromkeys(patterns, wanted))
        elif set(patterns) <= set(held):
            subscriptions.remove(patterns)
            held = {name: found for name, found in held.items() if name not in patterns}
        assert len(subscriptions) == len(held)
        assert {name for name in PATTERNS if name in subscriptions} == set(held)
        for row in rows:
            expected = workspace in {None, row.about.workspace} and any(
                selects(pattern, row.topic) and accepts(found, row)
                for pattern, found in held.items()
            )
            assert subscriptions.match(row) is expected


def test_removing_a_pattern_that_is_not_held_says_which() -> None:
    subscriptions = Subscriptions()
    subscriptions.add(["task:*"])
    with pytest.raises(KeyError, match="stream"):
        subscriptions.remove(["stream:*"])
    assert subscriptions.match(event_row(1, "task:A"))


@pytest.mark.parametrize(
    "pattern", [*EVENT_TYPES, "*", "task.*", "stream.b*", "c*", "task.created*"]
)
def test_a_type_of_event_and_the_start_of_one_can_be_asked_for(pattern: str) -> None:
    check_event_types([pattern])


@pytest.mark.parametrize(
    "pattern",
    ["", "task", "task.", "task.nope", "Task.*", "**", "*.created", "task.created ", "x*", "\x00*"],
)
def test_what_selects_no_type_of_event_is_refused_with_those_that_there_are(pattern: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_event_types(["task.*", pattern])
    for event_type in EVENT_TYPES:
        assert event_type in str(caught.value)


@unhurried
@given(st.text(max_size=12) | st.sampled_from([*EVENT_TYPES]).map(lambda name: name[:8] + "*"))
def test_a_pattern_is_refused_exactly_if_it_selects_nothing(pattern: str) -> None:
    def allowed(check: Any) -> bool:
        try:
            check([pattern])
        except InvalidInput:
            return False
        return True

    assert allowed(check_event_types) is any(selects(pattern, known) for known in EVENT_TYPES)
