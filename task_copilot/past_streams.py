"""Streams as they were right after an event."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from task_copilot.glance import COUNTED, StreamSeen
from task_copilot.past_log import After, Before, Key, Place, StreamAfter, StreamBefore
from task_copilot.stream_queries import StreamFound
from task_copilot.streams import Stream

_COLUMNS = {"streamName": "name", "streamPhase": "phase", "streamDependencies": "dependencies"}
_IN_EVENTS = {"streamDependencies": "dependencies"}
"""Fields whose name in the events of streams is another one than in `changes`."""


def key_of(found: StreamFound) -> Key:
    """What events call a stream."""
    return found.workspace, found.stream.stream_id


def recounted(found: StreamFound, difference: Counter[str] | None) -> Stream:
    """The stream with the counters that it had."""
    stream = found.stream
    if difference is None:
        return stream
    counts = {status: getattr(stream, status) + difference[status] for status in COUNTED}
    return stream._replace(**counts)


def made_since(found: StreamFound, counted: Stream, after: After, time: str | None) -> bool | None:
    """Whether the stream did not exist yet; None where only earlier events can tell.

    The first event of a stream is of the transaction that makes it.
    """
    told = after.streams.get(key_of(found))
    if told is None or told.first is None:
        return False
    if counted.total or told.first_time != found.created_at:
        return False
    return True if time is not None and time < found.created_at else None


class StreamsThen:
    """Works out what `found` streams were, given what is told of them after and before.

    `counted` has their counters; `asked` takes what it needs of the earlier events.
    """

    def __init__(
        self,
        present: Iterable[StreamFound],
        counts: Mapping[Place, Counter[str]],
        after: After,
        time: str | None,
        asked: Before,
    ) -> None:
        self._after, self._asked = after, asked
        self._streams: list[tuple[StreamFound, Stream, bool | None]] = []
        for found in present:
            key = key_of(found)
            counted = recounted(found, counts.get(key))
            made = made_since(found, counted, after, time)
            if made:
                continue
            self._streams.append((found, counted, made))
            if key in after.streams:
                asked.streams[key] = StreamBefore()
                if counted.all_done and _completed_at(found.stream, after.streams[key]) is None:
                    asked.completions.add(key)

    def seen(self) -> list[StreamSeen]:
        """The streams, once the earlier events have been asked."""
        return [
            one
            for found, counted, made in self._streams
            if (one := self._one(found, counted, may_be_new=made is None)) is not None
        ]

    def _one(self, found: StreamFound, counted: Stream, *, may_be_new: bool) -> StreamSeen | None:
        key = key_of(found)
        told = self._after.streams.get(key)
        if told is None:
            return StreamSeen(_with(found, counted))
        before = self._asked.streams[key]
        if may_be_new and before.last is None:
            return None
        values, unknown = _named(told, before)
        if before.updated_at is None:
            unknown.add("last_updated")
        stream = counted._replace(
            **values,
            started_at=None if "stream.started" in told.types else counted.started_at,
            updated_at=before.updated_at or "",
            archived_at=_archived_at(counted, told, before),
        )
        completed = _completed_at(counted, told) or before.completed_at
        stream = stream._replace(completed_at=completed if stream.all_done else None)
        return StreamSeen(_with(found, stream), frozenset(unknown))


def _with(found: StreamFound, stream: Stream) -> StreamFound:
    return StreamFound(
        stream=stream,
        workspace_id=found.workspace_id,
        workspace=found.workspace,
        created_at=found.created_at,
        blocked_reason=None,
        files=(),
    )


def _completed_at(present: Stream, told: StreamAfter) -> str | None:
    """When it was completed, if it has stayed so since."""
    return None if "stream.completed" in told.types else present.completed_at


def _archived_at(present: Stream, told: StreamAfter, before: StreamBefore) -> str | None:
    if before.last is not None:
        return before.last["archivedAt"] if before.last_type == "stream.archived" else None
    if "stream.archived" in told.types:
        return None  # nothing tells of one further back
    return present.archived_at


def _named(told: StreamAfter, before: StreamBefore) -> tuple[dict[str, Any], set[str]]:
    """Name, phase and dependencies, as far as they are told, and whether the last are unknown."""
    values: dict[str, Any] = {}
    unknown: set[str] = set()
    for name, column in _COLUMNS.items():
        told_values = (value for value in _values(name, told, before) if not _is_lost(value))
        value = next(told_values, None)
        if value is not None:
            values[column] = tuple(value) if isinstance(value, list) else value
        elif name in told.olds or (name in before.renamed and told.made_task):
            unknown.add(column)
    return values, unknown & {"dependencies"}


def _is_lost(value: Any) -> bool:
    """Whether nothing is told, or in its place only how long it was."""
    return not isinstance(value, str | list)


def _values(name: str, told: StreamAfter, before: StreamBefore) -> Iterator[Any]:
    """What is told of a field, the best first.

    Earlier events know it, unless it was too long for the change that set it. Else it is what
    the next change says that it was, or what the next event says that it is: where the log
    begins late that is no more than likely, as a new task may have changed it.
    """
    event_name = _IN_EVENTS.get(name, name)
    if name in before.renamed:
        yield before.renamed[name]
        if told.made_task:
            return
    elif before.last is not None:
        yield before.last[event_name]
    yield told.olds.get(name)
    if told.first is not None and name not in told.changed_before:
        yield told.first[event_name]
