"""What others wrote comes out harmless, and what people can read stays readable."""

import io
import json
import logging
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasty import HARMFUL, READABLE, harmful_signs, texts
from task_copilot import jsontext
from task_copilot.commands.lines import columns, paragraphs
from task_copilot.text import (
    MAX_LOGGED,
    OneLineFormatter,
    escaped,
    escaped_json,
    plain,
    shortened,
    spaced,
)

FORMAT = "task-copilot: %(levelname)s: %(message)s"


@given(texts)
def test_whatever_was_written_is_shown_without_harm(text: str) -> None:
    for shown in (plain(text), spaced(text), escaped(text)):
        assert harmful_signs(shown) == []
        assert "\n" not in shown
    assert len(spaced(text)) == len(text)
    assert harmful_signs("".join(paragraphs(text))) == []
    assert harmful_signs("".join(columns([(text, text), ("a", "b")]))) == []


@pytest.mark.parametrize("text", READABLE)
def test_letters_of_every_language_and_emoji_are_shown_as_they_are(text: str) -> None:
    assert (plain(text), escaped(text), escaped_json(text)) == (text, text, text)


@pytest.mark.parametrize("text", HARMFUL)
def test_what_is_harmful_is_told_from_a_text_without_it(text: str) -> None:
    assert harmful_signs(text) or text in {"pa\u200dss\u200cword", "a" + "\u0301" * 100}
    assert escaped(text) != text
    assert "\\" in escaped(text)


@given(texts)
def test_escaped_json_has_the_same_value_and_does_no_harm(text: str) -> None:
    value = {text: [text, {"inner": jsontext.encode(text)}]}
    shown = escaped_json(jsontext.encode(value))
    assert json.loads(shown) == value
    assert harmful_signs(shown) == []


def test_escapes_are_those_that_people_know() -> None:
    assert escaped("a\x1b[2J\n\u202eb\U000e0041") == "a\\x1b[2J\\n\\u202eb\\U000e0041"
    assert escaped_json('"\x7f\u202e\U000e0041"') == '"\\u007f\\u202e\\udb40\\udc41"'


def logged(text: str, error: BaseException | None = None) -> list[str]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(OneLineFormatter(FORMAT))
    record = logging.LogRecord(
        *("task_copilot", logging.ERROR, __file__, 1, "What %s said.", (text,)),
        exc_info=None if error is None else (type(error), error, error.__traceback__),
    )
    handler.handle(record)
    *lines, last = stream.getvalue().split("\n")
    assert last == ""
    return lines


@given(texts)
def test_a_log_message_is_one_harmless_line(text: str) -> None:
    (line,) = logged(text)
    assert line.startswith("task-copilot: ERROR: What ")
    assert harmful_signs(line) == []


def _fail(text: str) -> None:
    raise ValueError(text)


@settings(max_examples=30)
@given(texts)
def test_a_traceback_keeps_its_lines_and_none_of_them_looks_like_a_message(text: str) -> None:
    with pytest.raises(ValueError, match="forged") as failed:
        _fail(f"{text}\ntask-copilot: ERROR: forged")
    first, *traceback = logged(text, failed.value)
    assert first.startswith("task-copilot: ERROR: What ")
    assert traceback[0] == "  Traceback (most recent call last):"
    assert len(traceback) > 3
    assert all(line.startswith("  ") for line in traceback)
    assert harmful_signs("".join(traceback)) == []


def test_a_very_long_message_is_cut() -> None:
    (line,) = logged("x" * 1_000_000)
    assert len(line) == MAX_LOGGED
    assert line.endswith("x…")


def test_cells_of_a_table_are_cut_with_an_ellipsis() -> None:
    (line,) = columns([("n" * 1000, "t" * 1000)])
    assert line == f"{'n' * 63}…  {'t' * 499}…"
    assert shortened("abc", 3) == "abc"


@given(st.recursive(texts, lambda inner: st.dictionaries(texts, inner, max_size=3), max_leaves=5))
@settings(max_examples=40)
def test_what_the_commands_print_as_json_is_one_line_of_the_same_value(value: Any) -> None:
    shown = escaped_json(jsontext.encode(value))
    assert json.loads(shown) == value
    assert len(shown.splitlines()) == 1
