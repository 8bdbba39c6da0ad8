"""The AsyncAPI document of ``/ws``, made from the declared events and messages."""

from collections.abc import Iterable
from functools import cache
from typing import Any

from task_copilot import __version__
from task_copilot.description import examples
from task_copilot.description.schemas import Schema, about, closed, object_of, reference
from task_copilot.description.words import PARAMETERS, PATTERN, TIMESTAMP, TOPICS
from task_copilot.events.messages import (
    ANSWERS,
    CLIENT_MESSAGES,
    CLOSE_CODES,
    ERRORS,
    MAX_ID_CHARACTERS,
    MAX_ID_NUMBER,
    SERVER_MESSAGES,
    EventPayload,
    Ping,
    Pong,
)
from task_copilot.events.types import EVENT_CLASSES, MAX_EVENT_BYTES, Event
from task_copilot.settings import declared, environment_variable

ABOUT = (
    "Every change of a task, a stream or a checkpoint, as it happens. Each message is one JSON "
    "object in a text frame. Subscribe to topics; an event that several patterns match comes once."
)
LIMITS = (
    "max_listeners",
    "max_patterns",
    "max_message_bytes",
    "max_message_rate",
    "ping_interval",
    "listener_timeout",
)
REFUSALS = {
    403: "the Host or the Origin of the request is not this server's, or WebSockets are off",
    422: "the address has another parameter than workspace",
    429: "more handshakes than a client may send; wait a little",
    503: "as many listeners as there may be are connected; come back later",
}
CHANNEL = "#/channels/events"


@cache
def document() -> dict[str, Any]:
    """The AsyncAPI 3.0 document; the same object at each call."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Task Copilot events",
            "version": __version__,
            "description": ABOUT,
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": {"local": {"host": "127.0.0.1:9090", "protocol": "ws"}},
        "channels": {"events": _channel()},
        "operations": _operations(),
        "components": {"messages": _messages(), "schemas": _schemas()},
    }


def _channel() -> dict[str, Any]:
    return {
        "address": "/ws",
        "description": "One connection of a listener.",
        "messages": {
            name: {"$ref": f"#/components/messages/{name}"}
            for name in (*map(_of_client, CLIENT_MESSAGES), *map(_of_server, SERVER_MESSAGES))
        },
        "bindings": {"ws": {"method": "GET", "query": _query(), "bindingVersion": "0.1.0"}},
        "x-limits": _limits(),
        "x-close-codes": {str(code): about for code, about in CLOSE_CODES.items()},
        "x-refusals": {str(status): about for status, about in REFUSALS.items()},
        "x-error-codes": dict(ERRORS),
    }


def _query() -> Schema:
    workspace = {"type": "string", "description": PARAMETERS["workspace"]["description"]}
    return closed({"workspace": workspace}, optional=("workspace",))


def _limits() -> dict[str, Any]:
    settings = {item.name: item for item in declared()}
    found: dict[str, Any] = {
        name: {
            "default": settings[name].default,
            "description": settings[name].metadata["about"],
            "setting": environment_variable(settings[name]),
        }
        for name in LIMITS
    }
    largest = {"default": MAX_EVENT_BYTES, "description": "Bytes of the payload of one event."}
    return {**found, "max_event_bytes": largest}


def _of_client(kind: str) -> str:
    return f"client.{kind}"


def _of_server(kind: str) -> str:
    return f"server.{kind}"


def _operations() -> dict[str, Any]:
    # Seen from the server: it receives what a client sends.
    asked = {kind for kinds in ANSWERS.values() for kind in kinds}
    found: dict[str, Any] = {}
    for kind, answers in ANSWERS.items():
        found[f"receive.{kind}"] = {
            "action": "receive",
            "channel": {"$ref": CHANNEL},
            "summary": about(CLIENT_MESSAGES[kind]),
            "messages": _named(_of_client(kind)),
        }
        if answers:
            reply = {"channel": {"$ref": CHANNEL}, "messages": _named(*map(_of_server, answers))}
            found[f"receive.{kind}"]["reply"] = reply
    for kind, declaration in SERVER_MESSAGES.items():
        if kind not in asked or kind == "error":
            found[f"send.{kind}"] = {
                "action": "send",
                "channel": {"$ref": CHANNEL},
                "summary": about(declaration),
                "messages": _named(_of_server(kind)),
            }
    return found


def _named(*names: str) -> list[dict[str, str]]:
    return [{"$ref": f"{CHANNEL}/messages/{name}"} for name in names]


def _messages() -> dict[str, Any]:
    found = {
        _of_client(kind): _message(
            kind, declaration, _client_schema(kind), [(kind, examples.from_client(kind))]
        )
        for kind, declaration in CLIENT_MESSAGES.items()
    }
    for kind, declaration in SERVER_MESSAGES.items():
        shown = examples.events() if kind == "event" else {kind: examples.from_server(kind)}
        found[_of_server(kind)] = _message(
            kind, declaration, _server_schema(kind), list(shown.items())
        )
    return found


def _message(
    kind: str, declaration: type, schema: str, shown: Iterable[tuple[str, Any]]
) -> dict[str, Any]:
    return {
        "name": kind,
        "title": kind,
        "summary": about(declaration),
        "contentType": "application/json",
        "payload": reference(schema),
        "examples": [{"name": name, "payload": content} for name, content in shown],
    }


def _client_schema(kind: str) -> str:
    return f"Client{kind.title()}"


def _server_schema(kind: str) -> str:
    return f"Server{kind.title()}"


def _schemas() -> dict[str, Any]:
    found = {_client_schema(kind): _from_client(kind) for kind in CLIENT_MESSAGES}
    found |= {_server_schema(kind): _from_server(kind) for kind in SERVER_MESSAGES}
    for event_class in EVENT_CLASSES:
        found |= {
            event_class.__name__: _event(event_class),
            _data(event_class): _fields_of(event_class),
        }
    return found


def _from_client(kind: str) -> Schema:
    topics = {"items": PATTERN, "minItems": 1}
    overrides = {"topics": topics} if kind.endswith("subscribe") else {}
    payload = object_of(CLIENT_MESSAGES[kind], **overrides)
    if kind == "subscribe":
        payload |= _either_topics_or_subscriptions(payload, topics)
    properties = {
        "type": {"const": kind},
        "id": {**_message_id(), "description": "Comes back in the answer."},
        "timestamp": {"type": "string", "description": "Not looked at."},
        "payload": payload,
    }
    empty = ("payload",) if CLIENT_MESSAGES[kind] in {Ping, Pong} else ()
    return closed(properties, optional=("id", "timestamp", *empty))


def _either_topics_or_subscriptions(payload: Schema, topics: Schema) -> Schema:
    selections = payload["properties"]["subscriptions"]["items"]["properties"]
    selections["topics"] |= topics
    together = {"required": ["subscriptions"]}
    apart = {"anyOf": [{"required": ["topics"]}, {"required": ["filter"]}]}
    cursors = {"not": {"required": ["since", "replay"]}}
    return {
        "oneOf": [{"required": ["topics"]}, together],
        "allOf": [{"not": {"allOf": [together, apart]}}, cursors],
        "dependentRequired": {"epoch": ["since"]},
    }


def _from_server(kind: str) -> Schema:
    properties: Schema = {
        "type": {"const": kind},
        "timestamp": {"type": "string", "format": "date-time", "pattern": TIMESTAMP},
        "payload": _payload(kind),
    }
    if kind in {"event", "events", "gap", "ping"}:
        return closed(properties)
    answered = {**_message_id(), "description": "Of the message that this answers, if it had one."}
    return closed({**properties, "id": answered}, optional=("id",))


def _message_id() -> Schema:
    number = {"type": "integer", "minimum": 1 - MAX_ID_NUMBER, "maximum": MAX_ID_NUMBER - 1}
    return {"anyOf": [{"type": "string", "maxLength": MAX_ID_CHARACTERS}, number]}


def _payload(kind: str) -> Schema:
    if kind == "event":
        return {
            "oneOf": [reference(event_class.__name__) for event_class in EVENT_CLASSES],
            "discriminator": "eventType",
        }
    topics = {"items": PATTERN, "minItems": 1}
    overrides = {"topics": topics} if kind.endswith("subscribed") else {}
    schema = object_of(SERVER_MESSAGES[kind], **overrides)
    if kind == "events":
        schema["properties"]["events"] |= {"items": _payload("event"), "minItems": 1}
    return schema


def _data(event_class: type[Event]) -> str:
    return f"{event_class.__name__}Data"


def _fields_of(event_class: type[Event]) -> Schema:
    changed = {"duration": {"description": "Milliseconds since the stream started."}}
    return object_of(event_class, **(changed if event_class.kind == "stream" else {}))


def _event(event_class: type[Event]) -> Schema:
    schema = object_of(
        EventPayload,
        seq={"minimum": 1},
        topic={
            "pattern": TOPICS[event_class.kind],
            "examples": [examples.event(event_class)["topic"]],
        },
        eventType={"const": event_class.event_type, "examples": [event_class.event_type]},
    )
    schema["properties"]["data"] = reference(_data(event_class))
    schema["description"] = f"An event {event_class.event_type}."
    return schema
