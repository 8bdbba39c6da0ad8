"""What the files of the dashboard must not do, whatever they show."""

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "task_copilot" / "dashboard"
SCRIPTS = sorted((FOLDER / "scripts").rglob("*.js"))
STYLES = sorted((FOLDER / "styles").rglob("*.css"))
PAGE = FOLDER / "index.html"

MAKES_MARKUP = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\s*\.\s*write|createContextualFragment"
    r"|DOMParser|setHTML|srcdoc|javascript:|\beval\b|new\s+Function|setTimeout\(\s*[\"'`]"
    r"|\bon[a-z]+\s*=\s*[\"']|setAttribute\(\s*[\"']on",
    re.IGNORECASE,
)
ELSEWHERE = re.compile(r"\b(?:https?|wss?)://|[\"'(]//|@import|@font-face|\burl\(")
NAMESPACE = '"http://www.w3.org/2000/svg"'
IMPORT = re.compile(r"^import .*? from \"([^\"]+)\";$|^import \"([^\"]+)\";$", re.MULTILINE)


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(FOLDER)) for path in paths]


def test_the_folder_is_found() -> None:
    assert len(SCRIPTS) > 30
    assert len(STYLES) > 5


@pytest.mark.parametrize("name", [*names(SCRIPTS), "index.html"])
def test_a_script_makes_no_markup_of_text(name: str) -> None:
    text = (FOLDER / name).read_text("utf-8")
    assert [found.group() for found in MAKES_MARKUP.finditer(text)] == []


@pytest.mark.parametrize("name", [*names(SCRIPTS), *names(STYLES), "index.html"])
def test_a_file_asks_no_other_origin_for_anything(name: str) -> None:
    text = (FOLDER / name).read_text("utf-8").replace(NAMESPACE, "")
    assert [found.group() for found in ELSEWHERE.finditer(text)] == []


@pytest.mark.parametrize("name", names(SCRIPTS))
def test_a_script_is_checked_with_types_and_imports_what_is_there(name: str) -> None:
    path = FOLDER / name
    text = path.read_text("utf-8")
    assert text.startswith("// @ts-check\n")
    wanted = [first or second for first, second in IMPORT.findall(text)]
    assert [one for one in wanted if not (path.parent / one).is_file()] == []


def test_the_page_holds_no_script_and_no_style_of_its_own_and_links_what_is_there() -> None:
    text = PAGE.read_text("utf-8")
    assert re.findall(r"<style|style=|<script(?! type=\"module\" src=)", text) == []
    linked = re.findall(r"(?:href|src)=\"/assets/([^\"]+)\"", text)
    assert [name for name in linked if not (FOLDER / name).is_file()] == []
    assert {name for name in linked if name.endswith(".css")} == set(names(STYLES))


@pytest.mark.parametrize(
    "text",
    [
        "node.innerHTML = title",
        "document.write(title)",
        "node.setAttribute('onclick', title)",
        "<b onclick='run()'>",
        "new Function(title)",
        'setTimeout("run()", 1)',
    ],
)
def test_markup_made_of_text_is_found(text: str) -> None:
    assert MAKES_MARKUP.search(text)


@pytest.mark.parametrize(
    "text",
    ['fetch("https://example.com")', "url(image.png)", '<script src="//example.com">', "@import x"],
)
def test_a_request_to_another_origin_is_found(text: str) -> None:
    assert ELSEWHERE.search(text)
