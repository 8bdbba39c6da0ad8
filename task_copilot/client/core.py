"""A listener's side of the protocol without socket, clock or thread.

It holds the one cursor that goes through all transports: what to send on a connection or ask in
a request follows from it, and what comes in moves it. Each event comes out once, in order.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from task_copilot.client.errors import RequestRefused, Unusable
from task_copilot.client.model import Event, Gap, Item, Json, Mark, read_event, text, whole
from task_copilot.client.selection import Condition, Wish, coarse, merged

MAX_REQUEST_CHARACTERS = 15_000
"""Of a subscribe and of a query; beyond that the hub is asked for more than is wanted. Hubs take
messages of 64 KiB, at most 4 bytes a character."""

Beginning = Literal["since", "replay", "head"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where a listener begins: after `since` of `epoch`, before the newest `replay`, else at the
    head of the log."""

    since: int | None = None
    epoch: str | None = None
    replay: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("since", self.since), ("replay", self.replay)):
            if value is not None and (type(value) is not int or value < 0):
                raise ValueError(f"{name}: {value!a} is no whole number from 0 on")
        if self.since is not None and self.replay is not None:
            raise ValueError("Give since or replay, not both.")
        if self.epoch is not None and self.since is None:
            raise ValueError("epoch: belongs to since, which is missing.")


class Core:
    """The state of one listener over all of its connections."""

    def __init__(self, start: Start, batch: Json | None = None) -> None:
        self.position = start.since
        self.epoch = start.epoch
        self.behind = False
        """Whether the last page said that there is more already."""
        self._replay = start.replay or 0
        self._batch = batch
        self._wishes: tuple[Wish, ...] = ()
        self._generation = self._asked_generation = 0
        self._wanted: dict[str, Condition] | None = None
        """What to subscribe to, once it was put together for the wishes that hold now."""
        self._coarse = False
        self._lost = False
        """The hub does not know the cursor: begin at its head, and say so."""
        self._at_head = False
        """Nothing was wanted for a while, so that nothing was missed."""
        self._last_id = 0
        self.connected()

    def connected(self) -> None:
        """Begins a new connection."""
        self._opened = False
        self._sent: dict[str, Condition] = {}
        self._first_id = ""
        self._unanswered: set[str] = set()
        self._began: Beginning = "since"
        self._placed = False
        self._pings_to_pass = 0

    @property
    def point(self) -> tuple[str | None, int | None]:
        """Epoch and position at this moment."""
        return self.epoch, self.position

    @property
    def needs_head(self) -> bool:
        """Whether it begins at the head of the log and does not know it yet."""
        return self._lost or self._at_head or (self.position is None and not self._replay)

    @property
    def waits(self) -> bool:
        """Whether the hub owes an answer to a subscribe."""
        return bool(self._unanswered)

    @property
    def wants_something(self) -> bool:
        """Whether any topic is asked for."""
        return bool(self._wishes)

    def begin(self, epoch: str, head: int) -> list[Item]:
        """Says where the log stands, for a listener that begins there."""
        if not self.needs_head:
            return []
        return self._place(epoch, head)

    def wish(self, wishes: Sequence[Wish]) -> None:
        """Says what is wanted from now on."""
        if self._wishes and not wishes:
            self._at_head = True
        self._wishes = tuple(wishes)
        self._wanted = None
        self._generation += 1

    # --- WebSocket ---

    def outgoing(self) -> list[str]:
        """The messages to send now."""
        wanted = self._asked()
        if not self._opened:
            return [self._opening(wanted)] if wanted else []
        if wanted is self._sent:  # as after nearly every message
            return []
        dropped = [pattern for pattern in self._sent if pattern not in wanted]
        added = {
            pattern: condition
            for pattern, condition in wanted.items()
            if self._sent.get(pattern) != condition
        }
        self._sent = wanted
        # In this order: while nothing is held, the hub lets events pass.
        found = [self._message("subscribe", _subscriptions(added))] if added else []
        if dropped:
            found.append(self._message("unsubscribe", {"topics": dropped}))
        return found

    def _opening(self, wanted: dict[str, Condition]) -> str:
        self._opened, self._sent = True, wanted
        payload = {**_subscriptions(wanted), **self._cursor()}
        if self._batch:
            payload["batch"] = self._batch
        message = self._message("subscribe", payload)
        self._first_id = str(self._last_id)
        return message

    def _asked(self) -> dict[str, Condition]:
        if self._wanted is None:
            wanted = merged(self._wishes)
            too_long = len(json.dumps(_subscriptions(wanted))) > MAX_REQUEST_CHARACTERS
            self._wanted = coarse(wanted) if self._coarse or too_long else wanted
        return self._wanted

    def _cursor(self) -> Json:
        """Where the next connection or page begins."""
        if self.needs_head:
            self._began = "head"
            return {}
        if self.position is None:
            self._began = "replay"
            return {"replay": self._replay}
        self._began = "since"
        return {"since": self.position} | ({"epoch": self.epoch} if self.epoch else {})

    def _message(self, kind: str, payload: Json) -> str:
        self._last_id += 1
        if kind == "subscribe":
            self._unanswered.add(str(self._last_id))
        return json.dumps({"type": kind, "id": str(self._last_id), "payload": payload})

    def receive(self, frame: str | bytes) -> list[Item]:
        """Takes one message of the hub. Raises Unusable where to connect anew, and
        RequestRefused where that would not help."""
        message = _object(frame)
        kind, payload = message.get("type"), message.get("payload")
        if not isinstance(kind, str) or not isinstance(payload, dict):
            raise Unusable("a message without type or payload")
        if kind in {"event", "events", "gap"} and not self._placed:
            raise Unusable("events that were not asked for")
        if kind == "event":
            return self._events([payload])
        if kind == "events":
            return self._events(_list(payload, "events"))
        if kind == "gap":
            return self._gap(payload)
        if kind == "ping":
            return self._ping(payload)
        if kind == "subscribed":
            return self._subscribed(str(message.get("id")), payload)
        if kind == "error":
            self._error(str(message.get("id")), payload)
        return []  # `unsubscribed`, `pong`, and what later hubs may send

    def _subscribed(self, request: str, payload: Json) -> list[Item]:
        epoch, seq = text(payload, "epoch"), whole(payload, "seq")
        self._unanswered.discard(request)
        if request != self._first_id:  # it comes behind everything up to this position
            self._at_head = False
            return self._move(seq)
        self._placed = True
        if self._began == "head":
            return self._place(epoch, seq)
        if self.epoch is not None and self._began == "since" and self.epoch != epoch:
            raise Unusable("another epoch than was asked for")
        self.epoch = epoch
        # A ping may come before the hub has looked up where the replay begins, and name the head.
        self._pings_to_pass = 1 if self._began == "replay" else 0
        return []

    def _place(self, epoch: str, head: int) -> list[Item]:
        replaced = self._lost or self.epoch not in {None, epoch}
        self._lost = self._at_head = False
        self.epoch, self.position = epoch, head
        if replaced:
            return [Gap(from_=1, to=head, reason="replaced", epoch=epoch)]
        return [Mark(epoch, head)]

    def _ping(self, payload: Json) -> list[Item]:
        seq = whole(payload, "seq")
        if not self._placed:
            return []
        if self._pings_to_pass and self.position is None:
            self._pings_to_pass -= 1
            return []
        return self._move(seq)

    def _error(self, request: str, payload: Json) -> None:
        code, message = text(payload, "code"), text(payload, "message")
        if code == "WS_NOT_SUBSCRIBED":
            return
        self._unanswered.discard(request)
        if not self.refused(code) or request != self._first_id:
            if code == "WS_SUBSCRIPTION_LIMIT":
                raise Unusable("too many patterns; with fewer ones")
            raise RequestRefused(code, message)
        self._opened, self._sent = False, {}

    def refused(self, code: str) -> bool:
        """Takes the code of an error; whether the next request avoids it."""
        if code == "WS_INVALID_CURSOR" and self._began != "head":
            self._lost = True
            return True
        if code == "WS_SUBSCRIPTION_LIMIT" and not self._coarse:
            self._coarse, self._wanted = True, None
            return True
        return False

    # --- HTTP ---

    def query(self) -> dict[str, str]:
        """The parameters of ``GET /api/events`` for the next page."""
        self._asked_generation = self._generation
        wanted = merged(self._wishes)
        conditions = set(wanted.values())
        filters = _filter_query(conditions.pop()) if len(conditions) == 1 else {}
        topics = ",".join(wanted)
        if self._coarse or len(topics) + len("".join(filters.values())) > MAX_REQUEST_CHARACTERS:
            topics, filters = ",".join(coarse(wanted)), {}
        cursor = {name: str(value) for name, value in self._cursor().items()}
        return {"topics": topics, **filters, **cursor}

    def page(self, body: str | bytes) -> list[Item]:
        """Takes a page of ``GET /api/events``; raises Unusable."""
        content = _object(body)
        epoch, after = text(content, "epoch"), whole(content, "next")
        self.behind = after < whole(content, "seq")
        if self._asked_generation != self._generation:
            self.behind = True  # other topics are wanted by now: it is asked again
            return []
        if self._began == "head":
            return self._place(epoch, after)
        if self._began == "since" and self.epoch not in {None, epoch}:
            raise Unusable("another epoch than was asked for")
        self.epoch = epoch
        gap = content.get("gap")
        found = self._gap(gap) if isinstance(gap, dict) else []
        found += self._events(_list(content, "events"))
        found += self._move(after)
        self.behind = self.behind and bool(found)  # a page that brings nothing says nothing
        return found

    # --- what moves the cursor ---

    def _events(self, payloads: list[Any]) -> list[Item]:
        found: list[Item] = []
        before = self.position
        for payload in payloads:
            event = read_event(payload, self.epoch or "")
            if self.position is None or event.seq > self.position:
                self.position = event.seq
                if any(each.matches(event) for each in self._wishes):
                    found.append(event)
        return found + self._mark(before, found)

    def _gap(self, payload: Json) -> list[Item]:
        first, last = whole(payload, "from"), whole(payload, "to")
        if self.position is not None:
            if last <= self.position:
                return []
            first = max(first, self.position + 1)
        self.position = last
        return [Gap(from_=first, to=last, reason="pruned", epoch=self.epoch or "")]

    def _move(self, position: int) -> list[Item]:
        before = self.position
        self.position = position if before is None else max(before, position)
        return self._mark(before, [])

    def _mark(self, before: int | None, found: Sequence[Item]) -> list[Item]:
        """A mark, where the position moved on beyond what was found."""
        last = found[-1].seq if found and isinstance(found[-1], Event) else before
        if self.position is None or self.position == last or self.epoch is None:
            return []
        return [Mark(self.epoch, self.position)]


def _subscriptions(wanted: dict[str, Condition]) -> Json:
    groups: dict[Condition, list[str]] = {}
    for pattern, condition in wanted.items():
        groups.setdefault(condition, []).append(pattern)
    return {
        "subscriptions": [
            {"topics": topics, **({"filter": found} if (found := condition.wire()) else {})}
            for condition, topics in groups.items()
        ]
    }


def _filter_query(condition: Condition) -> dict[str, str]:
    """The filter as lists with commas; a name that has one itself is filtered here only."""
    found = condition.wire()
    if any("," in name for names in found.values() for name in names):
        return {}
    return {name: ",".join(names) for name, names in found.items()}


def _object(frame: str | bytes) -> Json:
    try:
        found = json.loads(frame)
    except (ValueError, RecursionError):
        raise Unusable("a message that is no JSON") from None
    if not isinstance(found, dict):
        raise Unusable("a message that is no object")
    return found


def _list(content: Json, name: str) -> list[Any]:
    found = content.get(name)
    if not isinstance(found, list):
        raise Unusable(f"{name} is no list")
    return found
