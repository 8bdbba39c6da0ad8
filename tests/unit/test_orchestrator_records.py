"""What a run leaves on disk for the next one."""

import json
import os
import re
import stat
import subprocess
from pathlib import Path

import pytest

from task_copilot.client.cursor_file import CursorFile
from task_copilot.client.model import Mark
from task_copilot.orchestrator import records as module
from task_copilot.orchestrator.processes import VOID
from task_copilot.orchestrator.records import AlreadyRuns, Launched, Records, file_name

ODD = [
    *(".", "..", "...", "a.", "a..b", "a.lock", ".lock", ".hidden", "-", "--", "-x", "x-", "_"),
    *("a-", "a.log", "a.1", "a.1.claim", "lock", "cursor", "owner", "launches", "CON", "x" * 64),
    *("." * 64, "-" * 64, "-x.lock", "HEAD", "@", "a@{b", "my project", "größe", "日本", "a/b"),
    *("../../etc", "a\\b", "a:b", "~", "a~1", "a^", "a*", "a?", "[a]", "", " ", "a\nb", "\ud800"),
]


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Records:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    found = Records("epoch-1", "shop")
    found.take(tmp_path)
    return found


def whole(claim: Path) -> None:
    """A claim of a process that has ended."""
    claim.write_text("1\nboot\n1 (sh) S\nwhole\n")
    claim.chmod(0o600)


@pytest.mark.parametrize("name", ODD)
def test_every_name_can_be_a_file_and_a_branch(name: str, tmp_path: Path) -> None:
    found = file_name(name)
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", found)
    (tmp_path / found).write_text("it can be")
    assert [path.name for path in tmp_path.iterdir()] == [found]
    checked = subprocess.run(["git", "check-ref-format", f"refs/heads/x/{found}"], check=False)
    assert checked.returncode == 0


def test_ordinary_names_stay_as_they_are() -> None:
    for name in ("Stream-A", "a", "a.b", "v1.2.3", "x" * 64, "my_stream", "0"):
        assert file_name(name) == name


def test_no_two_names_share_a_file() -> None:
    names = [*ODD, "a-", "a_", "A", "a", "-a", ".a", "a b", "a  b", "a\tb", "größe", "große"]
    names += [file_name(name) for name in names if file_name(name) != name]
    assert len({file_name(name) for name in names}) == len(set(names))


def test_names_that_differ_only_in_odd_signs_do_not_collide() -> None:
    every = {file_name(name) for name in ("a.", "a..", "a...", "-a", ".a", "a.lock", "..a", "--a")}
    assert len(every) == 8


def test_a_name_that_another_one_is_changed_to_is_not_left_to_it() -> None:
    changed = file_name("a b")
    assert file_name(changed) != changed


def test_files_of_different_streams_and_launches_are_different(records: Records) -> None:
    names = [name for name in ODD if "\ud800" not in name]
    every = {records.claim(name, launch) for name in names for launch in (1, 2, 11)}
    logs = {records.log(name) for name in names}
    assert (len(every), len(logs)) == (3 * len(names), len(names))
    assert {path.parent for path in every} == {records.folder}
    assert {path.parent for path in logs} == {records.folder / "logs"}
    own = {records.cursor, records.folder / "lock", records.folder / "launches"}
    assert not own & (every | logs)


def test_each_database_and_each_workspace_has_a_folder_of_its_own() -> None:
    every = [
        Records(epoch, name).folder for epoch in ("1", "2") for name in ("a", "a b", "a-b", "A")
    ]
    assert len(set(every)) == 8
    assert Records("1", "a").folder == every[0]
    assert len(Records("1", "日" * 100).folder.name) < 100


def test_all_is_for_this_user_alone(records: Records, tmp_path: Path) -> None:
    records.write_launches({"A": Launched(1, 0)})
    for path in [tmp_path / "data", *(tmp_path / "data").rglob("*")]:
        wanted = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path


def test_what_was_launched_is_found_again(records: Records) -> None:
    records.write_launches({"A": Launched(3, 2), "..": Launched(1, 0)})
    assert Records("epoch-1", "shop").launches(["A", "..", "B"]) == {
        "A": Launched(3, 2),
        "..": Launched(1, 0),
    }


def test_a_claim_that_is_newer_than_what_was_written_counts(records: Records) -> None:
    records.write_launches({"A": Launched(3, 2)})
    for launch in (2, 11, 9):
        whole(records.claim("A", launch))
    whole(records.claim("B", 4))
    whole(records.claim("A.1", 30))
    whole(records.claim("A.1.claim", 40))
    assert records.launches(["A", "B"]) == {"A": Launched(11, 2), "B": Launched(4, 0)}


NONSENSE = [
    *(b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'"A"', b'{"A": null}', b'{"A": 5}'),
    *(b'{"A": "x"}', b'{"A": []}', b'{"A": {}}', b'{"A": {"launch": "7", "failures": "x"}}'),
    *(b'{"A": {"launch": null, "failures": -3}}', b'{"A": {"launch": 1.5, "failures": true}}'),
    b'{"A": {"launch": %s, "failures": 1e400}}' % (b"9" * 4_000),
    b'{"A": {"launch": -1, "other": 1}}',
]


@pytest.mark.parametrize("content", NONSENSE)
def test_records_that_make_no_sense_are_as_none_and_the_claims_count(
    records: Records, content: bytes
) -> None:
    records.write_launches({})
    (records.folder / "launches").write_bytes(content)
    assert records.launches(["A"]) == {}
    whole(records.claim("A", 5))
    found = records.launches(["A"])["A"]
    assert (found.launch, found.failures) == (5, 0)


@pytest.mark.parametrize(
    "name", ["A.claim", "A..claim", "A.-1.claim", "A.x.claim", "A.1", "A.²", "A." + "9" * 99]
)
def test_what_is_no_claim_is_not_taken_for_one(records: Records, name: str) -> None:
    (records.folder / name).write_text("1")
    if not name.endswith(".claim"):
        (records.folder / f"{name}x.claim").write_text("1")
    assert records.launches(["A"]) == {}


def test_the_records_of_very_many_streams_are_read_whole(records: Records) -> None:
    every = {f"{number:064}": Launched(number, 1) for number in range(1, 12_000)}
    records.write_launches(every)
    assert module._read_json(records.folder / "launches", module.MAX_RECORD_BYTES)
    last = f"{11_999:064}"
    assert records.launches([last]) == {last: Launched(11_999, 1)}


def test_claims_of_launches_that_are_over_are_removed(records: Records) -> None:
    for launch in (1, 2, 3):
        whole(records.claim("A", launch))
    whole(records.claim("A.1", 1))
    records.forget_claims("A", 3)
    left = sorted(path.name for path in records.folder.glob("*.claim"))
    assert left == ["A.1.1.claim", "A.3.claim"]


@pytest.mark.parametrize("content", [VOID, b"", b"12", b"1\nboot\n1 (sh) S\nwho"])
def test_a_claim_that_keeps_out_a_late_process_stays(records: Records, content: bytes) -> None:
    claim = records.claim("A", 1)
    claim.write_bytes(content)
    claim.chmod(0o600)
    records.forget_claims("A", 2)
    assert claim.read_bytes() == content


def test_the_second_of_two_is_told_who_the_first_is(records: Records, tmp_path: Path) -> None:
    second = Records("epoch-1", "shop")
    with pytest.raises(AlreadyRuns) as refused:
        second.take(tmp_path / "elsewhere")
    assert re.search(
        rf"already: process {os.getpid()}, since 20[0-9T:.-]+Z, in {re.escape(str(tmp_path))}\.",
        str(refused.value),
    )
    Records("epoch-1", "other").take(tmp_path)
    Records("epoch-2", "shop").take(tmp_path)
    records.release()
    records.release()
    second.take(tmp_path / "elsewhere")
    with pytest.raises(AlreadyRuns, match="elsewhere"):
        records.take(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}'])
def test_a_first_one_that_has_not_said_who_it_is_yet_is_just_starting(
    records: Records, content: str
) -> None:
    (records.folder / "owner").write_text(content)
    with pytest.raises(AlreadyRuns, match="it is just starting"):
        Records("epoch-1", "shop").take(Path())


def test_a_program_that_the_first_has_started_does_not_keep_the_next_out(
    records: Records, tmp_path: Path
) -> None:
    words = ["sh", "-c", "echo there; read line"]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, close_fds=False) as left:
        assert left.stdout is not None
        assert left.stdout.readline() == b"there\n"
        records.release()
        Records("epoch-1", "shop").take(tmp_path)
        left.communicate(b"\n")


def test_a_place_that_is_no_folder_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").write_text("a file")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    with pytest.raises(OSError, match="data"):
        Records("epoch-1", "shop").take(tmp_path)


def test_a_cursor_tells_whether_there_was_an_earlier_run(records: Records) -> None:
    assert not records.has_cursor()
    CursorFile(records.cursor).write(Mark("epoch-1", 7))
    assert records.has_cursor()
    assert json.loads(records.cursor.read_text())["position"] == 7


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"epoch": 1, "position": 1}', b"\xff"])
def test_a_cursor_that_is_none_is_removed_and_said(
    records: Records, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    records.cursor.write_bytes(content)
    assert not records.has_cursor()
    assert not records.cursor.exists()
    assert "is no cursor" in caplog.text
