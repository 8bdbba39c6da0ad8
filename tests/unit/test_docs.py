"""What the documents say is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROMISES = re.findall(
    r"^\| .+ \| `(tests/.+)` \|$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE
)


def test_the_table_of_promises_is_found() -> None:
    assert len(PROMISES) >= 10


@pytest.mark.parametrize("promise", PROMISES)
def test_every_promise_names_a_test_that_exists(promise: str) -> None:
    file, _, name = promise.partition("::")
    text = (ROOT / file).read_text()
    assert re.search(rf"def {name}\(" if name else r"def test_", text)


def test_no_document_names_a_file_that_does_not_exist() -> None:
    for document in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")):
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} names {target}"
