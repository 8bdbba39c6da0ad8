"""The listener of the demo: it receives every event, keeps the picture, and counts."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

PORTS_TRIED = 10
CONNECT_SECONDS = 10.0
CATCH_UP_SECONDS = 5.0
LOOK_AGAIN_SECONDS = 0.05


class ListenerFailed(Exception):
    """The events could not be followed to the end."""


@dataclass
class StreamState:
    """A stream as its events tell of it."""

    stream_id: str
    name: str = ""
    status: str = "pending"
    total: int = 0
    completed: int = 0
    in_progress: int = 0
    percentage: float = 0.0
    needs: tuple[str, ...] = ()


@dataclass
class TaskState:
    """A task as its events tell of it."""

    task_id: str
    title: str
    stream_id: str | None
    status: str
    agent: str | None
    blocked_reason: str | None


@dataclass
class Picture:
    """Everything that one can know from the events alone."""

    streams: dict[str, StreamState] = field(default_factory=dict)
    tasks: dict[str, TaskState] = field(default_factory=dict)

    def take(self, event: dict[str, Any]) -> None:
        """Brings the picture up to date with one event."""
        data = event["data"]
        kind = event["eventType"].partition(".")[0]
        if kind == "stream":
            self.streams[data["streamId"]] = StreamState(
                stream_id=data["streamId"],
                name=data["streamName"],
                status=data["status"],
                total=data["totalTasks"],
                completed=data["completedTasks"],
                in_progress=data["inProgressTasks"],
                percentage=data["progressPercentage"],
                needs=tuple(data["dependencies"]),
            )
        elif kind == "task":
            self.tasks[data["taskId"]] = TaskState(
                task_id=data["taskId"],
                title=data["taskTitle"],
                stream_id=data["streamId"],
                status=data["newStatus"],
                agent=data["assignedAgent"],
                blocked_reason=data["blockedReason"],
            )

    def tasks_of(self, stream_id: str, status: str) -> list[TaskState]:
        """The tasks of a stream that have `status`."""
        return [
            task
            for task in self.tasks.values()
            if task.stream_id == stream_id and task.status == status
        ]

    def waits_for(self, stream: StreamState) -> list[str]:
        """The streams that have to be complete before `stream` can start."""
        return [
            needed
            for needed in stream.needs
            if needed not in self.streams or self.streams[needed].status != "completed"
        ]


@dataclass(frozen=True)
class Account:
    """What the log stored against what the listener received."""

    stored: int
    received: int
    lost: int
    doubled: int
    out_of_order: int
    unknown: int

    @property
    def clean(self) -> bool:
        """Each stored event was received once, in order, and nothing else was."""
        return not (self.lost or self.doubled or self.out_of_order or self.unknown)


def account(stored: Iterable[int], received: Sequence[int]) -> Account:
    """Compares the numbers of the stored events with those that were received."""
    wanted = set(stored)
    counts = Counter(received)
    return Account(
        stored=len(wanted),
        received=len(received),
        lost=len(wanted - counts.keys()),
        doubled=len(received) - len(counts),
        out_of_order=sum(1 for before, after in pairwise(received) if after < before),
        unknown=len(counts.keys() - wanted),
    )


class Listener:
    """One connection that asked for every event; `seqs` are what it received, as it came."""

    def __init__(self, connection: ClientConnection, port: int, position: int) -> None:
        self.port = port
        self.position = position
        self.seqs: list[int] = []
        self.picture = Picture()
        self._connection = connection
        self._changed = asyncio.Event()
        self._pongs = 0

    async def follow(self, show: Callable[[dict[str, Any], Picture], None]) -> None:
        """Receives until the connection ends; `show` gets each event and the new picture."""
        async for text in self._connection:
            message = json.loads(text)
            if message["type"] == "event":
                event = message["payload"]
                self.seqs.append(event["seq"])
                self.picture.take(event)
                show(event, self.picture)
            elif message["type"] == "pong":
                self._pongs += 1
            self._changed.set()

    async def catch_up(self, head: int) -> None:
        """Waits until event `head` is here, and for whatever may still come behind it."""
        try:
            async with asyncio.timeout(CATCH_UP_SECONDS):
                await self._until(lambda: bool(self.seqs) and max(self.seqs) >= head)
                await self._connection.send(json.dumps({"type": "ping"}))
                await self._until(lambda: self._pongs > 0)
        except TimeoutError:
            return  # what is missing then counts as lost

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    async def aclose(self) -> None:
        """Ends the connection."""
        await self._connection.close()


async def listen(port: int, epoch: str) -> Listener:
    """Asks for every event of the database that `epoch` names.

    The server takes the next free port if another program has `port` by now.
    """
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            while True:
                for candidate in range(port, port + PORTS_TRIED):
                    if found := await _subscribed(candidate, epoch):
                        return found
                await asyncio.sleep(LOOK_AGAIN_SECONDS)
    except TimeoutError:
        raise ListenerFailed(
            f"Nothing served events on port {port} within {CONNECT_SECONDS:.0f} s."
        ) from None


async def _subscribed(port: int, epoch: str) -> Listener | None:
    try:
        connection = await connect(f"ws://127.0.0.1:{port}/ws", proxy=None, open_timeout=2)
    except (OSError, WebSocketException):
        return None
    try:
        await connection.send(json.dumps({"type": "subscribe", "payload": {"topics": ["*"]}}))
        answer = json.loads(await asyncio.wait_for(connection.recv(), timeout=2))["payload"]
        if answer["epoch"] == epoch:
            return Listener(connection, port, answer["seq"])
    except (OSError, WebSocketException, ValueError, LookupError, TypeError):
        pass
    await connection.close()
    return None
