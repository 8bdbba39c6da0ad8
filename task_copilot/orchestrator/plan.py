"""What waits for what: the streams of a workspace, in the order in which they can be worked on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from task_copilot.errors import InvalidInput
from task_copilot.streams import Readiness, Stream, find_cycle

SET_ANEW = "task-copilot update, with any of its tasks and --depends-on"


def stream_of(fields: Mapping[str, Any]) -> Stream:
    """The stream that a row of ``/api/streams`` or the data of a ``stream.*`` event shows."""
    return Stream(
        stream_id=fields["streamId"],
        name=fields["streamName"],
        phase=fields["streamPhase"],
        dependencies=tuple(fields["dependencies"]),
        pending=fields["pendingTasks"],
        in_progress=fields["inProgressTasks"],
        blocked=fields["blockedTasks"],
        completed=fields["completedTasks"],
        started_at=None if fields["status"] == "pending" else fields["lastUpdated"],
        updated_at=fields["lastUpdated"],
    )


@dataclass(frozen=True, slots=True)
class Planned:
    """A stream of a plan, and which others have to complete before it starts."""

    stream: Stream
    waits_for: tuple[str, ...]
    step: int
    """Streams of the same step, counted from 1, can run side by side; 0: nothing is to be done."""


def plan(streams: Iterable[Stream], wanted: Iterable[str] = ()) -> list[Planned]:
    """The streams in the order in which they can start; those `wanted` only, where any are named.

    Raises InvalidInput for a wanted or needed stream that does not exist, and for streams that
    wait for each other.
    """
    known = {stream.stream_id: stream for stream in streams}
    wanted = tuple(dict.fromkeys(wanted))
    _refuse_unknown(known, wanted)
    waits = _waits(known)
    _refuse_strangers(known, waits, wanted or known)
    _refuse_circles(waits)
    steps: dict[str, int] = {}
    for stream_id in known:
        _step(stream_id, waits, steps)
    chosen = [known[stream_id] for stream_id in known if not wanted or stream_id in wanted]
    rows = [Planned(one, waits.get(one.stream_id, ()), steps[one.stream_id]) for one in chosen]
    return sorted(rows, key=lambda row: row.step)


def is_open(stream: Stream) -> bool:
    """Whether there is something to do in it."""
    return stream.total > 0 and not stream.all_done


def _waits(known: Mapping[str, Stream]) -> dict[str, tuple[str, ...]]:
    readiness = Readiness(known.values())
    return {
        stream.stream_id: tuple(readiness.waits_for(stream))
        for stream in known.values()
        if is_open(stream)
    }


def _refuse_unknown(known: Mapping[str, Stream], wanted: Iterable[str]) -> None:
    missing = [stream_id for stream_id in wanted if stream_id not in known]
    if missing:
        raise InvalidInput(
            f"There is no stream {', '.join(missing)} in this workspace; there are: "
            f"{', '.join(known) or 'none'}."
        )


def _refuse_strangers(
    known: Mapping[str, Stream], waits: Mapping[str, tuple[str, ...]], wanted: Iterable[str]
) -> None:
    for stream_id in wanted:
        for needed in waits.get(stream_id, ()):
            if needed not in known:
                raise InvalidInput(
                    f"{stream_id} needs {needed}, and there is no such stream. Its first task "
                    f"makes it (task-copilot create TITLE --stream {needed}); or say what "
                    f"{stream_id} needs instead ({SET_ANEW})."
                )
            if not is_open(known[needed]):
                raise InvalidInput(
                    f"{stream_id} needs {needed}, which has no task that could be completed. Make "
                    f"one (task-copilot create TITLE --stream {needed}); or say what {stream_id} "
                    f"needs instead ({SET_ANEW})."
                )


def _refuse_circles(waits: Mapping[str, tuple[str, ...]]) -> None:
    graph = dict(waits)
    for stream_id in graph:
        if cycle := find_cycle(graph, stream_id):
            raise InvalidInput(
                f"{' waits for '.join(cycle)}: none of them could ever start. Change what one of "
                f"them needs ({SET_ANEW}), or its --phase: a stream without dependencies waits "
                "for the phases before its own."
            )


def _step(stream_id: str, waits: Mapping[str, tuple[str, ...]], steps: dict[str, int]) -> int:
    """One more than the latest of those that it waits for; without recursion, since a chain may
    be long."""
    waiting = [stream_id]
    while waiting:
        current = waiting[-1]
        needed = [one for one in waits.get(current, ()) if one in waits]
        open_ones = [one for one in needed if one not in steps]
        if open_ones:
            waiting.extend(open_ones)
            continue
        waiting.pop()
        if current not in waits:
            steps[current] = 0
        else:
            steps[current] = 1 + max((steps[one] for one in needed), default=0)
    return steps[stream_id]
