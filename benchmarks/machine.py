"""Where and on what a run took place."""

import os
import platform
import re
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil

from task_copilot.database.sqlite import driver

ROOT = Path(__file__).resolve().parent.parent
OWN_RESULTS = ("benchmarks/RESULTS.md", "benchmarks/results.json")


@dataclass(frozen=True, slots=True)
class Tree:
    """The state of the checkout; the files that the runner writes itself do not count."""

    commit: str
    changed_files: int

    @property
    def is_dirty(self) -> bool:
        return self.changed_files > 0


def tree() -> Tree:
    """The present state of the checkout; git is asked without taking its lock."""
    changed = [
        line for line in _git("status", "--porcelain").splitlines() if line[3:] not in OWN_RESULTS
    ]
    return Tree(_git("rev-parse", "HEAD").strip() or "unknown", len(changed))


def _git(*arguments: str) -> str:
    command = ["git", "--no-optional-locks", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


class Neighbours:
    """How much of the machine's processors others have used since this was made."""

    def __init__(self) -> None:
        self._start, self._all, self._own = time.monotonic(), _busy_seconds(), _own_seconds()

    def share(self) -> float:
        """From 0 to 1. It leaves out servers that this process has not seen end."""
        passed = (time.monotonic() - self._start) * (os.cpu_count() or 1)
        others = (_busy_seconds() - self._all) - (_own_seconds() - self._own)
        return min(1.0, max(0.0, others / passed))


def _busy_seconds() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.system + getattr(times, "steal", 0.0))


def _own_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def facts() -> dict[str, str]:
    """Versions and hardware, by name."""
    return {
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "SQLite": driver().sqlite_version,
        "system": platform.platform(),
        "CPU": f"{_cpu_model()}, {os.cpu_count()} cores",
        "one synced write to the disk": f"{_sync_milliseconds():.2f} ms (median of 200)",
    }


def _cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1] if found else platform.machine()


def _sync_milliseconds() -> float:
    """What durability costs at least on this disk: each commit waits for one such write."""
    taken = []
    with tempfile.TemporaryFile() as file:
        for _ in range(200):
            file.write(bytes(4096))
            file.flush()
            start = time.perf_counter()
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - start)
    return median(taken) * 1000
