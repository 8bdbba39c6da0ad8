"""What a listener costs on the wire, beside one that reads the whole state again and again.

A relay between client and hub counts the bytes of the connections in both directions: requests,
answers, headers, handshakes, pings and frames, but not what TCP and IP add. Sizes do not depend
on time, so the clock runs faster: pings and changes come so many times as often as they do.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import NamedTuple

from benchmarks.mcp_process import McpProcess
from benchmarks.measures import Measure, Suite, Target, number
from benchmarks.relay import Relay, relay
from benchmarks.sandbox import SERVER, Sandbox, sandbox
from benchmarks.seeding import add_stream, seeding
from task_copilot.client.options import KEEPALIVE_SECONDS
from task_copilot.settings import Settings
from task_copilot_client import Filter, TaskCopilotClient

TASKS = 200
TITLE = "Implement the types of the parser, part {}"
DESCRIPTION = (
    "Every node gets a type of its own, with the place where it stands in the source. What reads "
    "the nodes is changed along with them."
)
CHANGES_A_MINUTE = 6
POLLS_A_MINUTE = 2
SPEED = 30
HUB = "127.0.0.2"
"""Where the hub listens, since the relay has its usual address."""

QUIET_SECONDS = 0.5
"""Until what a change has caused is all there."""

STATUS_AND_PROGRESS: Filter = {"eventTypes": ["task.status_changed", "stream.progress"]}

PATH = "/api/streams/Stream-A"
STATUSES = (200, 304)
NOT_MODIFIED = 304
HOUR = 60

LESS = f"less bytes than polling every {60 // POLLS_A_MINUTE} s, {CHANGES_A_MINUTE} changes/min"
EVERYTHING = "everything"
ENOUGH = Target(">=", 95)


class Poll(NamedTuple):
    """One read of the state on a connection of its own: between two polls the hub closes one."""

    size: int
    status: int
    etag: str


@dataclass(frozen=True, slots=True)
class Costs:
    """Bytes of what hours are made of."""

    poll: int
    conditional: int
    """A poll with an ETag, after a change."""
    unchanged: int
    """The same where the answer is 304."""
    connect: int
    """Health, handshake and subscribe."""
    minute: float
    """Of a WebSocket without events, pings included."""
    change: float
    """All three events of a status change."""
    narrow_change: float
    """Only those that say its status and the stream's progress."""

    def polling(self) -> float:
        """Bytes of an hour."""
        return HOUR * POLLS_A_MINUTE * self.poll

    def begin(self) -> float:
        """Bytes before the first event: one read of the state, and the connection."""
        return self.poll + self.connect

    def listening(self, change: float) -> float:
        """Bytes of an hour with as many changes as usual, which cost `change` each."""
        return HOUR * (self.minute + CHANGES_A_MINUTE * change)

    def even(self) -> float:
        """The changes a minute at which the first hour of both costs the same."""
        return (self.polling() - self.begin() - HOUR * self.minute) / (HOUR * self.change)


class Scene:
    """A hub with a large stream, which a relay is in front of, `speed` times as fast as usual."""

    def __init__(self, server: McpProcess, counter: Relay, port: int, speed: float) -> None:
        self.counter = counter
        self._port = port
        self._server = server
        self._speed = speed
        self._changes = 0

    def poll(self, etag: str = "") -> Poll:
        """The whole state, unless `etag` is its own."""
        before = self.counter.count
        connection = HTTPConnection("127.0.0.1", self._port)
        connection.request("GET", PATH, headers={"If-None-Match": etag} if etag else {})
        answer = connection.getresponse()
        answer.read()
        connection.close()
        if answer.status not in STATUSES:
            raise RuntimeError(f"a poll was answered with {answer.status}")
        return Poll(self.counter.count - before, answer.status, answer.headers.get("ETag", ""))

    def change(self) -> None:
        """The status of one task, of all in turns."""
        lap, place = divmod(self._changes, TASKS)
        status = "pending" if lap % 2 else "in_progress"
        self._server.call("task_update", {"id": f"TASK-{place + 1}", "status": status})
        self._changes += 1

    @contextmanager
    def listening(self, only: Filter | None = None) -> Iterator[None]:
        """A client that is subscribed to everything, or to what `only` lets pass."""
        client = TaskCopilotClient(
            f"http://127.0.0.1:{self._port}", keepalive=KEEPALIVE_SECONDS / self._speed
        )
        if not client.connect():
            raise RuntimeError("no hub")
        client.subscribe(["*"], lambda *_: None, only)
        try:
            yield
            if client.get_mode() != "websocket":
                raise RuntimeError("the client has lost its WebSocket")
        finally:
            client.disconnect()

    def pass_minutes(self, minutes: float, changes: int = 0) -> int:
        """Bytes of so many minutes, with so many changes in them."""
        before, begin = self.counter.count, time.monotonic()
        seconds = minutes * 60 / self._speed
        for place in range(changes):
            _sleep_until(begin + seconds * (place + 0.5) / changes)
            self.change()
        _sleep_until(begin + seconds)
        return self.counter.count - before


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))


@contextmanager
def _scene(speed: float) -> Iterator[Scene]:
    with sandbox() as box:
        _seed(box)
        changed = {
            "TASK_COPILOT_HOST": HUB,
            "TASK_COPILOT_PING_INTERVAL": f"{Settings().ping_interval / speed:g}",
        }
        with (
            relay(box.port, HUB) as counter,
            McpProcess(SERVER, box.environment | changed, box.folder) as server,
        ):
            server.initialize()
            box.wait_for_hub()
            yield Scene(server, counter, box.port, speed)


def _seed(box: Sandbox) -> None:
    with seeding(box) as connection:
        titles = [TITLE.format(place) for place in range(TASKS)]
        add_stream(
            connection,
            "Stream-A",
            titles,
            statuses=("pending",),
            agents=("me", "qa"),
            description=DESCRIPTION,
        )


def run(*, quick: bool) -> list[Measure]:
    """The parts of an hour one by one, and then a shorter time as a whole."""
    minutes, changes = (1, 10) if quick else (5, 100)
    with _scene(SPEED) as scene:
        costs = _costs(scene, minutes, changes)
    together = [_together(SPEED, 1 if quick else 10, costs)]
    if not quick:
        together.append(_together(1, 1 / 3, costs))
    return [*_shown(costs, minutes, changes), *together]


def _costs(scene: Scene, minutes: int, changes: int) -> Costs:
    scene.change()  # with the first one the stream starts
    first = scene.poll()
    unchanged = scene.poll(first.etag)
    if unchanged.status != NOT_MODIFIED:  # ten seconds of the clock have ended just then
        unchanged = scene.poll(unchanged.etag)
    before = scene.counter.count
    with scene.listening():
        connect = scene.counter.count - before
        minute = scene.pass_minutes(minutes) / minutes
    return Costs(
        poll=first.size,
        conditional=_changed(scene, first.etag).size,
        unchanged=unchanged.size,
        connect=connect,
        minute=minute,
        change=_change(scene, None, changes, minute),
        narrow_change=_change(scene, STATUS_AND_PROGRESS, changes, minute),
    )


def _changed(scene: Scene, etag: str) -> Poll:
    scene.change()
    return scene.poll(etag)


def _change(scene: Scene, only: Filter | None, changes: int, minute: float) -> float:
    """Bytes of the events of one change, of which many are made at once."""
    with scene.listening(only):
        before, begin = scene.counter.count, time.monotonic()
        for _ in range(changes):
            scene.change()
        time.sleep(QUIET_SECONDS)
        pings = (time.monotonic() - begin) * SPEED / 60 * minute
        return (scene.counter.count - before - pings) / changes


def _together(speed: float, minutes: float, costs: Costs) -> Measure:
    """Counts polls and events of a time, and compares them with what was computed."""
    changes, polls = round(CHANGES_A_MINUTE * minutes), math.ceil(POLLS_A_MINUTE * minutes)
    with _scene(speed) as scene:
        scene.change()
        polled = sum(scene.poll().size for _ in range(polls)) / (polls * costs.poll)
        before = scene.counter.count
        with scene.listening():
            scene.pass_minutes(minutes, changes)
            counted = scene.counter.count - before
    computed = costs.connect + minutes * costs.minute + changes * costs.change
    clock = "in real time" if speed == 1 else f"{speed:g} times as fast"
    return Measure(
        f"counted as a share of computed, WebSocket for {minutes * 60:.0f} s {clock}",
        counted / computed,
        "",
        f"{changes} changes",
        note=f"{counted:,} bytes; of {polls} polls: {polled:.3f}",
    )


def _shown(costs: Costs, minutes: int, changes: int) -> list[Measure]:
    wide, narrow = costs.listening(costs.change), costs.listening(costs.narrow_change)
    unchanged = HOUR * POLLS_A_MINUTE * costs.unchanged
    tagged = HOUR * POLLS_A_MINUTE * costs.conditional
    return [
        _less(f"{EVERYTHING}, its events", wide, costs.polling(), ENOUGH),
        _less(f"{EVERYTHING}, with one read of the state", costs.begin() + wide, costs.polling()),
        _less(
            "status and progress only, with one read of the state",
            costs.begin() + narrow,
            costs.polling(),
        ),
        Measure(
            f"{LESS} with If-None-Match: {EVERYTHING}, and one read of the state",
            100 * (1 - (costs.begin() + wide) / tagged),
            "%",
            "1",
            note="no such poll gets 304 then: something has changed since the one before",
        ),
        Measure(
            "an hour without changes, as a share of polls that all get 304",
            HOUR * costs.minute / unchanged,
            "",
            "1",
            note=f"{number(HOUR * costs.minute / 1e3)} kB, not {number(unchanged / 1e3)} kB; "
            "an ETag of this path is good for 10 s at most",
        ),
        Measure(
            f"changes a minute at which both cost the same: {EVERYTHING}, first hour",
            costs.even(),
            "/min",
            "1",
        ),
        *_parts(costs, minutes, changes),
    ]


def _less(name: str, listening: float, polling: float, target: Target | None = None) -> Measure:
    return Measure(
        f"{LESS}: {name}",
        100 * (1 - listening / polling),
        "%",
        "1",
        target,
        f"{number(listening / 1e3)} kB, not {number(polling / 1e3)} kB; computed from the parts",
    )


def _parts(costs: Costs, minutes: int, changes: int) -> list[Measure]:
    faster = f"pings of hub and client, {SPEED} times as fast"
    return [
        Measure("one poll", costs.poll, "bytes", "1", note=f"{TASKS} tasks"),
        Measure("one poll with If-None-Match, 200", costs.conditional, "bytes", "1"),
        Measure("one poll with If-None-Match, 304", costs.unchanged, "bytes", "1"),
        Measure("health, head, handshake and subscribe", costs.connect, "bytes", "1"),
        Measure("an idle minute", costs.minute, "bytes", f"{minutes} minutes", note=faster),
        Measure("a status change, its three events", costs.change, "bytes", f"{changes} changes"),
        Measure(
            "a status change, status and progress only",
            costs.narrow_change,
            "bytes",
            f"{changes} changes",
        ),
    ]


SUITE = Suite("wire", "bytes on the wire: events beside polling the state", run)
