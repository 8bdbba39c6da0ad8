"""A listener against a naive one: cursors, filters, batches and a log that is pruned meanwhile."""

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from memory import event_row
from task_copilot.events.bus import Stretch
from task_copilot.events.listener import Listener
from task_copilot.events.log import LogRow, LogState
from unit.test_listener import EPOCH, NOW, ask, read, unsubscribe
from validation import valid_frame

TOPICS = ["task:a", "task:ab", "stream:a", "checkpoint:a"]
PATTERNS = [*TOPICS, "task:*", "s*", "*"]
TYPES = ["task.created", "task.completed", "stream.progress"]
LIMIT = 5

Filter = dict[str, list[str]]
some_filter = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "eventTypes": st.lists(st.sampled_from([*TYPES, "task.*"]), min_size=1, max_size=2),
        "streams": st.lists(st.sampled_from("AB"), min_size=1, max_size=2),
        "agents": st.just(["me"]),
        "notActors": st.just(["me"]),
    },
)
some_topics = st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=3)
some_batch = st.none() | st.fixed_dictionaries({}, optional={"maxEvents": st.integers(1, 4)})
good_cursor: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"since": st.floats(0, 1)}),  # a share of the head
    st.fixed_dictionaries({"since": st.floats(0, 1), "epoch": st.just(EPOCH)}),
    st.fixed_dictionaries({"replay": st.integers(0, 8)}),
)
bad_cursor = st.sampled_from(
    [
        *({"since": -1}, {"since": 999}, {"since": 0.5, "epoch": "old"}, {"replay": -1}),
        *({"since": 0, "replay": 1}, {"epoch": EPOCH}),
    ]
)
mistakes = st.sampled_from([None] * 9 + ["topic", "type", "cursor"])
some_event = st.tuples(
    st.sampled_from(TOPICS),
    st.sampled_from(TYPES),
    st.sampled_from(["shop", "blog"]),
    st.sampled_from(["me", "you"]),
    st.fixed_dictionaries(
        {"streamId": st.sampled_from(["A", "B", None])},
        optional={"assignedAgent": st.sampled_from(["me", "you"])},
    ),
)


def selects(pattern: str, text: str) -> bool:
    return text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern


def wants(wanted: Filter | None, row: LogRow) -> bool:
    found, about = wanted or {}, row.about
    return (
        any(selects(item, row.event_type) for item in found.get("eventTypes", ["*"]))
        and about.stream_id in found.get("streams", [about.stream_id])
        and about.assigned_agent in found.get("agents", [about.assigned_agent])
        and about.actor not in found.get("notActors", [])
    )


class AgainstAModel(RuleBasedStateMachine):
    """Both are told the same and have to agree on every step."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[LogRow] = []
        self.pruned = 0
        self.held: dict[str, Filter | None] = {}
        self.first = True
        self.most: int | None = None
        self.replay: int | None = None

    @property
    def head(self) -> int:
        return len(self.log)

    @initialize(
        events=st.lists(some_event, max_size=12), workspace=st.sampled_from([None, None, "shop"])
    )
    def connect(self, events: list[Any], workspace: str | None) -> None:
        self.commit(events)
        self.position = self.head
        self.workspace = workspace
        self.listener = Listener(head=self.head, max_patterns=LIMIT, workspace=workspace)

    @rule(events=st.lists(some_event, min_size=1, max_size=6))
    def commit(self, events: list[Any]) -> None:
        for topic, event_type, workspace, actor, data in events:
            told = {"workspace": workspace, "actor": actor}
            self.log.append(event_row(self.head + 1, topic, event_type, **told, **data))

    @rule(share=st.floats(0, 1))
    def prune(self, share: float) -> None:
        self.pruned += int((self.head - self.pruned) * share)

    @precondition(lambda self: self.first)
    @rule(topics=some_topics, wanted=some_filter, cursor=good_cursor, batch=some_batch)
    def begin(
        self,
        topics: list[str],
        wanted: Filter | None,
        cursor: dict[str, Any],
        batch: dict[str, int] | None,
    ) -> None:
        self._subscribe([(topics, wanted)], cursor, batch, None)

    @precondition(lambda self: self.replay is None)
    @rule(
        asked=st.lists(st.tuples(some_topics, some_filter), min_size=1, max_size=2),
        batch=some_batch,
        mistake=mistakes,
        cursor=good_cursor | bad_cursor,
    )
    def subscribe(
        self,
        asked: list[tuple[list[str], Filter | None]],
        batch: dict[str, int] | None,
        mistake: str | None,
        cursor: dict[str, Any],
    ) -> None:
        if mistake == "topic":
            asked = [*asked, (["nonsense"], None)]
        elif mistake == "type":
            asked = [*asked, (["*"], {"eventTypes": ["nonsense"]})]
        self._subscribe(asked, cursor if mistake == "cursor" else {}, batch, mistake)

    def _subscribe(
        self,
        asked: list[tuple[list[str], Filter | None]],
        cursor: dict[str, Any],
        batch: dict[str, int] | None,
        mistake: str | None,
    ) -> None:
        if isinstance(cursor.get("since"), float):
            cursor = {**cursor, "since": int(cursor["since"] * self.head)}
        payload = cursor if batch is None else {**cursor, "batch": batch}
        if len(asked) == 1:
            payload = payload | _selection(*asked[0])
        else:
            payload = payload | {"subscriptions": [_selection(*each) for each in asked]}
        answer = ask(self.listener, {"type": "subscribe", "payload": payload}, self.head)
        valid_frame(answer)
        if codes := self._refusals(asked, cursor, mistake):
            assert answer["payload"]["code"] in codes, answer
            return
        if not self.held:
            self.position = max(self.position, self.head)
        if self.first:
            self.position = cursor.get("since", self.position)
            self.replay = cursor.get("replay") or None
        for topics, wanted in asked:
            self.held.update(dict.fromkeys(topics, wanted))
        if batch is not None:
            self.most = batch.get("maxEvents", 100)
        assert answer["payload"] == {
            "topics": list(dict.fromkeys(topic for topics, _ in asked for topic in topics)),
            "activeSubscriptions": len(self.held),
            "epoch": EPOCH,
            "seq": self.head if self.first else self.position,
        }
        self.first = False

    def _refusals(
        self,
        asked: list[tuple[list[str], Filter | None]],
        cursor: dict[str, Any],
        mistake: str | None,
    ) -> set[str]:
        """The codes that are right; with several mistakes any of theirs is."""
        codes = {"topic": "WS_INVALID_TOPIC", "type": "WS_INVALID_MESSAGE"}
        found = {codes[mistake]} if mistake in codes else set()
        alone = {"since", "replay"} <= set(cursor) or set(cursor) == {"epoch"}
        outside = not 0 <= cursor.get("since", 0) <= self.head or cursor.get("replay", 0) < 0
        if (cursor and not self.first) or alone or outside or cursor.get("epoch", EPOCH) != EPOCH:
            found.add("WS_INVALID_CURSOR")
        if len({topic for topics, _ in asked for topic in topics} | set(self.held)) > LIMIT:
            found.add("WS_SUBSCRIPTION_LIMIT")
        return found

    @precondition(lambda self: self.replay is None)
    @rule(topics=some_topics)
    def unsubscribe(self, topics: list[str]) -> None:
        answer = ask(self.listener, unsubscribe(*topics), self.head)
        if set(topics) <= set(self.held):
            for topic in dict.fromkeys(topics):
                del self.held[topic]
            assert answer["payload"]["activeSubscriptions"] == len(self.held)
        else:
            assert answer["payload"]["code"] == "WS_NOT_SUBSCRIBED"

    @precondition(lambda self: self.replay is not None)
    @rule()
    def place(self) -> None:
        assert self.replay is not None
        matching = [row.seq for row in self.log[self.pruned :] if self._matches(row)]
        found = matching[-self.replay :]
        start = found[0] - 1 if len(found) == self.replay else self.pruned
        self.listener.place(start)
        self.position, self.replay = start, None

    def _matches(self, row: LogRow) -> bool:
        return self.workspace in {None, row.about.workspace} and any(
            selects(pattern, row.topic) and wants(wanted, row)
            for pattern, wanted in self.held.items()
        )

    @precondition(lambda self: self.held and self.replay is None and self.position < self.head)
    @rule(count=st.integers(1, 8), back=st.integers(0, 3))
    def deliver(self, count: int, back: int) -> None:
        """Hands over the next rows that are kept, and some that the listener has already."""
        start = max(self.position, self.pruned)
        rows = self.log[max(self.pruned, start - back) : start + count]
        upto = rows[-1].seq if rows else self.head
        sent = [read(text) for text in self.listener.frames(Stretch(rows, upto), lambda: NOW)]
        expected: list[Any] = []
        first = next((row.seq for row in rows if row.seq > self.position), upto + 1)
        if first > self.position + 1:
            expected.append((self.position + 1, first - 1))
        expected += [row.seq for row in rows if row.seq > self.position and self._matches(row)]
        assert [item for frame in sent for item in _items(frame)] == expected
        sizes = [len(_items(frame)) for frame in sent if frame["type"] == "events"]
        assert all(size == self.most for size in sizes[:-1])
        assert all(0 < size <= (self.most or 0) for size in sizes)
        kinds = {frame["type"] for frame in sent}
        assert kinds <= {"gap", "event" if self.most is None else "events"}
        self.position = max(self.position, upto)

    @rule()
    def ping(self) -> None:
        if not self.held:
            self.position = max(self.position, self.head)
        ping = read(self.listener.ping(LogState(EPOCH, self.head), NOW))
        assert ping["payload"] == {"seq": self.position}

    @invariant()
    def they_agree(self) -> None:
        assert len(self.listener.subscriptions) == len(self.held)
        assert self.listener.listening is (bool(self.held) and self.replay is None)
        assert self.listener.position == self.position
        assert self.listener.replay == self.replay


def _selection(topics: list[str], wanted: Filter | None) -> dict[str, Any]:
    return {"topics": topics} if wanted is None else {"topics": topics, "filter": wanted}


def _items(frame: dict[str, Any]) -> list[Any]:
    payload = frame["payload"]
    if frame["type"] == "gap":
        valid_frame(frame)
        return [(payload["from"], payload["to"])]
    return [event["seq"] for event in payload.get("events", [payload])]


AgainstAModel.TestCase.settings = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    max_examples=150,
    stateful_step_count=40,
)
TestAListenerAndANaiveOneAgree = AgainstAModel.TestCase
