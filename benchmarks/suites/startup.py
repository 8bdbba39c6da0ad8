"""From the start of the process to its first answers."""

import subprocess
import sys
import time
from statistics import median

from benchmarks.mcp_process import INITIALIZE, INITIALIZED, McpProcess, call_line
from benchmarks.measures import Measure, Suite, Target, spread
from benchmarks.sandbox import SERVER, Sandbox, sandbox

IMPORT = "import mcp.server"
IMPORT_AND_SAY = "import mcp.server, os; os.write(1, b'.')"


def run(*, quick: bool) -> list[Measure]:
    """Interleaved, so that whatever else the machine does slows all alike."""
    pairs = 3 if quick else 25
    answers, calls, imports, said = [], [], [], []
    with sandbox() as box:
        _to_first_answers(box)  # makes the tables and the bytecode
        for _ in range(pairs):
            answer, call = _to_first_answers(box)
            answers.append(answer)
            calls.append(call)
            imports.append(_to_exit())
            said.append(_to_first_byte())
    rounds = f"{pairs} interleaved"

    def shown(name: str, seconds: list[float]) -> Measure:
        each = [one * 1000 for one in seconds]
        return Measure(name, median(each), "ms", rounds, note=spread(each))

    return [
        Measure(
            "to the `initialize` reply ÷ `python -c 'import mcp.server'`",
            median(answers) / median(imports),
            "",
            rounds,
            Target("<=", 1.15),
        ),
        Measure(
            "to the `initialize` reply ÷ the import without the interpreter's exit",
            median(answers) / median(said),
            "",
            rounds,
        ),
        shown("to the `initialize` reply", answers),
        shown("`python -c 'import mcp.server'`", imports),
        shown("the import without the interpreter's exit", said),
        shown("to the first answer of a tool, in an existing database", calls),
    ]


def _to_first_answers(box: Sandbox) -> tuple[float, float]:
    """Seconds to the handshake's answer, and to that of a tool called right after it."""
    start = time.perf_counter()
    with McpProcess(SERVER, box.environment, box.folder) as server:
        server.write(INITIALIZE)
        server.read_line()
        answered = time.perf_counter() - start
        server.write(INITIALIZED + call_line(1, "task_create", {"title": "first"}))
        answer = server.read_line()
        called = time.perf_counter() - start
        server.terminate()
    assert b'"isError":true' not in answer, answer
    return answered, called


def _to_exit() -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", IMPORT], check=True)
    return time.perf_counter() - start


def _to_first_byte() -> float:
    start = time.perf_counter()
    command = [sys.executable, "-c", IMPORT_AND_SAY]
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        return time.perf_counter() - start


SUITE = Suite("startup", "spawn to the first answer", run)
