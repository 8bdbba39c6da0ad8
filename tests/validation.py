"""What the tests receive, against the published description of it."""

import re
from contextlib import suppress
from functools import cache
from typing import Any

import jsonschema_rs
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from task_copilot.description import asyncapi, openapi
from task_copilot.events.types import EVENT_CLASSES

DOCUMENTS = {"asyncapi": asyncapi.document, "openapi": openapi.document}
EVENT_NAMES = {event_class.event_type: event_class.__name__ for event_class in EVENT_CLASSES}


@cache
def validator(document: str, pointer: str) -> Draft202012Validator:
    """The validator of the schema at `pointer` in a document."""
    resource = DRAFT202012.create_resource(DOCUMENTS[document]())
    registry: Any = Registry().with_resource(f"urn:{document}", resource)
    return Draft202012Validator({"$ref": f"urn:{document}#{pointer}"}, registry=registry)


@cache
def _registry(document: str) -> jsonschema_rs.Registry:
    resources = [(f"urn:{document}", DOCUMENTS[document]())]
    return jsonschema_rs.Registry(resources, draft=jsonschema_rs.Draft202012)


@cache
def _judge(document: str, pointer: str) -> jsonschema_rs.Draft202012Validator:
    """Says only whether something is valid, but in a thousandth of the time."""
    return jsonschema_rs.Draft202012Validator(
        {"$ref": f"urn:{document}#{pointer}"}, registry=_registry(document)
    )


def problems(document: str, pointer: str, content: Any) -> list[str]:
    """What is wrong with `content`, each with the place."""
    with suppress(UnicodeEncodeError):  # half of a surrogate pair, which the judge cannot read
        if _judge(document, pointer).is_valid(content):
            return []
    return [
        f"{error.json_path}: {error.message[:500]}"
        for error in validator(document, pointer).iter_errors(content)
    ]


def schema_problems(document: str, name: str, content: Any) -> list[str]:
    """The same for one of the named schemas."""
    return problems(document, f"/components/schemas/{name}", content)


def valid_frame(message: dict[str, Any]) -> dict[str, Any]:
    """A message of the server; fails the test where it is not as described."""
    kind = str(message.get("type"))
    found = schema_problems("asyncapi", f"Server{kind.title()}", message)
    if found and kind == "event":  # `oneOf` says only that none fits
        name = EVENT_NAMES[message["payload"]["eventType"]]
        found += schema_problems("asyncapi", name, message["payload"])
    assert not found, (found, message)
    return message


def valid_request(message: dict[str, Any]) -> dict[str, Any]:
    """The same for a message of a client."""
    found = schema_problems("asyncapi", f"Client{str(message['type']).title()}", message)
    assert not found, (found, message)
    return message


@cache
def _templates() -> list[tuple[re.Pattern[str], str]]:
    paths = sorted(openapi.document()["paths"], key=lambda path: path.count("{"))
    return [(re.compile(re.sub(r"{\w+}", "[^/]+", path)), path) for path in paths]


def template_of(path: str) -> str | None:
    """The described path that a request's path belongs to."""
    plain = path.partition("?")[0]
    return next((template for found, template in _templates() if found.fullmatch(plain)), None)


def validated(method: str, path: str, status: int, body: Any) -> Any:
    """The body of an HTTP answer; fails the test where status or body are not as described.

    `path` is that of the request. What is not described has to be an error that says so.
    """
    operations = openapi.document()["paths"].get(template_of(path), {})
    operation = operations.get("get" if method == "HEAD" else method.lower())
    if operation is None or status in {405, 426, 500}:
        assert status in {403, 404, 405, 426, 500}, (method, path, status)
        assert schema_problems("openapi", "Error", body) == []
        return body
    responses = operation["responses"]
    assert str(status) in responses, f"{method} {path} answered {status}: {body}"
    content = responses[str(status)].get("content")
    if content is None:
        assert not body
    else:
        name = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
        found = schema_problems("openapi", name, body)
        assert not found, (method, path, status, found)
    return body
