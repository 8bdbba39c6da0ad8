"""Inputs that hypothesis draws, as a list: for servers that take them all at once.

A run is repeated with its seed, which is printed; nothing is shrunk, as the state of a server
that was sent thousands of inputs is not.
"""

import os
import secrets
from functools import cache
from itertools import chain, combinations
from typing import Any, TypeVar

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

Value = TypeVar("Value")

INPUTS = int(os.environ.get("FUZZ_INPUTS", "2000"))
"""How many each fuzzer sends; that of stdio sends half as many."""

SEED = int(os.environ.get("FUZZ_SEED") or secrets.randbits(32))

USES, FEWEST = 5, 120
"""Each drawn example is used so often, with other things wrong; but so many are drawn at least."""

CONDITIONS = ("required", "oneOf", "anyOf", "allOf", "dependentRequired")
"""What a schema of an object says about which of its properties are there."""

MOST_KEYS = 4
"""Of an object, or all of them."""

MOST_ITEMS = 3
MOST_CHARACTERS = 40


def drawn(strategy: st.SearchStrategy[Value], count: int, seed: int) -> list[Value]:
    """So many examples of a strategy."""
    found: list[Value] = []
    while len(found) < count:
        # It may stop early where it has seen everything.
        found += _examples(strategy, count - len(found), seed + len(found))
    return found


def _examples(strategy: st.SearchStrategy[Value], count: int, seed: int) -> list[Value]:
    found: list[Value] = []

    @hypothesis.seed(seed)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(value: Value) -> None:
        found.append(value)

    collect()
    return found


def of_schema(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that a JSON schema allows, of the kinds of schemas that this project publishes."""
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "anyOf" in schema and "properties" not in schema:
        return st.one_of([of_schema(each) for each in schema["anyOf"]])
    match schema.get("type"):
        case "object":
            return _objects(schema)
        case "array":
            return _lists(schema)
        case "string":
            return _texts(schema)
        case "integer" | "number":
            return st.integers(schema.get("minimum"), schema.get("maximum"))
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
    return st.sampled_from([None, True, 0, 1.5, "", "text", [], {}])


def _lists(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    least = schema.get("minItems", 0)
    most = min(schema.get("maxItems", MOST_ITEMS), least + MOST_ITEMS)
    return st.lists(of_schema(schema.get("items", {})), min_size=least, max_size=most)


def _texts(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    most = schema.get("maxLength", MOST_CHARACTERS)
    if "pattern" in schema:
        return st.from_regex(schema["pattern"], fullmatch=True).filter(
            lambda text: len(text) <= most
        )
    least = schema.get("minLength", 0)
    characters = st.characters(exclude_categories=["Cs"])
    return st.text(characters, min_size=least, max_size=min(most, MOST_CHARACTERS))


def _objects(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    properties = {name: of_schema(each) for name, each in schema.get("properties", {}).items()}
    if not properties:
        return st.dictionaries(st.text(max_size=5), st.integers(), max_size=2)
    shapes = [
        st.fixed_dictionaries({name: properties[name] for name in names})
        for names in _key_sets(schema)
    ]
    return st.sampled_from(shapes).flatmap(lambda shape: shape)


def _key_sets(schema: dict[str, Any]) -> list[tuple[str, ...]]:
    """Which properties may be there together."""
    conditions = {name: schema[name] for name in CONDITIONS if name in schema}
    check = Draft202012Validator(conditions)
    allowed = [
        names
        for names in _subsets(tuple(schema["properties"]))
        if check.is_valid(dict.fromkeys(names, 0))
    ]
    assert allowed, f"no object fits {conditions}"
    return allowed


@cache
def _subsets(names: tuple[str, ...]) -> list[tuple[str, ...]]:
    sizes = {*range(min(MOST_KEYS, len(names)) + 1), len(names)}
    return list(chain.from_iterable(combinations(names, size) for size in sorted(sizes)))
