"""What can be subscribed to, and which topics a pattern selects."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memory import event_row
from task_copilot.events.filters import Subscriptions
from task_copilot.events.topics import is_pattern

# How long an example takes says how busy the machine is, and nothing about the program.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
KINDS = ("stream", "task", "checkpoint")
ID_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"


def selects(pattern: str, topic: str) -> bool:
    """The rule of the contract, said as plainly as possible."""
    if pattern == topic:
        return True
    return pattern[-1] == "*" and topic[: len(pattern) - 1] == pattern[:-1]


def may_be_subscribed_to(text: str) -> bool:
    """The grammar of the contract, character by character."""
    if not 1 <= len(text) <= 200:
        return False
    prefix = text.endswith("*")
    body = text[:-1] if prefix else text
    for kind in KINDS:
        if prefix and len(body) <= len(kind) and kind[: len(body)] == body:
            return True
        head, rest = body[: len(kind) + 1], body[len(kind) + 1 :]
        if head == f"{kind}:" and all(sign in ID_CHARACTERS for sign in rest):
            return prefix or rest != ""
    return False


ids = st.text(ID_CHARACTERS, min_size=1, max_size=4)
# Few characters, so that topics and patterns often agree.
near_ids = st.text("aA1.-_", min_size=1, max_size=4)
topics = st.builds(lambda kind, name: f"{kind}:{name}", st.sampled_from(KINDS), near_ids)


@st.composite
def pattern_of(draw: st.DrawFn, topic: str) -> str:
    end = draw(st.integers(0, len(topic)))
    return draw(st.sampled_from([topic, f"{topic[:end]}*", "*"]))


patterns = topics.flatmap(pattern_of)
nearly_patterns = st.text("streamtaskcheckpoint:*aA1._-? é\n\x00", max_size=12) | st.builds(
    lambda pattern, place, sign: pattern[:place] + sign + pattern[place:],
    patterns,
    st.integers(0, 12),
    st.sampled_from(["*", ":", "?", " ", "\n", "é", "A", ".", "\ud800", "/", ","]),
)


@pytest.mark.parametrize(
    "text",
    [
        *("stream:Stream-A", "task:TASK-1", "checkpoint:TASK-1", "stream:.", "stream:_", "task:-"),
        *("stream:*", "task:*", "checkpoint:*", "stream:Stream-*", "task:TASK-1*", "*"),
        *("s*", "str*", "stream*", "c*", "checkpoint*", "t*"),
        "stream:" + "a" * 193,
        "stream:" + "a" * 192 + "*",
    ],
)
def test_a_topic_a_prefix_with_a_star_and_the_star_alone_are_patterns(text: str) -> None:
    assert is_pattern(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", ":", "stream", "stream:", "task", "Stream-A"),
        *("**", "*:*", "*a", "stream:*a", "stream:a*b", "stream:a**", "*stream:a", "st*am:*"),
        *("STREAM:a", "Stream:*", "streams:*", "agent:me", "x*", "strex*", "project:*"),
        *("stream:a:b", "stream::", "stream:a:*", "stream:a:b*", ":a", ":*"),
        *("stream:a b", " stream:a", "stream:a ", "stream: *", "stream:a\n", "stream:*\n", "\n"),
        # A Latin letter with an accent, a wide A, an Arabic digit, a Cyrillic s, a mathematical A.
        *("stream:é", "stream:\uff21", "stream:\u0661", "\u0455tream:a", "stream:\U0001d49c*"),
        *("stream:a\u200b", "stream:a\x00", "\x00*", "stream:\ud800", "\ud800*"),
        *("stream:?", "stream:[a]", "stream:+", "stream:#", "stream:$", "stream:\\*"),
        *("stream:a/b", "stream:a,task:b", "stream:%41"),
    ],
)
def test_everything_else_is_refused(text: str) -> None:
    assert not is_pattern(text)


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("stream:" + "a" * 193, True),
        ("stream:" + "a" * 194, False),
        ("stream:" + "a" * 192 + "*", True),
        ("stream:" + "a" * 193 + "*", False),
    ],
)
def test_a_pattern_has_at_most_200_characters(text: str, allowed: bool) -> None:
    assert is_pattern(text) is allowed


@unhurried
@given(st.text(max_size=30) | nearly_patterns | patterns)
def test_any_text_is_judged_as_the_grammar_says(text: str) -> None:
    assert is_pattern(text) is may_be_subscribed_to(text)


@unhurried
@given(patterns)
def test_every_beginning_of_a_topic_with_a_star_can_be_subscribed_to(pattern: str) -> None:
    assert is_pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "topic", "selected"),
    [
        ("stream:Stream-A", "stream:Stream-A", True),
        ("stream:Stream-A", "stream:Stream-AB", False),
        ("stream:Stream-A", "stream:Stream-", False),
        ("stream:Stream-A", "stream:stream-a", False),
        ("stream:Stream-A", "task:Stream-A", False),
        ("stream:*", "stream:Stream-A", True),
        ("stream:*", "task:TASK-1", False),
        ("stream:Stream-*", "stream:Stream-A", True),
        ("stream:Stream-*", "stream:Stream-", True),
        ("stream:Stream-*", "stream:Other", False),
        ("task:TASK-1*", "task:TASK-1", True),
        ("task:TASK-1*", "task:TASK-12", True),
        ("task:TASK-1*", "task:TASK-2", False),
        ("stream:a.b", "stream:a.b", True),
        ("stream:a.b", "stream:aXb", False),
        ("stream:a.*", "stream:aXb", False),
        ("*", "checkpoint:TASK-9", True),
        ("str*", "stream:x", True),
        ("str*", "task:x", False),
    ],
)
def test_a_pattern_selects_exactly_what_it_says(pattern: str, topic: str, selected: bool) -> None:
    held = Subscriptions()
    held.add([pattern])
    assert held.match(event_row(1, topic)) is selected


def test_an_empty_set_selects_nothing() -> None:
    held = Subscriptions()
    assert len(held) == 0
    assert not held.match(event_row(1, "stream:Stream-A"))


@unhurried
@given(st.lists(patterns, max_size=6), topics)
def test_a_set_selects_what_any_of_its_patterns_selects(held: list[str], topic: str) -> None:
    found = Subscriptions()
    found.add(held)
    assert found.match(event_row(1, topic)) is any(selects(pattern, topic) for pattern in held)


@unhurried
@given(topics, topics)
def test_an_exact_pattern_selects_one_topic_only(pattern: str, topic: str) -> None:
    found = Subscriptions()
    found.add([pattern])
    assert found.match(event_row(1, topic)) is (pattern == topic)


@unhurried
@given(st.lists(st.tuples(st.booleans(), st.lists(patterns, min_size=1, max_size=4)), max_size=8))
def test_adding_and_removing_leave_what_a_plain_set_would_hold(
    steps: list[tuple[bool, list[str]]],
) -> None:
    found, model = Subscriptions(), set[str]()
    for adding, some in steps:
        if adding:
            found.add(some)
            model |= set(some)
        elif set(some) <= model:
            found.remove(some)
            model -= set(some)
        assert len(found) == len(model)
        for pattern in some:
            assert (pattern in found) is (pattern in model)
            topic = pattern.rstrip("*")
            assert found.match(event_row(1, topic)) is any(selects(held, topic) for held in model)


def test_a_pattern_that_is_added_twice_counts_once_and_goes_at_once() -> None:
    held = Subscriptions()
    held.add(["task:*", "task:*"])
    held.add(["task:*"])
    assert len(held) == 1
    held.remove(["task:*", "task:*"])
    assert len(held) == 0
    assert not held.match(event_row(1, "task:TASK-1"))


def test_removing_one_of_two_overlapping_patterns_leaves_the_other() -> None:
    held = Subscriptions()
    held.add(["stream:Stream-A", "stream:Stream-*", "*"])
    held.remove(["*"])
    assert not held.match(event_row(1, "task:TASK-1"))
    assert held.match(event_row(1, "stream:Stream-A"))
    held.remove(["stream:Stream-*"])
    assert held.match(event_row(1, "stream:Stream-A"))
    assert not held.match(event_row(1, "stream:Stream-B"))


def test_a_pattern_that_is_not_held_cannot_be_removed() -> None:
    held = Subscriptions()
    held.add(["task:*"])
    with pytest.raises(KeyError):
        held.remove(["task:TASK-1"])
    assert held.match(event_row(1, "task:TASK-1"))


@unhurried
@given(ids)
def test_every_id_of_the_allowed_characters_can_be_subscribed_to_exactly(name: str) -> None:
    for kind in KINDS:
        topic = f"{kind}:{name}"
        assert is_pattern(topic)
        held = Subscriptions()
        held.add([topic])
        assert held.match(event_row(1, topic))
