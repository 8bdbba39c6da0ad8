"""Hubs on one PostgreSQL database, as on several machines, and how late their listeners are."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import NamedTuple

from benchmarks.cluster import start_session
from benchmarks.commit_clock import CLOCKED_SERVER, CommitClock
from benchmarks.crowd import Arrivals, Crowd, crowd
from benchmarks.mcp_process import McpProcess, call_line
from benchmarks.pacing import paced
from benchmarks.sandbox import Sandbox

WARM_UP = 50


class Hub(NamedTuple):
    """A process that serves on a port of its own."""

    box: Sandbox
    process: McpProcess


def start_hubs(stack: ExitStack, box: Sandbox, count: int) -> list[Hub]:
    """As many hubs on the database of `box`; the nth has made a task."""
    hubs = []
    for place in range(count):
        own = box.beside() if place else box
        hubs.append(Hub(own, start_session(stack, own, CLOCKED_SERVER)))
        own.wait_for_hub()
    return hubs


class Delivered(NamedTuple):
    """Milliseconds from each commit to the event at each listener, after some that warm up; and
    how many of all that should have come did not, or came twice."""

    late: list[float]
    wrong: int


def deliver(
    stack: ExitStack,
    writer: Hub,
    served: Sequence[Hub],
    listeners: int,
    calls: int,
    per_second: float,
) -> Delivered:
    """Writes steadily, one event a call, while each hub of `served` has so many listeners."""
    crowds = [stack.enter_context(crowd(hub.box, listeners)) for hub in served]
    clock = CommitClock(writer.box)
    total = WARM_UP + calls
    paced([writer.process], map(_request, range(total)), per_second)
    for each in crowds:
        each.wait_for(clock.begin + total)
    return _compare(clock, crowds, total)


def _request(number: int) -> bytes:
    return call_line(number, "task_update", {"id": "TASK-1", "title": f"Title {number}"})


def _compare(clock: CommitClock, crowds: Sequence[Crowd], total: int) -> Delivered:
    committed = clock.moments()
    arrivals: list[Arrivals] = [one for each in crowds for one in each.arrivals()]
    first = clock.begin + WARM_UP
    late = [
        (moment - committed[seq]) / 1e6
        for one in arrivals
        for seq, moment in one.by_seq()
        if seq > first
    ]
    return Delivered(late, sum(abs(len(one.moments) - total) for one in arrivals))
