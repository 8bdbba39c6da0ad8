"""The numbers of this hub in Prometheus' text format. Imported when they are first asked for.

Nothing is counted twice: the parts count as they work, and this reads them when it is asked.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from task_copilot.database.committer import CommitTimes
from task_copilot.events.bus import Bus
from task_copilot.events.listeners import Listeners


@dataclass(frozen=True)
class HubMetrics(Collector):
    """What a hub knows of itself; counters are since it became the hub."""

    bus: Bus
    listeners: Listeners
    commits: CommitTimes
    takeovers: int

    def collect(self) -> Iterator[Metric]:
        """Every family with its present values."""
        yield from self._counters()
        yield from self._gauges()
        yield self._errors()
        yield self._commit_times()

    def _counters(self) -> Iterator[Metric]:
        counted = (
            ("events_appended", "Events that all processes wrote.", self.bus.appended),
            ("events_delivered", "Events sent, once per listener.", self.listeners.delivered),
            ("gaps", "Gaps that listeners were told of.", self.listeners.gaps),
            ("takeovers", "Hubs that this database has had.", self.takeovers),
        )
        for name, text, value in counted:
            yield CounterMetricFamily(f"task_copilot_{name}", text, value=value)

    def _gauges(self) -> Iterator[Metric]:
        lag = self.listeners.lag(self.bus.head)
        measured = (
            ("listeners", "Listeners on all transports.", self.listeners.count),
            ("slowest_listener_lag", "Events that the slowest has before it.", lag),
            ("log_head", "Newest event of the log.", self.bus.head),
        )
        for name, text, value in measured:
            yield GaugeMetricFamily(f"task_copilot_{name}", text, value=value)

    def _errors(self) -> Metric:
        family = CounterMetricFamily(
            "task_copilot_errors", "Requests of listeners that were refused.", labels=["code"]
        )
        for code, count in sorted(self.listeners.errors.items()):
            family.add_metric([code], count)
        return family

    def _commit_times(self) -> Metric:
        family = HistogramMetricFamily(
            "task_copilot_commit_seconds",
            "Time of this process's transactions, with their wait for the lock.",
        )
        family.add_metric([], buckets=self.commits.cumulated(), sum_value=self.commits.seconds)
        return family


def exposition(metrics: HubMetrics) -> bytes:
    """The text that a scrape gets."""
    registry = CollectorRegistry()
    registry.register(metrics)
    return generate_latest(registry)
