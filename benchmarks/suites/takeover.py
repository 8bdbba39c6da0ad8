"""From the death of the hub to the first listener at the next one, on the same port."""

import time
from contextlib import ExitStack
from statistics import median

import psutil

from benchmarks.cluster import start_cluster, start_session
from benchmarks.mcp_process import McpProcess
from benchmarks.measures import Measure, Suite, Target, spread
from benchmarks.raw_listener import SWITCHING, open_socket
from benchmarks.sandbox import Sandbox, sandbox

WAITING = 3
RETRY_SECONDS = 0.002
PATIENCE_SECONDS = 10.0
SETTLE_SECONDS = 0.2


def run(*, quick: bool) -> list[Measure]:
    """The hub is killed again and again; for each that was, another session begins."""
    rounds = 3 if quick else 50
    with ExitStack() as stack:
        box = stack.enter_context(sandbox())
        sessions = start_cluster(stack, box, 1 + WAITING)
        taken = []
        for _ in range(rounds):
            time.sleep(SETTLE_SECONDS)
            taken.append(_kill_the_hub(box, sessions) * 1000)
            sessions.append(start_session(stack, box))
    shown = f"{rounds} hubs, {WAITING} sessions waiting"
    name = "SIGKILL of the hub to an answered handshake on its port"
    return [
        Measure(f"{name}, median", median(taken), "ms", shown, Target("<", 100), spread(taken)),
        Measure(f"{name}, longest", max(taken), "ms", shown, Target("<", 500)),
    ]


def _kill_the_hub(box: Sandbox, sessions: list[McpProcess]) -> float:
    """Seconds until a client that tries every 2 ms is served by another process."""
    [hub] = _holders(box, sessions)
    start = time.perf_counter()
    hub.process.kill()
    _knock(box, start)
    taken = time.perf_counter() - start
    hub.process.wait()
    sessions.remove(hub)
    assert _holders(box, sessions), "who has answered is none of the sessions"
    return taken


def _holders(box: Sandbox, sessions: list[McpProcess]) -> list[McpProcess]:
    return [session for session in sessions if _listens(session, box.port)]


def _listens(session: McpProcess, port: int) -> bool:
    connections = psutil.Process(session.process.pid).net_connections("tcp")
    return any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in connections)


def _knock(box: Sandbox, start: float) -> None:
    due = time.perf_counter()
    while not _is_served(box):
        if time.perf_counter() > start + PATIENCE_SECONDS:
            raise TimeoutError(f"no other process has taken over within {PATIENCE_SECONDS:.0f} s")
        due = max(due + RETRY_SECONDS, time.perf_counter())
        time.sleep(max(0.0, due - time.perf_counter()))


def _is_served(box: Sandbox) -> bool:
    """Whether a handshake is answered; a connection to the hub that has died is cut off."""
    try:
        with open_socket(box.port, PATIENCE_SECONDS) as connection:
            return connection.recv(len(SWITCHING)).startswith(SWITCHING)
    except OSError:
        return False


SUITE = Suite("takeover", "death of the hub to service by another process", run)
