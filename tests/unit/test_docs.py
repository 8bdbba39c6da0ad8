"""What the documents say is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROMISES = [
    promise
    for document in ("CONTRIBUTING.md", "SECURITY.md")
    for promise in re.findall(
        r"^\| .+ \| `(tests/.+)` \|$", (ROOT / document).read_text(), re.MULTILINE
    )
]


def test_the_table_of_promises_is_found() -> None:
    assert len(PROMISES) >= 10


def test_every_threat_has_a_test_that_shows_how_it_is_met() -> None:
    rows = [row for row in (ROOT / "SECURITY.md").read_text().splitlines() if row.startswith("| ")]
    named = [row for row in rows if row.startswith("| tries |") or "| `tests/" in row]
    assert set(rows) - set(named) == {"| --- | --- | --- |"}


@pytest.mark.parametrize("promise", PROMISES)
def test_every_promise_names_a_test_that_exists(promise: str) -> None:
    file, _, name = promise.partition("::")
    text = (ROOT / file).read_text()
    assert re.search(rf"def {name}\(" if name else r"def test_", text)


def test_no_document_names_a_file_that_does_not_exist() -> None:
    for document in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")):
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} names {target}"
