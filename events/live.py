"""Listeners that have all there is: what comes next is written to them in the turn in which it
comes, and an event that a listener does not want costs it nothing.

    a member's own task ──attach──▶ in the set      it has everything up to the set's position
         ▲                             │
         └────────── released ─────────┘            with its exact position, to go on by itself

Members who want the same are a group: what they get is put together once.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

from task_copilot.clock import Clock
from task_copilot.events.bus import Bus
from task_copilot.events.filters import Selection
from task_copilot.events.frames import framed
from task_copilot.events.listener import BATCH_BYTES, batch_frame
from task_copilot.events.listeners import Listeners
from task_copilot.events.log import LogRow
from task_copilot.events.matching import MatchIndex
from task_copilot.events.reader import Reader

logger = logging.getLogger(__name__)

WRITE_BYTES = 64 * 1024
"""A write of single events ends with the one that reaches it. As much may wait in the transport
already, so that a listener that does not read costs twice that and no more."""

Put = Callable[[bytes], bool]


class Wish(NamedTuple):
    """What a member wants, and in which form: `most` events in one message, None for single
    ones."""

    selection: Selection
    most: int | None


class Member(Protocol):
    """A listener, as far as the set knows it."""

    reader: Reader

    @property
    def put(self) -> Put | None:
        """Writes whole frames at once, and says whether it did; it did nothing where the client
        has not read enough of what was written before. None for one that cannot be written to:
        it is released when something comes for it."""

    @property
    def wish(self) -> Wish:
        """What it wants as long as it is in the set."""

    def released(self) -> None:
        """It is in the set no more, and has to go on from its reader's position by itself."""

    def failed(self, error: Exception) -> None:
        """It cannot be written to any more."""


class _Group:
    """Members with the same wish; `known` counts those who come back after a release too."""

    def __init__(self, wish: Wish) -> None:
        self.wish = wish
        self.members: dict[Member, Put | None] = {}
        self.known = 0


class _Part(NamedTuple):
    """Some events as they are written; `before` is the position of who has not got it."""

    before: int
    data: bytes
    events: int


class LiveSet:
    """All of it runs in the event loop, and nothing in it waits."""

    def __init__(self, bus: Bus, listeners: Listeners, clock: Clock) -> None:
        self.position = bus.head
        self._bus = bus
        self._epoch = bus.epoch
        self._listeners = listeners
        self._clock = clock
        self._index: MatchIndex[_Group] = MatchIndex()
        self._groups: dict[Wish, _Group] = {}
        self._group_of: dict[Member, _Group] = {}
        bus.add_waker(self._woken)

    # --- who is in it ---

    def attach(self, member: Member) -> bool:
        """Takes in a member that has everything up to the head, or wants nothing; False for
        any other."""
        self._advance()
        reader = member.reader
        if len(reader.subscriptions) and reader.position != self.position:
            return False
        self._group_for(member).members[member] = member.put
        reader.go_with(self)
        return True

    def release(self, member: Member) -> bool:
        """Gives the member a position of its own; whether it was in the set."""
        group = self._group_of.get(member)
        if group is None or member not in group.members:
            return False
        _part_from(group, member, self.position)
        return True

    def forget(self, member: Member) -> None:
        """Releases a member that does not come back."""
        self.release(member)
        group = self._group_of.pop(member, None)
        if group is None:
            return
        group.known -= 1
        if not group.known:
            del self._groups[group.wish]
            self._index.remove(group.wish.selection, group)

    def _group_for(self, member: Member) -> _Group:
        wish, group = member.wish, self._group_of.get(member)
        if group is not None and group.wish == wish:
            return group
        self.forget(member)
        group = self._groups.get(wish)
        if group is None:
            group = self._groups[wish] = _Group(wish)
            self._index.add(wish.selection, group)
        group.known += 1
        self._group_of[member] = group
        return group

    # --- what they get ---

    def _woken(self) -> None:
        self._advance()
        if self._bus.closed:
            self._release_all(self.position)

    def _advance(self) -> None:
        """Brings everybody what is new, as far as memory has it."""
        before, head = self.position, self._bus.head
        if self._bus.epoch != self._epoch:
            self._epoch, self.position = self._bus.epoch, head
            self._release_all(before)
            return
        if head == before or not self._groups:
            self.position = head
            return
        stretch = self._bus.at_hand(before, head - before)
        self.position = head
        if stretch is None:
            self._release_all(before)
            return
        try:
            wanted = self._wanted(stretch.rows)
        except Exception:
            # An event that cannot be read: who wants it finds that out, and the others go on.
            logger.exception("An event cannot be matched; each listener looks for itself.")
            self._release_all(before)
            return
        packed = _Packed(before, self._clock)
        for group, rows in wanted.items():
            self._bring(group, rows, packed)

    def _wanted(self, rows: Sequence[LogRow]) -> dict[_Group, list[LogRow]]:
        found: dict[_Group, list[LogRow]] = {}
        for row in rows:
            for group in self._index.wanting(row):
                if group.members:
                    found.setdefault(group, []).append(row)
        return found

    def _bring(self, group: _Group, rows: Sequence[LogRow], packed: "_Packed") -> None:
        parts: Sequence[_Part] | None = None
        delivered = 0
        for member, put in tuple(group.members.items()):
            if put is None:
                _let_go(group, member, packed.before)
                continue
            try:
                if parts is None:
                    parts = packed.parts(group.wish.most, rows)
                for before, data, events in parts:
                    if not put(data):
                        _let_go(group, member, before)
                        break
                    delivered += events
            except Exception as error:  # noqa: BLE001 - it ends this member, not the others' turn
                _part_from(group, member, packed.before)
                member.failed(error)
        self._listeners.delivered_together += delivered

    def _release_all(self, position: int) -> None:
        for group in tuple(self._groups.values()):
            for member in tuple(group.members):
                _let_go(group, member, position)


def _part_from(group: _Group, member: Member, position: int) -> None:
    del group.members[member]
    member.reader.go_alone(position)


def _let_go(group: _Group, member: Member, position: int) -> None:
    _part_from(group, member, position)
    member.released()


class _Packed:
    """What groups get of the same new events: the same rows in the same form are put together
    once."""

    def __init__(self, before: int, clock: Clock) -> None:
        self.before = before
        self._clock = clock
        self._made: dict[tuple[int | None, tuple[int, ...]], Sequence[_Part]] = {}

    def parts(self, most: int | None, rows: Sequence[LogRow]) -> Sequence[_Part]:
        """The rows in writes of a bearable size."""
        if most is None and len(rows) == 1:
            return (_Part(self.before, rows[0].wire, 1),)
        key = (most, tuple(row.seq for row in rows))
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = tuple(self._make(most, rows))
        return made

    def _make(self, most: int | None, rows: Sequence[LogRow]) -> Iterator[_Part]:
        before = self.before
        for some in _portions(rows, most):
            if most is None:
                data = b"".join([row.wire for row in some])
            else:
                data = framed(batch_frame([row.payload for row in some], self._clock()))
            yield _Part(before, data, len(some))
            before = some[-1].seq


def _portions(rows: Sequence[LogRow], most: int | None) -> Iterator[list[LogRow]]:
    room = WRITE_BYTES if most is None else BATCH_BYTES
    waiting: list[LogRow] = []
    size = 0
    for row in rows:
        waiting.append(row)
        size += len(row.wire if most is None else row.payload.encode())
        if size >= room or len(waiting) == most:
            yield waiting
            waiting, size = [], 0
    if waiting:
        yield waiting
