"""Only the user can use the database's files, from their first moment and whatever was there."""

import contextlib
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import World
from task_copilot import database_file, private
from task_copilot.announced import AnnouncedFile
from task_copilot.application import open_blocking
from task_copilot.client.cursor_file import CursorFile
from task_copilot.client.model import Mark
from task_copilot.clock import system_clock
from task_copilot.commands.files import new_file, replace
from task_copilot.database.store import Database
from task_copilot.database_file import COMPANIONS, make_private, weakness_of_folder
from task_copilot.errors import InvalidInput, StorageError
from task_copilot.events.log import LogRow, LogState
from task_copilot.leader import held
from task_copilot.places import Places
from task_copilot.private import NotPrivate
from task_copilot.runtime import read as read_runtime
from task_copilot.settings import Settings, data_directory

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="rights are of another kind there")

ANOTHER = (private.user_id() or 0) + 4242
"""Who must own what is there, in place of us: then we are the other user."""


def modes(*files: Path) -> list[str]:
    return [f"{stat.S_IMODE(file.stat().st_mode):o}" for file in files]


def files_of(path: Path) -> list[Path]:
    return [path, *(Path(f"{path}{ending}") for ending in ("-wal", "-shm"))]


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Database[LogRow]]:
    """The database as a process of the program opens it."""
    settings = Settings(database_url=f"sqlite:///{path}", durability="normal")
    database = open_blocking(settings, system_clock)
    try:
        yield database
    finally:
        database.committer.close()
        database.read_engine.dispose()


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.fixture
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory that is not there yet."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    return data_directory()


@pytest.mark.parametrize("mask", [0, 0o077])
def test_a_new_database_is_for_its_user_alone_whatever_the_umask(own_data: Path, mask: int) -> None:
    path = own_data / "task-copilot.db"
    with umask(mask), opened(path) as database:
        World(database).task()
        assert modes(*files_of(path)) == ["600"] * 3
        assert modes(own_data, own_data.parent) == ["700"] * 2
        assert modes(Places.of(path).opening, Places.of(path).announced) == ["600"] * 2


def test_a_database_is_closed_to_others_before_anything_is_written_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tasks.db"
    seen = []
    real = database_file.make_private

    def watched(*_given: object, **_options: object) -> None:
        real(path)
        seen.append((modes(path), path.stat().st_size))

    monkeypatch.setattr("task_copilot.application.make_private", watched)
    with umask(0), opened(path):
        assert seen == [(["600"], 0)]


def test_a_database_of_an_older_version_is_mended_while_another_has_it_open(
    tmp_path: Path,
) -> None:
    path = tmp_path / "tasks.db"
    with opened(path) as first:
        world = World(first)
        world.task("Before")
        places = Places.of(path)
        every = [*files_of(path), places.opening, places.announced]
        for file in every:
            file.chmod(0o644)
        with opened(path) as second:
            assert modes(*every) == ["600"] * 5
            World(second).task("Beside")
            world.task("After")
            assert len(world.events()) == 3


def test_a_database_that_is_deleted_and_made_again_is_for_its_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"
    with umask(0), opened(path) as first, opened(path) as second:
        World(first).task()
        for file in files_of(path):
            file.unlink()
        World(second).task()
        World(first).task()
        assert modes(*files_of(path)) == ["600"] * 3


def test_rights_of_the_owner_are_left_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"
    path.touch()
    path.chmod(0o444)
    make_private(path)
    assert modes(path) == ["400"]


def test_a_link_to_a_database_is_followed_and_what_it_leads_to_is_mended(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    target, link = tmp_path / "real" / "tasks.db", tmp_path / "link.db"
    target.touch()
    target.chmod(0o644)
    link.symlink_to(target)
    with opened(link) as database:
        World(database).task()
        assert modes(*files_of(target)) == ["600"] * 3
    assert link.is_symlink()


def test_a_link_that_leads_nowhere_is_refused_and_nothing_is_made(tmp_path: Path) -> None:
    link = tmp_path / "tasks.db"
    link.symlink_to(tmp_path / "planted.db")
    with pytest.raises(StorageError, match=r"tasks.db: it is a symbolic link that leads nowhere"):
        opened(link).__enter__()
    assert not (tmp_path / "planted.db").exists()


@pytest.mark.parametrize("ending", COMPANIONS)
def test_a_link_beside_the_database_is_refused_and_not_followed(
    tmp_path: Path, ending: str
) -> None:
    path, kept = tmp_path / "tasks.db", tmp_path / "kept"
    path.touch()
    kept.write_text("kept")
    kept.chmod(0o644)
    Path(f"{path}{ending}").symlink_to(kept)
    with pytest.raises(StorageError, match=f"tasks.db{ending}: it is a symbolic link"):
        make_private(path)
    assert (kept.read_text(), modes(kept)) == ("kept", ["644"])


@pytest.mark.parametrize("ending", ["", *COMPANIONS])
def test_a_file_of_another_user_is_refused_and_left_as_it_is(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "tasks.db"
    for file in (path, Path(f"{path}{ending}")):
        file.touch()
        file.chmod(0o644)
    with pytest.raises(StorageError, match=r"belongs to user .*Run it as that user"):
        make_private(path, user=ANOTHER)
    assert modes(Path(f"{path}{ending}")) == ["644"]


def test_root_may_use_the_database_of_another_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tasks.db"
    path.touch()
    real = Path.lstat

    def of_another(self: Path) -> os.stat_result:
        found = real(self)
        return os.stat_result([*found[:4], ANOTHER, *found[5:]])

    monkeypatch.setattr(Path, "lstat", of_another)
    make_private(path, user=database_file.ROOT)
    with pytest.raises(StorageError, match="belongs to user"):
        make_private(path, user=ANOTHER + 1)


def test_what_cannot_be_mended_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tasks.db"
    path.touch()
    path.chmod(0o644)
    monkeypatch.setattr(Path, "chmod", lambda _path, _mode: None)  # as FAT and some mounts do
    with pytest.raises(StorageError, match=r"keeps no rights\. chmod 600 .*tasks.db, or put"):
        make_private(path)


def test_a_folder_in_which_others_could_replace_the_database_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(StorageError, match=r"every user can write there \(mode 777\).*chmod go-w"):
        opened(folder / "tasks.db").__enter__()
    assert list(folder.iterdir()) == []
    assert modes(folder) == ["777"]


def test_a_folder_where_each_removes_only_his_own_is_left_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "sticky"
    folder.mkdir()
    folder.chmod(0o1777)
    with opened(folder / "tasks.db"):
        assert modes(folder, folder / "tasks.db") == ["1777", "600"]


def test_a_group_that_may_write_must_have_no_other_member(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o775)
    assert weakness_of_folder(tmp_path.parent) is None
    for own in (True, False):
        monkeypatch.setattr(database_file, "_is_own_group", lambda _group, own=own: own)
        assert (weakness_of_folder(tmp_path) is None) is own


def test_links_in_the_data_directory_are_refused_and_not_followed(
    own_data: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    kept.write_text("kept")
    kept.chmod(0o644)
    places = Places.of(own_data / "task-copilot.db")
    own_data.mkdir(parents=True)
    for path in (places.lock, places.opening, places.announced, places.runtime):
        path.symlink_to(kept)
    for lock in (places.lock, places.opening):
        with pytest.raises(NotPrivate, match="symbolic link"), held(lock):
            pass
    announced = AnnouncedFile(places.announced)
    with pytest.raises(NotPrivate, match="symbolic link"):
        announced.read()
    with pytest.raises(NotPrivate, match="symbolic link"):
        announced.note(LogState("0" * 16, 1))
    assert read_runtime(places.runtime) is None
    assert (kept.read_text(), modes(kept)) == ("kept", ["644"])


def test_a_runtime_file_that_others_can_write_or_own_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "hub.json"
    path.write_text("{}")
    path.chmod(0o666)
    with pytest.raises(NotPrivate, match="other users can change it"):
        private.read_own(path, 100)
    path.chmod(0o600)
    assert private.read_own(path, 1) == b"{"
    with pytest.raises(NotPrivate, match="belongs to user"):
        private.read_own(path, 100, user=ANOTHER)


def test_a_cursor_is_for_its_user_alone_and_replaces_a_link(tmp_path: Path) -> None:
    path, kept = tmp_path / "cursor.json", tmp_path / "kept"
    kept.write_text("kept")
    path.symlink_to(kept)
    with umask(0):
        CursorFile(path).write(Mark("0" * 16, 7))
    assert (modes(path), kept.read_text()) == (["600"], "kept")
    assert CursorFile(path).read() == Mark("0" * 16, 7)


def test_what_wait_remembers_is_for_its_user_alone_and_replaces_a_link(tmp_path: Path) -> None:
    path, kept = tmp_path / "cursor.json", tmp_path / "kept"
    kept.write_text("kept")
    path.symlink_to(kept)
    with umask(0):
        replace(path, b"new", private=True)
    assert (modes(path), path.read_text(), kept.read_text()) == (["600"], "new", "kept")
    path.chmod(0o644)
    replace(path, b"newer", private=True)
    assert (modes(path), path.read_text()) == (["600"], "newer")


def test_a_copy_is_for_its_user_alone_and_takes_no_place_of_a_link(tmp_path: Path) -> None:
    with umask(0), new_file(tmp_path / "copy") as begun:
        assert modes(begun) == ["600"]
    assert modes(tmp_path / "copy") == ["600"]
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    with pytest.raises(InvalidInput, match="is there already"), new_file(tmp_path / "link"):
        pass
    assert not (tmp_path / "nothing").exists()
