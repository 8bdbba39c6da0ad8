"""Whatever an agent sends: a refusal that says what is allowed, nothing written, no harm done."""

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from e2e.servers import Server, contents, opened, row_counts, start_server

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="signals, terminals and /proc"),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("bad input"),
]

KIB64 = 64 * 1024
MIB = 1024 * 1024
FOUR_BYTES = "\U0001f600"
NUL, SURROGATE = "a\0b", "a\ud800b"
FILES_LIMIT, LEVELS = 200, 32
STATUSES = "one of pending, in_progress, blocked, completed, cancelled"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mcp(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """One server for all, since none of what it is sent may leave a trace."""
    tmp_path = tmp_path_factory.mktemp("bad-input")
    async with start_server(tmp_path) as raw:
        await raw.ok("task_create", title="First", streamId="A")
        await raw.ok("task_create", title="Child", parentId="TASK-1")
        await raw.ok("task_create", title="Grandchild", parentId="TASK-2")
        await raw.ok("checkpoint_create", taskId="TASK-1")
        await raw.ok("checkpoint_create", taskId="TASK-2")
        yield raw


async def assert_refused(mcp: Server, tool: str, arguments: dict[str, Any], *words: str) -> None:
    """The call is refused with `words`, writes nothing, and the next one is served."""
    before, written = contents(mcp.database), len(mcp.stderr_text())
    text = await mcp.refused(tool, **arguments)
    assert [word for word in words if word not in text] == [], text
    assert len(text) < 1000
    for slip in ("codec", "Errno", "pydantic", "validator", "<class", "object at 0x"):
        assert slip not in text
    assert contents(mcp.database) == before
    assert "First" in await mcp.text("task_list")
    assert mcp.stderr_text()[written:] == ""


def nested(levels: int) -> str:
    """JSON text of an object of so many levels, the outermost included."""
    return '{"a":' * levels + "1" + "}" * levels


def with_object(levels: int) -> dict[str, Any]:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    found: dict[str, Any] = value
    return found


# Names and types


REQUIRED: dict[str, dict[str, Any]] = {
    "task_create": {"title": "Lost"},
    "task_update": {"id": "TASK-1", "notes": "lost"},
    "task_get": {"id": "TASK-1"},
    "task_list": {},
    "stream_list": {},
    "checkpoint_create": {"taskId": "TASK-1"},
    "checkpoint_resume": {"taskId": "TASK-1"},
    "checkpoint_list": {"taskId": "TASK-1"},
}


@pytest.mark.parametrize("tool", REQUIRED)
async def test_an_unknown_argument_is_refused_with_those_that_exist(mcp: Server, tool: str) -> None:
    words = ("'colour'", f"no argument of {tool}", "it takes", *REQUIRED[tool])
    await assert_refused(mcp, tool, {**REQUIRED[tool], "colour": "red"}, *words)


async def test_many_unknown_arguments_get_a_short_refusal(mcp: Server) -> None:
    unknown = {f"unknown{number}": number for number in range(500)}
    await assert_refused(mcp, "task_create", {"title": "Lost", **unknown}, "'unknown0'", "more")


async def test_an_unknown_argument_with_a_long_name_gets_a_short_refusal(mcp: Server) -> None:
    await assert_refused(mcp, "task_create", {"title": "Lost", "x" * 5000: 1}, "no argument of")


@pytest.mark.parametrize("name", ["TITLE", "stream_id", "Title", ""])
async def test_names_of_arguments_are_exact(mcp: Server, name: str) -> None:
    words = (repr(name), "no argument of task_create")
    await assert_refused(mcp, "task_create", {"title": "Lost", name: "x"}, *words)


@pytest.mark.parametrize(
    ("tool", "name"),
    [
        ("task_create", "title"),
        ("task_update", "id"),
        ("task_get", "id"),
        ("checkpoint_create", "taskId"),
        ("checkpoint_resume", "taskId"),
        ("checkpoint_list", "taskId"),
    ],
)
@pytest.mark.parametrize("given", [{}, None], ids=["left out", "null"])
async def test_a_missing_argument_is_named(
    mcp: Server, tool: str, name: str, given: dict[str, Any] | None
) -> None:
    arguments = given if given is not None else {name: None}
    await assert_refused(mcp, tool, arguments, f"{name}: is missing", "takes a text")


async def test_a_call_without_arguments_is_told_what_is_missing(mcp: Server) -> None:
    answer = await mcp.request("tools/call", {"name": "task_create"})
    assert answer["result"]["isError"]
    assert "title: is missing" in answer["result"]["content"][0]["text"]


WRONG_TYPES: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("task_create", {"title": 5}, ("title: got 5", "a text of 1 to 500 characters")),
    ("task_create", {"title": True}, ("title: got True", "a text")),
    ("task_create", {"title": ["Lost"]}, ("title: got a list", "a text")),
    ("task_create", {"title": {"a": 1}}, ("title: got an object", "a text")),
    ("task_create", {"description": 1.5}, ("description: got 1.5", "a text")),
    ("task_create", {"parentId": 1}, ("parentId: got 1", "a text")),
    ("task_create", {"streamId": 1}, ("streamId: got 1", "a text")),
    ("task_create", {"streamPhase": "later"}, ("streamPhase: got 'later'", "foundation, parallel")),
    ("task_create", {"streamDependencies": 1}, ("streamDependencies: got 1", "a list")),
    ("task_create", {"streamDependencies": {"a": 1}}, ("streamDependencies: got an obj", "a list")),
    ("task_create", {"files": [1]}, ("files[0]: got 1", "a text")),
    ("task_create", {"files": [["a"]]}, ("files[0]: got a list", "a text")),
    ("task_create", {"files": '"a"'}, ("files: got 'a'", "a list")),
    ("task_create", {"metadata": 1}, ("metadata: got 1", "an object")),
    ("task_create", {"metadata": [1]}, ("metadata: got a list", "an object")),
    ("task_create", {"metadata": "[1]"}, ("metadata: got a list", "an object")),
    ("task_create", {"metadata": "5"}, ("metadata: got 5", "an object")),
    ("task_create", {"metadata": "{'a': 1}"}, ("metadata: got a text that is not JSON",)),
    ("task_create", {"metadata": ""}, ("metadata: got a text that is not JSON",)),
    ("task_create", {"files": "a.py"}, ("files: got a text that is not JSON",)),
    ("task_create", {"agent": 7}, ("agent: got 7", "a text of at most 100 characters")),
    ("task_update", {"id": 1, "notes": "lost"}, ("id: got 1", "a text")),
    ("task_update", {"id": "TASK-1", "status": True}, ("status: got True", STATUSES)),
    ("task_update", {"id": "TASK-1", "notes": {"a": 1}}, ("notes: got an object", "a text")),
    ("task_get", {"id": "TASK-1", "offset": "5"}, ("offset: got '5'", "a whole number")),
    ("task_get", {"id": "TASK-1", "field": "title"}, ("field: got 'title'", "description, notes")),
    ("task_list", {"limit": "5"}, ("limit: got '5'", "a whole number from 1 to 1,000")),
    ("task_list", {"limit": 1.5}, ("limit: got 1.5", "a whole number from 1 to 1,000")),
    ("task_list", {"limit": True}, ("limit: got True", "a whole number from 1 to 1,000")),
    ("task_list", {"limit": 0}, ("limit: got 0", "a whole number from 1 to 1,000")),
    ("task_list", {"limit": 1001}, ("limit: got 1001", "a whole number from 1 to 1,000")),
    ("task_list", {"format": "xml"}, ("format: got 'xml'", "one of text, json")),
    ("task_list", {"cursor": "5"}, ("cursor:", "leave it out")),
    ("task_list", {"cursor": "5.00000000"}, ("cursor:", "leave it out")),
    ("task_list", {"cursor": "\u0665.1"}, ("cursor:", "leave it out")),
    ("stream_list", {"cursor": "x"}, ("cursor:", "leave it out")),
    ("checkpoint_create", {"trigger": "later"}, ("trigger: got 'later'", "manual, auto_status")),
    ("checkpoint_create", {"expiresIn": 0}, ("expiresIn: got 0", "a whole number from 1 to")),
    ("checkpoint_create", {"expiresIn": -5}, ("expiresIn: got -5", "a whole number from 1 to")),
    ("checkpoint_create", {"expiresIn": 10**400}, ("expiresIn: got 1000", "a whole number from 1")),
    ("checkpoint_create", {"expiresIn": "60"}, ("expiresIn: got '60'", "a whole number")),
    (
        "checkpoint_create",
        {"executionStep": 1.5},
        ("executionStep: got 1.5", "a whole number from 0"),
    ),
    ("checkpoint_create", {"executionStep": [1]}, ("executionStep: got a list", "a whole number")),
    ("checkpoint_create", {"agentContext": []}, ("agentContext: got a list", "an object")),
    ("checkpoint_create", {"draftContent": {"a": 1}}, ("draftContent: got an object", "a text")),
    ("checkpoint_create", {"pauseMetadata": "x"}, ("pauseMetadata: got a text that is not JSON",)),
    (
        "checkpoint_create",
        {"pauseMetadata": {"mood": "good"}},
        ("'mood'", "no argument of pauseMetadata", "it takes", "pauseReason", "nextSteps"),
    ),
    (
        "checkpoint_create",
        {"pauseMetadata": {"pausedBy": 5}},
        ("pauseMetadata.pausedBy: got 5", "a text of at most 100 characters"),
    ),
    (
        "checkpoint_create",
        {"pauseMetadata": {"nextSteps": [5]}},
        ("pauseMetadata.nextSteps", "got 5", "a text of at most 2,000 characters"),
    ),
    ("checkpoint_resume", {"draftOffset": -1}, ("draftOffset: got -1", "a whole number")),
    ("checkpoint_resume", {"draftOffset": "9"}, ("draftOffset: got '9'", "a whole number")),
    ("checkpoint_resume", {"contextOffset": -1}, ("contextOffset: got -1", "a whole number")),
    ("checkpoint_list", {"limit": 101}, ("limit: got 101", "a whole number from 1 to 100")),
]


@pytest.mark.parametrize(
    ("tool", "arguments", "words"),
    WRONG_TYPES,
    ids=[f"{tool} {str(given)[:40]}" for tool, given, _ in WRONG_TYPES],
)
async def test_a_value_that_is_not_allowed_is_named_with_what_is(
    mcp: Server, tool: str, arguments: dict[str, Any], words: tuple[str, ...]
) -> None:
    needed = {name: value for name, value in REQUIRED[tool].items() if name != "notes"}
    await assert_refused(mcp, tool, {**needed, **arguments}, *words)


async def test_several_wrong_values_are_all_named_at_once(mcp: Server) -> None:
    arguments = {"title": "", "streamId": "a:b", "streamPhase": "later"}
    await assert_refused(mcp, "task_create", arguments, "title:", "streamId:", "streamPhase:")


async def test_a_tool_that_does_not_exist_is_refused_with_those_that_do(mcp: Server) -> None:
    await assert_refused(mcp, "task_delete", {}, "no tool 'task_delete'", *REQUIRED)


# Titles, statuses and reasons


@pytest.mark.parametrize("title", ["", "x" * 501, FOUR_BYTES * 501], ids=["none", "501", "emoji"])
async def test_a_title_has_1_to_500_characters(mcp: Server, title: str) -> None:
    words = (f"title: got {len(title)} characters", "a text of 1 to 500 characters")
    await assert_refused(mcp, "task_create", {"title": title}, *words)
    await assert_refused(mcp, "task_update", {"id": "TASK-1", "title": title}, *words)


@pytest.mark.parametrize("title", [" ", "\t\n", "\u00a0\u2003"])
async def test_a_blank_title_is_refused(mcp: Server, title: str) -> None:
    words = ("title: is blank", "at least one visible character")
    await assert_refused(mcp, "task_create", {"title": title}, *words)
    await assert_refused(mcp, "task_update", {"id": "TASK-1", "title": title}, *words)


@pytest.mark.parametrize("status", ["done", "Pending", "in progress", ""])
async def test_a_status_that_does_not_exist_is_refused(mcp: Server, status: str) -> None:
    words = (f"status: got {status!r}", STATUSES)
    await assert_refused(mcp, "task_update", {"id": "TASK-1", "status": status}, *words)
    await assert_refused(mcp, "task_list", {"status": status}, *words)


@pytest.mark.parametrize("status", [None, "in_progress", "completed", "cancelled"])
async def test_a_reason_for_being_blocked_goes_with_that_status_only(
    mcp: Server, status: str | None
) -> None:
    arguments = {"id": "TASK-1", "status": status, "blockedReason": "waits"}
    await assert_refused(mcp, "task_update", arguments, "blockedReason:", 'status "blocked"')


async def test_an_update_without_a_change_is_refused(mcp: Server) -> None:
    await assert_refused(mcp, "task_update", {"id": "TASK-1"}, "Nothing to change", "status")
    arguments = {"id": "TASK-1", "agent": "me", "notes": None}
    await assert_refused(mcp, "task_update", arguments, "Nothing to change")


# Limits: at the limit it is taken, one over it is refused


def text_of_bytes(size: int, character: str) -> str:
    """A text of exactly `size` bytes, of `character` as far as it fits."""
    count, rest = divmod(size, len(character.encode()))
    return character * count + "x" * rest


def object_of_bytes(size: int, character: str) -> dict[str, str]:
    """An object whose compact JSON has exactly `size` bytes."""
    return {"a": text_of_bytes(size - len('{"a":""}'), character)}


LIMITS: list[tuple[str, str, Any, Any, str]] = []
for _character in ("x", FOUR_BYTES):
    for _tool, _name, _limit in (
        ("task_create", "description", KIB64),
        ("task_update", "description", KIB64),
        ("task_update", "notes", KIB64),
        ("checkpoint_create", "draftContent", MIB),
    ):
        LIMITS.append(
            (
                *(_tool, _name),
                *(text_of_bytes(_limit, _character), text_of_bytes(_limit + 1, _character)),
                f"got {_limit + 1:,} bytes of UTF-8; takes at most {_limit:,}",
            )
        )
    for _tool, _name in (
        ("task_create", "metadata"),
        ("task_update", "metadata"),
        ("checkpoint_create", "agentContext"),
    ):
        LIMITS.append(
            (
                *(_tool, _name),
                *(object_of_bytes(KIB64, _character), object_of_bytes(KIB64 + 1, _character)),
                "got 65,537 bytes of JSON; takes at most 65,536",
            )
        )
    LIMITS += [
        (*(_tool, _name, _character * _limit, _character * (_limit + 1)), _words)
        for _tool, _name, _limit, _words in (
            ("task_create", "title", 500, "takes a text of 1 to 500 characters"),
            ("task_create", "assignedAgent", 100, "takes a text of at most 100 characters"),
            ("task_update", "assignedAgent", 100, "takes a text of at most 100 characters"),
            ("task_create", "agent", 100, "takes a text of at most 100 characters"),
            ("task_update", "blockedReason", 2000, "takes a text of at most 2,000 characters"),
        )
    ]
LIMITS += [
    ("task_create", "streamId", "S" * 64, "S" * 65, "1 to 64 of A-Z a-z 0-9 . _ -"),
    ("task_create", "files", ["a.py"] * FILES_LIMIT, ["a.py"] * (FILES_LIMIT + 1), "200 items"),
    (
        *("task_create", "metadata", with_object(LEVELS), with_object(LEVELS + 1)),
        "nested deeper than 32 levels",
    ),
    ("task_create", "metadata", nested(LEVELS), nested(LEVELS + 1), "nested deeper than 32 levels"),
    (
        *("checkpoint_create", "agentContext", with_object(LEVELS), with_object(LEVELS + 1)),
        "nested deeper than 32 levels",
    ),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def filled(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """A server for what is taken."""
    async with start_server(tmp_path_factory.mktemp("limits")) as raw:
        await raw.ok("task_create", title="First")
        yield raw


@pytest.mark.parametrize(
    ("tool", "name", "allowed", "over", "words"),
    LIMITS,
    ids=[f"{tool} {name} {number}" for number, (tool, name, *_) in enumerate(LIMITS)],
)
async def test_a_limit_can_be_reached_and_not_passed(
    filled: Server, tool: str, name: str, allowed: Any, over: Any, words: str
) -> None:
    arguments = dict(REQUIRED[tool])
    if name == "blockedReason":
        arguments["status"] = "blocked"
    if tool == "task_update":
        made = await filled.ok("task_create", title="To be changed")
        arguments["id"] = made["id"]
    await assert_refused(filled, tool, {**arguments, name: over}, f"{name}: ", words)
    assert (await filled.ok(tool, **{**arguments, name: allowed}))["id"]


async def test_metadata_cannot_grow_over_its_limit_bit_by_bit(filled: Server) -> None:
    made = await filled.ok("task_create", title="Full", metadata=object_of_bytes(KIB64, "x"))
    arguments: dict[str, Any] = {"id": made["id"], "metadata": {"b": 1}}
    words = ("metadata: would be 65,542 bytes", "takes at most 65,536", "null to remove")
    await assert_refused(filled, "task_update", arguments, *words)
    await filled.ok("task_update", id=made["id"], metadata={"a": None, "b": 1})


@pytest.mark.parametrize("levels", [LEVELS + 1, 150, 800])
@pytest.mark.parametrize("as_text", [False, True])
@pytest.mark.parametrize(
    ("tool", "name"), [("task_create", "metadata"), ("checkpoint_create", "agentContext")]
)
async def test_an_object_nested_too_deep_is_refused(
    mcp: Server, tool: str, name: str, levels: int, as_text: bool
) -> None:
    value = nested(levels) if as_text else with_object(levels)
    words = (f"{name}: ", "nested deeper than 32 levels")
    await assert_refused(mcp, tool, {**REQUIRED[tool], name: value}, *words)


@pytest.mark.parametrize("levels", [1_000, 20_000])
@pytest.mark.parametrize(
    ("tool", "name"),
    [
        ("task_create", "metadata"),
        ("task_create", "files"),
        ("checkpoint_create", "agentContext"),
        ("checkpoint_create", "pauseMetadata"),
    ],
)
async def test_a_json_text_nested_without_end_is_refused(
    mcp: Server, tool: str, name: str, levels: int
) -> None:
    arguments = {**REQUIRED[tool], name: nested(levels)}
    await assert_refused(mcp, tool, arguments, f"{name}: ", "nested deeper than 32 levels")


async def test_lists_count_as_levels(mcp: Server) -> None:
    value: Any = 1
    for _ in range(LEVELS):
        value = [value]
    arguments = {"title": "Lost", "metadata": {"a": value}}
    await assert_refused(mcp, "task_create", arguments, "metadata: ", "deeper than 32 levels")


@pytest.mark.parametrize("levels", [1_000, 50_000])
async def test_a_message_nested_without_end_is_refused_as_a_whole(mcp: Server, levels: int) -> None:
    before = contents(mcp.database)
    line = (
        f'{{"jsonrpc":"2.0","id":"deep{levels}","method":"tools/call","params":{{"name":'
        f'"task_create","arguments":{{"title":"Lost","metadata":{nested(levels)}}}}}}}'
    )
    answer = mcp.answer_to(f"deep{levels}")
    await mcp.send(line.encode())
    error = (await answer)["error"]
    assert "nested deeper than" in error["message"]
    assert contents(mcp.database) == before
    assert "First" in await mcp.text("task_list")


# What cannot be stored


TEXT_ARGUMENTS: list[tuple[str, dict[str, Any], str]] = [
    *(
        ("task_create", {}, name)
        for name in ("title", "description", "parentId", "assignedAgent", "streamName", "agent")
    ),
    *(
        ("task_update", {}, name)
        for name in ("id", "title", "description", "notes", "assignedAgent", "parentId")
    ),
    ("task_update", {}, "streamName"),
    ("task_update", {}, "agent"),
    ("task_update", {"status": "blocked"}, "blockedReason"),
    ("task_get", {}, "id"),
    ("task_list", {}, "assignedAgent"),
    ("task_list", {}, "parentId"),
    *(
        ("checkpoint_create", {}, name)
        for name in ("taskId", "executionPhase", "executionStep", "draftContent", "draftType")
    ),
    ("checkpoint_create", {}, "agent"),
    *(("checkpoint_resume", {}, name) for name in ("taskId", "checkpointId", "agent")),
    ("checkpoint_list", {}, "taskId"),
]


@pytest.mark.parametrize(
    ("tool", "others", "name"),
    TEXT_ARGUMENTS,
    ids=[f"{tool} {name}" for tool, _, name in TEXT_ARGUMENTS],
)
async def test_characters_that_cannot_be_stored_are_refused_in_every_text(
    mcp: Server, tool: str, others: dict[str, Any], name: str
) -> None:
    arguments = {**REQUIRED[tool], **others}
    await assert_refused(mcp, tool, {**arguments, name: NUL}, f"{name}: ", "NUL character")
    words = (f"{name}: ", "half of a UTF-16 surrogate pair")
    await assert_refused(mcp, tool, {**arguments, name: SURROGATE}, *words)


@pytest.mark.parametrize(
    ("tool", "name", "start"),
    [
        ("task_create", "streamId", "streamId: "),
        ("task_update", "streamId", "streamId: "),
        ("task_list", "streamId", "streamId: "),
        ("task_create", "streamPhase", "streamPhase: "),
        ("task_update", "status", "status: "),
        ("task_list", "cursor", "cursor: "),
        ("stream_list", "cursor", "cursor: "),
        ("task_list", "format", "format: "),
        ("task_get", "field", "field: "),
        ("checkpoint_create", "trigger", "trigger: "),
    ],
)
@pytest.mark.parametrize("value", [NUL, SURROGATE], ids=["NUL", "surrogate"])
async def test_strange_characters_in_a_word_of_the_contract_are_refused(
    mcp: Server, tool: str, name: str, start: str, value: str
) -> None:
    await assert_refused(mcp, tool, {**REQUIRED[tool], name: value}, start)


@pytest.mark.parametrize("bad", [NUL, SURROGATE], ids=["NUL", "surrogate"])
async def test_strange_characters_inside_lists_and_objects_are_refused(
    mcp: Server, bad: str
) -> None:
    word = "NUL character" if bad == NUL else "half of a UTF-16 surrogate pair"
    for name, value, where in (
        ("files", ["a.py", bad], "files[1]: "),
        ("metadata", {"a": [{"b": bad}]}, "metadata: "),
        ("metadata", {"a": {bad: 1}}, "metadata: "),
        ("metadata", json.dumps({"a": bad}), "metadata: "),
        ("metadata", json.dumps({bad: 1}), "metadata: "),
    ):
        await assert_refused(mcp, "task_create", {"title": "Lost", name: value}, where, word)
    arguments: dict[str, Any] = {"title": "Lost", "streamId": "B", "streamDependencies": [bad]}
    await assert_refused(mcp, "task_create", arguments, "streamDependencies[0]: ")
    arguments = {"taskId": "TASK-1", "agentContext": {"a": bad}}
    await assert_refused(mcp, "checkpoint_create", arguments, "agentContext: ", word)
    arguments = {"taskId": "TASK-1", "pauseMetadata": {"pauseReason": bad}}
    await assert_refused(mcp, "checkpoint_create", arguments, "pauseMetadata.pauseReason: ", word)
    arguments = {"taskId": "TASK-1", "pauseMetadata": {"keyFiles": ["a.py", bad]}}
    await assert_refused(mcp, "checkpoint_create", arguments, "pauseMetadata.keyFiles", word)


@pytest.mark.parametrize(
    ("name", "words"), [(NUL, "no argument of"), (SURROGATE, "half of a UTF-16 surrogate pair")]
)
async def test_strange_characters_in_names_are_refused(mcp: Server, name: str, words: str) -> None:
    await assert_refused(mcp, "task_create", {"title": "Lost", name: 1}, words)
    await assert_refused(mcp, name, {}, "no tool")


NUMBERS = [
    ("NaN", "NaN"),
    ("Infinity", "an infinity"),
    ("-Infinity", "an infinity"),
    ("1e999", "an infinity"),
    ("9" * 400, "more than 64 bits"),
    ("-" + "9" * 400, "more than 64 bits"),
    (str(2**63), "more than 64 bits"),
]


@pytest.mark.parametrize(("number", "words"), NUMBERS, ids=[number[:9] for number, _ in NUMBERS])
@pytest.mark.parametrize("as_text", [False, True], ids=["value", "text"])
@pytest.mark.parametrize(
    ("tool", "name"), [("task_create", "metadata"), ("checkpoint_create", "agentContext")]
)
async def test_a_number_that_json_cannot_carry_everywhere_is_refused(
    mcp: Server, tool: str, name: str, number: str, words: str, as_text: bool
) -> None:
    before = contents(mcp.database)
    request_id = f"{tool} {number[:9]} {len(number)} {as_text}"
    value = json.dumps(f'{{"a":[{number}]}}') if as_text else f'{{"a":[{number}]}}'
    arguments = json.dumps({**REQUIRED[tool], name: 0}).replace("0}", value + "}")
    line = json.dumps(
        {
            "jsonrpc": "2.0",
            "id": request_id,
            "method": "tools/call",
            "params": {"name": tool, "arguments": 0},
        }
    ).replace("0}}", arguments + "}}")
    answer = mcp.answer_to(request_id)
    await mcp.send(line.encode())
    result = (await answer)["result"]
    assert result["isError"]
    text = result["content"][0]["text"]
    assert f"{name}: " in text
    assert words in text
    assert contents(mcp.database) == before
    assert "First" in await mcp.text("task_list")


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63) + 1, 1.5, -0.0, 1e300])
async def test_numbers_that_fit_are_kept_exactly(filled: Server, number: float) -> None:
    made = await filled.ok("task_create", title="Numbers", metadata={"a": number})
    kept = (await filled.ok("task_get", id=made["id"]))["metadata"]["a"]
    assert (kept, type(kept)) == (number, type(number))


async def test_a_json_text_with_a_number_of_too_many_digits_is_refused(mcp: Server) -> None:
    arguments = {"title": "Lost", "metadata": f'{{"a":{"9" * 5000}}}'}
    await assert_refused(mcp, "task_create", arguments, "metadata: ")


MALFORMED = [
    b"hello",
    b'{"jsonrpc":"2.0","id":7000,"method":"tools/call","params":{"name":"task_create"',
    b'{"jsonrpc":"2.0","id":7000,"method":"tools/call","params":[1]}',
    b"[]",
    b"\xff\xfe",
    b"null",
    b'{"jsonrpc":"2.0","id":7000,"method":"tools/call","params":{"arguments":{"title":"Lost"}}}',
    b'{"jsonrpc":"2.0","id":7000,"method":"tools/call","params":{"name":"t","arguments":"title"}}',
    b'{"jsonrpc":"2.0","id":7000,"method":"tools/call","params":{"name":"t","arguments":[1]}}',
    b'{"jsonrpc":"2.0","id":7000,"method":"tools/call","params":{"name":5}}',
]


@pytest.mark.parametrize("line", MALFORMED, ids=range(len(MALFORMED)))
async def test_a_malformed_line_gets_an_error_and_writes_nothing(mcp: Server, line: bytes) -> None:
    before, seen = contents(mcp.database), len(mcp.messages)
    await mcp.send(line)
    await mcp.wait_until(lambda: len(mcp.messages) > seen)
    error = mcp.messages[seen]["error"]
    assert error["code"] in {-32700, -32600, -32602}
    assert "Traceback" not in error["message"]
    assert contents(mcp.database) == before
    assert "First" in await mcp.text("task_list")
    assert "Traceback" not in mcp.stderr_text()


# Ids


ID_ARGUMENTS = [
    ("task_update", "id"),
    ("task_get", "id"),
    ("task_create", "parentId"),
    ("task_update", "parentId"),
    ("task_list", "parentId"),
    ("checkpoint_create", "taskId"),
    ("checkpoint_resume", "taskId"),
    ("checkpoint_list", "taskId"),
]


@pytest.mark.parametrize(("tool", "name"), ID_ARGUMENTS)
async def test_an_unknown_task_is_named_with_the_newest_one(
    mcp: Server, tool: str, name: str
) -> None:
    for given, named in (("TASK-99", "TASK-99"), ("task-0", "TASK-0"), ("9" * 15, "TASK-9999")):
        words = (f"{name}: no task {named}", "The newest is TASK-3", "task_list")
        await assert_refused(mcp, tool, {**REQUIRED[tool], name: given}, *words)


@pytest.mark.parametrize(("tool", "name"), ID_ARGUMENTS)
@pytest.mark.parametrize("given", ["CP-1", "cp-1", "First", "TASK-", "TASK-1.5", "TASK--1", ""])
async def test_what_is_no_id_of_a_task_is_refused_with_an_example(
    mcp: Server, tool: str, name: str, given: str
) -> None:
    arguments = {**REQUIRED[tool], name: given}
    await assert_refused(mcp, tool, arguments, f"{name}: {given!r} is not an id such as TASK-12")


async def test_an_id_without_end_gets_a_short_refusal(mcp: Server) -> None:
    await assert_refused(mcp, "task_get", {"id": "TASK-" + "9" * 90}, "id: 'TASK-999", "TASK-12")
    await assert_refused(mcp, "task_get", {"id": "TASK-" + "9" * 500}, "id: got 505 characters")
    await assert_refused(mcp, "task_get", {"id": "TASK-\u0665"}, "id: ", "TASK-12")


async def test_an_unknown_checkpoint_is_refused_with_the_newest_one(mcp: Server) -> None:
    words = (
        "checkpointId: TASK-1 has no checkpoint CP-99",
        "newest of TASK-1 is CP-1",
        "checkpoint_list",
    )
    arguments: dict[str, Any] = {"taskId": "TASK-1", "checkpointId": "CP-99"}
    await assert_refused(mcp, "checkpoint_resume", arguments, *words)
    arguments = {"taskId": "TASK-1", "checkpointId": "CP-99", "draftOffset": 0}
    await assert_refused(mcp, "checkpoint_resume", arguments, *words)


async def test_a_task_where_a_checkpoint_is_wanted_is_refused(mcp: Server) -> None:
    arguments = {"taskId": "TASK-1", "checkpointId": "TASK-1"}
    words = ("checkpointId: 'TASK-1' is not an id such as CP-7",)
    await assert_refused(mcp, "checkpoint_resume", arguments, *words)


async def test_a_checkpoint_of_another_task_is_refused(mcp: Server) -> None:
    arguments = {"taskId": "TASK-1", "checkpointId": "CP-2"}
    words = ("checkpointId: CP-2 is not a checkpoint of TASK-1", "The newest of TASK-1 is CP-1")
    await assert_refused(mcp, "checkpoint_resume", arguments, *words)


async def test_a_task_without_checkpoints_says_so(mcp: Server) -> None:
    words = ("taskId: TASK-3 has no checkpoint", "checkpoint_create")
    await assert_refused(mcp, "checkpoint_resume", {"taskId": "TASK-3"}, *words)


async def test_an_expired_checkpoint_is_refused_with_when_it_expired(
    tmp_path: Path,
) -> None:
    async with start_server(tmp_path) as mcp:
        await mcp.ok("task_create", title="First")
        await mcp.ok("checkpoint_create", taskId="TASK-1")
        await mcp.ok("checkpoint_create", taskId="TASK-1", expiresIn=1)
        with opened(mcp.database, write=True) as connection:
            connection.execute(
                "UPDATE checkpoints SET expires_at = '2026-01-02T03:04:05.000Z' WHERE id = 2"
            )
        arguments = {"taskId": "TASK-1", "checkpointId": "CP-2"}
        words = ("CP-2 expired at 2026-01-02T03:04:05.000Z", "The newest of TASK-1 is CP-1")
        await assert_refused(mcp, "checkpoint_resume", arguments, *words)
        assert (await mcp.ok("checkpoint_resume", taskId="TASK-1"))["checkpointId"] == "CP-1"
        assert "CP-2" not in await mcp.text("checkpoint_list", taskId="TASK-1")


async def test_ids_of_another_workspace_are_refused_with_its_name(tmp_path: Path) -> None:
    async with start_server(tmp_path, workspace="theirs") as theirs:
        await theirs.ok("task_create", title="Theirs")
        await theirs.ok("checkpoint_create", taskId="TASK-1")
    async with start_server(tmp_path, workspace="ours") as ours:
        words = ("TASK-1 belongs to the workspace 'theirs'",)
        before = row_counts(ours.database)
        for tool, name in ID_ARGUMENTS:
            if REQUIRED[tool].get(name) or tool == "task_create":
                text = await ours.refused(tool, **{**REQUIRED[tool], name: "TASK-1"})
                assert all(word in text for word in (f"{name}: ", *words)), text
        assert row_counts(ours.database) == before
        await ours.ok("task_create", title="First")
        arguments = {"id": "TASK-2", "parentId": "TASK-1"}
        await assert_refused(ours, "task_update", arguments, "parentId: ", *words)
        await assert_refused(ours, "task_list", {"parentId": "TASK-1"}, "parentId: ", *words)
        arguments = {"taskId": "TASK-2", "checkpointId": "CP-1"}
        words = ("checkpointId: CP-1 is not a checkpoint of TASK-2",)
        await assert_refused(ours, "checkpoint_resume", arguments, *words)
        assert "Theirs" not in await ours.text("task_list")


# Trees of tasks and graphs of streams


@pytest.mark.parametrize("parent", ["TASK-1", "TASK-2", "TASK-3"])
async def test_a_parent_that_is_below_the_task_is_refused(mcp: Server, parent: str) -> None:
    words = ("parentId: ", parent, "TASK-1", "itself or one of its subtasks")
    await assert_refused(mcp, "task_update", {"id": "TASK-1", "parentId": parent}, *words)


@pytest.mark.parametrize("stream", ["Stream:A", "a b", "a/b", "ä", "a*", "*", "stream:*"])
async def test_a_stream_id_has_only_its_characters(mcp: Server, stream: str) -> None:
    words = (f"streamId: {stream!r} is not a stream id", "1 to 64 of A-Z a-z 0-9 . _ -")
    await assert_refused(mcp, "task_create", {"title": "Lost", "streamId": stream}, *words)
    await assert_refused(mcp, "task_update", {"id": "TASK-1", "streamId": stream}, *words)
    await assert_refused(mcp, "task_list", {"streamId": stream}, *words)
    arguments = {"title": "Lost", "metadata": {"streamId": stream}}
    await assert_refused(mcp, "task_create", arguments, *words)
    arguments = {"title": "Lost", "streamId": "B", "streamDependencies": ["A", stream]}
    await assert_refused(mcp, "task_create", arguments, "streamDependencies[1]: ", "1 to 64 of")


async def test_an_empty_stream_id_is_refused_for_a_new_task(mcp: Server) -> None:
    await assert_refused(mcp, "task_create", {"title": "Lost", "streamId": ""}, "streamId: ")


@pytest.mark.parametrize(
    "fields",
    [{"streamName": "Name"}, {"streamPhase": "parallel"}, {"streamDependencies": ["A"]}],
    ids=str,
)
async def test_fields_of_a_stream_need_a_stream(mcp: Server, fields: dict[str, Any]) -> None:
    words = ("streamId: ", "say which")
    await assert_refused(mcp, "task_create", {"title": "Lost", **fields}, *words)
    await assert_refused(mcp, "task_update", {"id": "TASK-2", **fields}, *words)
    await assert_refused(mcp, "task_update", {"id": "TASK-1", "streamId": "", **fields}, *words)


async def test_a_stream_that_needs_itself_is_refused(mcp: Server) -> None:
    arguments = {"title": "Lost", "streamId": "B", "streamDependencies": ["B"]}
    words = ("streamDependencies: ", "B needs B", "cycle")
    await assert_refused(mcp, "task_create", arguments, *words)
    arguments = {"id": "TASK-1", "streamDependencies": ["A"]}
    await assert_refused(mcp, "task_update", arguments, "streamDependencies: ", "A needs A")
    arguments = {"id": "TASK-2", "streamId": "B", "streamDependencies": ["A", "B"]}
    await assert_refused(mcp, "task_update", arguments, "streamDependencies: ", "B needs B")


async def test_a_cycle_of_streams_is_refused_and_named(tmp_path: Path) -> None:
    async with start_server(tmp_path) as mcp:
        await mcp.ok("task_create", title="First", streamId="A", streamDependencies=["B"])
        arguments: dict[str, Any] = {"title": "Two", "streamId": "B", "streamDependencies": ["A"]}
        words = ("streamDependencies: ", "B needs A needs B", "cycle")
        await assert_refused(mcp, "task_create", arguments, *words)
        await mcp.ok("task_create", title="Two", streamId="B", streamDependencies=["X", "C"])
        await mcp.ok("task_create", title="Three", streamId="C")
        arguments = {"title": "Four", "streamId": "C", "streamDependencies": ["Y", "A"]}
        words = ("streamDependencies: ", "C needs A needs B needs C", "cycle")
        await assert_refused(mcp, "task_create", arguments, *words)
        arguments = {"id": "TASK-3", "streamDependencies": '["A"]'}
        await assert_refused(mcp, "task_update", arguments, *words)
        arguments = {"id": "TASK-1", "streamId": "C", "streamDependencies": ["A"]}
        await assert_refused(mcp, "task_update", arguments, *words)
        # Without the edge in between there is no cycle.
        await mcp.ok("task_update", id="TASK-2", streamDependencies=["X"])
        await mcp.ok("task_update", id="TASK-3", streamDependencies=["Y", "A"])


# What is taken although it is unusual


async def kept(mcp: Server, tool: str, **arguments: object) -> dict[str, Any]:
    """A task after a call that made or changed it."""
    return await mcp.ok("task_get", id=(await mcp.ok(tool, **arguments))["id"])


async def test_objects_and_lists_may_come_as_json_text(filled: Server) -> None:
    task = await kept(
        filled,
        "task_create",
        title="JSON",
        streamId="J",
        metadata='{"a": {"b": [1, null]}}',
        files='["a.py", "b.py"]',
        streamDependencies='["K"]',
    )
    assert (task["metadata"], task["files"]) == ({"a": {"b": [1, None]}}, ["a.py", "b.py"])
    streams = (await filled.ok("stream_list", format="json"))["streams"]
    assert next(s for s in streams if s["streamId"] == "J")["dependencies"] == ["K"]
    await filled.ok(
        "checkpoint_create",
        taskId=task["id"],
        agentContext='{"step": 3}',
        pauseMetadata='{"pauseReason": "lunch", "nextSteps": ["eat"]}',
    )
    resumed = await filled.ok("checkpoint_resume", taskId=task["id"])
    assert resumed["agentContext"] == {"step": 3}
    assert resumed["pauseMetadata"] == {"pauseReason": "lunch", "nextSteps": ["eat"]}


@pytest.mark.parametrize(
    "text",
    ['{"a":1}', "null", "true", "[1]", "5", '"quoted"', "NaN", " padded ", "a\r\nb\tc", "💡"],
)
async def test_a_text_is_kept_as_it_is_whatever_it_looks_like(filled: Server, text: str) -> None:
    made = await filled.ok("task_create", title=text, description=text, assignedAgent=text)
    task = await kept(filled, "task_update", id=made["id"], notes=text, status="in_progress")
    assert [task[name] for name in ("title", "description", "assignedAgent", "notes")] == [text] * 4
    task = await kept(
        filled, "task_update", id=made["id"], status="blocked", blockedReason=text, title=text + "!"
    )
    assert (task["blockedReason"], task["title"]) == (text, text + "!")
    await filled.ok(
        "checkpoint_create",
        taskId=made["id"],
        draftContent=text,
        draftType=text,
        executionPhase=text,
        executionStep=text,
        agentContext={"a": text},
    )
    resumed = await filled.ok("checkpoint_resume", taskId=made["id"])
    names = ("draftContent", "draftType", "restoredPhase", "restoredStep")
    assert [resumed[name] for name in names] == [text] * 4
    assert resumed["agentContext"] == {"a": text}


async def test_the_fields_of_a_stream_are_taken_out_of_metadata(filled: Server) -> None:
    fields = {
        "streamId": "Lifted",
        "streamName": "From metadata",
        "streamPhase": "integration",
        "streamDependencies": ["K"],
        "files": ["a.py"],
    }
    for number, metadata in enumerate(({**fields, "own": 1}, json.dumps({**fields, "own": 1}))):
        task = await kept(filled, "task_create", title=f"Lifted {number}", metadata=metadata)
        assert task["metadata"] == {"own": 1}
        assert (task["streamId"], task["files"]) == ("Lifted", ["a.py"])
    streams = (await filled.ok("stream_list", format="json"))["streams"]
    lifted = next(stream for stream in streams if stream["streamId"] == "Lifted")
    assert (lifted["streamName"], lifted["streamPhase"]) == ("From metadata", "integration")
    assert (lifted["dependencies"], lifted["totalTasks"]) == (["K"], 2)
    made = await filled.ok("task_create", title="Later")
    task = await kept(
        filled, "task_update", id=made["id"], metadata={"streamId": "Lifted", "files": ["b.py"]}
    )
    assert (task["streamId"], task["files"]) == ("Lifted", ["b.py"])
    assert "metadata" not in task


async def test_an_argument_at_the_top_wins_over_the_same_in_metadata(filled: Server) -> None:
    task = await kept(
        filled, "task_create", title="Both", streamId="Top", metadata={"streamId": "Inside"}
    )
    assert task["streamId"] == "Top"
    assert "metadata" not in task


async def test_a_null_at_the_top_leaves_what_metadata_says(filled: Server) -> None:
    task = await kept(
        filled, "task_create", title="Null", streamId=None, metadata={"streamId": "Inside"}
    )
    assert task["streamId"] == "Inside"


async def test_null_counts_as_not_given_for_every_argument(filled: Server) -> None:
    names = ("description", "parentId", "assignedAgent", "streamId", "streamName", "streamPhase")
    more = ("streamDependencies", "files", "metadata", "agent")
    task = await kept(filled, "task_create", title="Nulls", **dict.fromkeys(names + more))
    assert set(task) == {"id", "title", "status", "createdAt", "updatedAt"}
    await filled.ok("task_update", id=task["id"], description="kept", streamId="N")
    nulls = dict.fromkeys((*names, *more, "title", "status", "notes", "blockedReason"))
    task = await kept(filled, "task_update", **{**nulls, "id": task["id"], "notes": "changed"})
    assert (task["description"], task["notes"], task["streamId"]) == ("kept", "changed", "N")
    optional = ("trigger", "executionPhase", "executionStep", "agentContext", "draftContent")
    more = ("draftType", "expiresIn", "pauseMetadata", "agent")
    nulls = dict.fromkeys(optional + more)
    made = await filled.ok("checkpoint_create", taskId=task["id"], **nulls)
    assert made["trigger"] == "manual"
    nulls = dict.fromkeys(("checkpointId", "draftOffset", "contextOffset", "agent"))
    assert await filled.ok("checkpoint_resume", taskId=task["id"], **nulls)
    nulls = dict.fromkeys(("status", "streamId", "assignedAgent", "parentId", "limit", "cursor"))
    assert "Nulls" in await filled.text("task_list", **nulls, format=None)
    assert await filled.text("stream_list", format=None)
    assert await filled.text("checkpoint_list", taskId=task["id"], limit=None)


async def test_an_empty_text_clears_what_can_be_cleared(filled: Server) -> None:
    made = await filled.ok(
        "task_create", title="Clear", description="d", assignedAgent="me", streamId="C1"
    )
    await filled.ok(
        "task_update", id=made["id"], notes="n", status="blocked", blockedReason="waits"
    )
    task = await kept(
        filled,
        "task_update",
        id=made["id"],
        **dict.fromkeys(("description", "notes", "assignedAgent", "streamId", "blockedReason"), ""),
    )
    assert set(task) & {"description", "notes", "assignedAgent", "streamId"} == set()
    assert task["blockedReason"] == "no reason given"
    task = await kept(
        filled, "task_update", id=made["id"], status="pending", blockedReason="", description="x"
    )
    assert "blockedReason" not in task
    task = await kept(filled, "task_create", title="Empty", description="", assignedAgent="")
    assert set(task) & {"description", "assignedAgent"} == set()


async def test_ids_are_understood_in_lower_case_and_as_numbers(filled: Server) -> None:
    made = await filled.ok("task_create", title="Names")
    number = made["id"].removeprefix("TASK-")
    for given in (made["id"].lower(), number, f" {made['id']} ", f"Task-{number}"):
        assert (await filled.ok("task_get", id=given))["id"] == made["id"]
    point = await filled.ok("checkpoint_create", taskId=number)
    for given in (point["id"].lower(), point["id"].removeprefix("CP-")):
        resumed = await filled.ok("checkpoint_resume", taskId=number, checkpointId=given)
        assert resumed["checkpointId"] == point["id"]
