"""One listener's side of the protocol, without a socket, a clock or a database."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from memory import COMMITTED, event_row
from task_copilot.events.bus import Stretch
from task_copilot.events.listener import Listener
from task_copilot.events.log import LogRow, LogState
from task_copilot.events.types import StreamProgress, numbered, payload

# How long an example takes says how busy the machine is, and nothing about the program.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
NOW = "2026-01-08T12:00:00.000Z"
EPOCH = "epoch-1"
MAX_PATTERNS = 50

ERROR_CODES = {
    *("WS_INVALID_MESSAGE", "WS_UNKNOWN_TYPE", "WS_INVALID_TOPIC", "WS_SUBSCRIPTION_LIMIT"),
    *("WS_NOT_SUBSCRIBED", "WS_INVALID_CURSOR"),
}
SERVER_TYPES = {"subscribed", "unsubscribed", "pong", "error"}


def new_listener(head: int = 0) -> Listener:
    return Listener(head=head, max_patterns=MAX_PATTERNS)


def no_constants(name: str) -> Any:
    raise AssertionError(f"{name} is not JSON")


def read(frame: str) -> dict[str, Any]:
    """A frame as a strict client reads it."""
    message = json.loads(frame.encode(), parse_constant=no_constants)
    assert isinstance(message, dict)
    return message


def tell(listener: Listener, message: Any, head: int = 0) -> list[dict[str, Any]]:
    text = message if isinstance(message, str | bytes) else json.dumps(message)
    return [read(frame) for frame in listener.receive(text, LogState(EPOCH, head), NOW)]


def ask(listener: Listener, message: Any, head: int = 0) -> dict[str, Any]:
    [answer] = tell(listener, message, head)
    return answer


def refusal(listener: Listener, message: Any, head: int = 0) -> dict[str, Any]:
    """The payload of the error that answers `message`; its envelope is checked here."""
    answer = ask(listener, message, head)
    assert answer["type"] == "error"
    assert answer["timestamp"] == NOW
    assert set(answer["payload"]) == {"code", "message", "details"}
    assert answer["payload"]["message"]
    assert isinstance(answer["payload"]["details"], dict)
    return dict(answer["payload"])


def subscribe(*topics: str, **more: Any) -> dict[str, Any]:
    return {"type": "subscribe", "payload": {"topics": list(topics)}, **more}


def unsubscribe(*topics: str, **more: Any) -> dict[str, Any]:
    return {"type": "unsubscribe", "payload": {"topics": list(topics)}, **more}


def row(seq: int, topic: str = "task:TASK-1") -> LogRow:
    return event_row(seq, topic)


def stretch(*rows: LogRow) -> Stretch:
    return Stretch(rows, rows[-1].seq if rows else 0)


def frames(listener: Listener, rows: Sequence[LogRow]) -> list[str]:
    """The frames of `rows`, as one stretch of the log."""
    return listener.frames(stretch(*rows), lambda: NOW)


def seqs(frames: list[str]) -> list[int]:
    return [read(frame)["payload"]["seq"] for frame in frames]


# --- subscribe ---


def test_a_subscribe_is_answered_with_topics_count_epoch_and_head() -> None:
    answer = ask(new_listener(), subscribe("stream:Stream-A", "task:*", id="sub-1"), head=812)
    assert answer == {
        "type": "subscribed",
        "id": "sub-1",
        "timestamp": NOW,
        "payload": {
            "topics": ["stream:Stream-A", "task:*"],
            "activeSubscriptions": 2,
            "epoch": EPOCH,
            "seq": 812,
        },
    }


def test_a_client_may_send_a_timestamp_and_fields_of_its_own_in_the_envelope() -> None:
    message = subscribe("*", timestamp="2026-01-08T12:00:00Z", trace={"a": 1})
    assert ask(new_listener(), message)["type"] == "subscribed"


def test_topics_come_back_in_the_order_in_which_they_were_asked_for() -> None:
    topics = ["task:b", "*", "stream:z", "checkpoint:a*"]
    assert ask(new_listener(), subscribe(*topics))["payload"]["topics"] == topics


def test_a_pattern_that_is_named_twice_counts_once() -> None:
    listener = new_listener()
    assert ask(listener, subscribe("*", "*", "task:*"))["payload"]["activeSubscriptions"] == 2
    assert ask(listener, subscribe("task:*"))["payload"]["activeSubscriptions"] == 2
    assert ask(listener, unsubscribe("*", "*"))["payload"]["activeSubscriptions"] == 1
    assert ask(listener, unsubscribe("task:*"))["payload"]["activeSubscriptions"] == 0


def test_a_listener_takes_50_patterns_at_once_and_no_51st() -> None:
    listener = new_listener()
    patterns = [f"task:TASK-{number}" for number in range(50)]
    assert ask(listener, subscribe(*patterns))["payload"]["activeSubscriptions"] == 50
    error = refusal(listener, subscribe("task:TASK-50"))
    assert error["code"] == "WS_SUBSCRIPTION_LIMIT"
    assert "50" in error["message"]
    assert frames(listener, [row(1, "task:TASK-50")]) == []
    assert seqs(frames(listener, [row(2, "task:TASK-49")])) == [2]


def test_of_a_subscribe_over_the_limit_nothing_takes_effect() -> None:
    listener = new_listener()
    ask(listener, subscribe("stream:held"))
    error = refusal(listener, subscribe(*(f"task:TASK-{number}" for number in range(50)), id="x"))
    assert error["code"] == "WS_SUBSCRIPTION_LIMIT"
    assert frames(listener, [row(1, "task:TASK-0")]) == []
    answer = ask(listener, subscribe(*(f"task:TASK-{number}" for number in range(49))))
    assert answer["payload"]["activeSubscriptions"] == 50


def test_patterns_that_are_held_already_do_not_count_against_the_limit() -> None:
    listener = new_listener()
    patterns = [f"task:TASK-{number}" for number in range(50)]
    ask(listener, subscribe(*patterns))
    assert ask(listener, subscribe(*patterns, *patterns))["type"] == "subscribed"
    ask(listener, unsubscribe(patterns[0]))
    assert ask(listener, subscribe("stream:other", *patterns[1:]))["type"] == "subscribed"


def test_51_names_of_the_same_pattern_are_within_the_limit() -> None:
    answer = ask(new_listener(), subscribe(*["task:*"] * 51))
    assert answer["payload"]["activeSubscriptions"] == 1


@pytest.mark.parametrize(
    "topics",
    [
        *(["nonsense"], ["task:*", ""], ["task:a", "task:b", "**"], ["stream:a:b"], ["x" * 201]),
        *(["task:a\x00"], ["task:\ud800"], ["stream:\u00e9"], ["Stream:*"], []),
    ],
    ids=ascii,
)
@pytest.mark.parametrize("request_type", ["subscribe", "unsubscribe"])
def test_of_a_request_with_an_invalid_topic_nothing_takes_effect(
    request_type: str, topics: list[str]
) -> None:
    listener = new_listener()
    ask(listener, subscribe("stream:held", "task:b"))
    message = {"type": request_type, "payload": {"topics": topics}}
    assert refusal(listener, message)["code"] == "WS_INVALID_TOPIC"
    assert frames(listener, [row(1, "task:a")]) == []
    assert seqs(frames(listener, [row(2, "task:b"), row(3, "stream:held")])) == [2, 3]


@pytest.mark.parametrize("request_type", ["subscribe", "unsubscribe"])
@pytest.mark.parametrize(
    "payload_of_request",
    [
        {},
        {"topics": None},
        {"topics": "task:*"},
        {"topics": {"task:*": 1}},
        {"topics": 5},
        {"topics": [5]},
        {"topics": ["task:*", None]},
        {"topics": [["task:*"]]},
    ],
    ids=str,
)
def test_topics_that_are_no_list_of_texts_are_an_invalid_message(
    request_type: str, payload_of_request: dict[str, Any]
) -> None:
    listener = new_listener()
    message = {"type": request_type, "payload": payload_of_request}
    error = refusal(listener, message)
    assert error["code"] == "WS_INVALID_MESSAGE"
    assert "topics" in error["message"]
    assert not listener.listening


@pytest.mark.parametrize(
    ("request_type", "field"),
    [
        *(("subscribe", "topic"), ("subscribe", "Since"), ("subscribe", "\x00\ud800")),
        *(("subscribe", ""), ("unsubscribe", "since"), ("unsubscribe", "topic")),
    ],
    ids=ascii,
)
def test_a_field_that_a_request_does_not_know_is_refused_and_named(
    request_type: str, field: str
) -> None:
    listener = new_listener()
    ask(listener, subscribe("stream:held"))
    message = {"type": request_type, "payload": {"topics": ["stream:held", "task:*"], field: 1}}
    error = refusal(listener, message)
    assert error["code"] == "WS_INVALID_MESSAGE"
    assert ascii(field) in error["message"]
    assert frames(listener, [row(1, "task:a")]) == []
    assert seqs(frames(listener, [row(2, "stream:held")])) == [2]


# --- unsubscribe ---


def test_an_unsubscribe_is_answered_with_topics_and_the_count_that_remains() -> None:
    listener = new_listener()
    ask(listener, subscribe("stream:Stream-A", "task:*"))
    assert ask(listener, unsubscribe("task:*", id=7)) == {
        "type": "unsubscribed",
        "id": 7,
        "timestamp": NOW,
        "payload": {"topics": ["task:*"], "activeSubscriptions": 1},
    }


def test_after_an_unsubscribe_only_the_other_patterns_bring_events() -> None:
    listener = new_listener()
    ask(listener, subscribe("stream:Stream-A", "task:*"))
    ask(listener, unsubscribe("task:*"))
    assert seqs(frames(listener, [row(1, "task:a"), row(2, "stream:Stream-A")])) == [2]


def test_of_an_unsubscribe_with_a_pattern_that_is_not_held_nothing_takes_effect() -> None:
    listener = new_listener()
    ask(listener, subscribe("task:*"))
    error = refusal(listener, unsubscribe("task:*", "task:a", id="u"))
    assert error["code"] == "WS_NOT_SUBSCRIBED"
    assert "task:a" in error["message"]
    assert seqs(frames(listener, [row(1, "task:a")])) == [1]


def test_unsubscribing_before_anything_was_subscribed_is_refused() -> None:
    assert refusal(new_listener(), unsubscribe("*"))["code"] == "WS_NOT_SUBSCRIBED"


# --- ids ---


@pytest.mark.parametrize(
    "request_id",
    [
        *("sub-1", "", "0", 0, 1, -1, 2**53, 2**63 - 1, -(2**63) + 1, "a" * 200),
        *("\u00fc\U0001f600\u2028", '"\\\x00\x1f', "null"),
    ],
    ids=ascii,
)
def test_the_answer_and_the_error_carry_the_id_back(request_id: str | int) -> None:
    listener = new_listener()
    good = ask(listener, subscribe("*", id=request_id))
    bad = ask(listener, subscribe("no topic", id=request_id))
    unknown = ask(listener, {"type": "nonsense", "id": request_id})
    pong = ask(listener, {"type": "ping", "id": request_id})
    for answer in (good, bad, unknown, pong):
        assert answer["id"] == request_id
        assert type(answer["id"]) is type(request_id)


EVERY_ERROR = [
    ("WS_INVALID_MESSAGE", {}),
    ("WS_INVALID_MESSAGE", {"type": 5}),
    ("WS_INVALID_MESSAGE", {"type": "subscribe", "payload": []}),
    ("WS_INVALID_MESSAGE", {"type": "subscribe", "payload": {"topics": "*"}}),
    ("WS_INVALID_MESSAGE", {"type": "unsubscribe", "payload": {}}),
    ("WS_INVALID_MESSAGE", {"type": "ping", "payload": 1}),
    ("WS_INVALID_MESSAGE", {"type": "pong", "payload": "x"}),
    ("WS_UNKNOWN_TYPE", {"type": "hello"}),
    ("WS_UNKNOWN_TYPE", {"type": "event", "payload": {}}),
    ("WS_UNKNOWN_TYPE", {"type": "Subscribe", "payload": {"topics": ["*"]}}),
    ("WS_INVALID_TOPIC", subscribe("nonsense")),
    ("WS_INVALID_TOPIC", subscribe()),
    ("WS_SUBSCRIPTION_LIMIT", subscribe(*(f"task:{number}" for number in range(51)))),
    ("WS_NOT_SUBSCRIBED", unsubscribe("task:other")),
]


@pytest.mark.parametrize(("code", "message"), EVERY_ERROR, ids=lambda value: str(value)[:60])
def test_every_error_carries_the_id_back_and_changes_nothing(
    code: str, message: dict[str, Any]
) -> None:
    listener = new_listener()
    ask(listener, subscribe("stream:held"), head=4)
    answer = ask(listener, {**message, "id": "mine"}, head=9)
    assert answer["id"] == "mine"
    assert answer["payload"]["code"] == code
    assert listener.position == 4
    events = [row(5, "task:1"), row(6, "stream:held"), row(7, "stream:other")]
    assert seqs(frames(listener, events)) == [6]


def test_a_message_without_an_id_gets_an_answer_without_one() -> None:
    assert "id" not in ask(new_listener(), subscribe("*"))
    assert "id" not in ask(new_listener(), {"type": "ping", "id": None})
    assert "id" not in ask(new_listener(), {"type": "nonsense"})


@pytest.mark.parametrize(
    "request_id",
    ["a" * 201, 1.5, True, False, ["a"], {"a": 1}, 2**63, -(2**63), 10**400, "\ud800", 1e308],
    ids=lambda value: ascii(value)[:30],
)
def test_an_id_that_cannot_be_carried_back_is_refused_and_nothing_takes_effect(
    request_id: Any,
) -> None:
    listener = new_listener()
    error = refusal(listener, subscribe("*", id=request_id))
    assert error["code"] == "WS_INVALID_MESSAGE"
    assert '"id"' in error["message"]
    assert not listener.listening


# --- ping and pong ---


def test_a_ping_of_the_client_is_answered_with_a_pong() -> None:
    answer = ask(new_listener(), {"type": "ping", "payload": {}})
    assert answer == {"type": "pong", "timestamp": NOW, "payload": {}}


def test_a_pong_of_the_client_is_not_answered() -> None:
    assert tell(new_listener(), {"type": "pong", "payload": {}}) == []
    assert tell(new_listener(), {"type": "pong", "id": "p"}) == []


def test_ping_and_pong_need_no_payload() -> None:
    assert ask(new_listener(), {"type": "ping"})["type"] == "pong"
    assert tell(new_listener(), {"type": "pong"}) == []


def test_the_servers_ping_names_the_position() -> None:
    listener = new_listener()
    ask(listener, subscribe("task:*"), head=3)
    ping = read(listener.ping(LogState(EPOCH, 10), NOW))
    assert ping == {"type": "ping", "timestamp": NOW, "payload": {"seq": 3}}
    assert frames(listener, [row(4, "stream:other")]) == []
    assert read(listener.ping(LogState(EPOCH, 10), NOW))["payload"] == {"seq": 4}


def test_to_a_client_that_asked_for_nothing_the_ping_names_the_head() -> None:
    listener = new_listener(head=3)
    assert read(listener.ping(LogState(EPOCH, 10), NOW))["payload"] == {"seq": 10}


# --- the position ---


def test_the_first_subscribe_starts_at_the_head() -> None:
    listener = new_listener(head=2)
    assert ask(listener, subscribe("task:*"), head=5)["payload"]["seq"] == 5
    assert seqs(frames(listener, [row(4), row(5), row(6)])) == [6]


def test_patterns_added_later_start_at_the_present_position_which_the_answer_names() -> None:
    listener = new_listener()
    ask(listener, subscribe("task:*"), head=5)
    frames(listener, [row(6, "stream:a")])
    assert ask(listener, subscribe("stream:*"), head=20)["payload"]["seq"] == 6
    assert seqs(frames(listener, [row(6, "stream:a"), row(7, "stream:a"), row(8)])) == [7, 8]


def test_an_event_that_several_patterns_select_comes_once() -> None:
    listener = new_listener()
    ask(listener, subscribe("*", "task:*", "task:TASK-1", "task:TASK-1*", "t*"))
    assert seqs(frames(listener, [row(1)])) == [1]


def test_an_event_that_is_handed_over_again_does_not_come_again() -> None:
    listener = new_listener()
    ask(listener, subscribe("*"))
    assert seqs(frames(listener, [row(1), row(2)])) == [1, 2]
    assert seqs(frames(listener, [row(1), row(2), row(3)])) == [3]
    assert frames(listener, []) == []


def test_a_listener_that_asked_for_nothing_gets_nothing() -> None:
    assert frames(new_listener(), [row(1), row(2)]) == []


def test_who_unsubscribes_from_all_and_comes_back_starts_at_the_head_of_then() -> None:
    listener = new_listener()
    ask(listener, subscribe("*"), head=5)
    ask(listener, unsubscribe("*"), head=6)
    assert not listener.listening
    assert ask(listener, subscribe("*"), head=9)["payload"]["seq"] == 9
    assert seqs(frames(listener, [row(6), row(9), row(10)])) == [10]


def test_a_head_that_is_behind_the_position_does_not_move_it_back() -> None:
    listener = new_listener(head=8)
    assert ask(listener, subscribe("*"), head=5)["payload"]["seq"] == 8
    ask(listener, unsubscribe("*"), head=5)
    assert read(listener.ping(LogState(EPOCH, 2), NOW))["payload"] == {"seq": 8}
    assert frames(listener, [row(7), row(8)]) == []


# --- frames of events ---


def test_the_frame_of_an_event_is_the_stored_text_in_the_envelope_of_the_contract() -> None:
    event = StreamProgress(
        workspace="claude-copilot",
        stream_id="Stream-A",
        stream_name='quote " backslash \\ line \u2028 smile \U0001f600 bell \x07',
        total_tasks=4,
        completed_tasks=2,
        in_progress_tasks=1,
        blocked_tasks=0,
        pending_tasks=1,
        progress_percentage=50.0,
        last_updated=COMMITTED,
        status="in_progress",
        stream_phase="foundation",
        dependencies=("Stream-B",),
    )
    stored = numbered(812, payload(event, actor="me", timestamp=COMMITTED))
    listener = new_listener(head=811)
    ask(listener, subscribe("stream:Stream-A"), head=811)
    [frame] = frames(
        listener, [LogRow(812, "stream:Stream-A", "stream.progress", COMMITTED, stored)]
    )
    assert stored in frame
    assert read(frame) == {
        "type": "event",
        "timestamp": COMMITTED,
        "payload": {
            "topic": "stream:Stream-A",
            "eventType": "stream.progress",
            "seq": 812,
            "workspace": "claude-copilot",
            "actor": "me",
            "timestamp": COMMITTED,
            "data": {
                "workspace": "claude-copilot",
                "streamId": "Stream-A",
                "streamName": 'quote " backslash \\ line \u2028 smile \U0001f600 bell \x07',
                "totalTasks": 4,
                "completedTasks": 2,
                "inProgressTasks": 1,
                "blockedTasks": 0,
                "pendingTasks": 1,
                "progressPercentage": 50.0,
                "lastUpdated": COMMITTED,
                "status": "in_progress",
                "streamPhase": "foundation",
                "dependencies": ["Stream-B"],
            },
        },
    }


# --- what is no message ---


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "hello", "{", "{}}", "{'type':'ping'}", '{"type":"ping"', "\x00", "\ufeff{}"),
        *('{"type":"ping"}{"type":"ping"}', '{"type":"ping",}', "\ud800", '{"type":"\ud800"}'),
        *("null", "true", "1", '"ping"', "[]", '[{"type":"ping"}]', "1" * 5000),
        *("[" * 100_000, '{"a":' * 100_000, '{"type":"ping","payload":' + "[" * 60_000),
        *("[" * 50_000 + "]" * 50_000, '{"id":' + "9" * 5000 + ',"type":"ping"}'),
    ],
    ids=lambda text: ascii(text)[:30],
)
def test_what_is_not_one_json_object_is_an_invalid_message(text: str) -> None:
    assert refusal(new_listener(), text)["code"] == "WS_INVALID_MESSAGE"


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_constants_that_json_does_not_have_make_an_invalid_message(constant: str) -> None:
    text = f'{{"type":"ping","payload":{{"x":{constant}}}}}'
    assert refusal(new_listener(), text)["code"] == "WS_INVALID_MESSAGE"


@pytest.mark.parametrize("content", [b"", b'{"type":"ping"}', b"\xff\x00"])
def test_a_binary_message_is_an_invalid_message(content: bytes) -> None:
    assert refusal(new_listener(), content)["code"] == "WS_INVALID_MESSAGE"


@pytest.mark.parametrize("kind", [None, 1, True, [], {}, 1.5], ids=str)
def test_a_type_that_is_no_text_is_an_invalid_message(kind: Any) -> None:
    error = refusal(new_listener(), {"type": kind, "payload": {}})
    assert error["code"] == "WS_INVALID_MESSAGE"
    assert '"type"' in error["message"]


@pytest.mark.parametrize(
    "kind",
    ["", "PING", "ping ", "subscribed", "events", "\x00", "\ud800", "\U0001f600", "x" * 60_000],
    ids=lambda kind: ascii(kind)[:20],
)
def test_an_unknown_type_is_answered_with_the_types_there_are(kind: str) -> None:
    error = refusal(new_listener(), {"type": kind})
    assert error["code"] == "WS_UNKNOWN_TYPE"
    assert error["details"]["allowed"] == ["subscribe", "unsubscribe", "ping", "pong"]
    assert len(json.dumps(error)) < 2000


@pytest.mark.parametrize("kind", ["subscribe", "unsubscribe", "ping", "pong"])
@pytest.mark.parametrize("content", [None, [], "x", 1, True], ids=str)
def test_a_payload_that_is_no_object_is_an_invalid_message(kind: str, content: Any) -> None:
    error = refusal(new_listener(), {"type": kind, "payload": content})
    assert error["code"] == "WS_INVALID_MESSAGE"
    assert '"payload"' in error["message"]


def test_an_error_about_a_long_message_stays_short() -> None:
    for message in (
        subscribe("x" * 60_000),
        {"type": "subscribe", "payload": {"x" * 60_000: 1}},
        {"type": "subscribe", "payload": {f"x{number}": 1 for number in range(5000)}},
        subscribe(*(f"no topic {number}" for number in range(5000))),
        subscribe(*(f"task:{number}" for number in range(5000))),
    ):
        [text] = new_listener().receive(json.dumps(message), LogState(EPOCH, 0), NOW)
        assert len(text) < 2000, text[:300]


def test_an_error_about_many_patterns_that_are_not_held_stays_short() -> None:
    message = unsubscribe(*(f"task:{number}" for number in range(4000)))
    [text] = new_listener().receive(json.dumps(message), LogState(EPOCH, 0), NOW)
    assert len(text) < 2000, text[:300]


# --- anything at all ---

texts = st.text(
    st.characters() | st.sampled_from(["\x00", "\ud800", "\udfff", "\u2028", "*", ":"]), max_size=20
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
some_topics = st.lists(
    st.sampled_from(["*", "task:*", "task:a", "stream:a", "nonsense"]) | texts | json_values,
    max_size=4,
)
payloads = json_values | st.dictionaries(
    st.sampled_from(["topics", "since", "x"]) | texts, some_topics | json_values, max_size=3
)
near_messages = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["subscribe", "unsubscribe", "ping", "pong", "event"]) | texts,
        "id": json_values,
        "payload": payloads,
        "timestamp": json_values,
    },
)


def check_replies(frames: list[str]) -> list[dict[str, Any]]:
    answers = [read(frame) for frame in frames]
    for answer in answers:
        assert set(answer) <= {"type", "timestamp", "payload", "id"}
        assert answer["type"] in SERVER_TYPES
        assert answer["timestamp"] == NOW
        assert isinstance(answer["payload"], dict)
        if answer["type"] == "error":
            assert set(answer["payload"]) == {"code", "message", "details"}
            assert answer["payload"]["code"] in ERROR_CODES
            assert isinstance(answer["payload"]["message"], str)
            assert isinstance(answer["payload"]["details"], dict)
    return answers


@unhurried
@given(st.text() | st.binary())
def test_any_text_and_any_bytes_get_exactly_one_error(content: str | bytes) -> None:
    [answer] = check_replies(new_listener().receive(content, LogState(EPOCH, 0), NOW))
    assert answer["type"] == "error"


@unhurried
@given(json_values | near_messages, st.booleans())
def test_any_json_gets_exactly_one_answer_or_none_if_it_is_a_pong(
    message: Any, escaped: bool
) -> None:
    text = json.dumps(message, ensure_ascii=escaped)
    answers = check_replies(new_listener().receive(text, LogState(EPOCH, 0), NOW))
    is_pong = isinstance(message, dict) and message.get("type") == "pong"
    assert len(answers) == 1 or (answers == [] and is_pong)


@unhurried
@given(st.lists(near_messages, max_size=6))
def test_a_listener_that_has_been_told_anything_still_works(messages: list[Any]) -> None:
    listener = new_listener()
    for message in messages:
        check_replies(listener.receive(json.dumps(message), LogState(EPOCH, 3), NOW))
    assert listener.position in {0, 3}
    assert ask(listener, subscribe("stream:last"), head=3)["payload"]["seq"] == listener.position
    assert seqs(frames(listener, [row(4, "stream:last")])) == [4]


# --- a model ---

MODEL_TOPICS = ["task:a", "task:ab", "task:b", "stream:a", "stream:b", "checkpoint:a"]
MODEL_PATTERNS = [*MODEL_TOPICS, "task:*", "task:a*", "stream:*", "s*", "*"]
MODEL_LIMIT = 5


def selects(pattern: str, topic: str) -> bool:
    return pattern == topic or (pattern.endswith("*") and topic.startswith(pattern[:-1]))


class AgainstAModel(RuleBasedStateMachine):
    """A listener and a naive one are told the same and have to agree on every step."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[LogRow] = []
        self.held: set[str] = set()
        self.got: list[int] = []

    @property
    def head(self) -> int:
        return len(self.log)

    @initialize(events=st.lists(st.sampled_from(MODEL_TOPICS), max_size=3))
    def connect(self, events: list[str]) -> None:
        self.commit(events)
        self.position = self.head
        self.listener = Listener(head=self.head, max_patterns=MODEL_LIMIT)

    @rule(events=st.lists(st.sampled_from(MODEL_TOPICS), min_size=1, max_size=5))
    def commit(self, events: list[str]) -> None:
        for topic in events:
            self.log.append(row(self.head + 1, topic))

    @rule(
        topics=st.lists(st.sampled_from(MODEL_PATTERNS), min_size=1, max_size=4),
        bad=st.sampled_from([None, None, None, "nonsense", "task:*a"]),
        request_id=st.none() | st.integers(0, 9),
    )
    def subscribe(self, topics: list[str], bad: str | None, request_id: int | None) -> None:
        asked = topics if bad is None else [*topics, bad]
        answer = ask(self.listener, subscribe(*asked, id=request_id), self.head)
        assert answer.get("id") == request_id
        if bad is not None:
            assert answer["payload"]["code"] == "WS_INVALID_TOPIC"
        elif len(self.held | set(topics)) > MODEL_LIMIT:
            assert answer["payload"]["code"] == "WS_SUBSCRIPTION_LIMIT"
        else:
            if not self.held:
                self.position = self.head
            self.held |= set(topics)
            assert list(dict.fromkeys(answer["payload"]["topics"])) == list(dict.fromkeys(topics))
            assert answer["payload"]["activeSubscriptions"] == len(self.held)
            assert answer["payload"]["seq"] == self.position

    @rule(topics=st.lists(st.sampled_from(MODEL_PATTERNS), min_size=1, max_size=3))
    def unsubscribe(self, topics: list[str]) -> None:
        answer = ask(self.listener, unsubscribe(*topics), self.head)
        if set(topics) <= self.held:
            self.held -= set(topics)
            assert answer["payload"]["activeSubscriptions"] == len(self.held)
        else:
            assert answer["payload"]["code"] == "WS_NOT_SUBSCRIBED"

    @rule(back=st.integers(0, 4), count=st.integers(0, 6))
    def deliver(self, back: int, count: int) -> None:
        """Hands over the next rows, and some that the listener has already."""
        if not self.held:
            return
        rows = self.log[max(0, self.position - back) : self.position + count]
        expected = [
            item
            for item in rows
            if item.seq > self.position and any(selects(held, item.topic) for held in self.held)
        ]
        got = frames(self.listener, rows)
        assert seqs(got) == [item.seq for item in expected]
        assert all(item.payload in text for item, text in zip(expected, got, strict=True))
        self.got += [item.seq for item in expected]
        self.position = max([self.position, *(item.seq for item in rows)])

    @rule()
    def ping(self) -> None:
        if not self.held:
            self.position = self.head
        ping = read(self.listener.ping(LogState(EPOCH, self.head), NOW))
        assert ping["payload"] == {"seq": self.position}

    @rule(text=st.sampled_from(["nonsense", "{}", '{"type":"ping"}', '{"type":"pong"}', "[1]"]))
    def say_something_else(self, text: str) -> None:
        tell(self.listener, text, self.head)

    @invariant()
    def they_agree(self) -> None:
        assert len(self.listener.subscriptions) == len(self.held)
        assert self.listener.listening is bool(self.held)
        assert self.listener.position == self.position
        assert self.got == sorted(set(self.got))


AgainstAModel.TestCase.settings = settings(unhurried, max_examples=60, stateful_step_count=30)
TestAListenerAndANaiveOneAgree = AgainstAModel.TestCase
