"""A git worktree for each stream, in real repositories."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from task_copilot.orchestrator.worktrees import GitFailed, Worktrees


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", os.fspath(folder), "-c", "user.name=me", "-c", "user.email=me@host", *words],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def commit(folder: Path, name: str, text: str = "text") -> str:
    """Adds a file; returns the commit."""
    (folder / name).write_text(text)
    git(folder, "add", name)
    git(folder, "commit", "-q", "-m", f"Add {name}")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture(autouse=True)
def _own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps the user's own settings of git out."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    git(tmp_path, "init", "-q", "-b", "main", "shop")
    commit(folder, "first")
    return folder


def branches(folder: Path) -> dict[str, str]:
    form = "--format=%(refname:short) %(objectname)"
    return dict(line.split() for line in git(folder, "branch", form).splitlines())


def test_a_worktree_is_made_beside_the_repository_on_a_branch_of_its_own(
    repository: Path, tmp_path: Path
) -> None:
    trees = Worktrees.of(repository)
    folder = trees.ready("Stream-A", repository)
    assert folder == trees.folder("Stream-A") == tmp_path / "shop.worktrees" / "Stream-A"
    assert (folder / "first").read_text() == "text"
    assert git(folder, "branch", "--show-current") == "task-copilot/Stream-A"
    assert trees.branch("Stream-A") == "task-copilot/Stream-A"
    assert git(folder, "status", "--porcelain") == git(repository, "status", "--porcelain") == ""


def test_it_is_used_again_as_it_was_left(repository: Path) -> None:
    trees = Worktrees.of(repository)
    folder = trees.ready("A", repository)
    work = commit(folder, "work")
    (folder / "first").write_text("not committed")
    (folder / "new").write_text("not added")
    later = commit(repository, "later")
    assert Worktrees.of(repository).ready("A", repository) == folder
    assert (folder / "first").read_text() == "not committed"
    assert (folder / "new").exists()
    assert not (folder / "later").exists()
    assert branches(repository) == {"main": later, "task-copilot/A": work}


def test_nothing_is_merged_or_removed(repository: Path) -> None:
    trees = Worktrees.of(repository)
    first = git(repository, "rev-parse", "HEAD")
    made = {name: commit(trees.ready(name, repository), f"of-{name}") for name in ("A", "B")}
    trees.ready("C", repository)
    assert branches(repository) == {
        "main": first,
        "task-copilot/A": made["A"],
        "task-copilot/B": made["B"],
        "task-copilot/C": first,
    }
    assert git(repository, "branch", "--show-current") == "main"
    assert sorted(path.name for path in repository.iterdir()) == [".git", "first"]


def test_a_branch_that_is_there_is_gone_on_with(repository: Path) -> None:
    trees = Worktrees.of(repository)
    folder = trees.ready("A", repository)
    work = commit(folder, "work")
    git(repository, "worktree", "remove", os.fspath(folder))
    commit(repository, "later")
    assert trees.ready("A", repository) == folder
    assert git(folder, "rev-parse", "HEAD") == work


def test_a_worktree_whose_folder_was_deleted_is_made_anew(repository: Path) -> None:
    trees = Worktrees.of(repository)
    folder = trees.ready("A", repository)
    work = commit(folder, "work")
    folder.rename(folder.with_name("elsewhere"))
    assert trees.ready("A", repository) == folder
    assert git(folder, "rev-parse", "HEAD") == work
    assert (folder / "work").exists()


@pytest.mark.parametrize("content", ["", "partly"])
def test_a_worktree_whose_making_was_cut_off_is_made_to_its_end(
    repository: Path, content: str
) -> None:
    trees = Worktrees.of(repository)
    folder = trees.folder("A")
    add = ("worktree", "add", "-q", "--no-checkout", "-b", trees.branch("A"))
    git(repository, *add, os.fspath(folder))
    if content:
        (folder / "first").write_text(content)
    assert trees.ready("A", repository) == folder
    assert (folder / "first").read_text() == "text"
    assert git(folder, "status", "--porcelain") == ""


def test_a_commit_without_files_is_checked_out_once(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "empty")
    git(tmp_path / "empty", "commit", "-q", "--allow-empty", "-m", "Nothing")
    trees = Worktrees.of(tmp_path / "empty")
    folder = trees.ready("A", tmp_path / "empty")
    (folder / "new").write_text("not added")
    assert trees.ready("A", tmp_path / "empty") == folder
    assert (folder / "new").exists()


def test_many_are_made_at_once(repository: Path) -> None:
    trees = Worktrees.of(repository)
    names = [f"Stream-{number}" for number in range(8)]
    with ThreadPoolExecutor(len(names)) as pool:
        folders = list(pool.map(lambda name: trees.ready(name, repository), names))
    assert folders == [trees.folder(name) for name in names]
    assert all((folder / "first").exists() for folder in folders)


@pytest.mark.parametrize(
    "kind", ["folder", "full folder", "file", "link", "repository", "subfolder"]
)
def test_what_stands_in_the_way_is_left_alone(repository: Path, tmp_path: Path, kind: str) -> None:
    trees = Worktrees.of(repository)
    folder = trees.folder("A")
    folder.parent.mkdir()
    if kind == "file":
        folder.write_text("a file")
    elif kind == "link":
        folder.symlink_to(tmp_path / "nowhere")
    elif kind == "repository":
        git(tmp_path, "init", "-q", os.fspath(folder))
        commit(folder, "of-another")
    elif kind == "subfolder":
        git(folder.parent, "init", "-q")
        folder.mkdir()
    else:
        folder.mkdir()
        if kind == "full folder":
            (folder / "file").write_text("text")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(GitFailed, match=r"is in the way: it is no worktree of .*Move it away"):
        trees.ready("A", repository)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_worktree_on_another_branch_is_left_alone(repository: Path) -> None:
    trees = Worktrees.of(repository)
    folder = trees.ready("A", repository)
    git(folder, "checkout", "-q", "-b", "mine")
    with pytest.raises(
        GitFailed, match=r"is on mine, not on task-copilot/A. Check that branch out"
    ):
        trees.ready("A", repository)
    git(folder, "checkout", "-q", "--detach")
    with pytest.raises(GitFailed, match="is on no branch, not on task-copilot/A"):
        trees.ready("A", repository)


def test_a_branch_that_is_checked_out_elsewhere_is_left_there(repository: Path) -> None:
    trees = Worktrees.of(repository)
    git(repository, "checkout", "-q", "-b", "task-copilot/A")
    with pytest.raises(GitFailed, match="already checked out"):
        trees.ready("A", repository)
    assert not trees.folder("A").exists()


def test_a_branch_in_the_place_of_all_is_said(repository: Path) -> None:
    git(repository, "branch", "task-copilot")
    with pytest.raises(GitFailed, match="task-copilot"):
        Worktrees.of(repository).ready("A", repository)


def test_a_repository_without_a_commit_is_refused(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "new")
    with pytest.raises(GitFailed, match="no commit yet, from which a worktree could begin"):
        Worktrees.of(tmp_path / "new")


def test_a_folder_without_a_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GitFailed, match="not a git repository"):
        Worktrees.of(tmp_path)


def test_without_git_that_is_said(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GitFailed, match="needs git, and there is no program of that name"):
        Worktrees.of(repository)


def test_a_subfolder_belongs_to_its_repository(repository: Path) -> None:
    inner = repository / "a" / "b"
    inner.mkdir(parents=True)
    assert Worktrees.of(inner) == Worktrees.of(repository)
    assert Worktrees.of(inner).ready("A", inner).exists()


def test_started_inside_a_worktree_others_stand_beside_the_repository_and_begin_where_it_is(
    repository: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    git(repository, "worktree", "add", "-q", "-b", "mine", os.fspath(mine))
    work = commit(mine, "work")
    trees = Worktrees.of(mine)
    assert trees == Worktrees.of(repository)
    folder = trees.ready("A", mine)
    assert folder == tmp_path / "shop.worktrees" / "A"
    assert git(folder, "rev-parse", "HEAD") == work
    assert trees.ready("A", folder) == folder


def test_a_repository_that_is_not_on_a_branch_will_do(repository: Path) -> None:
    first = git(repository, "rev-parse", "HEAD")
    commit(repository, "second")
    git(repository, "checkout", "-q", "--detach", first)
    folder = Worktrees.of(repository).ready("A", repository)
    assert git(folder, "rev-parse", "HEAD") == first


def test_a_bare_repository_will_do(repository: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--bare", "shop", "bare.git")
    trees = Worktrees.of(tmp_path / "bare.git")
    folder = trees.ready("A", tmp_path / "bare.git")
    assert folder == tmp_path / "bare.git.worktrees" / "A"
    assert (folder / "first").exists()
    assert trees.ready("A", tmp_path / "bare.git") == folder
    assert Worktrees.of(folder) == trees


@pytest.mark.parametrize("name", ["-x", "..", ".", "a.lock", "a..b", ".hidden", "x" * 64, "a."])
def test_every_name_of_a_stream_gets_a_worktree_inside_the_folder_of_all(
    repository: Path, name: str
) -> None:
    trees = Worktrees.of(repository)
    folder = trees.ready(name, repository)
    assert folder.parent == trees.beside
    assert git(folder, "branch", "--show-current") == trees.branch(name)
    assert trees.ready(name, repository) == folder


def test_a_repository_with_an_odd_name_will_do(tmp_path: Path) -> None:
    odd = tmp_path / "-größe (1) $HOME"
    git(tmp_path, "init", "-q", "--", odd.name)
    commit(odd, "first")
    folder = Worktrees.of(odd).ready("A", odd)
    assert folder == tmp_path / f"{odd.name}.worktrees" / "A"
    assert (folder / "first").exists()


def test_what_the_environment_says_of_another_repository_does_not_count(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "-q", "other")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path / "other"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    trees = Worktrees.of(repository)
    assert trees.repository == repository
    assert (trees.ready("A", repository) / "first").exists()
    assert not (tmp_path / "index").exists()
