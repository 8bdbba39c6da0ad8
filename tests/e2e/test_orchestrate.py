"""``task-copilot orchestrate``: streams that are worked on in parallel by real programs."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

if sys.platform == "win32":
    pytest.skip("process groups", allow_module_level=True)

from e2e.orchestrating import DIAMOND, Project, lives, until
from task_copilot.orchestrator.worktrees import GitFailed, Worktrees


async def test_a_diamond_is_worked_from_its_base_to_its_top(project: Project) -> None:
    project.streams(DIAMOND, count=2)
    project.parts({"Left": [{"backwards": True}]})
    async with project.orchestrated() as running:
        await running.completes()
    project.judge(DIAMOND)
    assert running.most_at_once() == 2
    assert max(project.delays(running, DIAMOND)) < 1
    left = [note["task"] for note in project.of("end", "Left")]
    assert left == project.tasks["Left"][::-1], "out of order"
    assert len(project.of("run")) == 4


async def test_a_chain_goes_on_within_a_second_also_beside_workers_that_do_not_end(
    project: Project,
) -> None:
    streams = [f"S{number}" for number in range(6)]
    chain = {one: streams[max(0, at - 1) : at] for at, one in enumerate(streams)}
    project.streams(chain)
    project.parts({one: [{"lingers": True}] for one in streams})
    async with project.orchestrated("--max-parallel", "1") as running:
        await running.says("completed", times=6)
        # They only say good-bye, for half a minute at most; the run can be ended before.
        assert await running.signalled(signal.SIGINT) == 130
    project.judge(chain)
    assert running.most_at_once() == 1
    assert max(project.delays(running, chain)) < 1
    assert running.summary["complete"] is True
    assert not any(lives(note["pid"]) for note in project.of("run"))


def repository(project: Project) -> "partial[subprocess.CompletedProcess[str]]":
    """Makes the project's folder one, with a commit; runs git there."""
    git = partial(subprocess.run, cwd=project.folder, check=True, capture_output=True, text=True)
    for words in (
        ("init", "-q", "-b", "main"),
        ("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "1", "--allow-empty"),
    ):
        git(("git", *words))
    return git


def test_worktrees_that_are_made_at_the_same_time_do_not_disturb_each_other(
    project: Project,
) -> None:
    repository(project)
    trees = Worktrees.of(project.folder)
    streams = [f"Stream-{number}" for number in range(12)]
    with ThreadPoolExecutor(len(streams)) as pool:
        made = list(pool.map(lambda stream: trees.ready(stream, project.folder), streams))
    assert [folder.name for folder in made] == streams


def test_a_worktree_that_is_only_half_made_is_not_worked_in(project: Project) -> None:
    git = repository(project)
    trees = Worktrees.of(project.folder)
    folder = trees.ready("Stream-A", project.folder)
    lock = project.folder / ".git" / "worktrees" / "Stream-A" / "locked"
    lock.write_text("initializing")  # as git does until all is checked out
    with pytest.raises(GitFailed, match="git worktree remove -ff"):
        trees.ready("Stream-A", project.folder)
    git(("git", "worktree", "remove", "-ff", str(folder)))
    assert trees.ready("Stream-A", project.folder) == folder
    git(("git", "worktree", "lock", str(folder)))
    assert trees.ready("Stream-A", project.folder) == folder, "a person may lock it"


async def test_ten_are_worked_on_in_worktrees_of_their_own_three_at_a_time(
    project: Project,
) -> None:
    git = repository(project)
    ten: dict[str, tuple[str, ...]] = {f"Stream-{letter}": () for letter in "ABCDEFGHIJ"}
    project.streams(ten)
    project.parts({"Stream-A": [{"dies": 3}], "Stream-B": [{"does": "wait"}]})
    with project.gate_closed() as open_the_gate:
        async with project.orchestrated("--worktrees", "--max-parallel", "3") as running:
            await running.says("completed", times=9)
            open_the_gate()
            await running.completes()
    project.judge(ten)
    assert running.most_at_once() == 3
    folders = {note["stream"]: note["folder"] for note in project.of("run")}
    beside = project.folder.parent / "project.worktrees"
    assert folders == {stream: str(beside / stream) for stream in ten}
    assert {note["folder"] for note in project.of("run", "Stream-A")} == {folders["Stream-A"]}
    assert len(project.of("run")) == 11
    branches = git(("git", "branch", "--format=%(refname:short)")).stdout.split()
    assert branches == ["main", *(f"task-copilot/{stream}" for stream in ten)]


async def test_a_worker_can_be_any_client_of_the_protocol(project: Project) -> None:
    project.streams({"Stream-A": ()}, count=2)
    async with project.orchestrated(worker=project.worker("sdk")) as running:
        await running.completes()
    project.judge({"Stream-A": ()})


async def test_claude_gets_all_that_it_needs_in_its_arguments(project: Project) -> None:
    project.streams({"Stream-A": ()})
    programs = project.play / "programs"
    programs.mkdir()
    claude = programs / "claude"
    claude.write_text(f'#!/bin/sh\nexec {project.worker("claude")} "$@"\n')
    claude.chmod(0o755)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    words = ("--permission-mode", "acceptEdits")
    async with project.orchestrated(*words, worker="", PATH=path) as running:
        await running.completes()
    project.judge({"Stream-A": ()})
    (arguments,) = [note["arguments"] for note in project.of("run")]
    assert arguments[:2] == ["claude", "-p"]
    assert "Stream-A" in arguments[2]
    assert arguments[-4:-2] == ["--allowedTools", "mcp__task-copilot__*"]
    assert arguments[-2:] == ["--permission-mode", "acceptEdits"]


# --- workers that fail ---


async def test_one_that_crashes_goes_on_from_its_checkpoint_and_is_given_up_after_three_times(
    project: Project,
) -> None:
    project.streams({"Stream-A": (), "Stream-B": ("Stream-A",)}, count=2)
    crash = {"after": 1, "does": "exit", "code": 3}
    project.parts({"Stream-A": [crash, {"dies": 4}, {"does": "kill"}, {"dies": 5}]})
    async with project.orchestrated(*project.on_blocked) as running:
        assert await running.ends() == 1
    assert running.state("Stream-A") == "needs help"
    assert running.state("Stream-B") == "waiting"
    ends = [row["text"] for row in running.of("exited")]
    assert [end.rpartition(": ")[2] for end in ends] == [
        "exit code 3",
        "exit code 4",
        "killed by SIGKILL",
        "exit code 5",
    ]
    pauses = running.pauses("Stream-A")
    assert pauses == sorted(pauses), "each further one waits longer"
    assert pauses[-1] > 0.05 * 16
    first, second = project.tasks["Stream-A"]
    (blocked,) = project.events("task.blocked")
    assert blocked["data"]["taskId"] == second
    assert "ended 4 times" in blocked["data"]["blockedReason"]
    assert blocked["actor"] == "orchestrator"
    ((stream, reason),) = project.told
    assert stream == "Stream-A"
    assert reason.startswith("Needs help: its worker ended 4 times"), "a person was told"

    await project.unblock(second)
    async with project.orchestrated(*project.on_blocked) as running:
        await running.completes()
    project.judge({"Stream-A": (), "Stream-B": ("Stream-A",)})
    pids = [note["pid"] for note in project.of("run", "Stream-A")]
    resumed = [(note["pid"], note["task"], note["found"]["by"]) for note in project.of("resumed")]
    assert resumed == [(pids[2], second, pids[0]), (pids[4], second, pids[2])]
    assert [note["task"] for note in project.of("end", "Stream-A")] == [first, second]
    assert len(project.told) == 1, "told once"


async def test_one_that_is_stuck_is_saved_and_started_again_and_one_that_prints_is_not(
    project: Project,
) -> None:
    streams: dict[str, tuple[str, ...]] = {"Stream-A": (), "Stream-B": ()}
    project.streams(streams)
    project.parts({"Stream-A": [{"does": "silence"}], "Stream-B": [{"does": "chat", "seconds": 7}]})
    async with project.orchestrated("--stall-timeout", "5") as running:
        await running.completes()
    project.judge(streams)
    assert [row["streamId"] for row in running.of("stalled")] == ["Stream-A"]
    (saved,) = running.of("saved")
    made = [event["data"] for event in project.events("checkpoint.created")]
    (by_orchestrator,) = [each for each in made if each["trigger"] == "error"]
    assert saved["checkpointId"] == by_orchestrator["checkpointId"]
    assert [len(project.of("run", stream)) for stream in streams] == [2, 1]
    assert [note["stream"] for note in project.of("resumed")] == ["Stream-A"]


async def test_a_person_is_told_once_what_a_blocked_stream_needs_and_unblocks_it(
    project: Project,
) -> None:
    streams: dict[str, tuple[str, ...]] = {"Stream-A": (), "Stream-B": ("Stream-A",)}
    project.streams(streams)
    reasons = ["Which key? 'a \"b\"' $(date)\nor {stream}", "And which lock?"]
    project.parts({"Stream-A": [{"does": "block", "reason": reason} for reason in reasons]})
    (task,) = project.tasks["Stream-A"]

    async with project.orchestrated(*project.on_blocked) as running:
        await running.says("exited", "Stream-A")
        await until(lambda: len(project.told) == 1, "the first reason")
        await project.update(task, status="pending")
        await running.says("unblocked", "Stream-A")
        await running.says("exited", "Stream-A", times=2)
        await until(lambda: len(project.told) == 2, "the second reason")
        await until(project.cursor_is_at_the_head, "the cursor")
        await running.killed()
    assert project.told == [["Stream-A", reason] for reason in reasons]

    async with project.orchestrated(*project.on_blocked, "--no-wait") as running:
        assert await running.ends() == 1
    assert running.state("Stream-A") == "blocked"
    assert running.state("Stream-B") == "waiting"
    assert len(project.told) == 2, "not again by the next run"

    await project.unblock(task)
    async with project.orchestrated(*project.on_blocked) as running:
        await running.completes()
    project.judge(streams)
    assert len(project.of("run", "Stream-A")) == 3
