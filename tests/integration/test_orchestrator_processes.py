"""Processes of workers: who has claimed a launch, whether it lives, and how it ends."""

import asyncio
import os
import shlex
import signal
import stat
import subprocess
import sys
import threading
from asyncio.subprocess import Process
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from client_support import until
from task_copilot.orchestrator import processes
from task_copilot.orchestrator.processes import (
    NOT_CLAIMED,
    VOID,
    ProcessId,
    claimed,
    command_line,
    described,
    ended,
    is_whole,
    lives,
    signal_group,
)
from task_copilot.private import replace_private

LIMIT_SECONDS = 20.0
WAITS = ("/bin/sh", "-c", "read line")
"""A worker that goes on until its standard input ends."""


@contextmanager
def left_alone(claim: Path, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A launch in a process group of its own, which is killed in the end."""
    process = subprocess.Popen(
        command_line(claim, command or WAITS),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            signal_group(process.pid, signal.SIGKILL)


def end(process: subprocess.Popen[bytes]) -> None:
    process.communicate(b"\n", LIMIT_SECONDS)


def has_claimed(claim: Path) -> ProcessId:
    until(lambda: claim.exists() and is_whole(claim))
    found = claimed(claim)
    assert found is not None
    return found


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def started(tmp_path: Path, *command: str, **given: Any) -> Process:
    return await processes.start(
        command,
        **{
            "claim": tmp_path / "1.claim",
            "log": tmp_path / "out.log",
            "folder": tmp_path,
            "environment": os.environ,
            **given,
        },
    )


async def code_of(process: Process) -> int:
    async with asyncio.timeout(LIMIT_SECONDS):
        return await process.wait()


# --- claims ---


def test_a_worker_becomes_the_process_that_has_claimed_its_launch(tmp_path: Path) -> None:
    claim = tmp_path / "1.claim"
    with left_alone(claim) as process:
        found = has_claimed(claim)
        assert found.pid == process.pid
        assert lives(found)
        assert stat.S_IMODE(claim.stat().st_mode) == 0o600
        end(process)
    assert not lives(found)
    assert claimed(claim) is None


def test_the_command_gets_its_words_as_they_are(tmp_path: Path) -> None:
    words = ["a b", "", "$HOME", "'\"", "*", "-n", "größe", "line\nline"]
    show = "import sys; sys.stdout.buffer.write(ascii(sys.argv[1:]).encode())"
    with left_alone(tmp_path / "1.claim", sys.executable, "-c", show, *words) as process:
        out, _ = process.communicate(timeout=LIMIT_SECONDS)
    assert out.decode() == ascii(words)


def test_of_many_that_race_for_a_launch_exactly_one_becomes_the_worker(tmp_path: Path) -> None:
    claim = tmp_path / "1.claim"
    racing = [
        subprocess.Popen(command_line(claim, ["/bin/echo", "it is me"]), stdout=subprocess.PIPE)
        for _ in range(8)
    ]
    said = [process.communicate(timeout=LIMIT_SECONDS)[0] for process in racing]
    assert sorted(said) == [b""] * 7 + [b"it is me\n"]
    codes = sorted(process.returncode for process in racing)
    assert codes == [0] + [NOT_CLAIMED] * 7


def test_a_launch_that_nobody_claimed_is_claimed_by_nobody_later(tmp_path: Path) -> None:
    claim = tmp_path / "1.claim"
    assert claimed(claim) is None
    assert claim.read_bytes() == VOID
    assert not is_whole(claim)
    with left_alone(claim, "/bin/echo", "it is me") as late:
        assert late.communicate(timeout=LIMIT_SECONDS)[0] == b""
    assert late.returncode == NOT_CLAIMED
    assert claimed(claim) is None


def test_who_asks_and_who_launches_at_once_agree(tmp_path: Path) -> None:
    for number in range(10):
        claim = tmp_path / f"{number}.claim"
        with left_alone(claim) as process:
            found = claimed(claim)
            if found is None:
                assert process.wait(LIMIT_SECONDS) == NOT_CLAIMED
            else:
                assert found.pid == process.pid
                assert lives(found)


@pytest.mark.parametrize(
    "content",
    [
        *("", "1", "{pid}\n", "{pid}\n{boot}\n{stat}\n", "{pid}\n{boot}\n{stat}\nwho"),
        *("{pid}\n{boot}\n{stat}\nwhole", "void", "whole\n", "\n\n\nwhole\n", "\0" * 5_000),
        *(
            "x\n{boot}\n{stat}\nwhole\n",
            "-1\n{boot}\n{stat}\nwhole\n",
            "²\n{boot}\n{stat}\nwhole\n",
        ),
        *("0\n{boot}\n{stat}\nwhole\n", "9" * 3_000 + "\n{boot}\n{stat}\nwhole\n"),
        *("{pid}\n{boot}\n{stat}\nwhole\nwhole\n", "99999999999\n{boot}\n{stat}\nwhole\n"),
    ],
)
def test_a_claim_that_does_not_become_whole_is_nobodys_and_made_void(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    monkeypatch.setattr(processes, "WRITING_SECONDS", 0.02)
    claim = tmp_path / "1.claim"
    me = Path("/proc/self/stat").read_text().strip()
    text = content.format(pid=os.getpid(), boot=processes.BOOT_ID.read_text().strip(), stat=me)
    claim.write_text(text)
    claim.chmod(0o600)
    assert claimed(claim) is None
    assert claim.read_bytes() == VOID


def test_a_claim_that_is_just_being_written_is_waited_for(tmp_path: Path) -> None:
    claim, new = tmp_path / "1.claim", tmp_path / "2.claim"
    with left_alone(new):
        there = has_claimed(new)
        claim.touch(0o600)
        found: list[ProcessId | None] = []
        asking = threading.Thread(target=lambda: found.append(claimed(claim)))
        asking.start()
        claim.write_bytes(new.read_bytes())
        asking.join(LIMIT_SECONDS)
        assert found == [there]


def test_who_was_held_up_while_it_wrote_its_claim_does_not_become_a_second_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "WRITING_SECONDS", 0.02)
    claim, halted = tmp_path / "1.claim", tmp_path / "halted"
    os.mkfifo(halted)
    script = command_line(claim, ["/bin/echo", "it is me"])
    # The shell has made the file and waits before it writes into it.
    script[2] = script[2].replace("set -C; printf", f"set -C; exec >$claim; cat {halted}; printf")
    script[2] = script[2].replace('>"$claim")', ")").replace("exec >$claim", 'exec >"$claim"')
    with subprocess.Popen(script, stdout=subprocess.PIPE) as late:
        until(claim.exists)
        assert claimed(claim) is None
        halted.write_text("")
        assert late.communicate(timeout=LIMIT_SECONDS)[0] == b""
    assert late.returncode == NOT_CLAIMED
    assert claim.read_bytes() == VOID


def test_a_claim_that_becomes_whole_at_the_last_moment_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim, other = tmp_path / "1.claim", tmp_path / "2.claim"
    with left_alone(other):
        there = has_claimed(other)
        claim.touch(0o600)
        replace = replace_private

        def written_just_before(path: Path, content: bytes) -> None:
            path.write_bytes(other.read_bytes())
            replace(path, content)

        monkeypatch.setattr(processes, "WRITING_SECONDS", 0.0)
        monkeypatch.setattr(processes, "replace_private", written_just_before)
        assert claimed(claim) == there


def test_a_claim_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "1.claim").symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match="symbolic link"):
        claimed(tmp_path / "1.claim")
    assert not (tmp_path / "other").exists()
    with left_alone(tmp_path / "1.claim", "/bin/echo", "it is me") as process:
        out, _ = process.communicate(timeout=LIMIT_SECONDS)
    assert (out, process.returncode) == (b"", NOT_CLAIMED)


def test_without_a_place_for_its_claim_nothing_is_started(tmp_path: Path) -> None:
    with left_alone(tmp_path / "no" / "1.claim", "/bin/echo", "it is me") as process:
        assert process.communicate(timeout=LIMIT_SECONDS)[0] == b""
    assert process.returncode == NOT_CLAIMED


# --- whether it lives ---


def test_a_zombie_does_not_live(tmp_path: Path) -> None:
    claim = tmp_path / "1.claim"
    with left_alone(claim) as process:
        found = has_claimed(claim)
        os.kill(process.pid, signal.SIGKILL)
        until(lambda: not lives(found))
        assert Path(f"/proc/{process.pid}/stat").exists()  # nobody has waited for it yet


def test_a_later_process_with_the_same_number_is_another_one(tmp_path: Path) -> None:
    claim = tmp_path / "1.claim"
    with left_alone(claim):
        found = has_claimed(claim)
        assert lives(found)
        assert not lives(ProcessId(found.pid, found.boot, str(int(found.begun) - 1)))
        assert not lives(ProcessId(found.pid, "another boot", found.begun))
        claim.write_text(f"{found.pid}\n{found.boot}\n{found.pid} (sh) S {'0 ' * 19}\nwhole\n")
        assert claimed(claim) is None


def test_a_process_is_known_again_whatever_it_calls_itself(tmp_path: Path) -> None:
    odd = tmp_path / "a) S 1 (b\n c"
    odd.symlink_to("/bin/sh")
    claim = tmp_path / "1.claim"
    with left_alone(claim, os.fspath(odd), "-c", "read line; :") as process:
        found = has_claimed(claim)
        until(lambda: b"a) S 1" in Path(f"/proc/{process.pid}/stat").read_bytes())
        assert lives(found)


def test_where_the_system_does_not_tell_which_boot_it_is_ps_says_who_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "BOOT_ID", tmp_path / "missing")
    script = processes._BECOME.replace("/proc/sys/kernel/random/boot_id", "/missing")
    monkeypatch.setattr(processes, "_BECOME", script)
    claim = tmp_path / "1.claim"
    with left_alone(claim) as process:
        found = has_claimed(claim)
        assert (found.pid, found.boot) == (process.pid, "")
        assert lives(found)
        end(process)
    assert not lives(found)


# --- waiting for one that is no child ---


@pytest.mark.parametrize("has_pidfd", [True, False])
async def test_the_end_of_a_process_is_noticed_that_is_no_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_pidfd: bool
) -> None:
    if not has_pidfd:
        monkeypatch.delattr(os, "pidfd_open")
        monkeypatch.setattr(processes, "POLL_SECONDS", 0.01)
    claim, pipe = tmp_path / "1.claim", tmp_path / "pipe"
    os.mkfifo(pipe)
    words = command_line(claim, ["/bin/sh", "-c", f"read line <{shlex.quote(str(pipe))}"])
    # Its parent ends at once, so that nobody here can wait for it.
    apart = ["/bin/sh", "-c", '"$@" & ', "sh", *words]
    await asyncio.to_thread(subprocess.run, apart, check=True)
    found = await asyncio.to_thread(has_claimed, claim)
    waiting = asyncio.create_task(ended(found))
    done, _ = await asyncio.wait([waiting], timeout=0.05)
    assert not done
    pipe.write_text("\n")
    async with asyncio.timeout(LIMIT_SECONDS):
        await waiting
    assert not lives(found)


async def test_the_end_of_a_process_that_has_ended_or_is_another_one_is_not_waited_for(
    tmp_path: Path,
) -> None:
    claim = tmp_path / "1.claim"
    async with asyncio.timeout(LIMIT_SECONDS):
        with left_alone(claim) as process:
            found = has_claimed(claim)
            await ended(ProcessId(found.pid, found.boot, "1"))
            os.kill(process.pid, signal.SIGKILL)
            await ended(found)  # a zombie
        await ended(found)


async def test_who_gives_up_waiting_leaves_nothing_open(tmp_path: Path) -> None:
    claim = tmp_path / "1.claim"
    before = len(names(Path("/proc/self/fd")))
    with left_alone(claim) as process:
        found = has_claimed(claim)
        waiting = asyncio.create_task(ended(found))
        await asyncio.wait([waiting], timeout=0.05)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        end(process)
    assert len(names(Path("/proc/self/fd"))) == before


# --- starting ---


async def test_what_a_worker_prints_is_in_its_log_for_this_user_alone(tmp_path: Path) -> None:
    said = "echo out; echo err >&2; pwd; echo $WHO; read line || echo no input"
    process = await started(tmp_path, "/bin/sh", "-c", said, environment={"WHO": "a worker"})
    assert await code_of(process) == 0
    log = tmp_path / "out.log"
    head, *lines = log.read_text().splitlines()
    assert head.startswith("--- 20")
    assert head.endswith(" /bin/sh ---")
    assert lines == ["out", "err", str(tmp_path), "a worker", "no input"]
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


async def test_the_log_goes_on_and_one_that_is_too_long_is_put_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, aside = tmp_path / "out.log", tmp_path / "out.log.1"
    for number in (1, 2):
        claim = tmp_path / f"{number}.claim"
        await code_of(await started(tmp_path, "/bin/echo", str(number), claim=claim))
    assert [line for line in log.read_text().splitlines() if "---" not in line] == ["1", "2"]
    monkeypatch.setattr(processes, "LOG_BYTES", 10)
    aside.write_text("older")
    await code_of(await started(tmp_path, "/bin/echo", "3", claim=tmp_path / "3.claim"))
    assert log.read_text().splitlines()[1:] == ["3"]
    assert aside.read_text().count("---") == 4
    assert {stat.S_IMODE(path.stat().st_mode) for path in (log, aside)} == {0o600}


async def test_a_log_that_leads_elsewhere_is_refused_and_nothing_is_started(
    tmp_path: Path,
) -> None:
    (tmp_path / "out.log").symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match="symbolic link"):
        await started(tmp_path, "/bin/echo")
    assert names(tmp_path) == ["out.log"]


async def test_a_folder_that_is_gone_is_an_error_and_nothing_is_started(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        await started(tmp_path, "/bin/echo", folder=tmp_path / "gone")
    assert not (tmp_path / "1.claim").exists()


async def test_a_command_that_does_not_exist_ends_with_its_complaint_in_the_log(
    tmp_path: Path,
) -> None:
    process = await started(tmp_path, "no-such-command-anywhere")
    assert await code_of(process) == 127
    assert "no-such-command-anywhere" in (tmp_path / "out.log").read_text().splitlines()[-1]
    (tmp_path / "text").write_text("no program")
    process = await started(tmp_path, "./text", claim=tmp_path / "2.claim")
    assert await code_of(process) == 126


async def test_a_signal_reaches_what_a_worker_has_started_and_not_this_program(
    tmp_path: Path,
) -> None:
    # Nested, each with a name of its own; the inner one says that it is there.
    script = "/bin/sh -c 'echo $$ >inner; exec sleep 600' & wait"
    process = await started(tmp_path, "/bin/sh", "-c", script)
    inner = tmp_path / "inner"
    await asyncio.to_thread(until, lambda: inner.exists() and inner.read_text().strip())
    number = int(inner.read_text())
    assert os.getpgid(process.pid) == os.getpgid(number) == process.pid != os.getpgid(0)
    signal_group(process.pid, signal.SIGTERM)
    assert await code_of(process) == -signal.SIGTERM
    await asyncio.to_thread(until, lambda: processes._present(number) is None)
    signal_group(process.pid, signal.SIGTERM)  # all have ended: nothing happens


async def test_a_worker_survives_this_programs_group_and_keeps_none_of_its_files(
    tmp_path: Path,
) -> None:
    process = await started(tmp_path, "/bin/sh", "-c", "ls /proc/self/fd; ps -o sid= -p $$")
    assert await code_of(process) == 0
    *files, session = (tmp_path / "out.log").read_text().splitlines()[1:]
    assert set(files) <= {"0", "1", "2", "3"}  # the last is of ls itself
    assert int(session) == process.pid


# --- how it ended ---


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "exit code 0"),
        (127, "exit code 127"),
        (-9, "killed by SIGKILL"),
        (-15, "killed by SIGTERM"),
        (-100, "killed by signal 100"),
    ],
)
def test_how_a_worker_ended_is_said_in_words(code: int, words: str) -> None:
    assert described(code) == words


def test_nobody_is_harmed_by_a_signal_to_nobody(tmp_path: Path) -> None:
    claim = tmp_path / "1.claim"
    with left_alone(claim) as process:
        end(process)
    signal_group(process.pid, signal.SIGKILL)
