"""The published documents describe what is declared, and nothing else passes them."""

import copy
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from docs import generate
from task_copilot.api.routes import ROUTES
from task_copilot.description import asyncapi, examples, openapi, words
from task_copilot.events.listener import Listener
from task_copilot.events.log import LogState
from task_copilot.events.messages import (
    ANSWERS,
    CLIENT_MESSAGES,
    ERRORS,
    SERVER_MESSAGES,
    ErrorCode,
)
from task_copilot.events.topics import KINDS, is_pattern
from task_copilot.events.types import EVENT_CLASSES, camel
from validation import problems, schema_problems, valid_frame, valid_request, validated

Schema = dict[str, Any]
DOCUMENTS = {"asyncapi": asyncapi.document(), "openapi": openapi.document()}
EVENTS = examples.events()
FRAMES = {kind: examples.from_server(kind) for kind in SERVER_MESSAGES if kind != "event"} | EVENTS
REQUESTS = {kind: examples.from_client(kind) for kind in CLIENT_MESSAGES}
ANSWER_NAMES = sorted(
    {route.answer.__name__ for route in ROUTES if route.answer is not None}
    | {"Error", "Refused", "Rejected", "Ambiguous"}
    | {name for name in DOCUMENTS["openapi"]["components"]["schemas"] if name.endswith("Row")}
)


def objects(schema: Any) -> Iterator[Schema]:
    """Every schema of an object with named fields, at any depth."""
    if isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict) and "type" in schema:
            yield schema
        for part in schema.values():
            yield from objects(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from objects(part)


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for inner in part.values():
            yield from references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from references(inner)


def instance(schema: Schema) -> Any:
    """Something that `schema` allows."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return instance(DOCUMENTS["openapi"]["components"]["schemas"][name])
    if "const" in schema:
        return schema["const"]
    if schema.get("examples") and schema["examples"] != [None] and "items" not in schema:
        return schema["examples"][0]
    if "anyOf" in schema:
        return instance(schema["anyOf"][0])
    if "enum" in schema:
        return schema["enum"][0]
    if schema["type"] == "array":
        return [instance(schema["items"])] * max(1, schema.get("minItems", 1))
    if schema["type"] == "object":
        return {name: instance(part) for name, part in schema.get("properties", {}).items()}
    return {"string": "x", "integer": 1, "number": 1.0, "boolean": True}[schema["type"]]


def parts(content: Any) -> Iterator[dict[str, Any]]:
    """Every object in `content`, itself first."""
    if isinstance(content, dict):
        yield content
        for inner in content.values():
            yield from parts(inner)
    elif isinstance(content, list):
        for inner in content:
            yield from parts(inner)


# --- both documents ---


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_schema_is_a_schema_and_every_object_is_closed(document: str) -> None:
    schemas = DOCUMENTS[document]["components"]["schemas"]
    found = list(objects(schemas))
    assert len(found) > 10
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)
    assert [schema for schema in found if schema.get("additionalProperties") is not False] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_reference_leads_somewhere(document: str) -> None:
    for reference in references(DOCUMENTS[document]):
        place: Any = DOCUMENTS[document]
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_field_is_explained(document: str) -> None:
    constant = {"const", "discriminator", "$ref"}
    missing = {
        name
        for schema in objects(DOCUMENTS[document]["components"]["schemas"])
        for name, field in schema["properties"].items()
        if not field.get("description") and not constant & set(field)
    }
    assert missing <= {"type", "timestamp", "payload"}, "edit task_copilot/description/words.py"


def test_no_field_is_explained_that_does_not_exist() -> None:
    known = {
        name
        for document in DOCUMENTS.values()
        for schema in objects(document["components"]["schemas"])
        for name in schema["properties"]
    }
    assert set(words.FIELDS) | set(words.ANSWER_FIELDS) | set(words.OF_BODIES) <= known
    schemas = DOCUMENTS["openapi"]["components"]["schemas"]
    for name, fields in words.OF_ANSWERS.items():
        assert set(fields) <= set(schemas[name]["properties"])
    given = {part["name"] for route in ROUTES for part in openapi.parameters(route)}
    assert set(words.PARAMETERS) <= given


def test_what_is_generated_in_docs_is_up_to_date() -> None:
    assert [path.name for path in generate.stale()] == [], "run `make docs`"


def test_every_generated_part_stands_on_a_page() -> None:
    pages = "".join(page.read_text() for page in Path(generate.FOLDER).glob("*.md"))
    assert [name for name in generate.PARTS if f"<!-- {name} -->" not in pages] == []


# --- events and messages ---


def test_every_declared_error_code_is_explained() -> None:
    assert list(ERRORS) == list(get_args(ErrorCode))


def test_the_listener_takes_every_message_that_is_declared_and_answers_as_declared() -> None:
    state = LogState(words.example_of("epoch"), words.example_of("since"))
    listener = Listener(head=0, max_patterns=50)
    for kind in ("ping", "pong", "subscribe", "unsubscribe"):
        text = json.dumps(valid_request(REQUESTS[kind]))
        answers = [
            valid_frame(json.loads(frame))["type"]
            for frame in listener.receive(text, state, words.NOW)
        ]
        assert answers == list(ANSWERS[kind][:1])
    assert set(ANSWERS) == set(CLIENT_MESSAGES)


def test_every_type_of_event_has_its_schema_with_exactly_its_fields() -> None:
    schemas = DOCUMENTS["asyncapi"]["components"]["schemas"]
    choices = schemas["ServerEvent"]["properties"]["payload"]["oneOf"]
    assert [choice["$ref"].rpartition("/")[2] for choice in choices] == [
        event_class.__name__ for event_class in EVENT_CLASSES
    ]
    for event_class in EVENT_CLASSES:
        fields = [camel(item.name) for item in dataclasses.fields(event_class)]
        data = schemas[f"{event_class.__name__}Data"]
        assert list(data["properties"]) == data["required"] == fields


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_with_one_field_more_or_less_fails_wherever_it_is(name: str) -> None:
    valid_frame(FRAMES[name])
    schema = "ServerEvent" if name in EVENTS else f"Server{name.title()}"
    whole = copy.deepcopy(FRAMES[name])
    for part in parts(whole):
        part["surprise"] = 1
        assert schema_problems("asyncapi", schema, whole), part
        del part["surprise"]
        for field in sorted(set(part) - {"id", *words.FIELDS["details"]["examples"][0]}):
            value = part.pop(field)
            assert schema_problems("asyncapi", schema, whole), field
            part[field] = value
    valid_frame(whole | FRAMES[name])


@pytest.mark.parametrize("kind", REQUESTS)
def test_a_request_with_an_unknown_field_in_its_payload_fails(kind: str) -> None:
    valid_request(REQUESTS[kind])
    changed = {**REQUESTS[kind], "payload": {**REQUESTS[kind]["payload"], "surprise": 1}}
    assert schema_problems("asyncapi", f"Client{kind.title()}", changed)


@pytest.mark.parametrize("event_class", EVENT_CLASSES, ids=lambda found: str(found.event_type))
def test_an_event_is_only_of_its_own_type(event_class: Any) -> None:
    payload = examples.event(event_class)
    fitting = [
        other.__name__
        for other in EVENT_CLASSES
        if not schema_problems("asyncapi", other.__name__, payload)
    ]
    assert fitting == [event_class.__name__]


def test_the_examples_in_the_document_are_valid() -> None:
    for name, message in DOCUMENTS["asyncapi"]["components"]["messages"].items():
        schema = message["payload"]["$ref"].rpartition("/")[2]
        for example in message["examples"]:
            assert schema_problems("asyncapi", schema, example["payload"]) == [], name


somewhat_like_patterns = st.text(alphabet="stream:taskcheckpoint*.-_A9 ", max_size=20) | st.builds(
    lambda kind, rest: kind + rest,
    st.sampled_from([f"{kind}:"[:length] for kind in KINDS for length in range(12)]),
    st.text(alphabet="A9._-*: ", max_size=5),
)


@given(somewhat_like_patterns)
def test_the_described_pattern_takes_what_the_listener_takes(text: str) -> None:
    found = not list(Draft202012Validator(words.PATTERN).iter_errors(text))
    assert found == is_pattern(text)


# --- answers of the HTTP API ---


def test_every_route_is_described_with_its_statuses() -> None:
    described = DOCUMENTS["openapi"]["paths"]
    declared = {(route.path, route.method.lower()) for route in ROUTES}
    assert declared | {("/mcp", "post")} == {
        (path, method) for path, methods in described.items() for method in methods
    }
    for route in ROUTES:
        responses = described[route.path][route.method.lower()]["responses"]
        wanted = {str(status) for status in (route.status, *route.errors)}
        assert set(responses) - {"304"} == wanted


def test_operation_ids_are_unique() -> None:
    ids = [
        operation["operationId"]
        for methods in DOCUMENTS["openapi"]["paths"].values()
        for operation in methods.values()
    ]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("name", ANSWER_NAMES)
def test_an_answer_with_one_field_more_or_less_fails(name: str) -> None:
    schema = DOCUMENTS["openapi"]["components"]["schemas"][name]
    whole = instance(schema)
    assert schema_problems("openapi", name, whole) == []
    assert schema["required"] == list(schema["properties"])
    assert schema_problems("openapi", name, {**whole, "surprise": 1})
    for field in whole:
        less = {key: value for key, value in whole.items() if key != field}
        assert schema_problems("openapi", name, less), field


def test_an_undescribed_status_and_a_wrong_body_fail() -> None:
    health = instance(DOCUMENTS["openapi"]["components"]["schemas"]["Health"])
    assert validated("GET", "/health", 200, health) == health
    assert validated("GET", "/nothing", 404, {"error": "x"})
    for method, path, status, body in (
        ("GET", "/health", 201, health),
        ("GET", "/health", 200, {**health, "x": 1}),
        ("GET", "/nothing", 200, {}),
        ("GET", "/api/streams/x?workspace=y", 409, {"error": "x"}),
        ("GET", "/api/streams", 422, {}),
    ):
        with pytest.raises(AssertionError):
            validated(method, path, status, body)


def test_problems_name_the_place() -> None:
    pointer = "/components/schemas/TaskCreated"
    payload = copy.deepcopy(EVENTS["task.created"]["payload"])
    payload["data"]["newStatus"] = "unheard of"
    [found] = problems("asyncapi", pointer, payload)
    assert found.startswith("$.data.newStatus: ")
