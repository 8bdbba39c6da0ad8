"""One listener's side of the protocol: a message in, replies out; events in, frames out.

It knows no socket, no clock and no database, so that everything it promises can be tested
without them. What a reply needs of the outside, the time and the state of the log, comes
with each call.

    new ──subscribe──▶ listening                     from the head, or after `since`
     └──subscribe with replay──▶ placing ──place──▶ listening
    listening ──unsubscribe of the last──▶ waiting ──subscribe──▶ listening
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from task_copilot import jsontext
from task_copilot.events.bus import Stretch
from task_copilot.events.filters import Subscriptions
from task_copilot.events.log import LogRow, LogState
from task_copilot.events.messages import (
    Batch,
    GapPayload,
    ServerPing,
    ServerPong,
    Subscribed,
    Unsubscribed,
    wire,
)
from task_copilot.events.reader import Gap, Reader
from task_copilot.events.requests import (
    DETAILS_SHOWN,
    Message,
    Refused,
    Unreadable,
    Wanted,
    read,
)

BATCH_BYTES = 256 * 1024
"""Batches end with the event that reaches it: many clients take messages of 1 MiB at most, and
one that does not read costs no more than this."""


class Listener:
    """The state of one connection; `frames` gives what comes after its position."""

    def __init__(
        self,
        *,
        head: int,
        max_patterns: int,
        workspace: str | None = None,
        errors: Counter[str] | None = None,
    ) -> None:
        self.errors: Counter[str] = Counter() if errors is None else errors
        self.subscriptions = Subscriptions(workspace)
        self.reader = Reader(head, self.subscriptions)
        self.batch: Batch | None = None
        self.replay: int | None = None
        """How many of the newest events the first subscribe asked for, until `place`."""
        self._max_patterns = max_patterns
        self._new = True

    @property
    def position(self) -> int:
        """The last event that this listener has, or did not ask for."""
        return self.reader.position

    @property
    def listening(self) -> bool:
        """Whether any event can interest this listener now."""
        return len(self.subscriptions) > 0 and self.replay is None

    def place(self, position: int) -> None:
        """Says where the events begin that `replay` asked for."""
        self.reader.position = position
        self.replay = None

    def receive(self, text: str | bytes, state: LogState, now: str) -> list[str]:
        """Takes one message of the client and returns the frames that answer it."""
        try:
            return self.handle(read(text), state, now)
        except Unreadable as error:
            return self.refuse(error, now)

    def refuse(self, error: Unreadable, now: str) -> list[str]:
        """The answer to a message that cannot be read."""
        return self._refused(error.refusal, now, error.message_id)

    def _refused(self, refusal: Refused, now: str, message_id: str | int | None) -> list[str]:
        self.errors[refusal.failure.code] += 1
        return [frame("error", refusal.failure, now, message_id)]

    def handle(self, message: Message, state: LogState, now: str) -> list[str]:
        """The same for a message that was read already."""
        try:
            reply = self._reply(message, state)
        except Refused as refusal:
            return self._refused(refusal, now, message.id)
        return [] if reply is None else [frame(*reply, now, message.id)]

    def _reply(self, message: Message, state: LogState) -> tuple[str, Any] | None:
        if isinstance(message.content, Wanted):
            return "subscribed", self._subscribe(message.content, state)
        if isinstance(message.content, list):
            return "unsubscribed", self._unsubscribe(message.content)
        return ("pong", ServerPong()) if message.kind == "ping" else None

    def _subscribe(self, wanted: Wanted, state: LogState) -> Subscribed:
        topics = wanted.topics
        self._check_room(topics)
        if self._new:
            wanted.cursor.check(state)
        elif wanted.cursor.given:
            raise Refused(
                "WS_INVALID_CURSOR",
                "since and replay say where a connection begins, so they belong to its first "
                f"subscribe; this one is at {self.position}. Connect anew to begin elsewhere.",
                seq=self.position,
            )
        self._move(wanted, state)
        for selection in wanted.selections:
            self.subscriptions.add(selection.patterns, selection.filter)
        self.batch = wanted.batch or self.batch
        shown = max(state.head, self.position) if self._new else self.position
        self._new = False
        return Subscribed(
            topics=topics,
            active_subscriptions=len(self.subscriptions),
            epoch=state.epoch,
            seq=shown,
        )

    def _check_room(self, topics: list[str]) -> None:
        new = [topic for topic in topics if topic not in self.subscriptions]
        held = len(self.subscriptions)
        if held + len(new) > self._max_patterns:
            raise Refused(
                "WS_SUBSCRIPTION_LIMIT",
                f"A connection holds at most {self._max_patterns} patterns; "
                f"this one has {held} and asked for {len(new)} more.",
                limit=self._max_patterns,
                active_subscriptions=held,
            )

    def _move(self, wanted: Wanted, state: LogState) -> None:
        if self._new and wanted.cursor.since is not None:
            self.reader.position = wanted.cursor.since
        elif not len(self.subscriptions):  # nothing was missed while nothing was wanted
            self.reader.position = max(self.position, state.head)
        if self._new and wanted.cursor.replay:
            self.replay = wanted.cursor.replay

    def _unsubscribe(self, topics: list[str]) -> Unsubscribed:
        unknown = [topic for topic in topics if topic not in self.subscriptions]
        if unknown:
            raise Refused(
                "WS_NOT_SUBSCRIBED",
                f"This connection does not hold {unknown[0]!r}.",
                topics=unknown[:DETAILS_SHOWN],
            )
        self.subscriptions.remove(topics)
        return Unsubscribed(topics=topics, active_subscriptions=len(self.subscriptions))

    def frames(self, stretch: Stretch, clock: Callable[[], str]) -> list[str]:
        """The frames of the next `stretch` of the log: what this listener asked for, and what
        it can no longer have. Batches may end before the stretch does, and the position too;
        `clock` is asked where a frame has a time of its own."""
        items = self.reader.items(stretch)
        if self.batch is None:
            return [
                item.frame if isinstance(item, LogRow) else gap_frame(item, clock())
                for item in items
            ]
        return _batches(items, self.batch.max_events, clock())

    def ping(self, state: LogState, now: str) -> str:
        """A ping; its ``seq`` says up to where this listener has everything."""
        if not len(self.subscriptions):
            self.reader.position = max(self.position, state.head)
        return frame("ping", ServerPing(seq=self.position), now, None)


def _batches(items: Iterable[LogRow | Gap], most: int, now: str) -> list[str]:
    found: list[str] = []
    waiting: list[str] = []
    size = 0
    for item in items:
        if isinstance(item, LogRow):
            waiting.append(item.payload)
            size += len(item.payload.encode())
            if len(waiting) < most and size < BATCH_BYTES:
                continue
        if waiting:
            found.append(batch_frame(waiting, now))
            waiting = []
        if isinstance(item, Gap):
            found.append(gap_frame(item, now))
        if size >= BATCH_BYTES:
            break
    return [*found, batch_frame(waiting, now)] if waiting else found


def batch_frame(payloads: list[str], now: str) -> str:
    """The message that brings several events."""
    return f'{{"type":"events","timestamp":"{now}","payload":{{"events":[{",".join(payloads)}]}}}}'


def frame(kind: str, payload: Any, now: str, request_id: Any) -> str:
    """One message of the server as text."""
    message = {"type": kind, "timestamp": now, "payload": wire(payload)}
    if request_id is not None:
        message["id"] = request_id
    return jsontext.encode(message)


def gap_frame(gap: Gap, now: str) -> str:
    """The message that names events which are gone."""
    return frame("gap", GapPayload(from_=gap.first, to=gap.last, reason=gap.reason), now, None)
