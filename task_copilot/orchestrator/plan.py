"""What waits for what: the streams of a workspace, in the order in which they can be worked on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from task_copilot.errors import InvalidInput
from task_copilot.events.types import StreamPhase
from task_copilot.streams import Readiness, Stream

PHASES: tuple[StreamPhase, ...] = get_args(StreamPhase)

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
        archived_at=fields.get("archivedAt"),
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
    steps = _steps(waits)
    _refuse_circles(waits, steps, wanted or known)
    chosen = [one for one in known.values() if not wanted or one.stream_id in wanted]
    rows = [
        Planned(one, waits.get(one.stream_id, ()), steps.get(one.stream_id, 0)) for one in chosen
    ]
    return sorted(rows, key=lambda row: (row.step, rank(row.stream)))


def rank(stream: Stream) -> int:
    """Which of those that can start goes first: the others may wait for it."""
    return PHASES.index(stream.phase)


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


def _refuse_circles(
    waits: Mapping[str, tuple[str, ...]], steps: Mapping[str, int], wanted: Iterable[str]
) -> None:
    """Refuses wanted streams without a step: each of them waits for another one without."""
    without = [stream_id for stream_id in wanted if stream_id in waits and stream_id not in steps]
    if not without:
        return
    way = dict.fromkeys(without[:1])
    current = without[0]
    while (current := _first_without(waits[current], waits, steps)) not in way:
        way[current] = None
    cycle = [*list(way)[list(way).index(current) :], current]
    raise InvalidInput(
        f"{' waits for '.join(cycle)}: none of them could ever start. Change what one of "
        f"them needs ({SET_ANEW}), or its --phase: a stream without dependencies waits for the "
        "phases before its own."
    )


def _first_without(
    needed: Iterable[str], waits: Mapping[str, object], steps: Mapping[str, int]
) -> str:
    return next(one for one in needed if one in waits and one not in steps)


def _steps(waits: Mapping[str, tuple[str, ...]]) -> dict[str, int]:
    """One more than the latest of those that each waits for; those that wait in a circle, and what
    waits for them, have none. Each is looked at once, since a chain may be long."""
    missing = {one: sum(each in waits for each in needed) for one, needed in waits.items()}
    waiting: dict[str, list[str]] = {one: [] for one in waits}
    for one, needed in waits.items():
        for each in needed:
            if each in waits:
                waiting[each].append(one)
    steps = {one: 1 for one, count in missing.items() if not count}
    for current in (turn := list(steps)):
        for one in waiting[current]:
            missing[one] -= 1
            if not missing[one]:
                steps[one] = steps[current] + 1
                turn.append(one)
    return steps
