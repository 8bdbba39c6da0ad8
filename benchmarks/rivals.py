"""The servers that are measured side by side, and how each is started."""

import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from benchmarks import node
from benchmarks.child import Child
from benchmarks.line_process import LineProcess
from benchmarks.pinning import LOAD_CORE, SERVER_CORE, pinned
from benchmarks.sandbox import SERVER, Sandbox, sandbox


@dataclass(slots=True)
class Running:
    """A server that serves. `process` is the one that delivers, `publisher` the one that is
    told what to publish, often the same; `last` is the newest event."""

    port: int
    process: Child
    publisher: LineProcess
    last: int = 0


Start = Callable[[ExitStack], Running]


@dataclass(frozen=True, slots=True)
class Rival:
    """One way of delivering events. `dialect` is what its listeners speak, and `reason_against`
    says why it is left out, if it is."""

    name: str
    dialect: str
    start: Start
    reason_against: Callable[[], str] = lambda: ""


def _peer(*command: str) -> Start:
    def start(stack: ExitStack) -> Running:
        with pinned(SERVER_CORE):
            process = stack.enter_context(LineProcess(command))
        return Running(process.first()["port"], process, process)

    return start


def _python(module: str) -> Start:
    return _peer(sys.executable, "-m", f"benchmarks.peers.{module}")


def _node(program: str, *arguments: str) -> Start:
    return _peer("node", str(node.FOLDER / program), *arguments)


def _own(module: str, box: Sandbox) -> LineProcess:
    return LineProcess([sys.executable, "-m", f"benchmarks.peers.{module}"], box.environment)


def _in_memory(stack: ExitStack) -> Running:
    box = stack.enter_context(sandbox())
    with pinned(SERVER_CORE):
        hub = stack.enter_context(_own("hub_in_memory", box))
    return Running(hub.first()["port"], hub, hub)


def _through_log(stack: ExitStack) -> Running:
    return stack.enter_context(hub_and_writer({}))


@contextmanager
def hub_and_writer(settings: Mapping[str, str]) -> Iterator[Running]:
    """A hub as a user runs it, and another process that commits events to its database."""
    with ExitStack() as stack:
        box = stack.enter_context(sandbox())
        environment = {**box.environment, **settings}
        with pinned(SERVER_CORE):
            hub = stack.enter_context(Child([*SERVER, "serve"], environment, box.folder))
        box.wait_for_hub()
        with pinned(LOAD_CORE):
            writer = stack.enter_context(_own("log_writer", box))
        yield Running(writer.first()["port"], hub, writer)


def _needs(package: str) -> Callable[[], str]:
    found = importlib.util.find_spec(package) is not None
    return lambda: "" if found else f"the package {package} is not installed"


IN_MEMORY = "Task Copilot (bus)"
"""Its events are handed to its bus in memory, as the peers make theirs in their own process."""

IN_BATCHES = "Task Copilot (bus, batches)"
"""The same to listeners that ask for batches."""

THROUGH_LOG = "Task Copilot (log)"
"""Its events are committed to the database by another process, which no peer has."""

NODE_ONCE = "Node ws (JSON once)"

RIVALS = (
    Rival(IN_MEMORY, "task_copilot", _in_memory),
    Rival(IN_BATCHES, "task_copilot in batches", _in_memory),
    Rival(THROUGH_LOG, "task_copilot", _through_log),
    Rival(NODE_ONCE, "plain", _node("ws.mjs", "once"), node.reason_against),
    Rival("Node ws (JSON per client)", "plain", _node("ws.mjs", "each"), node.reason_against),
    Rival("Socket.IO (Node)", "socketio", _node("socketio.mjs"), node.reason_against),
    Rival("websockets broadcast()", "plain", _python("websockets_broadcast")),
    Rival("Starlette send_text()", "plain", _python("starlette_send")),
    Rival("Starlette SSE", "sse", _python("starlette_sse")),
    Rival(
        "python-socketio",
        "socketio",
        _python("python_socketio"),
        _needs("socketio"),
    ),
)
