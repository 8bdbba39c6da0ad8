"""Input schemas without what only costs, and the sentences about input that breaks them."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

ERRORS_SHOWN = 3
SHOWN_CHARACTERS = 60

NOT_JSON = "got a text that is not JSON"
"""Reason of a validator's ValueError that is followed by what the value may be."""

_NOISE = {"title", "default"}


def compact(model: type[BaseModel] | TypeAdapter[Any]) -> dict[str, Any]:
    """The JSON schema of `model` without what only costs tokens.

    Titles, defaults and "or null" go; definitions used once stand where they are used.
    """
    if isinstance(model, TypeAdapter):
        schema = model.json_schema(by_alias=True)
    else:
        schema = model.model_json_schema(by_alias=True)
    definitions = schema.pop("$defs", {})
    pruned: dict[str, Any] = _prune(schema, definitions)
    return pruned


def _prune(schema: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_prune(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "anyOf" in schema:
        schema = _without_null(schema)
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return _prune({**definitions[name], **_without(schema, {"$ref"})}, definitions)
    found = {}
    for key, value in schema.items():
        if key == "properties":
            found[key] = {name: _prune(item, definitions) for name, item in value.items()}
        elif key not in _NOISE and (key, value) != ("additionalProperties", True):
            found[key] = _prune(value, definitions)
    return found


def _without(schema: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key not in keys}


def _without_null(schema: Mapping[str, Any]) -> dict[str, Any]:
    choices = [choice for choice in schema["anyOf"] if choice != {"type": "null"}]
    rest = _without(schema, {"anyOf"})
    return {**choices[0], **rest} if len(choices) == 1 else {**rest, "anyOf": choices}


def explain(tool: str, schema: Mapping[str, Any], error: ValidationError) -> str:
    """What was wrong with a call's arguments, and what is right, in a few sentences."""
    sentences = dict.fromkeys(
        _sentence(tool, schema, item) for item in error.errors(include_url=False)
    )
    shown = list(sentences)[:ERRORS_SHOWN]
    if len(sentences) > ERRORS_SHOWN:
        shown.append(f"And {len(sentences) - ERRORS_SHOWN} more.")
    return " ".join(shown)


def _sentence(tool: str, schema: Mapping[str, Any], item: Any) -> str:
    path, part = _follow(schema, item["loc"])
    kind = item["type"]
    if kind in {"extra_forbidden", "unexpected_keyword_argument"}:
        owner, takes = _owner(tool, schema, item["loc"])
        return f"{_shown(str(item['loc'][-1]))} is no argument of {owner}; it takes {takes}."
    if kind == "missing":
        return f"{path}: is missing; takes {describe(part)}."
    if kind == "value_error":
        reason = str(item["ctx"]["error"])
        takes = f"; takes {describe(part)}" if reason == NOT_JSON else ""
        return f"{path}: {reason}{takes}."
    if kind == "string_unicode":
        return f"{path}: holds half of a UTF-16 surrogate pair, which is no character."
    return f"{path}: got {_got(kind, item['input'])}; takes {describe(part)}."


def _follow(schema: Mapping[str, Any], location: tuple[int | str, ...]) -> tuple[str, Any]:
    """The path of an error as the caller wrote it, and the schema of what belongs there.

    A location also holds names of validators, which are no part of the input.
    """
    path = ""
    part: Any = schema
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
            part = _array_of(part).get("items", {})
        elif step in part.get("properties", {}):
            path += f".{step}" if path else step
            part = part["properties"][step]
    return path or "arguments", part


def _array_of(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    choices: list[Mapping[str, Any]] = schema.get("anyOf", [schema])
    return next((choice for choice in choices if choice.get("type") == "array"), {})


def _owner(
    tool: str, schema: Mapping[str, Any], location: tuple[int | str, ...]
) -> tuple[str, str]:
    path, part = _follow(schema, location[:-1])
    owner = tool if path == "arguments" else path
    return owner, ", ".join(part.get("properties", {}))


def _got(kind: str, value: Any) -> str:
    if kind in {"string_too_long", "string_too_short"}:
        return f"{len(value):,} characters"
    if kind in {"too_long", "too_short"}:
        return f"{len(value):,} items"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    return _shown(value)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"


def describe(schema: Mapping[str, Any]) -> str:
    """What a value may be, in words: "a text of 1 to 500 characters"."""
    if "anyOf" in schema:
        return " or ".join(describe(choice) for choice in schema["anyOf"])
    if "enum" in schema:
        return "one of " + ", ".join(schema["enum"])
    kind = schema.get("type")
    if kind == "string":
        return "a text" + _range(schema, "minLength", "maxLength", " characters", " of")
    if kind in {"integer", "number"}:
        number = "a whole number" if kind == "integer" else "a number"
        return number + _range(schema, "minimum", "maximum", "", "")
    if kind == "array":
        return "a list" + _range(schema, "minItems", "maxItems", " items", " of")
    return {"object": "an object", "boolean": "true or false"}.get(kind or "", "another value")


def _range(schema: Mapping[str, Any], low: str, high: str, unit: str, of: str) -> str:
    least, most = schema.get(low), schema.get(high)
    if most is None:
        return f"{of} at least {least:,}{unit}" if least is not None else ""
    if least is None:
        return f"{of} at most {most:,}{unit}"
    return f"{of or ' from'} {least:,} to {most:,}{unit}"
