"""Callbacks with what each of them asked for."""

import copy
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from task_copilot.client.model import Event, Gap, Json
from task_copilot.client.selection import Wish

logger = logging.getLogger("task_copilot_client")

Callback = Callable[[str, str, Json], object]
OnGap = Callable[[Gap], object]
Point = tuple[str | None, int | None]


@dataclass(frozen=True, eq=False)
class Registration:
    """A callback, which gets nothing up to `begins`: that came before it asked."""

    wish: Wish
    callback: Callback
    begins: Point

    def wants(self, event: Event) -> bool:
        """Whether the callback gets `event`."""
        epoch, position = self.begins
        if epoch == event.epoch and position is not None and event.seq <= position:
            return False
        return self.wish.matches(event)


class Registry:
    """May be used from several threads."""

    def __init__(self, on_gap: OnGap | None) -> None:
        self._on_gap = on_gap
        self._lock = threading.Lock()
        self._held: tuple[Registration, ...] = ()

    def add(self, registration: Registration) -> None:
        """Adds a callback behind those that are there."""
        with self._lock:
            self._held = (*self._held, registration)

    def remove(self, patterns: tuple[str, ...]) -> None:
        """Lets go of `patterns`, and of callbacks that have no others."""
        with self._lock:
            kept = (_without(registration, patterns) for registration in self._held)
            self._held = tuple(registration for registration in kept if registration.wish.patterns)

    def restart(self) -> None:
        """Another connection begins: positions of the one before say nothing."""
        with self._lock:
            self._held = tuple(replace(each, begins=(None, None)) for each in self._held)

    def wishes(self) -> tuple[Wish, ...]:
        """What all callbacks together want."""
        return tuple(registration.wish for registration in self._held)

    def deliver(self, event: Event) -> None:
        """Calls each callback that wants `event`, once."""
        called: list[Callback] = []
        for registration in self._held:
            if registration.callback not in called and registration.wants(event):
                called.append(registration.callback)
        for callback in called:
            # Each its own: what one does to it must not reach the next.
            data = event.data if len(called) == 1 else copy.deepcopy(event.data)
            self._call(callback, event.topic, event.event_type, data)

    def deliver_gap(self, gap: Gap) -> None:
        """Tells of events that do not come."""
        if self._on_gap is not None:
            self._call(self._on_gap, gap)
            return
        logger.warning("Events %d to %d did not come: %s", gap.from_, gap.to, gap.reason)

    @staticmethod
    def _call(callback: Callable[..., object], *arguments: object) -> None:
        try:
            callback(*arguments)
        except (Exception, SystemExit):  # an exit would end only this thread, without a word
            logger.exception("A callback failed: %r", callback)


def _without(registration: Registration, patterns: tuple[str, ...]) -> Registration:
    kept = tuple(name for name in registration.wish.patterns if name not in patterns)
    return replace(registration, wish=replace(registration.wish, patterns=kept))
