"""The client's side of the protocol, without a socket: against a hub in a few lines."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_hub import EPOCH, TYPES, FakeHub, frame, payload
from task_copilot.client.core import MAX_REQUEST_CHARACTERS, Core, Start
from task_copilot.client.errors import RequestRefused, Unusable
from task_copilot.client.model import Event, Gap, Item, Mark
from task_copilot.client.selection import EVERYTHING, Condition, Wish, coarse, merged
from task_copilot.events.types import EVENT_TYPES

WISHES = st.lists(
    st.builds(
        Wish,
        st.sampled_from([("task:*",), ("*",), ("stream:*", "task:TASK-1"), ("task:TASK-2",)]),
        st.sampled_from([EVERYTHING, Condition(event_types=("task.created",))]),
    ),
    min_size=1,
    max_size=3,
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.sampled_from(TYPES), st.integers(1, 3)),
        st.tuples(st.just("deliver"), st.integers(0, 5), st.booleans()),
        st.tuples(st.just("page"), st.integers(1, 5), st.none()),
        st.tuples(st.just("prune"), st.integers(1, 3), st.none()),
        st.tuples(st.sampled_from(["ping", "connect", "again"]), st.none(), st.none()),
    ),
    max_size=60,
)


def exchange(core: Core, hub: FakeHub) -> list[Item]:
    """Sends what the core wants to send, until it has nothing more to say."""
    found: list[Item] = []
    while messages := core.outgoing():
        for message in messages:
            for answer in hub.take(message):
                found += core.receive(answer)
    return found


def step(core: Core, hub: FakeHub, what: tuple[str, Any, Any], last: list[str]) -> list[Item]:
    kind, first, second = what
    found: list[Item] = []
    if kind == "append":
        hub.append(first, second)
    elif kind == "deliver":
        last[:] = hub.deliver(first, batch=second) or last
        found = [item for text in last if hub.position for item in core.receive(text)]
    elif kind == "again" and hub.position:  # a hub that says everything twice
        found = [item for text in last for item in core.receive(text)]
    elif kind == "ping" and hub.position is not None:
        found = core.receive(frame("ping", {"seq": hub.position}))
    elif kind == "page":
        found = core.page(hub.page(core.query(), first))
    elif kind == "prune":
        hub.pruned = min(hub.head, hub.pruned + first)
    elif kind == "connect":
        last.clear()
        hub.connect()
        core.connected()
        found = exchange(core, hub)
    return found


@given(WISHES, STEPS)
def test_each_event_comes_once_in_order_or_in_a_gap_over_all_transports(
    wishes: Sequence[Wish], steps: Sequence[tuple[str, Any, Any]]
) -> None:
    hub, core, last = FakeHub(), Core(Start(since=0)), list[str]()
    core.wish(wishes)
    found = exchange(core, hub)
    for what in steps:
        found += step(core, hub, what, last)
    found += step(core, hub, ("connect", None, None), last)
    found += step(core, hub, ("deliver", 1000, False), last)
    events = [item for item in found if isinstance(item, Event)]
    lost = {n for item in found if isinstance(item, Gap) for n in range(item.from_, item.to + 1)}
    wanted = [
        row["seq"]
        for row in hub.log
        if any(each.matches(Event(epoch=EPOCH, **in_python(row))) for each in wishes)
    ]
    seqs = [event.seq for event in events]
    assert seqs == sorted(set(seqs))
    assert set(seqs) | lost >= set(wanted)
    assert not set(seqs) & lost
    assert set(seqs) <= set(wanted)
    marks = [item.position for item in found if isinstance(item, Mark)]
    assert marks == sorted(set(marks))


def in_python(row: dict[str, Any]) -> dict[str, Any]:
    return {("event_type" if name == "eventType" else name): value for name, value in row.items()}


@given(WISHES, WISHES, STEPS)
def test_what_was_wanted_all_the_time_is_not_missed_while_wishes_change(
    kept: Sequence[Wish], others: Sequence[Wish], steps: Sequence[tuple[str, Any, Any]]
) -> None:
    hub, core, last = FakeHub(), Core(Start(since=0)), list[str]()
    found: list[Item] = []
    for number, what in enumerate(steps):
        core.wish([*kept, *others] if number % 2 else list(kept))
        if hub.position is not None:
            found += exchange(core, hub)
        if what[0] != "prune":
            found += step(core, hub, what, last)
    core.wish(kept)
    found += step(core, hub, ("connect", None, None), last)
    found += step(core, hub, ("deliver", 1000, False), last)
    seqs = [item.seq for item in found if isinstance(item, Event)]
    assert seqs == sorted(set(seqs))
    for row in hub.log:
        event = Event(epoch=EPOCH, **in_python(row))
        assert event.seq in seqs or not any(each.matches(event) for each in kept)


def opened(start: Start, *wishes: Wish) -> tuple[Core, FakeHub]:
    core, hub = Core(start), FakeHub()
    core.wish(wishes or [Wish(("*",))])
    return core, hub


def test_a_cursor_that_the_hub_refuses_gives_one_gap_and_goes_on_at_the_head() -> None:
    core, hub = opened(Start(since=7, epoch="older"))
    hub.append("task.created", 1)
    hub.append("task.created", 1)
    assert exchange(core, hub) == [Gap(from_=1, to=2, reason="replaced", epoch=EPOCH)]
    hub.append("task.updated", 1)
    [event] = [item for text in hub.deliver(9, batch=False) for item in core.receive(text)]
    assert isinstance(event, Event)
    assert (event.seq, event.epoch, core.point) == (3, EPOCH, (EPOCH, 3))


def test_over_http_the_head_is_asked_for_after_a_refused_cursor() -> None:
    core, _ = opened(Start(since=7, epoch="older"))
    assert core.query() == {"topics": "*", "since": "7", "epoch": "older"}
    assert core.refused("WS_INVALID_CURSOR")
    assert core.needs_head
    assert core.begin(EPOCH, 2) == [Gap(from_=1, to=2, reason="replaced", epoch=EPOCH)]
    assert core.begin(EPOCH, 3) == []
    assert core.query() == {"topics": "*", "since": "2", "epoch": EPOCH}


def test_pings_move_the_position_but_not_before_the_first_subscription() -> None:
    core = Core(Start(since=3))
    assert core.receive(frame("ping", {"seq": 9})) == []
    assert core.position == 3
    core.wish([Wish(("task:*",))])
    core.outgoing()
    assert core.receive(frame("ping", {"seq": 9})) == []
    core.receive(frame("subscribed", {"epoch": EPOCH, "seq": 12}, "1"))
    assert core.receive(frame("ping", {"seq": 9})) == [Mark(EPOCH, 9)]
    assert core.receive(frame("ping", {"seq": 5})) == []


def test_a_ping_before_the_replay_does_not_hide_it() -> None:
    core, _ = opened(Start(replay=5))
    [text] = core.outgoing()
    assert json.loads(text)["payload"]["replay"] == 5
    core.receive(frame("subscribed", {"epoch": EPOCH, "seq": 12}, "1"))
    assert core.receive(frame("ping", {"seq": 12})) == []
    [event] = core.receive(frame("event", payload(8)))
    assert isinstance(event, Event)
    assert core.position == 8


def test_one_subscribe_asks_for_everything_and_later_ones_without_a_cursor() -> None:
    narrow = Condition(event_types=("task.created",))
    core = Core(Start(since=3, epoch=EPOCH), {"maxEvents": 9})
    core.wish([Wish(("task:*",), narrow), Wish(("stream:*",)), Wish(("checkpoint:*",))])
    [text] = core.outgoing()
    assert json.loads(text)["payload"] == {
        "subscriptions": [
            {"topics": ["task:*"], "filter": {"eventTypes": ["task.created"]}},
            {"topics": ["stream:*", "checkpoint:*"]},
        ],
        "since": 3,
        "epoch": EPOCH,
        "batch": {"maxEvents": 9},
    }
    core.wish([Wish(("task:*",), narrow), Wish(("task:*",)), Wish(("stream:*",))])
    assert [json.loads(text)["payload"] for text in core.outgoing()] == [
        {"subscriptions": [{"topics": ["task:*"]}]},
        {"topics": ["checkpoint:*"]},
    ]
    assert core.outgoing() == []


def test_a_page_that_was_asked_for_other_topics_is_not_taken() -> None:
    core, hub = opened(Start(since=0), Wish(("stream:*",)))
    query = core.query()
    hub.append("task.created", 1)
    core.wish([Wish(("stream:*",)), Wish(("task:*",))])
    assert core.page(hub.page(query, 9)) == []
    assert core.behind
    [event] = core.page(hub.page(core.query(), 9))
    assert isinstance(event, Event)


def test_a_gap_is_told_as_far_as_it_is_new() -> None:
    core, hub = opened(Start(since=4))
    hub.log = [payload(n) for n in range(1, 12)]
    exchange(core, hub)
    gap = {"from": 2, "to": 9, "reason": "pruned"}
    told = Gap(from_=5, to=9, reason="pruned", epoch=EPOCH)
    assert core.receive(frame("gap", gap)) == [told]
    assert core.receive(frame("gap", gap)) == []


def test_a_hub_that_takes_fewer_patterns_is_asked_for_wider_ones() -> None:
    core, hub = opened(Start(since=0), Wish(("task:TASK-1", "stream:Stream-A")))
    core.outgoing()
    core.receive(frame("error", {"code": "WS_SUBSCRIPTION_LIMIT", "message": "x"}, "1"))
    [text] = core.outgoing()
    [pair] = json.loads(text)["payload"]["subscriptions"]
    assert pair == {"topics": ["stream:*", "task:*"]}
    hub.take(text)
    core.receive(frame("subscribed", {"epoch": EPOCH, "seq": 0}, "2"))
    assert core.receive(frame("event", payload(1, id="TASK-2"))) == [Mark(EPOCH, 1)]
    assert len(core.receive(frame("event", payload(2, id="TASK-1")))) == 1


def test_requests_stay_small_however_much_is_wanted() -> None:
    many = Condition(streams=tuple(f"Stream-{number:0150}" for number in range(100)))
    core, _ = opened(Start(since=0), Wish(tuple(f"task:TASK-{n}" for n in range(40)), many))
    assert len(json.dumps(core.query())) < MAX_REQUEST_CHARACTERS
    assert len(core.outgoing()[0]) < MAX_REQUEST_CHARACTERS


@pytest.mark.parametrize(
    "text",
    [
        "",
        "garbage",
        "[]",
        "{}",
        b"\xff",
        "[" * 100_000,
        frame("event", {}),
        frame("event", payload(1) | {"seq": True}),
        frame("event", payload(1) | {"data": []}),
        frame("events", {"events": [1]}),
        frame("events", {}),
        frame("gap", {"from": 1}),
        frame("ping", {"seq": -1}),
        frame("error", {"code": 1}),
        frame("subscribed", {"epoch": "another", "seq": 1}, "1"),
    ],
)
def test_garbage_makes_the_transport_connect_anew(text: str | bytes) -> None:
    core, hub = opened(Start(since=0, epoch=EPOCH))
    exchange(core, hub)
    with pytest.raises(Unusable):
        core.receive(text)
    assert core.position == 0


def test_events_that_were_not_asked_for_are_garbage() -> None:
    with pytest.raises(Unusable):
        Core(Start(since=0)).receive(frame("event", payload(1)))


def test_a_refusal_that_would_come_again_is_raised_with_its_code() -> None:
    core, _ = opened(Start(since=0))
    core.outgoing()
    with pytest.raises(RequestRefused, match="WS_INVALID_TOPIC") as refused:
        core.receive(frame("error", {"code": "WS_INVALID_TOPIC", "message": "no"}, "1"))
    assert refused.value.code == "WS_INVALID_TOPIC"


def test_a_filter_selects_as_on_the_hub() -> None:
    event = Event(
        epoch=EPOCH, **in_python(payload(1, streamId="Stream-A", assignedAgent="ben", actor="ada"))
    )
    for condition, selected in [
        (EVERYTHING, True),
        (Condition(event_types=("task.*",)), True),
        (Condition(event_types=("stream.*", "task.updated")), False),
        (Condition(streams=("Stream-A", "x")), True),
        (Condition(streams=("Stream-B",)), False),
        (Condition(agents=("ben",), streams=("Stream-A",)), True),
        (Condition(agents=("ada",)), False),
        (Condition(not_actors=("ada",)), False),
    ]:
        assert condition.accepts(event) is selected


def test_a_pattern_with_several_filters_is_asked_for_without_one() -> None:
    narrow, other = Condition(streams=("a",)), Condition(streams=("b",))
    wishes = [Wish(("task:*", "*"), narrow), Wish(("task:*",), other), Wish(("*",), narrow)]
    assert merged(wishes) == {"task:*": EVERYTHING, "*": narrow}
    assert list(coarse(merged(wishes))) == ["checkpoint:*", "stream:*", "task:*"]
    assert all(kind.partition(".")[0] in {"checkpoint", "stream", "task"} for kind in EVENT_TYPES)
