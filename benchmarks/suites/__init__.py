"""The benchmarks, in the order in which they run."""

from benchmarks.measures import Suite
from benchmarks.suites import (
    client,
    commits,
    dashboard,
    delivery,
    fairness,
    fanout,
    idle,
    latency,
    matching,
    memory,
    peers,
    replay,
    routes,
    scale,
    shutdown,
    siege,
    sizes,
    startup,
    stream_lists,
    takeover,
    thousand,
    transport,
    updates,
    wire,
)

SUITES: dict[str, Suite] = {
    module.SUITE.name: module.SUITE
    for module in (
        startup,
        updates,
        transport,
        commits,
        latency,
        delivery,
        fairness,
        replay,
        fanout,
        peers,
        thousand,
        matching,
        client,
        wire,
        takeover,
        shutdown,
        siege,
        scale,
        stream_lists,
        sizes,
        memory,
        idle,
        routes,
        dashboard,
    )
}
