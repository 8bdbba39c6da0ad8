"""Closed JSON schemas of the dataclasses that declare events and messages."""

from dataclasses import MISSING, fields, is_dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter

from task_copilot.description.words import FIELDS, example_of
from task_copilot.events.messages import wire_name

Schema = dict[str, Any]


def reference(name: str) -> Schema:
    """Where the schema `name` stands in either document."""
    return {"$ref": f"#/components/schemas/{name}"}


def closed(properties: Schema, *, optional: tuple[str, ...] = (), text: str = "") -> Schema:
    """An object with these properties and no others."""
    schema: Schema = {"type": "object"}
    if text:
        schema["description"] = text
    required = [name for name in properties if name not in optional]
    return schema | {
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def object_of(declaration: type, **overrides: Schema) -> Schema:
    """The schema of a dataclass as it is on the wire; `overrides` are by wire name."""
    hints = get_type_hints(declaration, include_extras=True)
    items = [item for item in fields(declaration) if item.init]
    properties = {}
    for item in items:
        name = wire_name(item.name)
        hint = hints[item.name]
        schema = value_of(hint if item.default is MISSING else _without_none(hint))
        properties[name] = {**schema, **FIELDS[name], **overrides.get(name, {})}
    optional = tuple(wire_name(item.name) for item in items if item.default is not MISSING)
    return closed(properties, optional=optional, text=about(declaration))


def value_of(hint: Any) -> Schema:
    """The schema of one value."""
    if is_dataclass(hint):
        return object_of(hint)  # type: ignore[arg-type]
    listed = _dataclass_listed_by(hint)
    if listed is None:
        return TypeAdapter(hint).json_schema()
    bounds = TypeAdapter(hint).json_schema()
    limits: Schema = {name: bounds[name] for name in ("minItems", "maxItems") if name in bounds}
    return {"type": "array", "items": object_of(listed), **limits}


def _dataclass_listed_by(hint: Any) -> type | None:
    plain = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    parts = get_args(plain)
    return parts[0] if parts and is_dataclass(parts[0]) else None  # type: ignore[return-value]


def _without_none(hint: Any) -> Any:
    kept = [part for part in get_args(hint) if part is not type(None)]
    return kept[0] if len(kept) == 1 else hint


def about(declaration: type) -> str:
    """What a class says about itself."""
    text = declaration.__doc__ or ""
    return "" if text.startswith(f"{declaration.__name__}(") else " ".join(text.split())


def example(declaration: type) -> dict[str, Any]:
    """An example of a dataclass as it is on the wire."""
    items = [wire_name(item.name) for item in fields(declaration) if item.default is MISSING]
    return {name: example_of(name) for name in items}
