"""The fuzzers notice wrong answers: each is tried on some."""

from typing import Any

import pytest

from e2e.test_fuzz_stdio import check
from fuzz.attack import is_whole
from fuzz.frames import Opcode, frame
from fuzz.listening import check_the_others, expected
from fuzz.requests import Line, answers_to
from task_copilot.description import examples
from task_copilot.events.types import TaskCreated

STAMP = "2026-01-08T12:00:30.125Z"
PONG: dict[str, Any] = {"type": "pong", "id": 7, "timestamp": STAMP, "payload": {}}


def refused(code: str, **more: object) -> dict[str, Any]:
    payload = {"code": code, "message": "no", "details": {}}
    return {"type": "error", "timestamp": STAMP, "payload": payload, **more}


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ('{"type":"ping","id":7}', PONG),
        ('{"type":"ping","id":[]}', refused("WS_INVALID_MESSAGE")),
        ("[]", refused("WS_INVALID_MESSAGE")),
        ('{"type":"x","id":"a"}', refused("WS_UNKNOWN_TYPE", id="a")),
        (
            '{"type":"subscribe","id":7,"payload":{"topics":["?"]}}',
            refused("WS_INVALID_TOPIC", id=7),
        ),
    ],
)
def test_the_answer_of_the_contract_is_accepted(text: str, answer: dict[str, Any]) -> None:
    expected(text).check(text, [answer])


@pytest.mark.parametrize(
    ("text", "answers"),
    [
        ('{"type":"ping","id":7}', []),
        ('{"type":"ping","id":7}', [PONG, PONG]),
        ('{"type":"ping","id":8}', [PONG]),
        ('{"type":"ping","id":"7"}', [PONG]),
        ('{"type":"pong","id":7}', [PONG]),
        ('{"type":"ping","id":7}', [{**PONG, "extra": 1}]),
        ("[]", [refused("WS_INVALID_TOPIC")]),
        ("[]", [refused("WS_NO_SUCH_CODE")]),
        ('{"type":"subscribe","id":7,"payload":{"topics":["?"]}}', [PONG]),
    ],
)
def test_any_other_answer_of_a_websocket_fails(text: str, answers: list[dict[str, Any]]) -> None:
    with pytest.raises(AssertionError):
        expected(text).check(text, answers)


def test_an_event_that_comes_twice_fails() -> None:
    first, second = (examples.event(TaskCreated) | {"seq": seq} for seq in (1, 2))
    one, two = ({"type": "event", "timestamp": STAMP, "payload": each} for each in (first, second))
    check_the_others([one, two])
    with pytest.raises(AssertionError, match="event 1 after 1"):
        check_the_others([one, one])


@pytest.mark.parametrize(
    ("data", "answers"),
    [
        (b'{"jsonrpc":"2.0","id":1,"method":"ping"}', ("1",)),
        (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', ("null",)),
        (b'{"jsonrpc":"2.0","method":"notifications/none"}', ()),
        (b'{"jsonrpc":"2.0","id":1,"result":{}}', ()),
        (b'{"jsonrpc":"2.0","id":1', ("any",)),
        (b"[]", ("null",)),
        (b" \r", ()),
    ],
)
def test_it_is_known_how_often_a_line_is_answered(data: bytes, answers: tuple[str, ...]) -> None:
    assert answers_to(data) == answers


@pytest.mark.parametrize(
    "answers",
    [
        [],
        [{"jsonrpc": "2.0", "id": 2, "result": {}}],
        [{"jsonrpc": "2.0", "id": "1", "result": {}}],
        [{"jsonrpc": "2.0", "id": 1, "result": {}}] * 2,
        [{"jsonrpc": "2.0", "id": 1, "error": {"code": -32603, "message": "no"}}],
        [{"jsonrpc": "2.0", "id": 1, "result": {}, "error": {"code": -32600}}],
    ],
)
def test_any_other_answer_on_stdout_fails(answers: list[dict[str, Any]]) -> None:
    line = Line(b"", ("1",))
    check([line], [{"jsonrpc": "2.0", "id": 1, "result": {}}])
    with pytest.raises(AssertionError):
        check([line], answers)


def test_frames_are_those_of_the_rfc() -> None:
    masked = frame(Opcode.TEXT, b"Hello")
    unmasked = bytes(a ^ b for a, b in zip(masked[6:], masked[2:6] * 2, strict=False))
    assert (masked[:2], unmasked) == (b"\x81\x85", b"Hello")
    assert frame(Opcode.BINARY, bytes(256), masked=False)[:4] == b"\x82\x7e\x01\x00"


@pytest.mark.parametrize(
    ("data", "whole"),
    [
        (b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n", True),
        (b"GET /ws HTTP/1.1\r\nHost: x\r\n", False),
        (b"GET", False),
        (b"", False),
        (b"GET /ws HTTP/1.1\r\n\r\n\r\n\r\n", False),
        (b"GET /ws HTTP/1.1\r\nContent-Length: 5\r\n\r\n", False),
    ],
)
def test_a_request_is_whole_where_no_byte_of_it_is_missing(data: bytes, whole: bool) -> None:
    assert is_whole(data) is whole
