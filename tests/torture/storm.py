"""Agents, listeners and a killer on one database, and what has to be true when it is over."""

import asyncio
import json
import random
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any

from integration.test_fold import Fold, check
from support import close, table
from task_copilot.database.store import Database
from task_copilot.database.transaction import Transaction
from task_copilot.events import log, retention
from task_copilot.events.log import LogRow
from task_copilot.events.retention import Kept
from torture.agents import Agent, Ledger
from torture.grounds import Ground
from torture.listening import Listening, Payload, one_of_each

AGENTS = 4
CATCH_UP_SECONDS = 60.0
START_SECONDS = 60.0
FIRST_CALLS = 20
"""Answered calls before the first kill, and at least as many after each."""

LONGEST_PAUSE_SECONDS = 0.2
KEPT_EVENTS = 150
PRUNE_PAUSE_SECONDS = 0.05


@dataclass
class Report:
    """What happened, for whoever reads the output."""

    seed: int
    kills: int = 0
    kills_in_flight: int = 0
    troubles: dict[str, int] = field(default_factory=dict)
    answered: int = 0
    repeated: int = 0
    refused: int = 0
    events: int = 0
    seconds: float = 0.0
    gaps: int = 0
    connections: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: {self.kills} kills, {self.kills_in_flight} between a request and "
            f"its answer; {self.troubles or 'no other trouble'}; {self.answered} calls answered, "
            f"{self.repeated} of them sent again, {self.refused} refused; "
            f"{self.events} events, {self.gaps} gaps; {self.seconds:.0f} s; "
            f"connections {self.connections}"
        )


class Storm:
    """One run; `prune` also removes old events all the time."""

    def __init__(
        self, ground: Ground, seed: int, *, kills: int, agents: int = AGENTS, prune: bool = False
    ) -> None:
        self.report = Report(seed)
        self._ground = ground
        self._kills = kills
        self._prune = prune
        self._chance = random.Random(seed)
        self._ledger = Ledger()
        self._stopping = asyncio.Event()
        self._over = threading.Event()
        self._agents = [
            Agent(number, self._ledger, random.Random(seed + number), ground.agents_server)
            for number in range(agents)
        ]
        self.listeners: list[Listening] = one_of_each(ground.ports, random.Random(seed))
        self._pruned: list[Payload] = []
        self._boundaries: list[int] = [0]

    async def run(self) -> Report:
        """Does it, and raises AssertionError for whatever is not as it has to be."""
        began = time.monotonic()
        async with self._ground.served():
            await self._rage()
        self.report.seconds = time.monotonic() - began
        database = await asyncio.to_thread(self._ground.opened)
        try:
            await asyncio.to_thread(self._judge, database)
        finally:
            close(database)
        return self.report

    async def _rage(self) -> None:
        listening = [asyncio.create_task(each.run()) for each in self.listeners]
        working = [asyncio.create_task(each.run(self._stopping)) for each in self._agents]
        pruning = asyncio.create_task(self._keep_pruning())
        try:
            await self._kill_all_in_turn([*listening, *working, pruning])
            self._stopping.set()
            await self._join(working)
            self._over.set()
            await pruning
            await self._settle(listening)
        finally:
            self._over.set()
            self._stopping.set()  # wait_for of Python 3.11 may swallow a cancellation
            for task in (*listening, *working):
                task.cancel()
            await asyncio.gather(*listening, *working, pruning, return_exceptions=True)

    async def _kill_all_in_turn(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        await self._answers(FIRST_CALLS, tasks)
        for number, trouble in enumerate(self._troubles()):
            await asyncio.sleep(self._chance.uniform(0, LONGEST_PAUSE_SECONDS))
            if trouble is not None:
                await self._ground.troubles[trouble]()
                self.report.troubles[trouble] = 1 + self.report.troubles.get(trouble, 0)
                await asyncio.sleep(self._chance.uniform(0, LONGEST_PAUSE_SECONDS))
            in_flight = await self._agents[number % len(self._agents)].kill()
            self.report.kills += 1
            self.report.kills_in_flight += in_flight
            await self._answers(FIRST_CALLS, tasks)

    def _troubles(self) -> Sequence[str | None]:
        """What happens besides each kill: each kind as often as the others."""
        kinds: Sequence[str | None] = list(self._ground.troubles) or [None]
        found = list(islice(cycle(kinds), self._kills))
        self._chance.shuffle(found)
        return found

    async def _answers(self, count: int, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Waits until `count` more calls were answered; passes on what fails meanwhile."""
        wanted = self._ledger.answered + count
        async with asyncio.timeout(START_SECONDS):
            while self._ledger.answered < wanted:
                for task in tasks:
                    if task.done() and task.exception():
                        task.result()
                await asyncio.sleep(0.005)

    async def _join(self, working: Sequence[asyncio.Task[None]]) -> None:
        async with asyncio.timeout(START_SECONDS):
            # The last agent would take the hub with it while listeners still need one.
            await asyncio.gather(*working)

    async def _settle(self, listening: Sequence[asyncio.Task[None]]) -> None:
        head = await asyncio.to_thread(self._head_now)
        async with self._ground.served_to_the_end():
            reached = [each.reaches(head, CATCH_UP_SECONDS) for each in self.listeners]
            try:
                await asyncio.gather(*reached)
            except TimeoutError:
                behind = {each.name: each.cursor for each in self.listeners}
                for task in listening:
                    if task.done():
                        task.result()
                raise AssertionError(f"head {head}, but {behind}") from None

    def _head_now(self) -> int:
        database = self._ground.opened()
        head = database.read_now(log.state).head
        close(database)
        return head

    # --- retention ---

    async def _keep_pruning(self) -> None:
        """Keeps only the newest events until the agents have ended."""
        if self._prune:
            await asyncio.to_thread(self._prune_in_a_thread)

    def _prune_in_a_thread(self) -> None:
        while not self._ground.is_there():
            if self._over.wait(PRUNE_PAUSE_SECONDS):
                return
        database = self._ground.opened()
        while not self._over.wait(PRUNE_PAUSE_SECONDS):
            database.write_now(self._prune_some)
        close(database)

    def _prune_some(self, transaction: Transaction) -> None:
        connection = transaction.connection
        keeping = Kept(None, log.state(connection).head - KEPT_EVENTS)
        oldest = log.rows_after(connection, 0, retention.EVENTS_AT_ONCE, 10**9)
        count = retention.prune(transaction, keeping)
        if count:
            gone = [json.loads(row.payload) for row in oldest[:count]]
            transaction.after_commit.append(lambda: self._remember_pruned(gone))

    def _remember_pruned(self, gone: list[Payload]) -> None:
        self._pruned += gone
        self._boundaries.append(gone[-1]["seq"])

    # --- the verdict ---

    def _judge(self, database: Database[LogRow]) -> None:
        rows = database.read_now(lambda c: log.rows_after(c, 0, 10**9, size=10**12))
        events = [*self._pruned, *(json.loads(row.payload) for row in rows)]
        head = database.read_now(log.state).head
        self._judge_tables(table(database, "tasks"))
        assert [row.seq for row in rows] == [*range(self._boundaries[-1] + 1, head + 1)]
        self._judge_fold(events, database)
        for listener in self.listeners:
            self._judge_listener(listener, events)
        self.report.answered = self._ledger.answered
        self.report.repeated = self._ledger.repeated
        self.report.refused = len(self._ledger.refused)
        self.report.events = head
        self.report.gaps = sum(len(each.gaps) for each in self.listeners)
        self.report.connections = {each.name: each.connections for each in self.listeners}

    def _judge_tables(self, tasks: Sequence[dict[str, Any]]) -> None:
        ledger = self._ledger
        titles = [task["title"] for task in tasks]
        assert len(titles) == len(set(titles)), "a call was carried out twice"
        stored = {task["title"]: f"TASK-{task['id']}" for task in tasks}
        missing = {title for title, task in ledger.created.items() if stored.get(title) != task}
        assert not missing, f"answered but not there: {sorted(missing)[:10]}"
        assert set(stored) - set(ledger.created) <= ledger.unknown
        for row in tasks:
            task = f"TASK-{row['id']}"
            assert row["notes"] in {ledger.notes.get(task), ledger.uncertain_notes.get(task)}, task

    def _judge_fold(self, events: Sequence[Payload], database: Database[LogRow]) -> None:
        fold = Fold()
        for event in events:
            fold.apply(event)
        check(fold, database)

    def _judge_listener(self, listener: Listening, events: Sequence[Payload]) -> None:
        got = {event["seq"]: event for event in listener.events}
        order = [event["seq"] for event in listener.events]
        assert order == sorted(set(order)), listener.name
        gone = {seq for first, last in listener.gaps for seq in range(first, last + 1)}
        assert not gone & set(got), listener.name
        for first, last in listener.gaps:
            assert last in self._boundaries, (listener.name, first, last)
        for event in events:
            seq = event["seq"]
            if listener.wants(event) and seq not in gone:
                assert got.get(seq) == event, (listener.name, seq)
        assert all(listener.wants(event) for event in listener.events), listener.name


def seed_of(text: str | None) -> int:
    """The seed to use: the one that was given, or a new one."""
    with suppress(TypeError, ValueError):
        return int(text)  # type: ignore[arg-type]
    return random.SystemRandom().randrange(2**32)
