"""Imports point downwards, and what must not be called in a layer is not called there."""

import ast
import fnmatch
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# From top to bottom. A module may import modules of its own layer and of layers below it.
# A new module is added here: its full name, or a pattern (`*` also stands for dots).
# Every module belongs to exactly one layer.
LAYERS: dict[str, list[str]] = {
    "command line and composition": [
        "task_copilot.__main__",
        "task_copilot.access",
        "task_copilot.access.*",
        "task_copilot.announced",
        "task_copilot.api",
        "task_copilot.api.*",
        "task_copilot.application",
        "task_copilot.cli",
        "task_copilot.commands",
        "task_copilot.commands.*",
        "task_copilot.orchestrator",
        "task_copilot.orchestrator.*",
        "task_copilot.dashboard",
        "task_copilot.dashboard.*",
        "task_copilot.description",
        "task_copilot.description.*",
        "task_copilot.entrance",
        "task_copilot.guard",
        "task_copilot.mcp_http",
        "task_copilot.mcp_http.*",
        "task_copilot.metrics",
        "task_copilot.hub",
        "task_copilot.launch",
        "task_copilot.leader",
        "task_copilot.ports",
        "task_copilot.protocols",
        "task_copilot.hub.*",
        "task_copilot.server",
        "task_copilot.server.*",
        "task_copilot.standalone",
        "task_copilot.stdio",
        "task_copilot.stdio.*",
        "task_copilot.strict_websocket",
        "task_copilot.succession",
        "task_copilot.tail",
        "task_copilot.testing",
        "task_copilot.testing.*",
        "task_copilot.wakeup",
        "task_copilot.web",
        "task_copilot.web.*",
    ],
    "tools": [
        "task_copilot.tools",
        "task_copilot.tools.*",
    ],
    "client": [
        "task_copilot.client",
        "task_copilot.client.*",
        "task_copilot_client",
    ],
    "transports of events": [
        "task_copilot.events.feed",
        "task_copilot.events.connection",
        "task_copilot.events.http",
        "task_copilot.events.live",
        "task_copilot.events.pulse",
        "task_copilot.events.session",
        "task_copilot.events.sse",
        "task_copilot.events.websocket",
    ],
    "one listener's side of the protocol": [
        "task_copilot.events.listener",
        "task_copilot.events.listeners",
        "task_copilot.events.reader",
        "task_copilot.events.requests",
    ],
    "domain": [
        "task_copilot.activity",
        "task_copilot.archive",
        "task_copilot.checkpoints",
        "task_copilot.glance",
        "task_copilot.ids",
        "task_copilot.move",
        "task_copilot.overview",
        "task_copilot.past",
        "task_copilot.past_*",
        "task_copilot.purge",
        "task_copilot.redact",
        "task_copilot.redacted",
        "task_copilot.requests",
        "task_copilot.stream_*",
        "task_copilot.streams",
        "task_copilot.task_*",
        "task_copilot.tasks",
        "task_copilot.transfer",
        "task_copilot.transfer_rows",
        "task_copilot.workspaces",
    ],
    "event log": [
        "task_copilot.events",
        "task_copilot.events.bus",
        "task_copilot.events.filters",
        "task_copilot.events.frames",
        "task_copilot.events.log",
        "task_copilot.events.matching",
        "task_copilot.events.messages",
        "task_copilot.events.pages",
        "task_copilot.events.retention",
        "task_copilot.events.topics",
        "task_copilot.events.types",
        "task_copilot.events.wakeup",
        "task_copilot.events.window",
    ],
    "database": [
        "task_copilot.database",
        "task_copilot.database.*",
    ],
    "foundation": [
        "task_copilot",
        "task_copilot.bearer",
        "task_copilot.buckets",
        "task_copilot.clock",
        "task_copilot.cursors",
        "task_copilot.credentials",
        "task_copilot.database_file",
        "task_copilot.errors",
        "task_copilot.identity",
        "task_copilot.jsontext",
        "task_copilot.location",
        "task_copilot.patience",
        "task_copilot.places",
        "task_copilot.private",
        "task_copilot.runtime",
        "task_copilot.schema",
        "task_copilot.settings",
        "task_copilot.text",
    ],
}

# The client is copied into other people's programs: of the server it may know only this.
CLIENT_MAY_IMPORT = [
    "task_copilot",
    "task_copilot.bearer",  # which token goes to which hub
    "task_copilot.buckets",  # so that it does not send faster than a hub takes
    "task_copilot.client",
    "task_copilot.client.*",
    "task_copilot.credentials",  # the token of this user's own hub
    "task_copilot.errors",  # what reading that raises
    "task_copilot.events.topics",
    "task_copilot.events.types",
    "task_copilot.places",  # where the hub is
    "task_copilot.private",
    "task_copilot.runtime",
    "task_copilot.settings",
    "task_copilot_client",
]

# Closing any descriptor of a database file drops every SQLite lock of the process, so these layers
# open no files at all. (module, call) -> why that call cannot meet a database file.
NO_FILES_IN = ["domain", "event log", "database"]
FILES_ALLOWED: dict[tuple[str, str], str] = {}

# Standard output carries MCP messages: one module writes them, the command line prints for people.
STDOUT_ALLOWED = ["task_copilot.cli", "task_copilot.stdio.descriptors"]


@dataclass(frozen=True)
class Module:
    name: str
    path: str
    tree: ast.Module
    is_package: bool = False


@dataclass(frozen=True)
class Import:
    source: Module
    line: int
    target: str

    @property
    def place(self) -> str:
        return f"{self.source.path}:{self.line}"


def module(name: str, path: str, text: str) -> Module:
    return Module(name, path, ast.parse(text, path), is_package=path.endswith("__init__.py"))


@cache
def project() -> Mapping[str, Module]:
    """Every module of the program by name; tools/ and events/ are read where they stand."""
    found = {}
    folders = {"task_copilot": "task_copilot"}
    folders |= {name: f"task_copilot.{name}" for name in ("tools", "events")}
    for folder, package in folders.items():
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            if folder == "task_copilot" and parts[0] in {"tools", "events"}:
                continue
            name = ".".join([package, *parts]).removesuffix(".__init__")
            found[name] = module(name, str(path.relative_to(ROOT)), path.read_text("utf-8"))
    client = ROOT / "task_copilot_client" / "__init__.py"
    found["task_copilot_client"] = module(
        "task_copilot_client", str(client.relative_to(ROOT)), client.read_text("utf-8")
    )
    return found


def matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def layers_of(name: str) -> list[str]:
    return [layer for layer, patterns in LAYERS.items() if matches(name, patterns)]


def imports(modules: Mapping[str, Module]) -> Iterator[Import]:
    """Every import of one module of the program by another, wherever in the file it stands."""
    for source in modules.values():
        for node in ast.walk(source.tree):
            if not isinstance(node, ast.Import | ast.ImportFrom | ast.Call):
                continue
            for target in imported_names(source, node, modules):
                if target in modules and target != source.name:
                    yield Import(source, node.lineno, target)


def imported_names(source: Module, node: ast.AST, modules: Mapping[str, Module]) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            yield from (name.name for name in names)
        case ast.ImportFrom(module=base, names=names, level=level):
            if level:
                parents = source.name.split(".")
                parents = parents[: len(parents) - level + source.is_package]
                base = ".".join([*parents, *([base] if base else [])])
            for name in names:
                submodule = f"{base}.{name.name}"
                yield submodule if submodule in modules else str(base)
        case ast.Call(func=func, args=[ast.Constant(value=str(target)), *_]):
            if last_name(func) in {"import_module", "__import__"}:
                yield target


def last_name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def dotted_name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=name):
            return f"{dotted_name(value)}.{name}"
    return "?"


def upward_imports(modules: Mapping[str, Module]) -> list[str]:
    order = list(LAYERS)
    return [
        f"{one.place}: {one.source.name} ({source}) imports {one.target} ({target})"
        for one in imports(modules)
        for source in layers_of(one.source.name)
        for target in layers_of(one.target)
        if order.index(target) < order.index(source)
    ]


def cycles(modules: Mapping[str, Module]) -> list[str]:
    """One line a cycle of imports, with the place of each import in it."""
    graph: dict[str, dict[str, Import]] = defaultdict(dict)
    for one in imports(modules):
        graph[one.source.name].setdefault(one.target, one)
    done: set[str] = set()
    found = []

    def visit(name: str, path: list[Import]) -> None:
        for target, one in graph[name].items():
            on_path = [step.source.name for step in [*path, one]]
            if target in on_path:
                steps = [*path, one][on_path.index(target) :]
                found.append(" -> ".join(f"{step.target} ({step.place})" for step in steps))
            elif target not in done:
                visit(target, [*path, one])
        done.add(name)

    for name in sorted(modules):
        if name not in done:
            visit(name, [])
    return found


def aliases(tree: ast.Module) -> dict[str, str]:
    """What the names that a module imports stand for: `sleep` -> `time.sleep`."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {name.asname: name.name for name in node.names if name.asname}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {name.asname or name.name: f"{node.module}.{name.name}" for name in node.names}
    return names


def calls(tree: ast.Module, within: Iterable[ast.AST] | None = None) -> Iterator[tuple[int, str]]:
    """Line and full name of every call."""
    known = aliases(tree)
    for node in ast.walk(tree) if within is None else within:
        if isinstance(node, ast.Call):
            first, dot, rest = dotted_name(node.func).partition(".")
            yield node.lineno, known.get(first, first) + dot + rest


def file_calls(source: Module) -> Iterator[tuple[int, str]]:
    methods = {"read_bytes", "read_text", "write_bytes", "write_text", "copyfile", "fdopen"}
    for line, name in calls(source.tree):
        last = name.rpartition(".")[2]
        if last == "open" or last in methods or name.startswith("shutil."):
            yield line, name


def body_of(function: ast.AsyncFunctionDef) -> Iterator[ast.AST]:
    """What runs when the coroutine runs: not the functions that are only defined in it."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node
            waiting.extend(ast.iter_child_nodes(node))


def sleeps_in_coroutines(source: Module) -> Iterator[int]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.AsyncFunctionDef):
            for line, name in calls(source.tree, body_of(node)):
                if name == "time.sleep":
                    yield line


def uses_of_stdout(source: Module) -> Iterator[int]:
    yield from (line for line, name in calls(source.tree) if name in {"print", "builtins.print"})
    known = aliases(source.tree)
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Name | ast.Attribute):
            first, dot, rest = dotted_name(node).partition(".")
            if known.get(first, first) + dot + rest in {"sys.stdout", "sys.__stdout__"}:
                yield node.lineno


# --- the program ---


def test_every_module_belongs_to_exactly_one_layer() -> None:
    wrong = [
        f"{one.path}: {name} is in {layers_of(name) or 'no layer'}"
        for name, one in project().items()
        if len(layers_of(name)) != 1
    ]
    assert wrong == [], "edit LAYERS in tests/unit/test_layers.py"


def test_imports_point_downwards() -> None:
    assert upward_imports(project()) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert cycles(project()) == []


def test_the_client_knows_only_the_vocabulary_of_the_server() -> None:
    wrong = [
        f"{one.place}: imports {one.target}"
        for one in imports(project())
        if layers_of(one.source.name) == ["client"] and not matches(one.target, CLIENT_MAY_IMPORT)
    ]
    assert wrong == []


def test_layers_that_know_the_database_open_no_files() -> None:
    wrong = [
        f"{one.path}:{line}: {name}()"
        for one in project().values()
        if set(layers_of(one.name)) & set(NO_FILES_IN)
        for line, name in file_calls(one)
        if (one.name, name) not in FILES_ALLOWED
    ]
    assert wrong == [], "closing a descriptor of a database file drops the locks of the process"


def test_no_coroutine_blocks_the_loop_with_a_sleep() -> None:
    wrong = [
        f"{one.path}:{line}" for one in project().values() for line in sleeps_in_coroutines(one)
    ]
    assert wrong == []


def test_nothing_but_the_mcp_transport_and_the_command_line_writes_to_standard_output() -> None:
    wrong = [
        f"{one.path}:{line}"
        for one in project().values()
        if not matches(one.name, STDOUT_ALLOWED)
        for line in uses_of_stdout(one)
    ]
    assert wrong == []


def test_no_committed_file_names_a_package_index() -> None:
    index = re.compile(
        r"(?<!no-emit-)index-url|(?<!no-emit-)find-links|(?<!no-emit-)trusted-host"
        r"|(?:https?|file)://[^\s\"'<>]+/simple\b|//registry\.|PIP_(?:EXTRA_)?INDEX_URL",
        re.IGNORECASE,
    )
    made = {".git", ".venv", "build", "dist", "node_modules", "__pycache__", ".hypothesis"}
    made |= {".mypy_cache", ".pytest_cache", ".ruff_cache"}
    wrong = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = sorted(set(folders) - made)
        for path in (Path(folder) / name for name in files):
            if path == Path(__file__).resolve() or "egg-info" in folder or not path.is_file():
                continue
            text = path.read_bytes().decode("utf-8", "replace")
            for number, line in enumerate(text.splitlines(), 1):
                if index.search(line):
                    wrong.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert wrong == []


# --- the checks themselves, on programs that break the rules ---

LOWER = module("task_copilot.clock", "task_copilot/clock.py", "")
UPPER = module("task_copilot.tasks", "task_copilot/tasks.py", "")


@pytest.mark.parametrize(
    "text",
    [
        "\nimport task_copilot.tasks",
        "\nfrom task_copilot import tasks",
        "\nfrom task_copilot.tasks import create",
        "\nfrom . import tasks",
        "\nfrom .tasks import create",
        "def f():\n    import task_copilot.tasks",
        "if TYPE_CHECKING:\n    from task_copilot import tasks",
        "import importlib\nimportlib.import_module('task_copilot.tasks')",
    ],
)
def test_an_import_of_a_higher_layer_is_found_with_its_place(text: str) -> None:
    planted = module(LOWER.name, LOWER.path, text)
    (found,) = upward_imports({planted.name: planted, UPPER.name: UPPER})
    assert found.startswith("task_copilot/clock.py:2: ")


def test_an_import_of_a_lower_layer_is_accepted() -> None:
    planted = module(UPPER.name, UPPER.path, "from task_copilot import clock")
    assert upward_imports({planted.name: planted, LOWER.name: LOWER}) == []


def test_a_circle_of_imports_is_found_with_the_place_of_each() -> None:
    tasks = module("task_copilot.tasks", "tasks.py", "from task_copilot import streams")
    streams = module("task_copilot.streams", "streams.py", "def f():\n  import task_copilot.tasks")
    (found,) = cycles({tasks.name: tasks, streams.name: streams})
    assert "tasks.py:1" in found
    assert "streams.py:2" in found


@pytest.mark.parametrize(
    "text",
    [
        "open('x')",
        "path.open()",
        "Path('x').read_bytes()",
        "Path('x').write_text('')",
        "import os\nos.open('x', 0)",
        "import shutil\nshutil.copy('a', 'b')",
        "from shutil import copy as c\nc('a', 'b')",
    ],
)
def test_a_call_that_opens_a_file_is_found(text: str) -> None:
    assert list(file_calls(module("m", "m.py", text)))


@pytest.mark.parametrize(
    "text",
    [
        "import time\nasync def f():\n  time.sleep(1)",
        "from time import sleep\nasync def f():\n  if x:\n    sleep(1)",
        "import time as t\nasync def f():\n  async with x:\n    t.sleep(1)",
    ],
)
def test_a_sleep_in_a_coroutine_is_found(text: str) -> None:
    assert list(sleeps_in_coroutines(module("m", "m.py", text)))


def test_a_sleep_in_a_thread_that_a_coroutine_starts_is_accepted() -> None:
    text = "import time\nasync def f():\n  def work():\n    time.sleep(1)\n  await run(work)"
    assert list(sleeps_in_coroutines(module("m", "m.py", text))) == []


@pytest.mark.parametrize(
    "text",
    ["print(1)", "import sys\nsys.stdout.write('')", "from sys import stdout\nstdout.flush()"],
)
def test_a_write_to_standard_output_is_found(text: str) -> None:
    assert list(uses_of_stdout(module("m", "m.py", text)))
