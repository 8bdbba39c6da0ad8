"""The benchmarks, in the order in which they run."""

from benchmarks.measures import Suite
from benchmarks.suites import (
    latency,
    memory,
    routes,
    scale,
    shutdown,
    sizes,
    startup,
    stream_lists,
    updates,
)

SUITES: dict[str, Suite] = {
    module.SUITE.name: module.SUITE
    for module in (startup, updates, latency, shutdown, scale, stream_lists, sizes, memory, routes)
}
