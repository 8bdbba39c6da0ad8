"""``task-copilot orchestrate`` is stopped, or killed, and gone on with."""

import asyncio
import os
import signal
import sys

import pytest

if sys.platform == "win32":
    pytest.skip("process groups", allow_module_level=True)

from e2e.orchestrating import WITHIN_SECONDS, Project, lives, until
from e2e.servers import COMMAND, after

ONE: dict[str, tuple[str, ...]] = {"Stream-A": ()}
TWO: dict[str, tuple[str, ...]] = {"Stream-A": (), "Stream-B": ("Stream-A",)}
FORK: dict[str, tuple[str, ...]] = {"Stream-A": (), "Stream-B": (), "Stream-C": ("Stream-A",)}
WAIT, STUBBORN = {"does": "wait"}, {"does": "wait", "stubborn": True}


async def test_ctrl_c_ends_the_workers_and_the_same_command_goes_on(project: Project) -> None:
    project.streams(TWO)
    project.parts({"Stream-A": [WAIT, WAIT]})
    for times, number in enumerate((signal.SIGINT, signal.SIGTERM), 1):
        with project.gate_closed():
            async with project.orchestrated() as running:
                run = (await project.noted("plays", times=times))[-1]
                assert await running.signalled(number) == 128 + number
                assert not lives(run["pid"])
                assert running.state("Stream-A") == "ready"
                assert [row["text"] for row in running.of("exited")] == []
    async with project.orchestrated() as running:
        await running.completes()
    project.judge(TWO)
    assert len(project.of("resumed", "Stream-A")) == 2
    assert [len(project.of("run", stream)) for stream in TWO] == [3, 1]


async def test_a_worker_that_does_not_end_is_killed_after_a_while_or_by_the_second_ctrl_c(
    project: Project,
) -> None:
    project.streams(ONE)
    project.parts({"Stream-A": [STUBBORN, STUBBORN]})
    with project.gate_closed():
        async with project.orchestrated("--grace", "0.3") as running:
            (run,) = await project.noted("plays")
            assert await running.signalled(signal.SIGINT) == 130
            assert not lives(run["pid"])
            assert len(project.of("asked")) == 1
        async with project.orchestrated("--grace", "3600") as running:
            (_, run) = await project.noted("plays", times=2)
            running.process.send_signal(signal.SIGINT)
            await project.noted("asked", times=2)
            assert await running.signalled(signal.SIGINT) == 130
            assert not lives(run["pid"])


async def test_workers_outlive_an_orchestrator_that_is_killed_and_the_next_takes_them_over(
    project: Project,
) -> None:
    project.streams(FORK)
    project.parts({"Stream-A": [WAIT], "Stream-B": [WAIT]})
    with project.gate_closed() as open_the_gate:
        async with project.orchestrated() as first:
            runs = await project.noted("plays", times=2)
            async with project.orchestrated() as second:
                assert await second.refused() == 1
            assert f"process {first.process.pid}, since 2".encode() in second.complaints
            assert f"in {project.folder}".encode() in second.complaints
            await first.killed()
        pids = {run["stream"]: run["pid"] for run in runs}
        assert all(map(lives, pids.values()))
        async with project.orchestrated() as running:
            rows = await running.says("adopted", times=2)
            assert {row["streamId"]: row["pid"] for row in rows} == pids
            os.kill(pids["Stream-B"], signal.SIGKILL)
            await running.says("exited", "Stream-B")
            open_the_gate()
            await running.completes()
    project.judge(FORK)
    assert [len(project.of("run", stream)) for stream in FORK] == [1, 2, 1]


KILLED_AT = {
    "the start is written down": """
async def start(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
""",
    "the process begins": """
processes._BECOME = 'echo $$ >"$FIFO.pid"; read -r _ <"$FIFO";' + processes._BECOME
real = processes.start
async def start(*words, **given):
    await real(*words, **given)
    os.kill(os.getpid(), signal.SIGKILL)
""",
}


@pytest.mark.parametrize("moment", KILLED_AT)
async def test_killed_in_the_middle_of_a_start_it_starts_nothing_twice(
    project: Project, moment: str
) -> None:
    project.streams(ONE)
    fifo = project.play / "fifo"
    os.mkfifo(fifo)
    preparation = "import os, signal\nfrom task_copilot.orchestrator import processes\n"
    command = after(f"{preparation}{KILLED_AT[moment]}\nprocesses.start = start\n")
    async with project.orchestrated(command=command, FIFO=str(fifo)) as running:
        assert await running.ends() == -signal.SIGKILL
    async with project.orchestrated() as running:
        await running.completes()
    if moment == "the process begins":
        # Only now the shell of the first run gets to the claim of its launch.
        late = int((project.play / "fifo.pid").read_text())
        assert lives(late)
        await asyncio.to_thread(fifo.write_text, "go on\n")
        await until(lambda: not lives(late), "its end")
    project.judge(ONE)
    assert len(project.of("run")) == 1


async def test_a_worker_that_starts_while_the_run_stops_is_ended_like_the_others(
    project: Project,
) -> None:
    project.streams(ONE)
    # What a program is started with ignored stays ignored.
    command = after("""
import asyncio, os, signal
from task_copilot.orchestrator import processes
processes._BECOME = "trap '' TERM;" + processes._BECOME
real = processes.start
async def start(*words, **given):
    os.kill(os.getpid(), signal.SIGINT)
    process = await real(*words, **given)
    await asyncio.sleep(0)
    return process
processes.start = start
""")
    words = ("--grace", "0.3", "--worker", f"sleep {60 * 60}")
    async with project.orchestrated(*words, worker="", command=command) as running:
        assert await running.ends() == 130
    (started,) = running.of("started")
    assert not lives(started["pid"])


@pytest.mark.parametrize("output", ["a pipe", "a terminal"])
async def test_where_nobody_sees_it_any_more_it_ends_the_workers(
    project: Project, output: str
) -> None:
    project.streams(TWO)
    project.parts({"Stream-A": [WAIT]})
    reading, writing = os.pipe() if output == "a pipe" else os.openpty()
    with project.gate_closed() as open_the_gate:
        process = await asyncio.create_subprocess_exec(
            *(*COMMAND, "orchestrate", "--worker", project.worker()),
            stdin=writing,
            stdout=writing,
            stderr=asyncio.subprocess.PIPE if output == "a pipe" else writing,
            cwd=project.folder,
            env={**os.environ, **project.environment, "TERM": "xterm-256color"},
            start_new_session=True,
        )
        os.close(writing)
        await project.noted("plays")
        os.close(reading)
        open_the_gate()
        async with asyncio.timeout(WITHIN_SECONDS):
            _, complaints = await process.communicate()
    assert process.returncode != 0
    assert b"Traceback" not in (complaints or b"")
    assert project.living() == []
    assert project.of("run", "Stream-B") == []
