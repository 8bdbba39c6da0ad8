"""What listeners over HTTP share: they say what they want once, at the beginning."""

from dataclasses import dataclass

from task_copilot.events.bus import Bus
from task_copilot.events.filters import Subscriptions
from task_copilot.events.listeners import Listeners
from task_copilot.events.reader import Gap, Reader
from task_copilot.events.requests import Refused, Wanted


@dataclass(frozen=True, slots=True)
class Feed:
    """The events of a hub, as the HTTP transports serve them."""

    bus: Bus
    listeners: Listeners
    max_patterns: int
    ping_interval: float

    async def reader(self, wanted: Wanted, workspace: str | None) -> Reader:
        """A reader at the place where `wanted` begins; raises Refused, and NewEpoch."""
        if len(wanted.topics) > self.max_patterns:
            raise Refused(
                "WS_SUBSCRIPTION_LIMIT",
                f"A request takes at most {self.max_patterns} patterns; "
                f"this one has {len(wanted.topics)}.",
                limit=self.max_patterns,
            )
        # Whoever was just told that something is written finds it.
        await self.bus.synchronise()
        wanted.cursor.check(self.bus.state)
        subscriptions = Subscriptions(workspace)
        for selection in wanted.selections:
            subscriptions.add(selection.patterns, selection.filter)
        position = self.bus.head
        if wanted.cursor.since is not None:
            position = wanted.cursor.since
        elif wanted.cursor.replay:
            position = await self.bus.before_the_newest(wanted.cursor.replay, subscriptions.match)
        return Reader(position, subscriptions)


def gap_text(gap: Gap) -> str:
    """A gap as JSON."""
    return f'{{"from":{gap.first},"to":{gap.last},"reason":"{gap.reason}"}}'
