"""What is built is what is on disk, and it is importable under one name only."""

import json
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from packaging.requirements import Requirement

import task_copilot_client

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS: dict[str, Any] = PYPROJECT["tool"]["setuptools"]

CLIENT = "task_copilot_client"
LINKED = {"tools": "task_copilot.tools", "events": "task_copilot.events"}
SOURCES = ("task_copilot", "tools", "events", CLIENT)
NOT_SOURCES = {"__pycache__", ".DS_Store"}


def files_below(folder: Path) -> Iterator[PurePosixPath]:
    """Every file of a source folder, relative to it, without following links."""
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or path.name in NOT_SOURCES or path.suffix == ".pyc":
            continue
        if path.is_dir():
            yield from (PurePosixPath(path.name) / below for below in files_below(path))
        else:
            yield PurePosixPath(path.name)


def source_files() -> set[str]:
    """Every source file under the name it has in an installation."""
    found = {f"task_copilot/{path}" for path in files_below(ROOT / "task_copilot")}
    for folder in LINKED:
        found |= {f"task_copilot/{folder}/{path}" for path in files_below(ROOT / folder)}
    found |= {f"{CLIENT}/{path}" for path in files_below(ROOT / CLIENT)}
    found |= {name + ".py" for name in SETUPTOOLS.get("py-modules", [])}
    return found


def packages_on_disk() -> set[str]:
    modules = (PurePosixPath(name) for name in source_files() if name.endswith(".py"))
    return {".".join(path.parent.parts) for path in modules if path.parent.parts}


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_packages_of_pyproject_are_the_packages_on_disk() -> None:
    listed = SETUPTOOLS["packages"]
    assert sorted(listed) == sorted(packages_on_disk()), "edit `packages` in pyproject.toml"


def test_the_modules_of_pyproject_are_the_modules_at_the_top_of_the_repository() -> None:
    on_disk = sorted(path.stem for path in ROOT.glob("*.py"))
    assert sorted(SETUPTOOLS.get("py-modules", [])) == on_disk, "edit `py-modules`"


def test_type_checks_cover_every_python_file() -> None:
    checked = PYPROJECT["tool"]["mypy"]["files"]
    folders = {path.relative_to(ROOT).parts[0] for path in ROOT.glob("[!.]*/**/*.py")}
    wanted = {name for name in folders if name not in {"build", "node_modules"}}
    wanted -= set(LINKED)  # reached through the links
    wanted |= {path.name for path in ROOT.glob("*.py")}
    assert set(checked) == wanted, "edit `files` of mypy in pyproject.toml"


def test_every_package_has_an_init_file() -> None:
    files = source_files()
    missing = [
        package
        for package in packages_on_disk()
        if package.replace(".", "/") + "/__init__.py" not in files
    ]
    assert missing == []


def test_the_build_takes_tools_and_events_from_the_top_of_the_repository() -> None:
    mapping = SETUPTOOLS["package-dir"]
    assert {package: folder for folder, package in LINKED.items()}.items() <= mapping.items()


@pytest.mark.parametrize("folder", LINKED)
def test_the_links_point_to_the_folders_at_the_top(folder: str) -> None:
    link = ROOT / "task_copilot" / folder
    assert link.is_symlink()
    assert link.readlink() == Path("..") / folder


@pytest.mark.parametrize("folder", LINKED)
def test_a_bare_import_is_refused_and_the_message_names_the_right_one(folder: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import {folder}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    message = done.stderr.strip().splitlines()[-1]
    assert message.startswith(f"ImportError: import task_copilot.{folder} instead of")


@pytest.mark.parametrize("folder", LINKED)
@pytest.mark.parametrize("statement", ["import {}", "from {} import anything"])
def test_lint_refuses_a_bare_import(folder: str, statement: str) -> None:
    ruff = (sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format=json")
    done = subprocess.run(
        [*ruff, "--stdin-filename=task_copilot/example.py", "-"],
        input=statement.format(folder) + "\n",
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "TID251" in {finding["code"] for finding in json.loads(done.stdout)}


def test_the_pinned_requirements_satisfy_the_project() -> None:
    pins = {}
    for line in (ROOT / "requirements" / "run.txt").read_text(encoding="utf-8").splitlines():
        if found := re.match(r"([\w.-]+)==([\w.]+)", line):
            pins[found[1].lower()] = found[2]
    for text in PYPROJECT["project"]["dependencies"]:
        wanted = Requirement(text)
        assert wanted.specifier.contains(pins[wanted.name.lower()]), f"{text}: run `make lock`"


@pytest.mark.parametrize("name", ["run", "build", "dev"])
def test_every_requirement_is_pinned_to_one_version(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    assert lines
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9._-]+==[\w.]+", line)] == []


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist, and the wheel built from it; made in a copy, as a build writes into its folder."""
    folder = tmp_path_factory.mktemp("build") / "checkout"
    folder.mkdir()
    for name in SOURCES:
        ignore = shutil.ignore_patterns(*NOT_SOURCES)
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=ignore)
    modules = [name + ".py" for name in SETUPTOOLS.get("py-modules", [])]
    for name in ["pyproject.toml", "README.md", "LICENSE", *modules]:
        shutil.copy(ROOT / name, folder)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", "dist", cwd=folder)
    (sdist,) = (folder / "dist").glob("*.tar.gz")
    (wheel,) = (folder / "dist").glob("*.whl")
    return sdist, wheel


@pytest.mark.xdist_group("distributions")
def test_the_sdist_holds_each_source_once_and_no_link(distributions: tuple[Path, Path]) -> None:
    with tarfile.open(distributions[0]) as archive:
        members = archive.getmembers()
    names = {str(PurePosixPath(*PurePosixPath(member.name).parts[1:])) for member in members}
    assert not [member.name for member in members if member.issym() or member.islnk()]
    assert {"tools/__init__.py", "events/__init__.py", "LICENSE", "README.md"} <= names
    linked = tuple(f"task_copilot/{folder}" for folder in LINKED)
    assert not [name for name in names if name.startswith(linked)]


@pytest.mark.xdist_group("distributions")
def test_the_wheel_holds_every_source_file_and_nothing_else(
    distributions: tuple[Path, Path],
) -> None:
    with zipfile.ZipFile(distributions[1]) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert names == source_files(), "a file that is not Python belongs in `package-data`"
    assert {"task_copilot/py.typed", f"{CLIENT}/py.typed"} <= names


@pytest.mark.xdist_group("distributions")
def test_the_top_level_of_the_wheel_is_the_package_and_its_metadata(
    distributions: tuple[Path, Path],
) -> None:
    with zipfile.ZipFile(distributions[1]) as wheel:
        top = {PurePosixPath(name).parts[0] for name in wheel.namelist()}
    (metadata,) = (name for name in top if name.endswith(".dist-info"))
    modules = {name + ".py" for name in SETUPTOOLS.get("py-modules", [])}
    assert top == {"task_copilot", CLIENT, metadata} | modules


@pytest.mark.xdist_group("distributions")
def test_an_installed_wheel_is_importable_without_the_sources(
    distributions: tuple[Path, Path], tmp_path: Path
) -> None:
    target = tmp_path / "installed"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    run(*pip, "--no-deps", "--no-index", "--target", target, distributions[1], cwd=tmp_path)
    # -S leaves out the .pth files, and with them an editable install of this checkout.
    dependencies = sysconfig.get_path("purelib")
    code = (
        f"import sys; sys.path += [{str(target)!r}, {dependencies!r}]\n"
        "import task_copilot.events, task_copilot.tools\n"
        "print(task_copilot.__file__)\n"
        "print(task_copilot.events.__file__)\n"
        "print(task_copilot.tools.__file__)\n"
    )
    printed = run(sys.executable, "-I", "-S", "-c", code, cwd=tmp_path).splitlines()
    folders = [Path(line).parent.relative_to(target).as_posix() for line in printed]
    assert folders == ["task_copilot", "task_copilot/events", "task_copilot/tools"]
    assert (target / "bin" / "task-copilot").exists()


PROGRAM_OF_A_USER = """
from datetime import UTC, datetime
from typing import Any, assert_type

from task_copilot.testing import MemoryServer
from task_copilot_client import AsyncTaskCopilotClient, Event, Gap, TaskCopilotClient, TaskRow


def told(gap: Gap) -> None:
    assert_type(gap.from_, int)


def changed(topic: str, event_type: str, data: dict[str, object]) -> None:
    print(topic.upper(), event_type.upper(), data["workspace"])


with TaskCopilotClient(on_gap=told, filter={"eventTypes": ["task.*"]}, since=0) as client:
    client.subscribe(["task:*"], changed, filter={"streams": ["Stream-A"]})
    assert_type(client.connect(keep_trying=True), bool)
    assert_type(client.tasks(status="blocked")["tasks"], list[TaskRow])
    assert_type(client.streams()["streams"][0]["progressPercentage"], float)


async def main() -> None:
    async with AsyncTaskCopilotClient("http://127.0.0.1:9090", poll_interval=5) as reading:
        async for event in reading.events(["*"], replay=3, batch={"maxEvents": 9}):
            assert_type(event, Event)
        assert_type((await reading.task("TASK-1"))["title"], str)
    async with MemoryServer(workspace="shop") as server:
        assert_type(server.async_client(wait=0), AsyncTaskCopilotClient)


with MemoryServer(clock=lambda: datetime.now(UTC)) as memory:
    assert_type(memory.client(since=0, on_gap=told, poll_interval=5), TaskCopilotClient)
    assert_type(memory.call("task_create", title="x", agent="ada"), dict[str, Any])
    TaskCopilotClient(memory.address, link=memory.link)
    memory.websocket = False
    memory.restart()
    memory.prune(keep=3)
"""

MISTAKES = """
from task_copilot.testing import MemoryServer
from task_copilot_client import TaskCopilotClient

MemoryServer().client(sinse=0)
MemoryServer(clock="now")
client = TaskCopilotClient(poll_interval="soon")
client.subscribe(["task:*"], None)
client.subscribe(["task:*"], print, filter={"stream": ["Stream-A"]})
"""


@pytest.mark.xdist_group("distributions")
def test_programs_are_checked_strictly_against_the_installed_client(
    distributions: tuple[Path, Path], tmp_path: Path
) -> None:
    run(sys.executable, "-m", "venv", "--without-pip", "user", cwd=tmp_path)
    python = tmp_path / "user" / "bin" / "python"
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    target = run(python, "-c", code, cwd=tmp_path).strip()
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    run(*pip, "--no-deps", "--no-index", "--target", target, distributions[1], cwd=tmp_path)
    (tmp_path / "right.py").write_text(PROGRAM_OF_A_USER)
    (tmp_path / "wrong.py").write_text(MISTAKES)
    mypy = (sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir=cache")
    found = [
        subprocess.run(
            [*mypy, f"--python-executable={python}", tmp_path / name],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        for name in ("right.py", "wrong.py")
    ]
    assert found[0].startswith("Success"), found[0]
    assert "Found 5 errors" in found[1], found[1]


def test_the_client_exports_what_it_promises() -> None:
    assert task_copilot_client.__all__ == [
        "AsyncTaskCopilotClient",
        "Batch",
        "CheckpointRow",
        "Event",
        "Filter",
        "Gap",
        "GapReason",
        "HubUnavailable",
        "Mode",
        "NotFound",
        "RequestRefused",
        "StreamList",
        "StreamRow",
        "StreamWithTasks",
        "SubtaskRow",
        "TaskCopilotClient",
        "TaskCopilotClientError",
        "TaskList",
        "TaskRow",
        "TaskWhole",
    ]
    assert all(hasattr(task_copilot_client, name) for name in task_copilot_client.__all__)
