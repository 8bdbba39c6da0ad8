"""Measures the program against its targets.

Every server runs as a user runs it, in a process, with a database and on a port of its own.
What is compared is measured in turns within one run, so that ratios hold on a busy machine;
plain times are medians and depend on the machine, above all on how long its disk takes to sync.

What other programs used of the processors meanwhile stands beside each benchmark. Where that is
much, --attempts N repeats it; the attempt that is kept is chosen by that share alone, not by what
was measured.

A whole run prints its tables and writes benchmarks/RESULTS.md and benchmarks/results.json.
With --quick or --only it prints only, and with --quick, which is there to see that all of it
runs, no target is judged. The exit code is 1 if something could not be measured, and with --check
also if a target is missed; without, missed targets are only shown.
"""

import argparse
import os
import shlex
import sys
import tempfile
import time
import traceback
from dataclasses import replace
from datetime import UTC, datetime

from benchmarks import machine, report
from benchmarks.measures import Finding, Suite
from benchmarks.suites import SUITES

CALM = 0.1
"""The share of the processors that other programs may use without a suite being repeated."""


def main() -> int:
    """Runs what the command line asks for and returns the exit code."""
    asked = _arguments()
    chosen = [SUITES[name] for name in SUITES if name in (asked.only or SUITES)]
    start, date = time.monotonic(), datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    tree, facts = machine.tree(), machine.facts()
    skipped = {suite.title: why for suite in chosen if (why := suite.missing()) is not None}
    for title, why in skipped.items():
        print(f"{title}\n  skipped: {why}\n", flush=True)
    possible = [suite for suite in chosen if suite.title not in skipped]
    tried = [_find(suite, quick=asked.quick, attempts=asked.attempts) for suite in possible]
    findings = [finding for finding in tried if finding is not None]
    run = report.Run(
        command=shlex.join(["python", *sys.orig_argv[1:]]),
        date=date,
        seconds=time.monotonic() - start,
        tree=tree,
        tree_changed_meanwhile=machine.tree() != tree,
        facts=facts,
        findings=findings,
        skipped=skipped,
    )
    print(run.verdict)
    if len(findings) < len(possible):
        return 1
    if not asked.quick and chosen == list(SUITES.values()):
        report.write(run)
        print("Written: benchmarks/RESULTS.md and benchmarks/results.json")
    return 1 if asked.check and run.missed else 0


def _find(suite: Suite, *, quick: bool, attempts: int) -> Finding | None:
    """Runs a suite, again where other programs disturbed it, and prints the calmest attempt;
    None if it failed, and why is on stderr."""
    calmest: Finding | None = None
    for attempt in range(1, attempts + 1):
        neighbours = machine.Neighbours()
        try:
            measures = suite.run(quick=quick)
        except Exception:  # noqa: BLE001 - the other suites can still run
            print(f"{suite.name} could not be measured:", file=sys.stderr)
            traceback.print_exc()
            return None
        if quick:
            measures = [replace(measure, target=None) for measure in measures]
        others = neighbours.share()
        if calmest is None or others < calmest.others:
            calmest = Finding(suite, measures, others, attempt)
        calmest = replace(calmest, attempts=attempt)
        if others <= CALM:
            break
    assert calmest is not None
    print(report.table(calmest), end="\n\n", flush=True)
    return calmest


def _arguments() -> argparse.Namespace:
    about = "\n".join(f"  {suite.name:10} {suite.about}" for suite in SUITES.values())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        epilog=f"benchmarks:\n{about}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="see that all work, in seconds")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=SUITES, help="just these")
    parser.add_argument("--check", action="store_true", help="exit code 1 if a target is missed")
    parser.add_argument(
        "--attempts",
        type=int,
        choices=range(1, 21),
        metavar="N",
        default=1,
        help="repeat a benchmark while other programs use the processors, and keep the calmest run",
    )
    return parser.parse_args()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="task-copilot-bench-") as data:
        os.environ["XDG_DATA_HOME"] = data  # nothing of a run is in the user's own data directory
        code = main()
    sys.exit(code)
