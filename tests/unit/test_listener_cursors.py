"""Where a listener begins, what it filters and how it is served: the first subscribe in full."""

import json
from typing import Any

import pytest

from memory import event_row
from task_copilot.events.bus import Stretch
from task_copilot.events.listener import BATCH_BYTES, Listener
from task_copilot.events.log import LogRow, LogState
from unit.test_listener import (
    EPOCH,
    MAX_PATTERNS,
    NOW,
    ask,
    frames,
    new_listener,
    read,
    refusal,
    row,
    seqs,
    subscribe,
    unsubscribe,
)
from validation import schema_problems, valid_request

HEAD = 10
MIB = 1024 * 1024


def begin(listener: Listener, *, head: int = HEAD, **payload: Any) -> dict[str, Any]:
    """The payload of the answer to a first subscribe to everything."""
    message = {"type": "subscribe", "payload": {"topics": ["*"], **payload}}
    answer = ask(listener, valid_request(message), head)
    assert answer["type"] == "subscribed", answer
    return dict(answer["payload"])


def rows(first: int, last: int) -> list[LogRow]:
    return [row(seq) for seq in range(first, last + 1)]


def kept(listener: Listener, *found: LogRow, upto: int | None = None) -> list[dict[str, Any]]:
    """What the listener is sent of a log that holds just `found`."""
    end = found[-1].seq if upto is None else upto
    return [read(text) for text in listener.frames(Stretch(found, end), lambda: NOW)]


# --- since ---


@pytest.mark.parametrize("given", [{}, {"epoch": EPOCH}], ids=str)
@pytest.mark.parametrize("since", [0, 3, HEAD - 1, HEAD])
def test_who_says_since_gets_what_comes_after_it_and_is_told_the_head(
    since: int, given: dict[str, Any]
) -> None:
    listener = new_listener(head=HEAD)
    answer = begin(listener, since=since, **given)
    assert (answer["seq"], answer["epoch"]) == (HEAD, EPOCH)
    assert listener.position == since
    assert seqs(frames(listener, rows(since + 1, HEAD + 2))) == [*range(since + 1, HEAD + 3)]


def test_a_since_of_null_is_none() -> None:
    listener = new_listener()
    nothing = {"topics": ["*"], "since": None, "epoch": None, "replay": None, "batch": None}
    wanted = {"eventTypes": None, "streams": None, "agents": None, "notActors": None}
    ask(listener, {"type": "subscribe", "payload": {**nothing, "filter": wanted}}, HEAD)
    assert listener.position == HEAD
    assert seqs(frames(listener, rows(HEAD, HEAD + 1))) == [HEAD + 1]


INVALID_CURSORS: list[tuple[dict[str, Any], str]] = [
    ({"since": -1}, "a whole number from 0 to 9,223,372,036,854,775,807"),
    ({"since": 2**63}, "a whole number from 0 to 9,223,372,036,854,775,807"),
    ({"since": 10**30}, "a whole number from 0"),
    ({"since": "5"}, "since: got '5'; takes a whole number from 0"),
    ({"since": 5.0}, "since: got 5.0; takes a whole number"),
    ({"since": 5.5}, "since: got 5.5; takes a whole number"),
    ({"since": True}, "since: got True; takes a whole number"),
    ({"since": [5]}, "since: got a list; takes a whole number"),
    ({"since": {}}, "since: got an object; takes a whole number"),
    ({"since": HEAD + 1}, "since: 11 is above the head of the log, which is 10"),
    ({"since": 2**63 - 1}, "is above the head of the log, which is 10"),
    ({"since": HEAD + 1, "epoch": EPOCH}, "is above the head of the log, which is 10"),
    ({"since": 5, "epoch": "epoch-2"}, "it is 'epoch-1' now"),
    ({"since": 5, "epoch": EPOCH.upper()}, "it is 'epoch-1' now"),
    ({"since": 5, "epoch": "\u00e4\u2028"}, "it is 'epoch-1' now"),
    ({"since": 5, "epoch": ""}, "a text of 1 to 200 characters"),
    ({"since": 5, "epoch": "x" * 201}, "a text of 1 to 200 characters"),
    ({"since": 5, "epoch": 1}, "epoch: got 1; takes a text"),
    ({"since": 5, "epoch": "\ud800"}, "surrogate"),
    ({"epoch": EPOCH}, "epoch: belongs to since"),
    ({"replay": 5, "epoch": EPOCH}, "epoch: belongs to since"),
    ({"replay": -1}, "replay: got -1; takes a whole number from 0 to 100,000"),
    ({"replay": 100_001}, "takes a whole number from 0 to 100,000"),
    ({"replay": 10**30}, "takes a whole number from 0 to 100,000"),
    ({"replay": "20"}, "replay: got '20'; takes a whole number"),
    ({"replay": 1.0}, "replay: got 1.0; takes a whole number"),
    ({"replay": False}, "replay: got False; takes a whole number"),
    ({"replay": []}, "replay: got a list; takes a whole number"),
    ({"since": 5, "replay": 5}, "since or replay, not both"),
    ({"since": 0, "replay": 0}, "since or replay, not both"),
    ({"since": -1, "replay": -1, "epoch": 5}, "since: got -1"),
]


@pytest.mark.parametrize(("cursor", "words"), INVALID_CURSORS, ids=lambda value: ascii(value)[:40])
def test_a_cursor_that_is_none_is_refused_and_nothing_takes_effect(
    cursor: dict[str, Any], words: str
) -> None:
    listener = new_listener(head=2)
    message = {"type": "subscribe", "id": "c", "payload": {"topics": ["*"], **cursor}}
    if any("\ud800" in str(value) for value in cursor.values()):
        error = refusal(listener, json.dumps(message), HEAD)
        assert error["code"] in {"WS_INVALID_MESSAGE", "WS_INVALID_CURSOR"}
    else:
        error = refusal(listener, message, HEAD)
        assert error["code"] == "WS_INVALID_CURSOR"
    assert words in error["message"]
    assert schema_problems("asyncapi", "ServerError", ask(listener, message, HEAD)) == []
    assert (listener.position, listener.listening, listener.replay) == (2, False, None)
    assert frames(listener, rows(1, 4)) == []


def test_a_position_of_another_log_is_answered_with_the_one_that_there_is() -> None:
    listener = new_listener()
    for cursor in ({"since": 3, "epoch": "other"}, {"since": 11}):
        message = {"type": "subscribe", "payload": {"topics": ["*"], **cursor}}
        assert refusal(listener, message, HEAD)["details"] == {"epoch": EPOCH, "seq": HEAD}


def test_after_a_refused_first_subscribe_the_next_is_still_the_first() -> None:
    listener = new_listener(head=4)
    refusal(listener, {"type": "subscribe", "payload": {"topics": ["*"], "since": 99}}, HEAD)
    refusal(listener, subscribe("nonsense"), HEAD)
    refusal(listener, unsubscribe("*"), HEAD)
    assert begin(listener, since=1)["seq"] == HEAD
    assert seqs(frames(listener, rows(1, 3))) == [2, 3]


@pytest.mark.parametrize("cursor", [{"since": 3}, {"since": 3, "epoch": EPOCH}, {"replay": 3}])
@pytest.mark.parametrize("first", [{}, {"since": 2}, {"replay": 0}])
def test_a_cursor_in_a_later_subscribe_is_refused_and_nothing_takes_effect(
    first: dict[str, int], cursor: dict[str, Any]
) -> None:
    listener = new_listener(head=HEAD)
    ask(listener, {"type": "subscribe", "payload": {"topics": ["stream:a"], **first}}, HEAD)
    before = listener.position
    later = {"type": "subscribe", "payload": {"topics": ["task:*"], **cursor}}
    error = refusal(listener, later, HEAD)
    assert error["code"] == "WS_INVALID_CURSOR"
    assert error["details"] == {"seq": before}
    assert "first subscribe" in error["message"]
    assert str(before) in error["message"]
    assert listener.position == before
    assert len(listener.subscriptions) == 1
    assert frames(listener, rows(before, HEAD + 1)) == []


def test_who_let_go_of_everything_cannot_say_since_again() -> None:
    listener = new_listener()
    begin(listener)
    ask(listener, unsubscribe("*"), HEAD)
    message = {"type": "subscribe", "payload": {"topics": ["*"], "since": 0}}
    assert refusal(listener, message, HEAD)["code"] == "WS_INVALID_CURSOR"
    assert begin(listener, head=12)["seq"] == 12


def test_a_later_subscribe_is_told_the_position_while_the_listener_is_behind() -> None:
    listener = new_listener(head=HEAD)
    begin(listener, since=2)
    frames(listener, rows(3, 5))
    assert ask(listener, subscribe("task:*"), HEAD)["payload"]["seq"] == 5
    assert seqs(frames(listener, rows(4, 6))) == [6]


def test_a_ping_names_how_far_a_listener_has_come_that_is_behind() -> None:
    listener = new_listener(head=HEAD)
    begin(listener, since=2)
    frames(listener, rows(3, 4))
    assert read(listener.ping(LogState(EPOCH, HEAD), NOW))["payload"] == {"seq": 4}


# --- replay ---


def test_a_replay_waits_until_it_is_known_where_it_begins() -> None:
    listener = new_listener(head=HEAD)
    assert begin(listener, replay=3)["seq"] == HEAD
    assert (listener.replay, listener.listening) == (3, False)
    listener.place(6)
    assert (listener.replay, listener.listening, listener.position) == (None, True, 6)
    assert seqs(frames(listener, rows(5, 12))) == [*range(7, 13)]


def test_a_replay_of_nothing_begins_at_the_head() -> None:
    listener = new_listener(head=4)
    begin(listener, replay=0)
    assert (listener.replay, listener.listening, listener.position) == (None, True, HEAD)


# --- gaps ---


def test_what_is_gone_after_since_is_told_first_and_exactly() -> None:
    listener = new_listener()
    begin(listener, since=3)
    gap, *events = kept(listener, *rows(8, 10))
    assert gap == {
        "type": "gap",
        "timestamp": NOW,
        "payload": {"from": 4, "to": 7, "reason": "pruned"},
    }
    assert [event["payload"]["seq"] for event in events] == [8, 9, 10]
    assert listener.reader.gaps == 1


def test_a_gap_is_told_in_the_middle_at_the_end_and_to_who_wants_other_topics() -> None:
    listener = new_listener()
    ask(listener, {"type": "subscribe", "payload": {"topics": ["stream:*"], "since": 0}}, HEAD)
    found = kept(listener, row(1), row(5, "stream:a"), row(6), upto=9)
    told = [
        (item["type"], item["payload"].get("seq", item["payload"].get("from"))) for item in found
    ]
    assert told == [("gap", 2), ("event", 5), ("gap", 7)]
    assert (found[0]["payload"]["to"], found[2]["payload"]["to"]) == (4, 9)
    assert listener.position == 9


def test_a_gap_is_told_once_and_never_where_nothing_is_gone() -> None:
    listener = new_listener()
    begin(listener, since=0)
    assert [item["type"] for item in kept(listener, *rows(4, 5))] == ["gap", "event", "event"]
    assert kept(listener, *rows(4, 5)) == []
    assert [item["type"] for item in kept(listener, *rows(5, 6))] == ["event"]
    assert kept(listener, upto=6) == []


def test_in_a_batch_a_gap_keeps_its_place() -> None:
    listener = new_listener()
    begin(listener, since=0, batch={"maxEvents": 2})
    found = kept(listener, *rows(3, 5), *rows(8, 8), upto=10)
    assert [item["type"] for item in found] == ["gap", "events", "events", "gap", "events", "gap"]
    held = [
        [event["seq"] for event in item["payload"].get("events", [])]
        or [item["payload"]["from"], item["payload"]["to"]]
        for item in found
    ]
    assert held == [[1, 2], [3, 4], [5], [6, 7], [8], [9, 10]]


# --- filters ---


def about(seq: int, event_type: str, **data: Any) -> LogRow:
    kind = event_type.partition(".")[0]
    return event_row(seq, f"{kind}:x", event_type, **data)


MIXED = [
    about(1, "task.created", streamId="A", assignedAgent="me"),
    about(2, "task.completed", streamId="A", assignedAgent="you"),
    about(3, "stream.progress", streamId="A"),
    about(4, "stream.completed", streamId="B", actor="other"),
    about(5, "task.updated", streamId=None, assignedAgent=None, actor="other"),
    about(6, "checkpoint.created", streamId="B"),
]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, [1, 2, 3, 4, 5, 6]),
        ({"eventTypes": ["task.completed"]}, [2]),
        ({"eventTypes": ["task.completed", "stream.*"]}, [2, 3, 4]),
        ({"eventTypes": ["*"]}, [1, 2, 3, 4, 5, 6]),
        ({"eventTypes": ["task.c*"]}, [1, 2]),
        ({"streams": ["A"]}, [1, 2, 3]),
        ({"streams": ["A", "B"]}, [1, 2, 3, 4, 6]),
        ({"streams": ["a"]}, []),
        ({"agents": ["me"]}, [1]),
        ({"agents": ["me", "you"]}, [1, 2]),
        ({"notActors": ["me"]}, [4, 5]),
        ({"notActors": ["other", "me"]}, []),
        ({"notActors": ["nobody"]}, [1, 2, 3, 4, 5, 6]),
        ({"eventTypes": ["stream.*"], "streams": ["B"]}, [4]),
        ({"eventTypes": ["stream.*"], "streams": ["B"], "notActors": ["other"]}, []),
    ],
    ids=str,
)
def test_all_conditions_of_a_filter_have_to_hold(
    wanted: dict[str, Any], expected: list[int]
) -> None:
    listener = new_listener()
    begin(listener, since=0, filter=wanted)
    assert seqs(frames(listener, MIXED)) == expected
    assert listener.position == 6


def test_two_patterns_may_have_filters_of_their_own() -> None:
    listener = new_listener()
    selections = [
        {"topics": ["task:*"], "filter": {"eventTypes": ["task.completed"]}},
        {"topics": ["stream:*", "checkpoint:*"], "filter": {"streams": ["B"]}},
    ]
    message = {"type": "subscribe", "payload": {"subscriptions": selections, "since": 0}}
    answer = ask(listener, valid_request(message), HEAD)["payload"]
    assert answer["topics"] == ["task:*", "stream:*", "checkpoint:*"]
    assert (answer["activeSubscriptions"], answer["seq"]) == (3, HEAD)
    assert seqs(frames(listener, MIXED)) == [2, 4, 6]


def test_an_event_that_two_filters_select_comes_once() -> None:
    listener = new_listener()
    message = subscribe("task:*")
    message["payload"]["filter"] = {"streams": ["A"]}
    ask(listener, message)
    ask(listener, subscribe("task:x"))
    assert seqs(frames(listener, MIXED)) == [1, 2, 5]


def test_a_pattern_that_is_repeated_gets_the_new_filter_and_counts_once() -> None:
    listener = new_listener()
    for number, wanted in enumerate([{"streams": ["A"]}, {"streams": ["B"]}, None]):
        message = {"type": "subscribe", "payload": {"topics": ["*"], "filter": wanted}}
        answer = ask(listener, message)["payload"]
        assert answer["activeSubscriptions"] == 1
        found = kept(
            listener,
            *(
                about(seq, "stream.progress", streamId=name)
                for seq, name in enumerate("AB", number * 2 + 1)
            ),
        )
        names = [item["payload"]["data"]["streamId"] for item in found]
        assert names == [["A"], ["B"], ["A", "B"]][number]


def test_one_pattern_of_several_can_be_let_go_and_the_others_keep_their_filter() -> None:
    listener = new_listener()
    message = {"topics": ["task:*", "stream:*"], "filter": {"streams": ["A"]}}
    ask(listener, {"type": "subscribe", "payload": message})
    ask(listener, unsubscribe("task:*"))
    assert seqs(frames(listener, MIXED)) == [3]


def test_a_listener_of_one_workspace_sees_no_other() -> None:
    listener = Listener(head=0, max_patterns=MAX_PATTERNS, workspace="shop")
    begin(listener, head=0, filter={"agents": ["me"]})
    found = [
        event_row(1, workspace="shop", assignedAgent="me"),
        event_row(2, workspace="blog", assignedAgent="me"),
        event_row(3, workspace="shop", assignedAgent="you"),
        event_row(4, workspace="shop", assignedAgent="me"),
    ]
    assert seqs(frames(listener, found)) == [1, 4]


NAMES = "a list of 1 to 100 items"
INVALID_REQUESTS: list[tuple[dict[str, Any], str, str]] = [
    ({"filter": {"eventTypes": ["task.nope"]}}, "WS_INVALID_MESSAGE", "it is one of task.created"),
    ({"filter": {"eventTypes": ["task.*", "x*"]}}, "WS_INVALID_MESSAGE", "'x*' selects no event"),
    ({"filter": {"eventTypes": ["task"]}}, "WS_INVALID_MESSAGE", "it is one of task.created"),
    ({"filter": {"eventTypes": ["TASK.CREATED"]}}, "WS_INVALID_MESSAGE", "it is one of"),
    ({"filter": {"eventTypes": ["*.created"]}}, "WS_INVALID_MESSAGE", "the start of one and '*'"),
    ({"filter": {"eventTypes": ["**"]}}, "WS_INVALID_MESSAGE", "selects no event"),
    ({"filter": {"eventTypes": []}}, "WS_INVALID_MESSAGE", NAMES),
    ({"filter": {"streams": []}}, "WS_INVALID_MESSAGE", NAMES),
    ({"filter": {"agents": []}}, "WS_INVALID_MESSAGE", NAMES),
    ({"filter": {"notActors": []}}, "WS_INVALID_MESSAGE", NAMES),
    ({"filter": {"streams": ["A"] * 101}}, "WS_INVALID_MESSAGE", f"got 101 items; takes {NAMES}"),
    ({"filter": {"streams": "A"}}, "WS_INVALID_MESSAGE", f"got 'A'; takes {NAMES}"),
    ({"filter": {"streams": {"A": 1}}}, "WS_INVALID_MESSAGE", NAMES),
    ({"filter": {"streams": [1]}}, "WS_INVALID_MESSAGE", "filter.streams[0]: got 1; takes a text"),
    ({"filter": {"streams": [None]}}, "WS_INVALID_MESSAGE", "takes a text of 1 to 200 characters"),
    ({"filter": {"streams": [""]}}, "WS_INVALID_MESSAGE", "a text of 1 to 200 characters"),
    ({"filter": {"agents": ["x" * 201]}}, "WS_INVALID_MESSAGE", "a text of 1 to 200 characters"),
    ({"filter": {"eventType": ["*"]}}, "WS_INVALID_MESSAGE", "it takes eventTypes, streams"),
    ({"filter": {"event_types": ["*"]}}, "WS_INVALID_MESSAGE", "it takes eventTypes, streams"),
    ({"filter": []}, "WS_INVALID_MESSAGE", "filter: got a list; takes an object"),
    ({"filter": "task.*"}, "WS_INVALID_MESSAGE", "filter: got 'task.*'; takes an object"),
    ({"batch": {"maxEvents": 0}}, "WS_INVALID_MESSAGE", "a whole number from 1 to 1,000"),
    ({"batch": {"maxEvents": -1}}, "WS_INVALID_MESSAGE", "a whole number from 1 to 1,000"),
    ({"batch": {"maxEvents": 1_001}}, "WS_INVALID_MESSAGE", "a whole number from 1 to 1,000"),
    ({"batch": {"maxEvents": 1_000_000}}, "WS_INVALID_MESSAGE", "a whole number from 1 to 1,000"),
    ({"batch": {"maxEvents": "5"}}, "WS_INVALID_MESSAGE", "batch.maxEvents: got '5'"),
    ({"batch": {"maxEvents": 5.0}}, "WS_INVALID_MESSAGE", "a whole number from 1 to 1,000"),
    ({"batch": {"maxEvents": True}}, "WS_INVALID_MESSAGE", "a whole number from 1 to 1,000"),
    ({"batch": {"maxEvents": None}}, "WS_INVALID_MESSAGE", "a whole number from 1 to 1,000"),
    ({"batch": {"maxDelayMs": -1}}, "WS_INVALID_MESSAGE", "a whole number from 0 to 10,000"),
    ({"batch": {"maxDelayMs": 10_001}}, "WS_INVALID_MESSAGE", "a whole number from 0 to 10,000"),
    ({"batch": {"maxDelayMs": 0.5}}, "WS_INVALID_MESSAGE", "a whole number from 0 to 10,000"),
    ({"batch": {"size": 5}}, "WS_INVALID_MESSAGE", "it takes maxEvents, maxDelayMs"),
    ({"batch": 5}, "WS_INVALID_MESSAGE", "batch: got 5; takes an object"),
    ({"batch": []}, "WS_INVALID_MESSAGE", "batch: got a list; takes an object"),
    ({"batch": True}, "WS_INVALID_MESSAGE", "batch: got True; takes an object"),
    ({"subscriptions": [{"topics": ["*"]}]}, "WS_INVALID_MESSAGE", "either topics"),
    ({"topics": None, "subscriptions": []}, "WS_INVALID_MESSAGE", "subscriptions"),
    ({"topics": None, "subscriptions": {}}, "WS_INVALID_MESSAGE", "subscriptions: got an object"),
    ({"topics": None, "subscriptions": ["*"]}, "WS_INVALID_MESSAGE", "subscriptions[0]: got '*'"),
    ({"topics": None, "subscriptions": [{}]}, "WS_INVALID_MESSAGE", "topics: is missing"),
    ({"topics": None, "subscriptions": [{"topics": "*"}]}, "WS_INVALID_MESSAGE", "takes a list"),
    (
        {"topics": None, "subscriptions": [{"topics": ["*"], "since": 1}]},
        "WS_INVALID_MESSAGE",
        "it takes topics, filter",
    ),
    (
        {"topics": None, "subscriptions": [{"topics": ["*"]}], "filter": {"streams": ["A"]}},
        "WS_INVALID_MESSAGE",
        "either topics",
    ),
    (
        {"topics": None, "subscriptions": [{"topics": ["*"]}, {"topics": []}]},
        "WS_INVALID_TOPIC",
        "at least one topic",
    ),
    (
        {"topics": None, "subscriptions": [{"topics": ["*"]}, {"topics": ["no"]}]},
        "WS_INVALID_TOPIC",
        "'no' is no topic",
    ),
    (
        {"topics": None, "subscriptions": [{"topics": [f"task:{n}"]} for n in range(50)]},
        "WS_SUBSCRIPTION_LIMIT",
        "at most 50 patterns",
    ),
    ({"topics": None}, "WS_INVALID_MESSAGE", 'needs "topics"'),
    ({"since": 3, "filter": {"streams": []}}, "WS_INVALID_MESSAGE", NAMES),
    ({"since": -3, "batch": {"maxEvents": 0}}, "WS_INVALID_MESSAGE", "a whole number"),
]


@pytest.mark.parametrize(
    ("payload", "code", "words"), INVALID_REQUESTS, ids=lambda value: ascii(value)[:50]
)
def test_a_request_that_is_not_allowed_says_what_is_and_changes_nothing(
    payload: dict[str, Any], code: str, words: str
) -> None:
    listener = new_listener(head=4)
    ask(listener, {"type": "subscribe", "payload": {"topics": ["stream:held"], "since": 4}}, HEAD)
    message = {"type": "subscribe", "id": "w", "payload": {"topics": ["task:*"], **payload}}
    if "since" in payload:
        listener = new_listener(head=4)
    error = refusal(listener, message, HEAD)
    assert (error["code"], words in error["message"]) == (code, True), error
    assert len(error["message"]) < 1000
    assert schema_problems("asyncapi", "ServerError", ask(listener, message, HEAD)) == []
    assert listener.errors == {code: 2}
    assert (listener.position, listener.batch) == (4, None)
    assert len(listener.subscriptions) == (0 if "since" in payload else 1)
    assert frames(listener, [row(5), row(6, "checkpoint:1")]) == []


def test_a_request_of_50_patterns_in_several_subscriptions_is_within_the_limit() -> None:
    listener = new_listener()
    given = [{"topics": [f"task:{number}", "task:x"]} for number in range(49)]
    answer = ask(listener, {"type": "subscribe", "payload": {"subscriptions": given}})
    assert answer["payload"]["activeSubscriptions"] == 50


# --- batches ---


@pytest.mark.parametrize(("most", "sizes"), [(1, [1] * 7), (3, [3, 3, 1]), (7, [7]), (1_000, [7])])
def test_a_batch_holds_as_many_events_as_were_asked_for_in_order(
    most: int, sizes: list[int]
) -> None:
    listener = new_listener()
    begin(listener, head=0, batch={"maxEvents": most})
    found = [read(text) for text in frames(listener, rows(1, 7))]
    assert [len(item["payload"]["events"]) for item in found] == sizes
    assert [event["seq"] for item in found for event in item["payload"]["events"]] == [*range(1, 8)]
    for item in found:
        assert set(item) == {"type", "timestamp", "payload"}
        assert (item["type"], item["timestamp"]) == ("events", NOW)


def test_a_batch_holds_the_payloads_as_single_events_would_have_them() -> None:
    single, batched = new_listener(), new_listener()
    begin(single, since=0)
    begin(batched, since=0, batch={})
    [batch] = frames(batched, MIXED)
    assert read(batch)["payload"]["events"] == [
        read(text)["payload"] for text in frames(single, MIXED)
    ]


def test_where_nothing_matches_there_is_no_empty_batch() -> None:
    listener = new_listener()
    begin(listener, since=0, batch={}, filter={"streams": ["Z"]})
    assert frames(listener, MIXED) == []
    assert listener.position == 6


def test_a_batch_may_be_asked_for_later_and_stays() -> None:
    listener = new_listener()
    begin(listener, head=0)
    assert [read(text)["type"] for text in frames(listener, rows(1, 2))] == ["event"] * 2
    begin(listener, batch={"maxEvents": 5})
    assert [read(text)["type"] for text in frames(listener, rows(3, 4))] == ["events"]
    begin(listener)
    assert [read(text)["type"] for text in frames(listener, rows(5, 6))] == ["events"]


@pytest.mark.parametrize("sign", ["x", "\u00e4", "\u65e5", "\U0001f600"], ids=ascii)
def test_a_batch_of_large_events_stays_far_below_a_mebibyte_on_the_wire(sign: str) -> None:
    text = sign * (30_000 // len(sign.encode()))
    listener = new_listener()
    begin(listener, head=0, batch={"maxEvents": 1_000})
    large = [event_row(seq, taskTitle="") for seq in range(1, 61)]
    for item in large:
        item.payload = item.payload.replace('"taskTitle": ""', f'"taskTitle": "{text}"')
    sent: list[str] = []
    while listener.position < 60:
        sent += frames(listener, large)
    assert max(len(item.encode()) for item in sent) < BATCH_BYTES + 40_000
    got = [event["seq"] for item in sent for event in read(item)["payload"]["events"]]
    assert got == [*range(1, 61)]


def test_one_call_makes_no_more_batches_than_a_listener_that_does_not_read_may_cost() -> None:
    listener = new_listener()
    begin(listener, head=0, batch={"maxEvents": 1_000})
    large = [event_row(seq, taskTitle="x" * 30_000) for seq in range(1, 501)]
    made = frames(listener, large)
    assert sum(map(len, made)) < MIB
    assert 0 < listener.position < 500
