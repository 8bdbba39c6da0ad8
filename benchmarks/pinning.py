"""Which core a process runs on, and what it used of it."""

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

SERVER_CORE, LOAD_CORE = 0, 1
"""By their place among the cores that this process may use."""


@contextmanager
def pinned(place: int) -> Iterator[None]:
    """Processes that are started meanwhile run on that core only, where there are two and the
    system can do it."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    cores = sorted(allowed)
    if len(cores) > 1:
        os.sched_setaffinity(0, {cores[place]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def processor_seconds(pid: int) -> float:
    """What all threads of a process have used so far."""
    if platform.system() == "Linux":
        # The clock of that process, as clock_getcpuclockid makes its number. /proc counts in
        # hundredths of a second, which is much of what a short burst takes.
        return time.clock_gettime((~pid << 3) | 2)
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)
