"""The decisions of a run, in a random order of all that can happen around it.

Whatever happens, no stream has two workers, nothing starts too early or beyond the limit, the
machine never asks to be called at once again, and where workers finish everything completes.
"""

from collections import deque
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from orchestrating import row
from task_copilot.orchestrator.machine import (
    AskForHelp,
    End,
    LookStalled,
    Machine,
    ReadState,
    Rules,
    Start,
    Worker,
)
from task_copilot.orchestrator.plan import is_open

NEEDS: dict[str, tuple[str, ...]] = {
    "F": (),
    "A": (),
    "B": ("F",),
    "C": ("A",),
    "D": ("A", "B"),
    "G": ("F",),
    "I": (),
}
PHASES = {"F": "foundation", "G": "foundation", "I": "integration"}
EARLIER = {
    "foundation": (),
    "parallel": ("foundation",),
    "integration": ("foundation", "parallel"),
}
NAMES = [*NEEDS]
ENOUGH = 2_000
"""Turns in which everything completes, where nobody hinders it any more."""

names = st.sampled_from(NAMES)


@dataclass
class Tasks:
    """The tasks of a stream, as the server has them."""

    pending: int = 0
    blocked: int = 0
    completed: int = 0

    def row(self, name: str) -> dict[str, Any]:
        return row(
            name,
            *NEEDS[name],
            phase=PHASES.get(name, "parallel"),
            pending=self.pending,
            blocked=self.blocked,
            completed=self.completed,
            reason="why" if self.blocked else None,
        )


class Around(RuleBasedStateMachine):
    """The server, the processes and the clock around a machine."""

    @initialize(
        limit=st.integers(1, 3),
        retries=st.integers(0, 3),
        delay=st.sampled_from([0.0, 2.0]),
        counts=st.lists(st.integers(0, 2), min_size=len(NAMES), max_size=len(NAMES)),
    )
    def begin(self, limit: int, retries: int, delay: float, counts: list[int]) -> None:
        self.now = 1_000.0
        self.numbers = Rules(max_parallel=limit, retries=retries, retry_delay=delay)
        self.tasks = {name: Tasks(count) for name, count in zip(NAMES, counts, strict=True)}
        for name in ("F", "A", "B"):
            self.tasks[name].pending += not self.tasks[name].pending  # these are waited for
        self.coming: deque[tuple[str, dict[str, Any]]] = deque()
        self.starting: dict[str, int] = {}
        self.running: dict[str, int] = {}
        self.asked: set[str] = set()
        self.looking: list[LookStalled] = []
        self.unread: list[str] = []
        self.launches: dict[str, tuple[int, int]] = {}
        self.machine = Machine(self.numbers)
        self._load()

    # --- what the machine is told ---

    def _load(self, *, told: bool = False) -> None:
        self.coming.clear()
        rows = [tasks.row(name) for name, tasks in self.tasks.items()]
        self.machine.load(rows, self.now, told=told)
        self._settle()

    @precondition(lambda self: self.unread)
    @rule()
    def the_state_is_read(self) -> None:
        stream_id = self.unread.pop(0)
        self._load(told=True)
        self.machine.judged(stream_id, self.now)
        self._settle()

    def _settle(self) -> None:
        found = self.machine.settle(self.now)
        for action in found:
            if isinstance(action, Start):
                self._starts(action)
            elif isinstance(action, End):
                assert action.stream_id in self.running
                self.asked.add(action.stream_id)
            elif isinstance(action, LookStalled):
                assert self.running[action.stream_id] == action.launch
                self.looking.append(action)
            elif isinstance(action, AskForHelp):
                self._block(action.stream_id)
            elif isinstance(action, ReadState):
                self.unread.append(action.stream_id)
        if any(isinstance(one, Start) for one in found):
            tracks = self.machine.tracks.values()
            working = [one for one in tracks if one.worker and is_open(one.stream)]
            assert len(working) <= self.numbers.max_parallel
        deadline = self.machine.deadline()
        assert deadline is None or deadline > self.now

    def _starts(self, action: Start) -> None:
        name = action.stream_id
        assert name not in self.running, "a second worker"
        assert name not in self.starting, "a second start"
        assert action.launch > self.launches.get(name, (0, 0))[0], "a number that was used"
        known = {one: track.stream for one, track in self.machine.tracks.items()}
        earlier = EARLIER[PHASES.get(name, "parallel")]
        before = NEEDS[name] or [
            one for one in NAMES if PHASES.get(one, "parallel") in earlier and is_open(known[one])
        ]
        assert all(known[one].all_done for one in before), "too early"
        assert is_open(known[name])
        assert not known[name].blocked
        self.starting[name] = action.launch
        self.launches[name] = (action.launch, self.machine.tracks[name].failures)

    def _changed(self, name: str, event_type: str = "stream.progress") -> None:
        self.coming.append((event_type, self.tasks[name].row(name)))

    def _block(self, name: str) -> None:
        tasks = self.tasks[name]
        if tasks.pending:
            tasks.pending, tasks.blocked = tasks.pending - 1, tasks.blocked + 1
            self._changed(name)
            self._changed(name, "stream.blocked")

    # --- what happens ---

    @precondition(lambda self: self.coming)
    @rule()
    def an_event_comes(self) -> None:
        event_type, data = self.coming.popleft()
        self.machine.event(event_type, data, self.now)
        self._settle()

    @precondition(lambda self: self.coming)
    @rule()
    def all_events_come(self) -> None:
        while self.coming:
            self.an_event_comes()

    @rule(name=names)
    def a_task_is_completed(self, name: str) -> None:
        tasks = self.tasks[name]
        if tasks.pending:
            tasks.pending, tasks.completed = tasks.pending - 1, tasks.completed + 1
            self._changed(name)
            if not tasks.pending + tasks.blocked:
                self._changed(name, "stream.completed")

    @rule(name=names)
    def a_task_is_added(self, name: str) -> None:
        self.tasks[name].pending += 1
        self._changed(name)

    @rule(name=names)
    def a_task_is_blocked(self, name: str) -> None:
        self._block(name)

    @rule(name=names)
    def a_stream_is_unblocked(self, name: str) -> None:
        tasks = self.tasks[name]
        if tasks.blocked:
            tasks.pending, tasks.blocked = tasks.pending + tasks.blocked, 0
            self._changed(name)

    @precondition(lambda self: self.starting)
    @rule(number=st.integers(0, 10), fails=st.booleans())
    def a_start_is_through(self, number: int, fails: bool) -> None:
        name = [*self.starting][number % len(self.starting)]
        launch = self.starting.pop(name)
        if fails:
            self.machine.exited(name, "it could not be started", self.now)
        else:
            self.running[name] = launch
            self.machine.started(name, 1_000 + launch, self.now)
        self._settle()

    @precondition(lambda self: self.running)
    @rule(number=st.integers(0, 10))
    def a_worker_ends(self, number: int) -> None:
        self._ends([*self.running][number % len(self.running)])

    def _ends(self, name: str) -> None:
        del self.running[name]
        self.asked.discard(name)
        self.machine.exited(name, "exit code 1", self.now)
        self._settle()

    @precondition(lambda self: self.looking)
    @rule(alive=st.booleans())
    def it_is_seen_whether_a_worker_is_stuck(self, alive: bool) -> None:
        looked = self.looking.pop(0)
        if alive:
            self.machine.seen_alive(looked.stream_id, looked.launch, self.now - 1)
        elif self.machine.runs(looked.stream_id, looked.launch):
            assert self.running[looked.stream_id] == looked.launch
            self.machine.asked_to_end(looked.stream_id, "stuck")
            self.asked.add(looked.stream_id)
        self._settle()

    @rule(seconds=st.sampled_from([0.0, 0.1, 0.5, 2.0, 40.0, 700.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self._settle()

    @rule()
    def the_clock_reaches_the_deadline(self) -> None:
        deadline = self.machine.deadline()
        if deadline is not None:
            self.now = deadline
            self._settle()

    @rule()
    def events_are_missed_and_the_state_is_read_anew(self) -> None:
        self._load(told=True)

    @rule(killed=st.booleans())
    def another_run_takes_over(self, killed: bool) -> None:
        """After SIGKILL what was being started runs, or never will."""
        for name, launch in self.starting.items():
            if killed:
                self.running[name] = launch
        self.starting.clear()
        self.looking.clear()
        self.unread.clear()
        self.asked.clear()
        self.machine = Machine(self.numbers)
        self.coming.clear()
        rows = [tasks.row(name) for name, tasks in self.tasks.items()]
        self.machine.load(rows, self.now)
        for name, (launch, failures) in self.launches.items():
            if name in self.running:
                worker = Worker(launch, self.now, pid=1_000 + launch)
                self.machine.adopted(name, worker, failures)
            else:
                self.machine.remembered(name, launch, failures)
        self._settle()

    # --- what always holds ---

    @invariant()
    def who_runs_is_known(self) -> None:
        known = {name for name, one in self.machine.tracks.items() if one.worker is not None}
        assert known == self.starting.keys() | self.running.keys()
        assert self.machine.workers == len(known)

    @invariant()
    def every_stream_has_a_stage(self) -> None:
        for name, track in self.machine.tracks.items():
            stage = self.machine.stage(name)
            assert (stage == "completed") == (not is_open(track.stream) and track.worker is None)

    def teardown(self) -> None:
        """From now on workers finish what they began, and a person unblocks what is blocked."""
        if not hasattr(self, "machine"):
            return
        for _ in range(ENOUGH):
            if self.machine.complete and not self.machine.workers:
                break
            self._a_good_turn()
        assert self.machine.complete
        assert not self.machine.workers
        assert not any(tasks.pending + tasks.blocked for tasks in self.tasks.values())

    def _a_good_turn(self) -> None:
        while self.looking:
            self.it_is_seen_whether_a_worker_is_stuck(alive=True)
        while self.starting:
            self.a_start_is_through(0, fails=False)
        for name in NAMES:
            self.a_stream_is_unblocked(name)
        for name in tuple(self.running):
            while self.tasks[name].pending and name not in self.asked:
                self.a_task_is_completed(name)
            self._ends(name)
        while self.coming:
            self.an_event_comes()
        while self.unread:
            self.the_state_is_read()
        self.the_clock_reaches_the_deadline()


def test_whatever_happens_each_stream_has_one_worker_in_its_turn_and_all_completes() -> None:
    unhurried = settings(
        deadline=None,
        max_examples=120,
        stateful_step_count=50,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    run_state_machine_as_test(Around, settings=unhurried)
