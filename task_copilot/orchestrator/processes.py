"""Processes of workers, which are known again after the program that started them was killed.

A worker is started through a few lines of shell that claim its launch, in a file that only one
process can make, and then become the worker. So whoever finds the file knows the process, whoever
finds none can make it himself and knows that there never will be one, and at no moment two
workers can be started for the same launch.
"""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import time
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from task_copilot.private import open_private, read_own, replace_private

NOT_CLAIMED = 75
"""Exit code of a launch that somebody else has claimed (EX_TEMPFAIL of sysexits.h)."""

VOID = b"void\n"
"""What a claim says that was made so that nobody else makes it."""

WHOLE = "whole"
_PID = re.compile(r"[1-9][0-9]{0,9}")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
MAX_CLAIM_BYTES = 4_096

WRITING_SECONDS = 2.0
"""A claim that is being written is whole after a moment; after so long nobody writes any more."""

LOOK_SECONDS = 0.02
POLL_SECONDS = 0.5
"""Between two looks at a process that is no child, where the system has no pidfd."""

LEFT_SECONDS = 0.05
"""Between two looks at whether a worker that has ended has left something running."""

PS_SECONDS = 5.0

LOG_BYTES = 10 * 1024 * 1024
"""A log that is longer when a worker starts is put aside as ``.1``, in the place of an older."""

# When a process began tells it from a later one with the same number: on Linux in ticks since the
# boot, which changing the clock does not change, elsewhere in the words of ps.
_BECOME = r"""
claim=$1; shift
{ IFS= read -r boot </proc/sys/kernel/random/boot_id && IFS= read -r stat <"/proc/$$/stat"; } \
  2>/dev/null || { boot=; stat=$(LC_ALL=C ps -o lstart= -p $$); }
(umask 077; set -C; printf '%s\n%s\n%s\nwhole\n' "$$" "$boot" "$stat" >"$claim") || exit 75
IFS= read -r owner <"$claim" && [ "$owner" = "$$" ] || exit 75
exec "$@"
"""


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process that no other is taken for: its number, and when it began."""

    pid: int
    boot: str
    begun: str


def command_line(claim: Path, command: Sequence[str]) -> list[str]:
    """What to run so that it claims a launch and becomes `command`."""
    return ["/bin/sh", "-c", _BECOME, "sh", os.fspath(claim), *command]


async def start(
    command: Sequence[str], *, claim: Path, log: Path, folder: Path, environment: Mapping[str, str]
) -> Process:
    """Starts `command` in `folder`, in a process group of its own, so that it outlives this
    program and gets no Ctrl+C of the terminal. Its output goes to `log`. Raises OSError."""
    output = await asyncio.to_thread(_opened, log, command)
    try:
        return await asyncio.create_subprocess_exec(
            *command_line(claim, command),
            stdin=DEVNULL,
            stdout=output,
            stderr=STDOUT,
            cwd=folder,
            env=dict(environment),
            start_new_session=True,
        )
    finally:
        os.close(output)


def _opened(log: Path, command: Sequence[str]) -> int:
    """The log, to write at its end, with a line that says what begins there."""
    with contextlib.suppress(FileNotFoundError):
        if log.lstat().st_size > LOG_BYTES:
            log.replace(log.with_name(f"{log.name}.1"))
    descriptor = open_private(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    began = time.strftime("%Y-%m-%d %H:%M:%S")
    os.write(descriptor, f"--- {began} {command[0]} ---\n".encode(errors="replace"))
    return descriptor


def claimed(claim: Path) -> ProcessId | None:
    """The living process that has claimed a launch; None where there is none, and then there never
    will be one. Blocking, for `WRITING_SECONDS` at most. Raises OSError."""
    if _make_void(claim):
        return None
    deadline = time.monotonic() + WRITING_SECONDS
    while (content := read_own(claim, MAX_CLAIM_BYTES)) != VOID:
        if (found := _claimant(content)) is not None:
            return found if lives(found) else None
        if time.monotonic() > deadline:
            return _replaced(claim)
        time.sleep(LOOK_SECONDS)
    return None


def _claimant(content: bytes) -> ProcessId | None:
    """The process that a claim names; None where it is not whole."""
    lines = content.decode(errors="replace").split("\n")
    if len(lines) == 5 and lines[3:] == [WHOLE, ""] and _PID.fullmatch(lines[0]):  # noqa: PLR2004
        return ProcessId(int(lines[0]), lines[1], _begun(lines[2]))
    return None


def is_whole(claim: Path) -> bool:
    """Whether a process has made this claim, so that no other one can be about to. Blocking."""
    try:
        return _claimant(read_own(claim, MAX_CLAIM_BYTES)) is not None
    except OSError:
        return False


def _replaced(claim: Path) -> ProcessId | None:
    """Makes a claim void whose writing does not come to its end. Whoever writes it looks at it
    once more before it becomes a worker; where that was just before, it is found."""
    with claim.open("rb") as before:
        replace_private(claim, VOID)
        found = _claimant(before.read(MAX_CLAIM_BYTES))
    return found if found is not None and lives(found) else None


def _make_void(claim: Path) -> bool:
    try:
        descriptor = open_private(claim, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    except FileExistsError:
        return False
    os.write(descriptor, VOID)
    os.close(descriptor)
    return True


def lives(process: ProcessId) -> bool:
    """Whether this very process runs. Blocking."""
    return _present(process.pid) == (process.boot, process.begun)


def _present(pid: int) -> tuple[str, str] | None:
    """Boot and begin of the process that has this number now; None where it has ended."""
    try:
        boot = BOOT_ID.read_text().strip()
        Path("/proc/self/stat").read_bytes()
    except OSError:  # as the shell does
        return _of_ps(pid)
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    state = stat.rpartition(")")[2].split()[0]
    return None if state in {"Z", "X"} else (boot, _begun(stat))


def _of_ps(pid: int) -> tuple[str, str] | None:
    found = subprocess.run(  # noqa: S603 - a number
        ["/bin/ps", "-o", "lstart=", "-p", str(pid)],
        env={"LC_ALL": "C"},
        capture_output=True,
        text=True,
        timeout=PS_SECONDS,
        check=False,
    )
    return ("", found.stdout.strip()) if found.stdout.strip() else None


def _begun(stat: str) -> str:
    """The part of a line of /proc/PID/stat that says when it began (proc(5): the 22nd field, 20
    behind the name), or the words of ps."""
    fields = stat.rpartition(")")[2].split()
    return fields[19] if ")" in stat and len(fields) > 19 else stat.strip()  # noqa: PLR2004


async def ended(process: ProcessId) -> None:
    """Returns when a process has ended that is no child of this one."""
    with contextlib.suppress(AttributeError, OSError):  # no pidfd here, or it has ended
        descriptor = os.pidfd_open(process.pid)
        try:
            # Only now is it certain that the number stays that of this process.
            if await asyncio.to_thread(lives, process):
                await _readable(descriptor)
            return
        finally:
            os.close(descriptor)
    while await asyncio.to_thread(lives, process):  # noqa: ASYNC110 - nobody tells of its end
        await asyncio.sleep(POLL_SECONDS)


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    loop.add_reader(descriptor, over.set)
    try:
        await over.wait()
    finally:
        loop.remove_reader(descriptor)


def signal_group(pid: int, number: signal.Signals) -> None:
    """Sends a signal to a worker and to what it has started; nothing where all have ended."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS says so of zombies
        os.killpg(pid, number)


async def end_what_is_left(pid: int, grace: float) -> None:
    """Ends what a worker that has ended has left running, and kills what does not end in time:
    it would go on working on tasks that the next worker gets."""
    signal_group(pid, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while _has_members(pid):
        if time.monotonic() > deadline:
            signal_group(pid, signal.SIGKILL)
            return
        await asyncio.sleep(LEFT_SECONDS)


def _has_members(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):  # macOS says so of zombies
        return False
    return True


def described(code: int) -> str:
    """How a process ended, for people."""
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"killed by {signal.Signals(-code).name}"
    return f"killed by signal {-code}"
