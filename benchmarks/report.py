"""A run as a table for people and as JSON for programs."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import Tree
from benchmarks.measures import Finding, Measure, number

FOLDER = Path(__file__).resolve().parent
HEADINGS = ("measure", "value", "target", "result", "rounds", "note")
RESULTS = {True: "met", False: "MISSED", None: ""}


@dataclass(frozen=True, slots=True)
class Run:
    """All that is written down of one run."""

    command: str
    date: str
    seconds: float
    tree: Tree
    tree_changed_meanwhile: bool
    facts: dict[str, str]
    findings: list[Finding]
    skipped: dict[str, str]
    """Why, by the titles of suites that could not run here."""

    @property
    def measures(self) -> list[Measure]:
        return [measure for finding in self.findings for measure in finding.measures]

    @property
    def missed(self) -> list[Measure]:
        return [measure for measure in self.measures if measure.passed is False]

    @property
    def verdict(self) -> str:
        """One sentence: how many targets were met, and which were not."""
        targets = sum(measure.target is not None for measure in self.measures)
        if not targets:
            return "No target was judged."
        names = "; ".join(measure.name for measure in self.missed)
        met = f"{targets - len(self.missed)} of {targets} targets met"
        return f"{met}. Missed: {names}." if names else f"{met}."


def cells(measure: Measure) -> tuple[str, ...]:
    """A measure as a row of a table."""
    value = f"{number(measure.value)} {measure.unit}".strip()
    target = "" if measure.target is None else f"{measure.target} {measure.unit}".strip()
    result = RESULTS[measure.passed]
    return (measure.name, value, target, result, measure.rounds, measure.note)


def tables(finding: Finding) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    """A title, empty for the first, and rows, the first of which are headings: what is listed
    one by one, and then each grid."""
    listed = [measure for measure in finding.measures if measure.cell is None]
    yield "", [HEADINGS, *map(cells, listed)]
    grids: dict[str, dict[str, dict[str, str]]] = {}
    for measure in finding.measures:
        if measure.cell is not None:
            rows = grids.setdefault(measure.cell.grid, {})
            value = f"{number(measure.value)} {measure.unit}".strip()
            rows.setdefault(measure.cell.row, {})[measure.name] = value
    for title, rows in grids.items():
        columns = list(dict.fromkeys(name for row in rows.values() for name in row))
        shown = [(name, *(row.get(one, "") for one in columns)) for name, row in rows.items()]
        yield title, [("", *columns), *shown]


def table(finding: Finding) -> str:
    """A suite's measures, aligned for a terminal."""
    lines = [finding.title]
    for title, rows in tables(finding):
        if title:
            lines.append(f"  {title}:")
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines += [
            "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            for row in rows
        ]
    return "\n".join([*(line.rstrip() for line in lines), finding.circumstances])


def write(run: Run) -> None:
    """Replaces RESULTS.md and results.json."""
    markdown = "\n".join(_markdown(run)) + "\n"
    (FOLDER / "RESULTS.md").write_text(markdown, encoding="utf-8")
    text = json.dumps(_as_json(run), indent=2, ensure_ascii=False) + "\n"
    (FOLDER / "results.json").write_text(text, encoding="utf-8")


def _markdown(run: Run) -> Iterator[str]:
    yield "# Results of the benchmarks"
    yield ""
    yield "Written by `make bench`; not to be edited."
    yield ""
    yield run.verdict
    for finding in run.findings:
        yield ""
        yield f"## {finding.title}"
        for title, (headings, *rows) in tables(finding):
            yield ""
            if title:
                yield f"{title}:"
                yield ""
            yield _row(headings)
            yield "|---" * len(headings) + "|"
            yield from map(_row, rows)
        yield ""
        yield finding.circumstances
    for title, why in run.skipped.items():
        yield ""
        yield f"## {title}"
        yield ""
        yield f"Skipped: {why}."
    yield ""
    yield "## The run"
    yield ""
    yield "| | |"
    yield "|---|---|"
    for name, value in _circumstances(run).items():
        yield _row((name, value))


def _row(row: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"


def _circumstances(run: Run) -> dict[str, str]:
    dirty = f"dirty: {run.tree.changed_files} changed files" if run.tree.is_dirty else "clean"
    meanwhile = "; the files were changed during the run" if run.tree_changed_meanwhile else ""
    return {
        "commit": f"{run.tree.commit} ({dirty}{meanwhile})",
        "command": f"`{run.command}`",
        "date": run.date,
        "took": f"{run.seconds:.0f} s",
        **run.facts,
    }


def _as_json(run: Run) -> dict[str, Any]:
    return {
        "commit": run.tree.commit,
        "dirty": run.tree.is_dirty,
        "changedMeanwhile": run.tree_changed_meanwhile,
        "command": run.command,
        "date": run.date,
        "seconds": round(run.seconds, 1),
        "facts": run.facts,
        "skipped": run.skipped,
        "measures": [
            {
                "suite": finding.suite.name,
                "others": round(finding.others, 3),
                "attempts": finding.attempts,
                **dataclasses.asdict(measure),
                "target": None if measure.target is None else str(measure.target),
                "passed": measure.passed,
            }
            for finding in run.findings
            for measure in finding.measures
        ],
    }
