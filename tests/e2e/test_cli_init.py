"""``task-copilot init`` adds what an agent needs to a project, and takes it out again."""

import json
import stat
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2e.raw_mcp import RawMcp
from e2e.shells import Shell
from task_copilot.commands import block, init, jsonedit

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links and permissions")


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    return Shell(tmp_path, monkeypatch)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_an_empty_project_gets_both_files_and_loses_them_again(shell: Shell) -> None:
    said = shell.said("init")
    assert [line.rpartition("/")[2] for line in said.splitlines()] == [
        ".mcp.json: made, with the server task-copilot.",
        "CLAUDE.md: made, with a block for agents.",
    ]
    once = files(shell.folder)
    assert shell.said("init") == f"{shell.folder}: nothing to do.\n"
    assert files(shell.folder) == once
    assert json.loads(once[".mcp.json"])["mcpServers"]["task-copilot"]["args"] == [
        *("-m", "task_copilot")
    ]
    assert "removed" in shell.said("init", "--remove")
    assert files(shell.folder) == {}
    assert shell.said("init", "--remove") == f"{shell.folder}: nothing to remove.\n"


async def test_an_agent_can_start_what_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = Shell(tmp_path, monkeypatch)
    shell.said("init")
    server = json.loads((shell.folder / ".mcp.json").read_text())["mcpServers"]["task-copilot"]
    environment = {"XDG_DATA_HOME": str(shell.home / "data"), **server["env"]}
    async with RawMcp([server["command"], *server["args"]], environment, shell.folder) as mcp:
        greeting = await mcp.initialize(timeout=30)
        assert "Workspace: project" in greeting["instructions"]
        mcp.close_stdin()
        assert await mcp.wait_exit() == 0


def test_the_command_stands_there_where_it_is_on_the_path(shell: Shell) -> None:
    folder = shell.home / "bin"
    folder.mkdir()
    command = folder / "task-copilot"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    shell.said("init", PATH=str(folder))
    example = Path(__file__).parents[2] / "claude_config.example.json"
    written = json.loads((shell.folder / ".mcp.json").read_text())
    assert written == json.loads(example.read_text())


def test_dry_run_only_says(shell: Shell) -> None:
    (shell.folder / "AGENTS.md").write_text("# Rules\n")
    before = files(shell.folder)
    said = shell.said("init", "--dry-run")
    assert said.count("not done, only said: ") == 2
    assert files(shell.folder) == before
    shell.said("init")
    before = files(shell.folder)
    assert shell.said("init", "--remove", "--dry-run").count("not done, only said: ") == 2
    assert files(shell.folder) == before


@pytest.mark.parametrize(
    ("there", "chosen"),
    [(["CLAUDE.md", "AGENTS.md"], "CLAUDE.md"), (["AGENTS.md"], "AGENTS.md"), ([], "CLAUDE.md")],
)
def test_the_block_goes_into_the_file_that_is_there(
    shell: Shell, there: list[str], chosen: str
) -> None:
    for name in there:
        (shell.folder / name).write_text("# Rules\n")
    shell.said("init")
    with_block = [n for n, text in files(shell.folder).items() if block.START.encode() in text]
    assert with_block == [chosen]
    assert (shell.folder / chosen).read_text().endswith(f"{block.END}\n")
    shell.said("init", "--remove")
    assert files(shell.folder) == dict.fromkeys(there, b"# Rules\n")


def test_below_a_repository_its_top_is_set_up_and_each_worktree_for_itself(shell: Shell) -> None:
    (shell.folder / ".git").mkdir()
    worktree = shell.home / "worktree"
    worktree.mkdir()
    (worktree / ".git").write_text(f"gitdir: {shell.folder}/.git/worktrees/w\n")
    shell.go(shell.folder / "src" / "deep")
    shell.said("init")
    assert (shell.folder / ".mcp.json").exists()
    shell.go(worktree / "src")
    shell.said("init")
    assert (worktree / ".mcp.json").exists()


@pytest.mark.parametrize("place", ["/", "~"])
def test_what_is_no_project_is_refused(shell: Shell, place: str) -> None:
    shell.go(Path(place).expanduser())
    assert "is no project" in shell.refused("init")
    assert "is no project" in shell.refused("init", "--remove")


def test_links_and_permissions_stay(shell: Shell) -> None:
    real = shell.folder / "AGENTS.md"
    real.write_text("# Rules\n")
    real.chmod(0o640)
    link = shell.folder / "CLAUDE.md"
    link.symlink_to("AGENTS.md")
    shell.said("init")
    assert link.is_symlink()
    assert block.START in real.read_text()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    shell.said("init", "--remove")
    assert link.is_symlink()
    assert real.read_text() == "# Rules\n"
    assert not list(shell.folder.glob(".*.tmp*"))


def test_a_server_that_is_there_stays_as_it_is(shell: Shell) -> None:
    path = shell.folder / ".mcp.json"
    own = (
        '{"mcpServers": {"task-copilot": {"command": "task-copilot", "args": ["--port", "9190"]}}}'
    )
    path.write_text(own)
    shell.said("init")
    assert path.read_text() == own
    shell.said("init", "--remove")
    assert json.loads(path.read_text()) == {"mcpServers": {}}


def test_a_foreign_server_of_the_same_name_is_not_removed(shell: Shell) -> None:
    path = shell.folder / ".mcp.json"
    foreign = '{"mcpServers": {"task-copilot": {"command": "other"}}}'
    path.write_text(foreign)
    assert "nothing to remove" in shell.said("init", "--remove")
    assert path.read_text() == foreign


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "line 1, column 1"),
        ("{\n  'a': 1\n}", "line 2, column 3"),
        ('{\n "a": 1,\n}', "line "),
        ("[]", "line 1: the whole is no object"),
        ('{"mcpServers": []}', "line 1, column 16: 'mcpServers' is no object"),
        ('{"mcpServers": {},\n "mcpServers": {}}', "line 2, column 2: 'mcpServers' is there twice"),
        ("[" * 100_000, "nested too deep"),
        ("\xff", "byte 1 is not UTF-8"),
    ],
)
def test_broken_json_is_refused_with_the_place_and_nothing_is_written(
    shell: Shell, text: str, place: str
) -> None:
    (shell.folder / ".mcp.json").write_bytes(text.encode("latin-1"))
    before = files(shell.folder)
    for words in (("init",), ("init", "--remove")):
        reason = shell.refused(*words)
        assert place in reason
        assert "Nothing was changed" in reason
        assert files(shell.folder) == before


@pytest.mark.parametrize("text", [block.START, block.END, f"{block.END}\n{block.START}"])
def test_half_a_block_is_left_alone(shell: Shell, text: str) -> None:
    (shell.folder / "CLAUDE.md").write_text(text)
    for words in (("init",), ("init", "--remove")):
        assert "are not there once each" in shell.refused(*words)
    assert files(shell.folder) == {"CLAUDE.md": text.encode()}


def test_a_file_that_cannot_be_written_is_told(shell: Shell) -> None:
    (shell.folder / ".mcp.json").mkdir()
    assert "cannot be read" in shell.refused("init")
    assert list(shell.folder.iterdir()) == [shell.folder / ".mcp.json"]
    assert "Error:" in shell.misused("init", "--force")


# Whatever the files are

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2)
    ),
    max_leaves=5,
)
servers = st.dictionaries(st.sampled_from(["git", "{", '"x"', "fs"]), values, max_size=3)
roots = st.dictionaries(st.sampled_from(["a", "mcp", "}", "projects"]), values, max_size=3)
layouts: list[dict[str, Any]] = [
    {"indent": 2},
    {"indent": 4},
    {"indent": "\t"},
    {},
    {"separators": (",", ":")},
    {"indent": 2, "ensure_ascii": False},
]


@st.composite
def documents(draw: st.DrawFn) -> str:
    """A .mcp.json as people and programs write them."""
    content: dict[str, Any] = draw(roots)
    if draw(st.booleans()):
        items = [*content.items(), ("mcpServers", draw(servers))]
        content = dict(draw(st.permutations(items)))
    text = json.dumps(content, **draw(st.sampled_from(layouts)))
    text = text.replace("\n", draw(st.sampled_from(["\n", "\r\n"])))
    if draw(st.booleans()):
        text = text.replace("{}", "{\n}")
    return text + draw(st.sampled_from(["", "\n", "\r\n", " \n\n"]))


@settings(deadline=None)
@given(documents())
def test_whatever_stands_there_a_server_is_added_and_removed_without_a_trace(text: str) -> None:
    before = json.loads(text)
    added = jsonedit.with_member(text, "mcpServers", "task-copilot", init.server())
    expected = {**before.get("mcpServers", {}), "task-copilot": init.server()}
    assert json.loads(added) == {**before, "mcpServers": expected}
    assert jsonedit.without_member(added, "mcpServers", "task-copilot") == text


@settings(deadline=None)
@given(documents(), st.sampled_from(["before", "after"]))
def test_what_others_add_meanwhile_stays(text: str, place: str) -> None:
    added = jsonedit.with_member(text, "mcpServers", "task-copilot", init.server())
    content = json.loads(added)
    inner = content["mcpServers"]
    later = {"later": 1}
    content["mcpServers"] = {**later, **inner} if place == "before" else {**inner, **later}
    left = jsonedit.without_member(json.dumps(content), "mcpServers", "task-copilot")
    del content["mcpServers"]["task-copilot"]
    assert json.loads(left) == content


@settings(deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode) | st.just(b"a\r\nb\r\n"))
def test_whatever_a_file_for_agents_says_the_block_comes_and_goes_without_a_trace(
    content: bytes,
) -> None:
    text = content.decode("utf-8", "surrogateescape")
    added = block.with_block(text)
    assert block.has_block(added)
    assert block.without_block(added) == text
    assert added.encode("utf-8", "surrogateescape").startswith(content)


@settings(deadline=None, max_examples=25)
@given(
    st.none() | documents(), st.none() | st.binary(max_size=40), st.none() | st.binary(max_size=40)
)
def test_init_and_remove_leave_a_project_as_it_was(
    config: str | None, claude: bytes | None, agents: bytes | None
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given_files = {".mcp.json": None if config is None else config.encode()}
        given_files |= {"CLAUDE.md": claude, "AGENTS.md": agents}
        for file, content in given_files.items():
            if content is not None:
                (folder / file).write_bytes(content)
        before = files(folder)
        for remove in (False, True):
            plan = init.planned(folder, remove=remove)
            assert len(plan) == 2
            for change in plan:
                init.carry_out(change)
        assert files(folder) == before
