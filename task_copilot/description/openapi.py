"""The OpenAPI document of the HTTP API, made from the declared routes."""

import re
from functools import cache
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from task_copilot import __version__
from task_copilot.api.routes import ROUTES, ApiRoute
from task_copilot.description import mcp
from task_copilot.description.schemas import Schema, about, closed, reference
from task_copilot.description.words import (
    ANSWER_FIELDS,
    FIELDS,
    OF_ANSWERS,
    OF_BODIES,
    PARAMETERS,
    Words,
)
from task_copilot.events.messages import ERRORS
from task_copilot.mcp_http import PATH
from task_copilot.tools.arguments import Arguments, PauseMetadata

ABOUT = (
    "The state of all tasks, streams and checkpoints. Every answer says at which `seq` of the "
    "event log it was read. Unless it asks for tokens, every program of its machine may use it."
)
ERROR = "Error"
AMBIGUOUS = "Ambiguous"
REFUSED = "Refused"
REJECTED = "Rejected"
CONFLICT = 409
NOT_ALLOWED = 422
MEANINGS = {
    400: "The request cannot be read.",
    401: "A token is needed, and none or no valid one was sent.",
    403: "The Host or the Origin of the request is not this server's, or the token does not "
    "allow this.",
    404: "There is no such thing.",
    408: "The body did not come in time.",
    409: "It exists in several workspaces; name one of them.",
    413: "The body is too big.",
    415: "The body is not declared as JSON.",
    422: "The request can be read, but not all of it is allowed.",
    429: "More requests than one client may send; wait as long as Retry-After says.",
    503: "The database cannot be used at the moment, as many listen as may, or all bodies "
    "together are too big; try again.",
}
TEXTS = {
    "text/event-stream": "`message` events with the payload as data and its seq as id; before "
    "them one event `subscribed` with epoch and seq, and an event `gap` where some are gone.",
    "text/plain": "The text format of Prometheus.",
}
SECURITY = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "Where the server asks for tokens: its shared secret, or a JSON Web Token "
        "with the scope `read` or `write`.",
    },
    "cookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": "task-copilot-9090",
        "description": "What a ticket of `/api/tickets` became; the number is the port's.",
    },
}
ETAG = {
    "description": "Names this state; the same as long as nothing changes.",
    "schema": {"type": "string"},
}
IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "description": "The `ETag` of an earlier answer: 304 if it is still the same.",
    "required": False,
    "schema": {"type": "string"},
}


@cache
def document() -> dict[str, Any]:
    """The OpenAPI 3.1 document; the same object at each call."""
    paths: dict[str, Any] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    paths[PATH] = {"post": mcp.operation()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Task Copilot",
            "version": __version__,
            "description": ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "http://127.0.0.1:9090"}],
        "security": [{}, *({name: []} for name in SECURITY)],
        "paths": paths,
        "components": {"schemas": _schemas(), "securitySchemes": SECURITY},
    }


def has_etag(route: ApiRoute) -> bool:
    """Whether an answer of `route` names its state."""
    return route.etag or (route.method == "GET" and route.handler is not None)


def parameters(route: ApiRoute) -> list[dict[str, Any]]:
    """The parameters of the path and the query."""
    in_path = set(re.findall(r"{(\w+)}", route.path))
    found = []
    for name, schema in route.parameters_schema.get("properties", {}).items():
        default = next(
            field.default for field in route.query.model_fields.values() if field.alias == name
        )
        shown = {} if default is None or name in in_path else {"default": default}
        known = dict(PARAMETERS.get(name, {}))
        if schema.get("description"):  # a parameter's own words say more of its route
            known["description"] = schema["description"]
        found.append(
            {
                "name": name,
                "in": "path" if name in in_path else "query",
                "description": known.get("description", ""),
                "required": name in in_path,
                "schema": {**shown, **schema, **known},
            }
        )
    return found


def _operation(route: ApiRoute) -> dict[str, Any]:
    given = parameters(route)
    if has_etag(route):
        given.append(IF_NONE_MATCH)
    found: dict[str, Any] = {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "parameters": given,
    }
    if route.body is not None:
        content = {"application/json": {"schema": reference(route.body.__name__)}}
        found["requestBody"] = {"required": True, "content": content}
    return found | {"responses": _responses(route)}


def _operation_id(route: ApiRoute) -> str:
    words = re.findall(r"\w+", route.path.removeprefix("/api"))
    return route.method.lower() + "".join(word[0].upper() + word[1:] for word in words)


def _responses(route: ApiRoute) -> dict[str, Any]:
    found = {str(route.status): _success(route)}
    if has_etag(route):
        found[str(route.status)]["headers"] = {"ETag": ETAG}
        found["304"] = {
            "description": "Nothing changed since the ETag.",
            "headers": {"ETag": ETAG},
        }
    for status in sorted(route.errors):
        schema = AMBIGUOUS if status == CONFLICT else ERROR
        if status == NOT_ALLOWED and route.coded:
            schema = REFUSED
        elif status == NOT_ALLOWED and route.says_field:
            schema = REJECTED
        found[str(status)] = _response(schema, MEANINGS[status])
    return found


def _success(route: ApiRoute) -> dict[str, Any]:
    if route.answer is None:
        content = {route.media_type: {"schema": {"type": "string"}}}
        return {"description": TEXTS[route.media_type], "content": content}
    return _response(route.answer.__name__, _about(route.answer, route.status))


def _about(answer: type, status: int) -> str:
    return about(answer) or HTTPStatus(status).phrase


def _response(schema: str, text: str) -> dict[str, Any]:
    content = {"application/json": {"schema": reference(schema)}}
    return {"description": text, "content": content}


def _schemas() -> dict[str, Schema]:
    models: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        (route.answer, "serialization") for route in ROUTES if route.answer is not None
    ]
    models += [(route.body, "validation") for route in ROUTES if route.body is not None]
    _, generated = models_json_schema(
        models,
        by_alias=True,
        ref_template="#/components/schemas/{model}",
    )
    found = {name: _described(name, schema) for name, schema in generated["$defs"].items()}
    error = {"type": "string", "description": "What is wrong, for people."}
    argument = {
        "type": ["string", "null"],
        "description": "The argument that is wrong; null where it is not known.",
        "examples": ["title"],
    }
    code = {"enum": list(ERRORS), "description": "What is wrong with a request for events."}
    workspaces = {
        "type": "array",
        "items": {"type": "string"},
        "minItems": 2,
        "description": "Those that have it.",
    }
    return {
        **found,
        **mcp.schemas(reference(ERROR)),
        ERROR: closed({"error": error}),
        REFUSED: closed({"error": error, "code": code}),
        REJECTED: closed({"error": error, "field": argument}),
        AMBIGUOUS: closed({"error": error, "workspaces": workspaces}),
    }


def _described(title: str, schema: Schema) -> Schema:
    """The schema of an object without generated titles, its fields explained."""
    properties = {}
    for name, field in schema.get("properties", {}).items():
        properties[name] = {**_without_title(field), **_words_for(title, name, field)}
    text = {"description": " ".join(schema.get("description", "").split())}
    return {**_without_title(schema), **text, "properties": properties}


_OF_TOOLS = {PauseMetadata.__name__} | {
    route.body.__name__
    for route in ROUTES
    if route.body is not None and issubclass(route.body, Arguments)
}


def _words_for(title: str, name: str, field: Schema) -> Words:
    """What is said of a field of the object `title` beside its type."""
    if "const" in field:
        return {}
    known = OF_ANSWERS.get(title, {}).get(name) or ANSWER_FIELDS.get(name) or FIELDS.get(name, {})
    if title in _OF_TOOLS:  # the limits of an argument are those of the tool
        text = OF_BODIES.get(name) or field.get("description") or known.get("description", "")
        return {"description": text[:1].upper() + text[1:]}
    return known


def _without_title(schema: Schema) -> Schema:
    return {name: value for name, value in schema.items() if name != "title"}
