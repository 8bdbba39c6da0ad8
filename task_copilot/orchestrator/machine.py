"""Which worker is to be started, ended or given up, decided without clock, process or socket.

Everything that happens is put in (`load`, `event`, `started`, `exited`, `tick`), and each of them
is followed by `settle`, which says what is to be done now. What is due is computed anew from the
state each time, so an event that comes twice, late or not at all leaves nothing half decided.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from task_copilot.orchestrator.plan import is_open, rank, stream_of
from task_copilot.streams import Readiness, Stream

Stage = Literal[
    "completed", "waiting", "ready", "running", "ending", "retrying", "blocked", "needs help"
]

RETRIES = 3
"""How often in a row a worker is started again that ended before its stream was complete."""

RETRY_SECONDS = 2.0
RETRY_FACTOR = 4
"""The first delay, and how much longer each further one is: 2, 8 and 32 seconds."""

STALL_SECONDS = 600.0
"""How long nothing may happen in a stream before its worker is taken for stuck."""

JUDGE_SECONDS = 0.5
"""How long after the end of a worker its last events may still be on their way."""

LINGER_SECONDS = 30.0
"""How long a worker may go on when its stream is complete: it says good-bye, or tidies up."""

MAX_PARALLEL = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The numbers that hold for one run; times are in seconds."""

    max_parallel: int = MAX_PARALLEL
    retries: int = RETRIES
    retry_delay: float = RETRY_SECONDS
    stall_timeout: float = STALL_SECONDS
    judge: float = JUDGE_SECONDS
    linger: float = LINGER_SECONDS
    wanted: frozenset[str] = frozenset()
    """Only these streams get workers; all where it is empty."""


@dataclass(frozen=True, slots=True)
class Start:
    """Start a worker; it is the `launch`-th of its stream."""

    stream_id: str
    launch: int


@dataclass(frozen=True, slots=True)
class End:
    """Ask a worker to end."""

    stream_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class LookStalled:
    """Nothing was heard of a worker for too long: save where its stream stands and end it, unless
    its output shows that it lives."""

    stream_id: str
    launch: int


@dataclass(frozen=True, slots=True)
class ReadState:
    """A worker has ended, by all that is known too early: read the state anew, since its last
    events may not have come, and say so with `judged`."""

    stream_id: str


@dataclass(frozen=True, slots=True)
class AskForHelp:
    """A worker has failed too often: mark its stream for a person."""

    stream_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Tell:
    """Something that a person wants to know; `kind` is what happened to the stream."""

    kind: Literal["completed", "blocked", "unblocked", "exited"]
    stream_id: str
    text: str = ""


Action = Start | End | LookStalled | ReadState | AskForHelp | Tell


@dataclass(slots=True)
class Worker:
    """A process that works on a stream."""

    launch: int
    since: float
    pid: int | None = None
    """None until it runs."""

    ending: str | None = None
    """Why it was asked to end."""

    looked_at: float | None = None
    """When it was last taken for stuck, until that is decided."""


@dataclass(slots=True)
class Track:
    """What is known of a stream."""

    stream: Stream
    reason: str = ""
    """Why it is blocked."""

    worker: Worker | None = None
    launches: int = 0
    failures: int = 0
    """Workers in a row that ended with the stream neither complete, blocked nor further on."""

    heard: float = 0.0
    """When something last happened in it."""

    judge_at: float | None = None
    is_read: bool = False
    """Whether the state is being read, to know whether its worker has failed."""

    retry_at: float | None = None
    last_exit: str = ""
    help: str | None = None
    """Why it needs a person, once its workers have failed too often."""

    help_shown: bool = False
    """Whether the mark of that is in the database: once it is gone, a person has helped."""

    done_before: int = 0
    """Completed tasks when the last worker started."""

    completed_at: float | None = None

    @property
    def is_judged(self) -> bool:
        """Whether it is open yet how its last worker ended."""
        return self.is_read or self.judge_at is not None


@dataclass(slots=True)
class Machine:
    """The state of one run."""

    rules: Rules = field(default_factory=Rules)
    tracks: dict[str, Track] = field(default_factory=dict)
    stopping: bool = False
    _due: list[Action] = field(default_factory=list)
    _known: Readiness | None = None

    # --- what happens ---

    def load(self, rows: Iterable[Mapping[str, Any]], now: float, *, told: bool = False) -> None:
        """The state as it was read; what is not in it any more is forgotten, but for workers.
        What differs from before is told where `told` says so."""
        seen = set()
        for row in rows:
            stream_id, reason = row["streamId"], row.get("blockedReason") or ""
            seen.add(stream_id)
            track = self.tracks.get(stream_id)
            if told and row["blockedTasks"] > (track.stream.blocked if track else 0):
                self._due.append(Tell("blocked", stream_id, reason))
            self._take(stream_of(row), reason, now, told=told)
        for stream_id in self.tracks.keys() - seen:
            if self.tracks[stream_id].worker is None:
                del self.tracks[stream_id]
        self._known = None

    def event(self, event_type: str, data: Mapping[str, Any], now: float) -> None:
        """Something happened in the workspace after the state that was read."""
        if event_type.startswith("stream.") and "pendingTasks" in data:
            reason = data.get("blockedReason") or ""
            self._take(stream_of(data), reason, now, told=True)
            if event_type == "stream.blocked":
                self._due.append(Tell("blocked", data["streamId"], reason))
        if (stream_id := data.get("streamId")) in self.tracks:
            self.tracks[stream_id].heard = now

    def missed(self, event_type: str, data: Mapping[str, Any]) -> None:
        """Something that happened while nobody looked, and that the state shows already."""
        track = self.tracks.get(data.get("streamId") or "")
        if event_type == "stream.blocked" and track is not None and track.stream.blocked:
            self._due.append(Tell("blocked", data["streamId"], data.get("blockedReason") or ""))

    def tell_blocked(self) -> None:
        """Tells of all that is blocked now."""
        for stream_id, track in self.tracks.items():
            if track.stream.blocked:
                self._due.append(Tell("blocked", stream_id, track.reason))

    def adopted(self, stream_id: str, worker: Worker, failures: int) -> None:
        """A worker of an earlier run that still lives."""
        track = self.tracks[stream_id]
        track.worker, track.launches, track.failures = worker, worker.launch, failures
        track.done_before = track.stream.completed
        track.heard = worker.since

    def remembered(self, stream_id: str, launches: int, failures: int) -> None:
        """What an earlier run left of a stream whose worker has ended."""
        track = self.tracks[stream_id]
        track.launches = launches
        track.failures = failures if failures <= self.rules.retries else 0

    def started(self, stream_id: str, pid: int, now: float) -> None:
        """The worker that `Start` asked for runs."""
        track = self.tracks[stream_id]
        if track.worker is not None:
            track.worker.pid, track.worker.since = pid, now
        track.heard = now

    def runs(self, stream_id: str, launch: int) -> bool:
        """Whether that worker is still there, and not another one or none."""
        track = self.tracks.get(stream_id)
        return track is not None and track.worker is not None and track.worker.launch == launch

    def seen_alive(self, stream_id: str, launch: int, at: float) -> None:
        """The worker has shown a sign of life that is no event."""
        track = self.tracks.get(stream_id)
        if track is not None and track.worker is not None and track.worker.launch == launch:
            track.heard = max(track.heard, at)
            track.worker.looked_at = None

    def asked_to_end(self, stream_id: str, reason: str) -> None:
        """The worker was told to end."""
        worker = self.tracks[stream_id].worker
        if worker is not None:
            worker.ending, worker.looked_at = reason, None

    def exited(self, stream_id: str, how: str, now: float) -> None:
        """The worker has ended, or could not be started; `how` says so for people."""
        track = self.tracks[stream_id]
        worker, track.worker = track.worker, None
        if worker is None or self.stopping:
            return
        track.last_exit = f"{how}, {worker.ending}" if worker.ending else how
        if is_open(track.stream):
            track.judge_at = now + self.rules.judge
        self._due.append(Tell("exited", stream_id, track.last_exit))

    def judged(self, stream_id: str, now: float) -> None:
        """The state that `ReadState` asked for is known: whether a worker has failed."""
        track = self.tracks.get(stream_id)
        if track is None or not track.is_read:
            return
        track.is_read = False
        if self.stopping or track.stream.blocked or not is_open(track.stream):
            return
        if track.stream.completed > track.done_before:
            track.failures = 0
        track.failures += 1
        if track.failures <= self.rules.retries:
            delay = self.rules.retry_delay * RETRY_FACTOR ** (track.failures - 1)
            track.retry_at = now + delay
            return
        times = f"{track.failures} times" if track.failures > 1 else "once"
        track.help = f"its worker ended {times} before the stream was complete ({track.last_exit})"
        self._due.append(AskForHelp(stream_id, track.help))

    # --- what follows ---

    def settle(self, now: float) -> list[Action]:
        """What is to be done now."""
        if not self.stopping:
            for stream_id, track in self.tracks.items():
                self._ask(stream_id, track, now)
                if track.retry_at is not None and now >= track.retry_at:
                    track.retry_at = None
                self._watch(stream_id, track, now)
            self._start(now)
        due, self._due = self._due, []
        return due

    def deadline(self) -> float | None:
        """When `settle` has something to do at the latest, where nothing happens before."""
        if self.stopping:
            return None
        return min(
            (at for track in self.tracks.values() for at in self._times(track)), default=None
        )

    def stage(self, stream_id: str) -> Stage:
        """Where a stream stands."""
        track = self.tracks[stream_id]
        if track.worker is not None:
            return "ending" if track.worker.ending or not is_open(track.stream) else "running"
        if not is_open(track.stream):
            return "completed"
        if track.help is not None:
            return "needs help"
        if track.stream.blocked:
            return "blocked"
        if track.retry_at is not None or track.is_judged:
            return "retrying"
        return "waiting" if self._readiness.waits_for(track.stream) else "ready"

    def waits_for(self, stream_id: str) -> list[str]:
        """The streams that have to complete before this one starts."""
        return self._readiness.waits_for(self.tracks[stream_id].stream)

    def chosen(self) -> Iterator[tuple[str, Track]]:
        """The streams that this run is about: those wanted, or all that were not put away."""
        for stream_id, track in self.tracks.items():
            if stream_id in self.rules.wanted or not (
                self.rules.wanted or track.stream.archived_at
            ):
                yield stream_id, track

    @property
    def workers(self) -> int:
        """How many workers run or are being started."""
        return sum(track.worker is not None for track in self.tracks.values())

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do in any stream of this run."""
        known = self.rules.wanted <= self.tracks.keys()
        return known and not any(is_open(track.stream) for _, track in self.chosen())

    @property
    def stuck(self) -> bool:
        """Whether nothing goes on any more, and only a person can change that."""
        idle = {"completed", "waiting", "blocked", "needs help"}
        return not self.complete and all(self.stage(one) in idle for one, _ in self.chosen())

    @property
    def may_go_on(self) -> bool:
        """Whether waiting makes sense where all is stuck: an agent has asked a person something,
        or others work on what is waited for."""
        return any(
            self.stage(one) == "blocked"
            or (self.stage(one) == "waiting" and any(map(self._is_foreign, self.waits_for(one))))
            for one, _ in self.chosen()
        )

    def _is_foreign(self, stream_id: str) -> bool:
        return bool(self.rules.wanted) and stream_id not in self.rules.wanted

    # --- how ---

    def _take(self, stream: Stream, reason: str, now: float, *, told: bool) -> None:
        track = self.tracks.get(stream.stream_id)
        if track is None:
            track = self.tracks[stream.stream_id] = Track(stream, heard=now)
            if stream.all_done:
                track.completed_at = now
        before, track.stream = track.stream, stream
        self._known = None
        track.reason = reason or (track.reason if stream.blocked else "")
        if stream.all_done and not before.all_done:
            track.completed_at = now
            if told:
                self._due.append(Tell("completed", stream.stream_id))
        if before.blocked and not stream.blocked:
            # While a worker runs, or has just ended, it may have done that itself.
            if track.worker is None and not track.is_judged:
                track.failures, track.retry_at = 0, None
            if told and is_open(stream):
                self._due.append(Tell("unblocked", stream.stream_id))
        if stream.blocked and track.help is not None:
            track.help_shown = True
        elif track.help_shown or not is_open(stream):
            track.help, track.help_shown, track.failures = None, False, 0
        if not is_open(stream):
            track.judge_at = track.retry_at = None

    def _ask(self, stream_id: str, track: Track, now: float) -> None:
        """Asks for the state where a worker seems to have failed, once its last events should
        have come."""
        if track.judge_at is not None and now >= track.judge_at:
            track.judge_at = None
            if not track.stream.blocked:  # else it has said that it cannot go on
                track.is_read = True
                self._due.append(ReadState(stream_id))

    def _watch(self, stream_id: str, track: Track, now: float) -> None:
        worker = track.worker
        if worker is None or worker.pid is None or worker.ending:
            return
        if not is_open(track.stream):
            if now >= self._lingers_until(track):
                worker.ending = "its stream was complete"
                self._due.append(End(stream_id, worker.ending))
        elif worker.looked_at is None and now >= track.heard + self.rules.stall_timeout:
            worker.looked_at = now
            self._due.append(LookStalled(stream_id, worker.launch))

    def _start(self, now: float) -> None:
        # A worker whose stream is complete only tidies up: the place is free for the next.
        busy = sum(
            track.worker is not None and is_open(track.stream) for track in self.tracks.values()
        )
        for stream_id, track in sorted(self.chosen(), key=lambda one: rank(one[1].stream)):
            if busy >= self.rules.max_parallel:
                return
            if self._can_start(track):
                busy += 1
                track.launches += 1
                track.done_before = track.stream.completed
                track.worker = Worker(track.launches, now)
                self._due.append(Start(stream_id, track.launches))

    def _can_start(self, track: Track) -> bool:
        return (
            track.worker is None
            and is_open(track.stream)
            and not track.stream.blocked
            and track.help is None
            and not track.is_judged
            and track.retry_at is None
            and not self._readiness.waits_for(track.stream)
        )

    @property
    def _readiness(self) -> Readiness:
        if self._known is None:
            self._known = Readiness(track.stream for track in self.tracks.values())
        return self._known

    def _lingers_until(self, track: Track) -> float:
        since = track.completed_at if track.completed_at is not None else track.heard
        return max(since, track.worker.since if track.worker else 0.0) + self.rules.linger

    def _times(self, track: Track) -> Iterator[float]:
        if track.judge_at is not None:
            yield track.judge_at
        if track.retry_at is not None:
            yield track.retry_at
        worker = track.worker
        if worker is None or worker.pid is None or worker.ending or worker.looked_at is not None:
            return
        if is_open(track.stream):
            yield track.heard + self.rules.stall_timeout
        else:
            yield self._lingers_until(track)
