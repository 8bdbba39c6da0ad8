"""Files and folders that only this user can use."""

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from task_copilot.private import (
    NotPrivate,
    name_of,
    new_private,
    open_private,
    private_folder,
    read_private,
    user_id,
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="rights are of another kind there")

ANOTHER = (user_id() or 0) + 4242
"""Who must own what is opened, in place of us: then we are the other user."""


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def opened(path: Path, flags: int = os.O_RDWR | os.O_CREAT) -> None:
    os.close(open_private(path, flags))


@pytest.mark.parametrize("mask", [0, 0o022, 0o777])
def test_a_file_is_made_for_its_user_alone_whatever_the_umask(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        opened(tmp_path / "file")
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "file") == 0o600


def test_folders_are_made_for_their_user_alone_with_those_above(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        private_folder(tmp_path / "one" / "two")
    finally:
        os.umask(before)
    assert [mode_of(tmp_path / "one"), mode_of(tmp_path / "one" / "two")] == [0o700, 0o700]


def test_a_file_and_a_folder_that_others_can_use_are_mended(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(0o777)
    file = folder / "file"
    file.write_text("kept")
    file.chmod(0o666)
    private_folder(folder)
    opened(file)
    assert (mode_of(folder), mode_of(file), file.read_text()) == (0o700, 0o600, "kept")


def test_a_descriptor_is_not_inherited_by_programs_that_are_started(tmp_path: Path) -> None:
    descriptor = open_private(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    try:
        assert not os.get_inheritable(descriptor)
    finally:
        os.close(descriptor)


def test_a_file_of_another_user_is_refused_with_its_path_its_owner_and_a_remedy(
    tmp_path: Path,
) -> None:
    file = tmp_path / "file"
    file.write_text("theirs")
    file.chmod(0o644)
    with pytest.raises(NotPrivate) as refused:
        open_private(file, os.O_WRONLY | os.O_TRUNC, user=ANOTHER)
    assert str(refused.value).startswith(f"{file}: it belongs to user ")
    assert name_of(os.geteuid()) in str(refused.value)
    assert "Run it as that user" in str(refused.value)
    assert (file.read_text(), mode_of(file)) == ("theirs", 0o644)


def test_a_folder_of_another_user_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(NotPrivate, match="it belongs to user"):
        private_folder(tmp_path, user=ANOTHER)
    assert mode_of(tmp_path) == 0o755


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_RDWR | os.O_CREAT, os.O_WRONLY | os.O_TRUNC])
@pytest.mark.parametrize("target", ["there", "missing"])
def test_a_symbolic_link_is_refused_and_what_it_leads_to_is_untouched(
    tmp_path: Path, flags: int, target: str
) -> None:
    (tmp_path / "there").write_text("kept")
    (tmp_path / "there").chmod(0o644)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / target)
    with pytest.raises(NotPrivate, match="link: it is a symbolic link, which is not followed"):
        open_private(link, flags)
    assert ((tmp_path / "there").read_text(), mode_of(tmp_path / "there")) == ("kept", 0o644)
    assert not (tmp_path / "missing").exists()


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("make", [make_pipe, Path.mkdir])
@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY, os.O_RDWR | os.O_CREAT])
def test_what_is_no_ordinary_file_is_refused_at_once(
    tmp_path: Path, make: Callable[[Path], None], flags: int
) -> None:
    make(tmp_path / "thing")
    with pytest.raises(NotPrivate, match=r"it is a (pipe|folder) and no ordinary file"):
        open_private(tmp_path / "thing", flags)


def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotPrivate, match="file: it is a file and no folder"):
        private_folder(tmp_path / "file" / "folder")


def test_what_cannot_be_mended_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.touch()
    file.chmod(0o666)
    monkeypatch.setattr(os, "fchmod", lambda _descriptor, _mode: None)  # as FAT and some mounts do
    with pytest.raises(NotPrivate, match=r"mode 666.*keeps no rights.*chmod 600 .*file"):
        open_private(file, os.O_RDWR)


def test_a_new_file_takes_the_place_of_a_leftover_or_a_link_and_follows_none(
    tmp_path: Path,
) -> None:
    (tmp_path / "kept").write_text("kept")
    (tmp_path / "new").symlink_to(tmp_path / "kept")
    os.close(new_private(tmp_path / "new"))
    assert not (tmp_path / "new").is_symlink()
    (tmp_path / "new").chmod(0o644)
    (tmp_path / "new").write_text("left over")
    os.close(new_private(tmp_path / "new"))
    assert (mode_of(tmp_path / "new"), (tmp_path / "new").read_text()) == (0o600, "")
    assert (tmp_path / "kept").read_text() == "kept"


def test_a_secret_is_read_also_through_a_link(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"12345678")
    secret.chmod(0o600)
    (tmp_path / "link").symlink_to(secret)
    assert read_private(secret, 8) == read_private(tmp_path / "link", 8) == b"12345678"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644])
def test_a_secret_that_others_can_use_is_refused_and_not_mended(tmp_path: Path, mode: int) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"12345678")
    secret.chmod(mode)
    with pytest.raises(NotPrivate, match=rf"mode {mode:o}\).*chmod 600 .*secret"):
        read_private(secret, 100)
    assert mode_of(secret) == mode


def test_a_secret_of_another_user_is_refused_unless_root_gives_it_to_a_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"12345678")
    with pytest.raises(NotPrivate, match=r"belongs to user|other users can"):
        read_private(secret, 100, user=ANOTHER)
    real = os.fstat

    def of_root(descriptor: int) -> os.stat_result:
        return os.stat_result([*real(descriptor)[:4], 0, *real(descriptor)[5:]])

    monkeypatch.setattr(os, "fstat", of_root)
    secret.chmod(0o640)
    assert read_private(secret, 100, user=ANOTHER) == b"12345678"
    secret.chmod(0o644)
    with pytest.raises(NotPrivate, match="chmod 640"):
        read_private(secret, 100, user=ANOTHER)


def test_what_is_too_long_or_a_pipe_is_no_secret(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"12345678")
    secret.chmod(0o600)
    with pytest.raises(NotPrivate, match="longer than 7 bytes"):
        read_private(secret, 7)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotPrivate, match="no ordinary file"):
        read_private(tmp_path / "pipe", 7)
