"""Which workspace a folder belongs to."""

import subprocess
from pathlib import Path

import pytest

from task_copilot.location import Location, locate, repository_of


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    git(folder, "init", "-q")
    git(folder, "commit", "-q", "--allow-empty", "-m", "start")
    return folder


def test_a_folder_inside_a_repository_belongs_to_it(repository: Path) -> None:
    inside = repository / "src" / "deep"
    inside.mkdir(parents=True)
    assert locate(None, {}, inside) == Location(name="shop", path=str(repository))


def test_all_worktrees_of_a_repository_are_one_workspace(repository: Path) -> None:
    git(repository, "worktree", "add", "-q", "../shop-feature")
    worktree = repository.parent / "shop-feature"
    assert locate(None, {}, worktree) == locate(None, {}, repository)


def test_a_worktree_of_a_bare_repository_belongs_to_it(repository: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--bare", str(repository), "shop.git")
    git(tmp_path / "shop.git", "worktree", "add", "-q", str(tmp_path / "tree"))
    assert locate(None, {}, tmp_path / "tree") == Location("shop", str(tmp_path / "shop.git"))


def test_a_submodule_is_a_workspace_of_its_own(repository: Path, tmp_path: Path) -> None:
    outer = tmp_path / "outer"
    outer.mkdir()
    git(outer, "init", "-q")
    git(outer, "-c", "protocol.file.allow=always", "submodule", "-q", "add", str(repository), "sub")
    assert repository_of(outer / "sub") == outer / "sub"
    assert repository_of(outer) == outer


def test_a_folder_without_a_repository_stands_for_itself(tmp_path: Path) -> None:
    assert locate(None, {}, tmp_path) == Location(tmp_path.name, str(tmp_path))


def test_the_folder_that_the_client_names_comes_before_the_current_one(
    repository: Path, tmp_path: Path
) -> None:
    environment = {"CLAUDE_PROJECT_DIR": str(repository)}
    assert locate(None, environment, tmp_path).name == "shop"


def test_the_setting_comes_before_all_and_may_be_a_folder_or_a_name(
    repository: Path, tmp_path: Path
) -> None:
    environment = {"CLAUDE_PROJECT_DIR": str(repository)}
    assert locate(str(tmp_path), environment, repository).path == str(tmp_path)
    assert locate("shop", environment, tmp_path) == Location("shop", None)


def test_a_link_to_a_repository_is_the_repository(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(repository)
    assert locate(None, {}, tmp_path / "link").path == str(repository)


def test_a_broken_marker_leaves_the_folder_to_itself(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("gitdir: /nowhere/at/all\n")
    assert repository_of(tmp_path) == tmp_path


def test_the_name_of_a_workspace_has_no_control_characters(tmp_path: Path) -> None:
    folder = tmp_path / "a\nb\x1b[31m"
    folder.mkdir()
    assert locate(None, {}, folder).name == "a?b?[31m"


def test_the_root_folder_has_a_name() -> None:
    assert locate("/", {}, Path("/")).name == "root"


def test_another_folder_of_the_same_name_gets_a_name_of_its_own() -> None:
    first, second = Location("shop", "/a/shop"), Location("shop", "/b/shop")
    assert first.other_name != second.other_name
    assert first.other_name.startswith("shop-")
