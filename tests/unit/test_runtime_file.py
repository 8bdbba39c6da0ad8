"""The file that says where the hub is, and all that may stand in its place."""

import json
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from task_copilot import runtime
from task_copilot.places import Places
from task_copilot.runtime import HubRecord

RECORD = HubRecord(
    takeovers=3,
    epoch="0123456789abcdef",
    version="0.1.0",
    host="127.0.0.1",
    started_at="2026-01-08T12:00:00.000Z",
    pid=4711,
    port=9090,
    url="http://127.0.0.1:9090",
    wakeup_port=40_000,
    certificate="/etc/hub.pem",
    auth="required",
)
FIELDS = {
    "service": "task-copilot",
    "takeovers": 3,
    "epoch": "0123456789abcdef",
    "version": "0.1.0",
    "host": "127.0.0.1",
    "startedAt": "2026-01-08T12:00:00.000Z",
    "pid": 4711,
    "port": 9090,
    "url": "http://127.0.0.1:9090",
    "wakeupPort": 40_000,
    "certificate": "/etc/hub.pem",
    "auth": "required",
}


def test_what_is_written_is_read_and_is_the_users_own(tmp_path: Path) -> None:
    path = tmp_path / "hub.json"
    runtime.write(path, replace(RECORD, pid=1))
    runtime.write(path, RECORD)
    assert json.loads(path.read_text()) == FIELDS
    assert runtime.read(path) == RECORD
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [item.name for item in tmp_path.iterdir()] == ["hub.json"]


def test_a_file_that_says_that_nobody_serves_keeps_the_count(tmp_path: Path) -> None:
    nobody = replace(RECORD, pid=None, port=None, url=None, wakeup_port=None)
    runtime.write(tmp_path / "hub.json", nobody)
    assert runtime.read(tmp_path / "hub.json") == nobody


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 100,
        b"{",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        json.dumps(FIELDS)[:-20].encode(),
        json.dumps({**FIELDS, "service": "other"}).encode(),
    ],
    ids=["empty", "zeros", "cut", "list", "no text", "deep", "half", "foreign"],
)
def test_a_damaged_or_foreign_file_is_as_good_as_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "hub.json"
    path.write_bytes(content)
    assert runtime.read(path) is None


@pytest.mark.parametrize("name", [name for name in FIELDS if name != "service"])
@pytest.mark.parametrize("value", [[], True, -1, 1e300, "70000"])
def test_a_field_of_the_wrong_kind_makes_the_file_as_good_as_none(
    tmp_path: Path, name: str, value: Any
) -> None:
    path = tmp_path / "hub.json"
    path.write_text(json.dumps({**FIELDS, name: value}))
    is_right = isinstance(value, str) and isinstance(FIELDS[name], str)
    assert (runtime.read(path) is not None) is is_right


def test_no_file_and_no_folder_are_no_record(tmp_path: Path) -> None:
    assert runtime.read(tmp_path / "none" / "hub.json") is None
    assert runtime.read(tmp_path) is None


def test_every_spelling_of_a_database_has_the_same_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    monkeypatch.chdir(tmp_path)
    places = Places.of(tmp_path / "folder" / "tasks.db")
    assert Places.of(Path("folder/tasks.db")) == places
    assert Places.of(Path("folder/../link/tasks.db")) == places
    assert Places.of(Path("folder/other.db")) != places
