"""The benchmarks, in the order in which they run."""

from benchmarks.measures import Suite
from benchmarks.suites import (
    client,
    dashboard,
    delivery,
    fairness,
    fanout,
    idle,
    latency,
    memory,
    orchestrate,
    replay,
    routes,
    scale,
    shutdown,
    siege,
    sizes,
    startup,
    stream_lists,
    takeover,
    team_delivery,
    team_growth,
    team_writes,
    updates,
    wire,
)

SUITES: dict[str, Suite] = {
    module.SUITE.name: module.SUITE
    for module in (
        startup,
        updates,
        latency,
        delivery,
        fairness,
        replay,
        fanout,
        client,
        wire,
        takeover,
        shutdown,
        orchestrate,
        siege,
        scale,
        stream_lists,
        sizes,
        memory,
        idle,
        routes,
        dashboard,
        team_writes,
        team_delivery,
        team_growth,
    )
}
