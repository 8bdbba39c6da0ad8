"""What a benchmark finds, and the target that it is held against."""

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

Comparison = Literal["<", "<=", ">=", "=="]

_HOLDS: dict[Comparison, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
}


@dataclass(frozen=True, slots=True)
class Target:
    """What a value has to be: ``Target("<=", 1.3)``."""

    comparison: Comparison
    limit: float

    def is_met_by(self, value: float) -> bool:
        return _HOLDS[self.comparison](value, self.limit)

    def __str__(self) -> str:
        return f"{self.comparison} {number(self.limit)}"


class Cell(NamedTuple):
    """Where a value stands in a grid, whose columns are the names of its values."""

    grid: str
    row: str


@dataclass(frozen=True, slots=True)
class Measure:
    """One value. Without a target it is there to explain the others; `rounds` says how often
    it was taken, and `note` what else is worth knowing, such as the spread. With a `cell` it is
    shown among others of its kind."""

    name: str
    value: float
    unit: str
    rounds: str
    target: Target | None = None
    note: str = ""
    cell: Cell | None = None

    @property
    def passed(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        return None if self.target is None else self.target.is_met_by(self.value)


class Run(Protocol):
    """Takes the measures; quickly where it is only to be seen that it works."""

    def __call__(self, *, quick: bool) -> list[Measure]: ...


@dataclass(frozen=True, slots=True)
class Suite:
    """A benchmark that `--only` can choose; `missing` says why it cannot run here."""

    name: str
    about: str
    run: Run
    missing: Callable[[], str | None] = lambda: None

    @property
    def title(self) -> str:
        return f"{self.name}: {self.about}"


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of a suite, in the calmest of so many attempts; `others` is the share of the
    processors that went to programs that have nothing to do with it."""

    suite: Suite
    measures: list[Measure]
    others: float
    attempts: int

    @property
    def title(self) -> str:
        return self.suite.title

    @property
    def circumstances(self) -> str:
        attempts = f" (the calmest of {self.attempts} attempts)" if self.attempts > 1 else ""
        return f"Other programs used {self.others:.0%} of the processors meanwhile{attempts}."


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def spread(values: Sequence[float]) -> str:
    """The smallest and the largest, for notes."""
    return f"{number(min(values))} to {number(max(values))}"


def number(value: float) -> str:
    """A value for people: three digits that matter, but no whole number is rounded."""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{digits}f}"
