"""Writes all that is generated in docs/: both documents, and the tables of the pages.

    python docs/generate.py          writes what is stale
    python docs/generate.py --check  says what is stale, and fails

A generated part of a page stands between ``<!-- name -->`` and ``<!-- /name -->``.
"""

import ast
import fnmatch
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import MISSING
from functools import partial
from inspect import cleandoc
from pathlib import Path
from typing import Any

import click

from task_copilot.api.routes import ROUTES
from task_copilot.cli import COMMANDS
from task_copilot.cli import main as command_line
from task_copilot.description import asyncapi, openapi
from task_copilot.description.words import FIELDS
from task_copilot.events.messages import (
    CLIENT_MESSAGES,
    CLOSE_CODES,
    ERRORS,
    SERVER_MESSAGES,
)
from task_copilot.events.types import EVENT_CLASSES
from task_copilot.schema import describe
from task_copilot.settings import declared, environment_variable, flag
from task_copilot.tools.registry import TOOLS

FOLDER = Path(__file__).resolve().parent
LAYERS = FOLDER.parent / "tests" / "unit" / "test_layers.py"
WIDTH = 62


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of Markdown."""
    titles = list(head)
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def tools() -> str:
    """A section for each tool, with its arguments."""
    return "\n\n".join(_tool(tool.name, tool.description, tool.input_schema) for tool in TOOLS)


def _tool(name: str, about: str, schema: dict[str, Any]) -> str:
    required = schema.get("required", [])
    rows = [
        (
            f"`{argument}`",
            describe(part) + ("" if argument not in required else "; required"),
            part.get("description", ""),
        )
        for argument, part in schema["properties"].items()
    ]
    return f"### {name}\n\n{about}\n\n{table(['argument', 'takes', 'note'], rows)}"


def events() -> str:
    """Every type of event with the fields that only it has."""
    schemas = asyncapi.document()["components"]["schemas"]
    rows = []
    for event_class in EVENT_CLASSES:
        own = set(schemas[f"{event_class.__name__}Data"]["properties"]) - set(
            _common(event_class.kind)
        )
        names = [name for name in FIELDS if name in own]
        topic = f"{event_class.kind}:{{{'streamId' if event_class.kind == 'stream' else 'taskId'}}}"
        rows.append((f"`{event_class.event_type}`", f"`{topic}`", _names(names)))
    return table(["event", "topic", "fields besides the common ones"], rows)


def _common(kind: str) -> list[str]:
    schemas = asyncapi.document()["components"]["schemas"]
    family = [
        schemas[f"{event_class.__name__}Data"]["properties"]
        for event_class in EVENT_CLASSES
        if event_class.kind == kind
    ]
    return [name for name in family[0] if all(name in fields for fields in family)]


def common_fields() -> str:
    """The fields that every event of a family has."""
    kinds = dict.fromkeys(event_class.kind for event_class in EVENT_CLASSES)
    return table(
        ["events", "fields of each"], [(f"`{kind}.*`", _names(_common(kind))) for kind in kinds]
    )


def fields_of_events() -> str:
    """What each field of an event means."""
    schemas = asyncapi.document()["components"]["schemas"]
    types: dict[str, list[str]] = {}
    for event_class in EVENT_CLASSES:
        for name, part in schemas[f"{event_class.__name__}Data"]["properties"].items():
            types.setdefault(name, []).append(_type(part))
    return table(
        ["field", "type", "meaning"],
        [
            (f"`{name}`", max(found, key=len), FIELDS[name]["description"])
            for name, found in types.items()
        ],
    )


def _type(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_type(part) for part in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "$ref" in schema:
        return f"`{schema['$ref'].rpartition('/')[2]}`"
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}s"
    return str(schema.get("type", "any"))


def messages() -> str:
    """What either side sends."""
    schemas = asyncapi.document()["components"]["schemas"]
    rows = []
    for side, kinds in (("client", CLIENT_MESSAGES), ("server", SERVER_MESSAGES)):
        for kind, declaration in kinds.items():
            payload = schemas[f"{side.title()}{kind.title()}"]["properties"]["payload"]
            if kind == "event":
                payload = schemas[EVENT_CLASSES[0].__name__]
            fields = _names(payload["properties"]) or "none"
            rows.append((side, f"`{kind}`", fields, declaration.__doc__ or ""))
    return table(["from", "type", "fields of `payload`", "meaning"], rows)


def errors() -> str:
    """The codes of errors."""
    return table(["code", "when"], [(f"`{code}`", about) for code, about in ERRORS.items()])


def close_codes() -> str:
    """The codes with which the server closes."""
    return table(["code", "when"], [(str(code), about) for code, about in CLOSE_CODES.items()])


def routes() -> str:
    """Every route of the HTTP API."""
    rows = []
    for route in ROUTES:
        takes = [part["name"] for part in openapi.parameters(route) if part["in"] == "query"]
        takes += [] if route.body is None else [f"body {name}" for name in _body_fields(route.body)]
        rows.append((f"`{route.method} {route.path}`", route.summary, _names(takes)))
    return table(["route", "answers", "takes"], rows)


def _body_fields(body: Any) -> list[str]:
    return list(body.model_json_schema(by_alias=True)["properties"])


def answers() -> str:
    """The fields of every answer."""
    schemas = openapi.document()["components"]["schemas"]
    shown = {route.answer.__name__ for route in ROUTES if route.answer is not None}
    shown |= {name for name in schemas if name.endswith("Row")}
    rows = [
        (f"`{name}`", _names(f"{field}" for field in schemas[name]["properties"]))
        for name in schemas
        if name in shown
    ]
    return table(["object", "fields"], rows)


def settings() -> str:
    """Every setting."""
    rows = []
    for item in declared():
        about = item.metadata["about"].partition(" [default:")
        default = "" if item.default in (None, MISSING) else f"`{item.default}`"
        default = "off" if item.default is False else default
        default = default or about[2].removesuffix("]").strip()
        default = default or ("none" if item.default is None else "a file in the data directory")
        rows.append(
            (f"`{flag(item)}`", f"`{environment_variable(item)}`", default, _about(item, about[0]))
        )
    return table(["flag", "environment variable", "default", "meaning"], rows)


def _about(item: Any, text: str) -> str:
    limits = item.metadata
    if limits["choices"]:
        return f"{text} One of {_names(limits['choices'])}."
    if limits["minimum"] is not None:
        return f"{text} {limits['minimum']:,} to {limits['maximum']:,}."
    return text


def _declared(name: str) -> click.Command:
    found = command_line.get_command(click.Context(command_line), name)
    assert found is not None  # noqa: S101 - for the type checker
    return found


def command(name: str) -> str:
    """What the command line says of a command: how it is called, and its options."""
    declaration = _declared(name)
    context = click.Context(declaration, info_name=f"task-copilot {name}")
    usage = " ".join([context.command_path, *declaration.collect_usage_pieces(context)])
    about = cleandoc(declaration.help or "")
    options = [
        each.get_help_record(context)
        for each in declaration.get_params(context)
        if isinstance(each, click.Option)
    ]
    rows = [(f"`{flags}`", text) for flags, text in filter(None, options) if "--help" not in flags]
    shown = f"\n\n{table(['option', 'meaning'], rows)}" if rows else ""
    return f"```text\n{usage}\n```\n\n{about}{shown}"


def layers() -> str:
    """The layers from top to bottom, with what is in them."""
    line = f"+{'-' * WIDTH}+"
    drawn = [line]
    for name, patterns in _layers().items():
        if modules := _existing(patterns):
            drawn.append(f"| {name:<{WIDTH - 1}}|")
            drawn += [f"|   {text:<{WIDTH - 3}}|" for text in _wrapped(modules)]
            drawn.append(line)
    return "\n".join(["```text", *drawn, "```"])


def _layers() -> dict[str, list[str]]:
    for node in ast.parse(LAYERS.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "LAYERS":
            assert node.value is not None  # noqa: S101 - for the type checker
            found: dict[str, list[str]] = ast.literal_eval(node.value)
            return found
    raise LookupError(f"{LAYERS} has no table of layers")


def _existing(patterns: list[str]) -> list[str]:
    """Those that exist, in the place where a reader finds them."""
    return [
        shown
        for module, shown in _places()
        if any(fnmatch.fnmatchcase(module, pattern) for pattern in patterns)
    ]


def _places() -> Iterator[tuple[str, str]]:
    """Modules and packages by their names, each with its place in the repository."""
    root = FOLDER.parent
    for path in sorted((root / "task_copilot").iterdir()):
        if path.suffix == ".py" and not path.stem.startswith("__"):
            yield f"task_copilot.{path.stem}", path.stem
        elif (path / "__init__.py").exists() and not path.is_symlink():
            yield f"task_copilot.{path.name}", f"{path.name}/"
    for path in sorted((root / "events").glob("[!_]*.py")):
        yield f"task_copilot.events.{path.stem}", f"events/{path.stem}"
    yield "task_copilot.tools", "tools/"


def _wrapped(words: list[str]) -> list[str]:
    lines = [""]
    for word in words:
        if len(lines[-1]) + len(word) + 1 > WIDTH - 3:
            lines.append("")
        lines[-1] += f"{' ' if lines[-1] else ''}{word}"
    return [line for line in lines if line]


PARTS: dict[str, Callable[[], str]] = {
    "tools": tools,
    "events": events,
    "common-fields": common_fields,
    "fields-of-events": fields_of_events,
    "messages": messages,
    "errors": errors,
    "close-codes": close_codes,
    "routes": routes,
    "answers": answers,
    "settings": settings,
    "layers": layers,
    **{f"cli-{name}": partial(command, name) for name in COMMANDS},
}


def with_parts(text: str) -> str:
    """The text of a page with its generated parts made anew."""

    def fill(found: re.Match[str]) -> str:
        name = found[1]
        return f"<!-- {name} -->\n\n{PARTS[name]()}\n\n<!-- /{name} -->"

    return re.sub(r"<!-- ([a-z-]+) -->.*?<!-- /\1 -->", fill, text, flags=re.DOTALL)


def contents() -> dict[Path, str]:
    """Every file that is generated, or has parts that are, as it should be."""
    found = {
        FOLDER / "asyncapi.json": _json(asyncapi.document()),
        FOLDER / "openapi.json": _json(openapi.document()),
    }
    pages = sorted(FOLDER.glob("*.md"))
    return found | {page: with_parts(page.read_text(encoding="utf-8")) for page in pages}


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def stale() -> dict[Path, str]:
    """Those of `contents` that are different on disk."""
    return {
        path: text
        for path, text in contents().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    }


def main() -> int:
    """Writes, or only checks."""
    check = "--check" in sys.argv[1:]
    for path, text in stale().items():
        print(f"docs/{path.name} {'is stale: run `make docs`' if check else 'written'}")
        if not check:
            path.write_text(text, encoding="utf-8")
    return int(check and bool(stale()))


if __name__ == "__main__":
    raise SystemExit(main())
