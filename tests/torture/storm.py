"""Agents, listeners and a killer on one database, and what has to be true when it is over."""

import asyncio
import json
import random
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from e2e.servers import Server, free_port, opened, server
from support import database_at
from task_copilot.database.transaction import Transaction
from task_copilot.events import log, retention
from task_copilot.events.retention import Kept
from torture.agents import Agent, Ledger
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
    answered: int = 0
    repeated: int = 0
    events: int = 0
    seconds: float = 0.0
    gaps: int = 0
    connections: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: {self.kills} kills, {self.kills_in_flight} between a request and "
            f"its answer; {self.answered} calls answered, {self.repeated} of them sent again; "
            f"{self.events} events, {self.gaps} gaps; {self.seconds:.0f} s; "
            f"connections {self.connections}"
        )


class Storm:
    """One run; `prune` also removes old events all the time."""

    def __init__(self, folder: Path, seed: int, *, kills: int, prune: bool = False) -> None:
        self.report = Report(seed)
        self._folder = folder
        self._kills = kills
        self._prune = prune
        self._chance = random.Random(seed)
        self._port = free_port()
        self._ledger = Ledger()
        self._stopping = asyncio.Event()
        self._over = threading.Event()
        self._agents = [
            Agent(number, self._ledger, random.Random(seed + number), self._new_server)
            for number in range(AGENTS)
        ]
        self.listeners: list[Listening] = one_of_each(self._port, random.Random(seed))
        self._pruned: list[Payload] = []
        self._boundaries: list[int] = [0]

    def _new_server(self) -> Server:
        return server(
            self._folder,
            database=self._folder / "tasks.db",
            port=self._port,
            ping_interval=0.5,
            durability="normal",
        )

    async def run(self) -> Report:
        """Does it, and raises AssertionError for whatever is not as it has to be."""
        began = time.monotonic()
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
            for task in (*listening, *working):
                task.cancel()
            await asyncio.gather(*listening, *working, pruning, return_exceptions=True)
        self.report.seconds = time.monotonic() - began
        self._judge()
        return self.report

    async def _kill_all_in_turn(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        await self._answers(FIRST_CALLS, tasks)
        for number in range(self._kills):
            await asyncio.sleep(self._chance.uniform(0, LONGEST_PAUSE_SECONDS))
            in_flight = await self._agents[number % AGENTS].kill()
            self.report.kills += 1
            self.report.kills_in_flight += in_flight
            await self._answers(FIRST_CALLS, tasks)

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
        head = self._head()
        async with self._new_server() as hub:
            await hub.introduce("the last hub")
            reached = [each.reaches(head, CATCH_UP_SECONDS) for each in self.listeners]
            try:
                await asyncio.gather(*reached)
            except TimeoutError:
                behind = {each.name: each.cursor for each in self.listeners}
                for task in listening:
                    if task.done():
                        task.result()
                raise AssertionError(f"head {head}, but {behind}; {hub.stderr_text()}") from None

    # --- retention ---

    async def _keep_pruning(self) -> None:
        """Keeps only the newest events until the agents have ended."""
        if self._prune:
            await asyncio.to_thread(self._prune_in_a_thread)

    def _prune_in_a_thread(self) -> None:
        while not (self._folder / "tasks.db").exists():
            if self._over.wait(PRUNE_PAUSE_SECONDS):
                return
        database = database_at(self._folder)
        while not self._over.wait(PRUNE_PAUSE_SECONDS):
            database.write_now(self._prune_some)
        database.committer.close()
        database.read_engine.dispose()

    def _prune_some(self, transaction: Transaction) -> None:
        connection = transaction.connection
        keeping = Kept(None, log.state(connection).head - KEPT_EVENTS)
        oldest = log.rows_after(connection, 0, retention.EVENTS_AT_ONCE)
        count = retention.prune(transaction, keeping)
        if count:
            gone = [json.loads(row.payload) for row in oldest[:count]]
            transaction.after_commit.append(lambda: self._remember_pruned(gone))

    def _remember_pruned(self, gone: list[Payload]) -> None:
        self._pruned += gone
        self._boundaries.append(gone[-1]["seq"])

    # --- the verdict ---

    def _head(self) -> int:
        with opened(self._folder / "tasks.db") as connection:
            (head,) = connection.execute("SELECT head FROM log").fetchone()
        return int(head)

    def _judge(self) -> None:
        with opened(self._folder / "tasks.db") as connection:
            tasks = connection.execute("SELECT id, title, notes FROM tasks").fetchall()
            rows = connection.execute("SELECT seq, payload FROM events ORDER BY seq").fetchall()
        events = [{"seq": seq, **json.loads(payload)} for seq, payload in rows]
        self._judge_tables(tasks)
        self._judge_log([event["seq"] for event in events])
        for listener in self.listeners:
            self._judge_listener(listener, [*self._pruned, *events])
        self.report.answered = self._ledger.answered
        self.report.repeated = self._ledger.repeated
        self.report.events = self._head()
        self.report.gaps = sum(len(each.gaps) for each in self.listeners)
        self.report.connections = {each.name: each.connections for each in self.listeners}

    def _judge_tables(self, tasks: Sequence[tuple[int, str, str | None]]) -> None:
        ledger = self._ledger
        titles = [title for _, title, _ in tasks]
        assert len(titles) == len(set(titles)), "a call was carried out twice"
        stored = {title: f"TASK-{number}" for number, title, _ in tasks}
        missing = {title for title, task in ledger.created.items() if stored.get(title) != task}
        assert not missing, f"answered but not there: {sorted(missing)[:10]}"
        assert set(stored) - set(ledger.created) <= ledger.unknown
        for number, _, notes in tasks:
            task = f"TASK-{number}"
            assert notes in {ledger.notes.get(task), ledger.uncertain_notes.get(task)}, task

    def _judge_log(self, seqs: list[int]) -> None:
        assert seqs == [*range(self._boundaries[-1] + 1, self._head() + 1)]

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
