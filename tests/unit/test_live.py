"""Listeners that share the position at the head, and come and go."""

import asyncio
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.types import Message

from frames import parsed
from memory import MemoryPages, event_row
from task_copilot.clock import system_clock
from task_copilot.events.bus import Bus
from task_copilot.events.connection import WebSocketLimits
from task_copilot.events.filters import EventFilter, Subscriptions
from task_copilot.events.listeners import Listeners
from task_copilot.events.live import WRITE_BYTES, LiveSet, Put, Wish
from task_copilot.events.log import LogPage, LogRow, LogState
from task_copilot.events.reader import Reader
from task_copilot.events.websocket import EXTENSION, WebSocketEndpoint
from task_copilot.events.window import Window

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
LIMIT_SECONDS = 10.0
TOPICS = ["task:A", "task:AB", "stream:A", "checkpoint:A"]


# --- the set by itself ---


class Someone:
    """A member that notes what happens to it; `room` is how many writes it takes."""

    def __init__(self, bus: Bus, *patterns: str, most: int | None = None, room: int = 99) -> None:
        self.subscriptions = Subscriptions()
        self.subscriptions.add(patterns)
        self.reader = Reader(bus.head, self.subscriptions)
        self.room = room
        self.written: list[bytes] = []
        self.released_at: list[int] = []
        self.errors: list[Exception] = []
        self.most = most
        self.can_put = True
        self.breaks = False

    @property
    def put(self) -> Put | None:
        return self.take if self.can_put else None

    def take(self, data: bytes) -> bool:
        if self.breaks:
            raise OSError("gone")
        if self.room:
            self.room -= 1
            self.written.append(data)
            return True
        return False

    @property
    def wish(self) -> Wish:
        return Wish(self.subscriptions.selection, self.most)

    def released(self) -> None:
        self.released_at.append(self.reader.position)

    def failed(self, error: Exception) -> None:
        self.errors.append(error)

    @property
    def seqs(self) -> list[int]:
        return [seq for data in self.written for seq in _seqs(data)]


def _seqs(data: bytes) -> list[int]:
    found = []
    for frame in parsed(data):
        payload = json.loads(bytes(frame.data))["payload"]
        found += [event["seq"] for event in payload.get("events", [payload])]
    return found


@dataclass
class Hub:
    log: MemoryPages = field(default_factory=MemoryPages)

    def __post_init__(self) -> None:
        self.bus = Bus(self.log.state, self.log)
        self.listeners = Listeners(100)
        self.live = LiveSet(self.bus, self.listeners, system_clock)

    def commit(self, *topics: str, size: int = 0) -> None:
        rows = [
            event_row(self.log.head + place, topic, text="x" * size)
            for place, topic in enumerate(topics, 1)
        ]
        self.bus.publish(self.log.add(rows))

    def attached(self, *patterns: str, **how: Any) -> Someone:
        someone = Someone(self.bus, *patterns, **how)
        assert self.live.attach(someone)
        return someone


def test_members_get_what_they_want_in_the_turn_in_which_it_comes() -> None:
    hub = Hub()
    everything, tasks = hub.attached("*"), hub.attached("task:*")
    hub.commit("task:A", "stream:A", "task:AB")
    hub.commit("stream:A")
    assert (everything.seqs, tasks.seqs) == ([1, 2, 3, 4], [1, 3])
    assert len(everything.written) == 2
    assert everything.reader.position == tasks.reader.position == 4
    assert hub.listeners.delivered == 6


def test_the_same_events_are_put_together_once_for_all_who_get_them() -> None:
    hub = Hub()
    members = [hub.attached("*"), hub.attached("*"), hub.attached("task:*", "stream:*")]
    hub.commit("task:A", "stream:A")
    [first] = members[0].written
    assert all(member.written[0] is first for member in members)
    batched = [hub.attached("*", most=10), hub.attached("*", most=10)]
    hub.commit("task:A", "stream:A")
    assert batched[0].written[0] is batched[1].written[0]


def test_an_event_costs_nothing_for_a_member_that_does_not_want_it() -> None:
    hub = Hub()
    others = [hub.attached(f"task:{number}") for number in range(100)]
    for other in others:  # looking at one would fail
        hub.live._group_of[other].members = None  # type: ignore[assignment]
    hub.commit("task:A", "stream:A")
    assert {other.reader.position for other in others} == {2}


def test_who_is_behind_is_not_taken_in() -> None:
    hub = Hub()
    late = Someone(hub.bus, "*")
    hub.commit("task:A")
    assert not hub.live.attach(late)
    assert late.reader.position == 0
    late.reader.position = 1
    assert hub.live.attach(late)


def test_who_wants_nothing_goes_with_the_others() -> None:
    hub = Hub()
    silent = Someone(hub.bus)
    hub.commit("task:A")
    assert hub.live.attach(silent)
    hub.commit("task:A")
    assert hub.live.release(silent)
    assert silent.reader.position == 2
    assert silent.written == []
    assert not hub.live.release(silent)


def test_who_does_not_read_is_released_where_it_is_and_the_others_go_on() -> None:
    hub = Hub()
    slow, other = hub.attached("task:*", room=2), hub.attached("*")
    hub.commit(*["task:A"] * 10, size=WRITE_BYTES // 2)
    assert slow.seqs == [1, 2, 3, 4]
    assert slow.released_at == [4]
    assert other.seqs == [*range(1, 11)]
    hub.commit("task:A")
    assert slow.released_at == [4], "nothing is told to who is not in the set"
    assert slow.reader.position == 4


def test_who_cannot_be_written_to_is_released_before_its_event_and_not_before() -> None:
    hub = Hub()
    plain = Someone(hub.bus, "task:*")
    plain.can_put = False
    assert hub.live.attach(plain)
    hub.commit("stream:A", "stream:A")
    assert (plain.released_at, plain.reader.position) == ([], 2)
    hub.commit("stream:A", "task:A")
    assert plain.released_at == [2]


def test_batches_hold_as_many_as_were_asked_for() -> None:
    hub = Hub()
    batched = hub.attached("*", most=3)
    hub.commit(*["task:A"] * 8)
    assert [_seqs(data) for data in batched.written] == [[1, 2, 3], [4, 5, 6], [7, 8]]


def test_a_member_that_fails_does_not_disturb_the_others() -> None:
    hub = Hub()
    members = [hub.attached("*") for _ in range(3)]

    members[1].breaks = True
    hub.commit("task:A")
    hub.commit("task:A")
    assert members[0].seqs == members[2].seqs == [1, 2]
    assert [str(error) for error in members[1].errors] == ["gone"]


def test_an_event_that_cannot_be_matched_leaves_everyone_to_themselves(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hub = Hub()
    all_of_it = hub.attached("*")
    choosy = Someone(hub.bus)
    choosy.subscriptions.add(["task:*"], EventFilter(streams=frozenset({"S"})))
    assert hub.live.attach(choosy)
    hub.commit("task:A")
    hub.bus.publish(hub.log.add([LogRow(2, "task:A", "task.created", "", "no JSON")]))
    assert all_of_it.released_at == choosy.released_at == [1]
    assert "cannot be matched" in caplog.text


def test_after_a_redaction_everyone_reads_the_log() -> None:
    hub = Hub()
    member = hub.attached("*")
    hub.bus.publish(hub.log.add([event_row(1, event_type="task.redacted")]))
    assert member.released_at == [0]
    assert member.written == []


def test_a_new_log_releases_everyone() -> None:
    hub = Hub()
    members = [hub.attached("*"), Someone(hub.bus)]
    assert hub.live.attach(members[1])
    hub.commit("task:A")
    hub.bus.restart(LogState("epoch-2", 0))
    assert [member.released_at for member in members] == [[1], [1]]
    assert hub.live.position == 0


def test_who_is_forgotten_leaves_nothing_behind() -> None:
    hub = Hub()
    members = [hub.attached("*"), hub.attached("*"), hub.attached("task:A", most=2)]
    for member in members:
        hub.live.forget(member)
        hub.live.forget(member)
    assert not hub.live._groups
    assert not hub.live._group_of
    hub.commit("task:A")
    assert all(member.written == [] for member in members)


# --- connections, whatever happens to them and in whatever order ---


class Connection:
    """A client over a connection of the server's own, or over plain ASGI; it may not read."""

    last_pong = 0.0
    begun = None

    def __init__(self, endpoint: WebSocketEndpoint, *, own: bool, chance: random.Random) -> None:
        self.put = self._put if own else None
        self.chance = chance
        self.reads = asyncio.Event()
        self.reads.set()
        self.got: list[dict[str, Any]] = []
        self.changed = asyncio.Event()
        self.closed_with: int | None = None
        self._to_app: asyncio.Queue[Message] = asyncio.Queue()
        self._to_app.put_nowait({"type": "websocket.connect"})
        extensions = {EXTENSION: self} if own else {}
        scope = {"type": "websocket", "path": "/ws", "headers": [], "extensions": extensions}
        serving = endpoint(scope, self._to_app.get, self._send)
        self.task = asyncio.create_task(serving)

    def _put(self, data: bytes) -> bool:
        if not self.reads.is_set() or self.chance.random() < 0.2:
            return False
        for frame in parsed(data):
            self.got.append(json.loads(bytes(frame.data)))
        self.changed.set()
        return True

    async def send_texts(self, texts: Sequence[str]) -> None:
        await self.reads.wait()
        self.got += map(json.loads, texts)
        self.changed.set()

    async def _send(self, message: Message) -> None:
        if message["type"] == "websocket.send":
            await self.send_texts([message["text"]])
        elif message["type"] == "websocket.close":
            self.closed_with = message["code"]

    def ping(self) -> None: ...
    def abort(self) -> None: ...
    def sent(self) -> int:
        return len(self.got)

    def say(self, kind: str, **payload: Any) -> None:
        text = json.dumps({"type": kind, "payload": payload} if payload else {"type": kind})
        self._to_app.put_nowait({"type": "websocket.receive", "text": text})

    async def has(self, count: int) -> None:
        """Returns when so many events have come."""
        while sum(1 for _ in _events(self)) < count:
            self.changed.clear()
            await self.changed.wait()

    async def leave(self) -> None:
        self._to_app.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await asyncio.wait_for(self.task, LIMIT_SECONDS)


class Turbulence:
    """Commits here and elsewhere, and listeners that ask, stall, read again, come and go."""

    def __init__(self, seed: int, page: int) -> None:
        self.chance = random.Random(seed)
        self.log = MemoryPages(page=page, row=self._event)
        self.bus = Bus(self.log.state, self)
        self.bus.window = Window(0, rows=6)  # small, so that listeners fall behind it
        limits = WebSocketLimits(50, 0.001, 60.0, 1_000_000)
        self.endpoint = WebSocketEndpoint(self.bus, Listeners(1_000), limits, system_clock)
        self.clients: list[tuple[Connection, Subscriptions]] = []

    def _event(self, seq: int) -> LogRow:
        workspace = self.chance.choice(["shop", "blog"])
        return event_row(seq, self.chance.choice(TOPICS), workspace=workspace)

    async def after(self, position: int) -> LogPage:
        await asyncio.sleep(0)
        found = await self.log.after(position)
        await asyncio.sleep(0)
        return found

    async def up_to(self, position: int) -> LogPage:
        await asyncio.sleep(0)
        return await self.log.up_to(position)

    def here(self) -> None:
        self.bus.publish(self.log.commit(self.chance.randrange(1, 9)))

    def elsewhere(self) -> None:
        self.log.commit(self.chance.randrange(1, 4))

    def refresh(self) -> None:
        self.bus.refresh()

    def join(self) -> None:
        client = Connection(self.endpoint, own=self.chance.random() < 0.7, chance=self.chance)
        wanted = Subscriptions()
        topics = self.chance.sample(["*", "task:*", "s*", *TOPICS], 2)
        wanted.add(topics)
        payload: dict[str, Any] = {"topics": topics, "since": 0}
        if self.chance.random() < 0.4:
            batch = {"maxEvents": self.chance.randrange(1, 5)}
            payload["batch"] = batch | self.chance.choice([{}, {"maxDelayMs": 1}])
        client.say("subscribe", **payload)
        self.clients.append((client, wanted))

    def say(self) -> None:
        if self.clients:
            self.chance.choice(self.clients)[0].say(self.chance.choice(["ping", "pong", "x"]))

    def stall(self) -> None:
        if self.clients:
            self.chance.choice(self.clients)[0].reads.clear()

    def read(self) -> None:
        for client, _ in self.clients:
            client.reads.set()

    async def run(self, steps: list[str]) -> None:
        self.join()
        for step in steps:
            if step == "turn":
                await asyncio.sleep(0)
            elif step == "time":
                await asyncio.sleep(0.0012)
            else:
                getattr(self, step)()
        self.read()
        self.here()
        expected = [
            (client, [row.seq for row in self.log.rows if wanted.match(row)])
            for client, wanted in self.clients
        ]
        async with asyncio.timeout(LIMIT_SECONDS):
            for client, seqs in expected:
                await client.has(len(seqs))
        for client, seqs in expected:
            await client.leave()
            assert client.closed_with is None
            self.check(client, seqs)
        await self.bus.close()

    def check(self, client: Connection, seqs: list[int]) -> None:
        """Each event came once and in order, and no ping says more or less than is so."""
        had: list[int] = []
        for frame in client.got:
            payload = frame["payload"]
            if frame["type"] in {"event", "events"}:
                had += [event["seq"] for event in payload.get("events", [payload])]
            elif frame["type"] == "ping" and len(had) + len(seqs):
                assert had == [seq for seq in seqs if seq <= payload["seq"]]
            assert had == seqs[: len(had)]
        assert had == seqs


def _events(client: Connection) -> Any:
    for frame in client.got:
        if frame["type"] in {"event", "events"}:
            yield from frame["payload"].get("events", [frame["payload"]])


STEPS = [
    *("here", "here", "elsewhere", "refresh", "join", "say", "stall", "read"),
    *("turn", "turn", "turn", "time"),
]


@unhurried
@given(
    seed=st.integers(0, 2**32),
    page=st.integers(1, 5),
    steps=st.lists(st.sampled_from(STEPS), max_size=40),
)
def test_everyone_gets_everything_once_and_in_order_whoever_writes_it(
    seed: int, page: int, steps: list[str]
) -> None:
    async def run() -> None:
        await Turbulence(seed, page).run(steps)

    asyncio.run(run())
