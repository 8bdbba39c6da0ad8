"""A hub in a few lines: a log, and one connection to it."""

import json
from typing import Any

from task_copilot.events.topics import PatternSet

EPOCH = "first"
TYPES = ("task.created", "task.updated", "stream.progress")


def payload(seq: int, event_type: str = "task.created", **data: Any) -> dict[str, Any]:
    kind = event_type.partition(".")[0]
    return {
        "seq": seq,
        "topic": f"{kind}:{data.pop('id', 'TASK-1')}",
        "eventType": event_type,
        "workspace": "shop",
        "actor": data.pop("actor", "ada"),
        "timestamp": "2026-01-08T12:00:00.000Z",
        "data": data,
    }


def frame(kind: str, content: dict[str, Any], request: str | None = None) -> str:
    return json.dumps({"type": kind, "payload": content} | ({"id": request} if request else {}))


class FakeHub:
    """A log and one connection to it."""

    def __init__(self) -> None:
        self.epoch = EPOCH
        self.log: list[dict[str, Any]] = []
        self.pruned = 0
        self.connect()

    @property
    def head(self) -> int:
        return len(self.log)

    def connect(self) -> None:
        self.position: int | None = None
        self.held: dict[str, list[str] | None] = {}

    def append(self, event_type: str, number: int) -> None:
        self.log.append(payload(self.head + 1, event_type, id=f"TASK-{number}"))

    def matches(self, event: dict[str, Any]) -> bool:
        return any(
            PatternSet([pattern]).matches(event["topic"])
            and (types is None or event["eventType"] in types)
            for pattern, types in self.held.items()
        )

    def take(self, text: str) -> list[str]:
        """Answers a message as a hub does."""
        message = json.loads(text)
        asked = message["payload"]
        if message["type"] == "unsubscribe":
            for topic in asked["topics"]:
                del self.held[topic]
            return [frame("unsubscribed", {}, message["id"])]
        if self.position is None:
            if (asked.get("epoch") or self.epoch) != self.epoch or asked.get(
                "since", 0
            ) > self.head:
                return [
                    frame("error", {"code": "WS_INVALID_CURSOR", "message": "x"}, message["id"])
                ]
            self.position = asked.get("since", self.head)
            shown = self.head
        else:
            assert "since" not in asked
            shown = self.position
        for pair in asked["subscriptions"]:
            types = pair.get("filter", {}).get("eventTypes")
            self.held |= dict.fromkeys(pair["topics"], types)
        return [frame("subscribed", {"epoch": self.epoch, "seq": shown}, message["id"])]

    def deliver(self, most: int, *, batch: bool) -> list[str]:
        """The next frames for the connection."""
        if self.position is None:
            return []
        frames = []
        if self.position < self.pruned:
            gap = {"from": self.position + 1, "to": self.pruned, "reason": "pruned"}
            frames.append(frame("gap", gap))
            self.position = self.pruned
        events = self.log[self.position : self.position + most]
        self.position += len(events)
        found = [event for event in events if self.matches(event)]
        if batch:
            return [*frames, frame("events", {"events": found})]
        return frames + [frame("event", event) for event in found]

    def page(self, query: dict[str, str], limit: int) -> str:
        """The answer to a request without waiting."""
        since = int(query.get("since", self.head))
        gap = {"from": since + 1, "to": self.pruned, "reason": "pruned"}
        gap_shown = gap if since < self.pruned else None
        since = max(since, self.pruned)
        patterns = PatternSet(query["topics"].split(","))
        types = query["eventTypes"].split(",") if "eventTypes" in query else TYPES
        events = self.log[since : since + limit]
        return json.dumps(
            {
                "epoch": self.epoch,
                "seq": self.head,
                "next": since + len(events),
                "gap": gap_shown,
                "events": [
                    e for e in events if patterns.matches(e["topic"]) and e["eventType"] in types
                ],
            }
        )
