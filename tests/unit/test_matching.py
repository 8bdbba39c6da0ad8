"""The index of selections against asking each of them."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memory import event_row
from task_copilot.events import matching
from task_copilot.events.filters import EVERYTHING, EventFilter, Selection, Subscriptions
from task_copilot.events.log import LogRow
from task_copilot.events.matching import MatchIndex
from unit.test_filters import PATTERNS, TOPICS, WORKSPACES, events, filters

# How long an example takes says how busy the machine is, and nothing about the program.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

some_subscriptions = st.tuples(
    st.none() | st.sampled_from(WORKSPACES),
    st.lists(
        st.tuples(
            st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=3),
            filters | st.just(EVERYTHING),
        ),
        max_size=3,
    ),
)
steps = st.lists(
    st.tuples(st.sampled_from(["add", "add", "remove"]), st.integers(0, 5), some_subscriptions),
    max_size=12,
)


def selection(*patterns: str, workspace: str | None = None) -> Selection:
    subscriptions = Subscriptions(workspace)
    subscriptions.add(patterns)
    return subscriptions.selection


@unhurried
@given(steps, st.lists(events, min_size=1, max_size=6))
def test_the_index_finds_whom_their_own_subscriptions_would(
    asked: list[tuple[str, int, tuple[str | None, list[tuple[list[str], EventFilter]]]]],
    rows: list[LogRow],
) -> None:
    index: MatchIndex[int] = MatchIndex()
    held: dict[int, Subscriptions] = {}
    for kind, who, (workspace, wanted) in asked:
        if (former := held.pop(who, None)) is not None:
            index.remove(former.selection, who)
        if kind == "add":
            found = held[who] = Subscriptions(workspace)
            for patterns, its_filter in wanted:
                found.add(patterns, its_filter)
            index.add(found.selection, who)
        for row in rows:
            expected = {who for who, found in held.items() if found.match(row)}
            assert set(index.wanting(row)) == expected


def test_nobody_is_found_twice_however_many_patterns_and_filters_select() -> None:
    index: MatchIndex[str] = MatchIndex()
    subscriptions = Subscriptions()
    subscriptions.add(["*", "task:*"])
    subscriptions.add(["task:A"], EventFilter(event_types=frozenset({"task.*"})))
    index.add(subscriptions.selection, "me")
    assert list(index.wanting(event_row(1, "task:A"))) == ["me"]


def test_a_filter_is_asked_once_however_many_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[LogRow] = []
    accepts = EventFilter.accepts

    def counted(self: EventFilter, row: LogRow) -> bool:
        asked.append(row)
        return accepts(self, row)

    monkeypatch.setattr(EventFilter, "accepts", counted)
    index: MatchIndex[int] = MatchIndex()
    for who in range(100):
        subscriptions = Subscriptions()
        subscriptions.add([f"task:{who}", "task:A*"], EventFilter(streams=frozenset({"S"})))
        index.add(subscriptions.selection, who)
    assert len(index.wanting(event_row(1, "task:A", streamId="S"))) == 100
    assert len(asked) == 1


def test_an_event_that_nobody_wants_asks_no_filter() -> None:
    index: MatchIndex[int] = MatchIndex()
    index.add(selection("task:B", "stream:*", workspace="shop"), 1)
    assert not index.wanting(LogRow(1, "task:A", "task.created", "", "no JSON"))


def test_answers_are_kept_for_a_bounded_number_of_topics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "TOPICS_KNOWN", 3)
    index: MatchIndex[str] = MatchIndex()
    index.add(selection("*"), "all")
    for number in range(20):
        assert list(index.wanting(event_row(1, f"task:{number}"))) == ["all"]
        assert len(index._known) <= 3


def test_what_was_taken_back_leaves_nothing_behind() -> None:
    index: MatchIndex[str] = MatchIndex()
    for wanted in (selection("*", "task:A", "task:*"), selection("task:A")):
        index.add(wanted, "me")
        assert all(index.wanting(event_row(1, topic)) for topic in TOPICS[:1])
        index.remove(wanted, "me")
        assert not index.wanting(event_row(1, "task:A"))
    assert not index._exact
    assert not index._prefixes
    assert not index._policies
