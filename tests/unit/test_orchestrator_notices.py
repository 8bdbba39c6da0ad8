"""How a person is told that a stream is blocked."""

import asyncio
import json
import logging
import os
import sys
from pathlib import Path

import pytest

from client_support import until
from nasty import HARMFUL
from task_copilot.errors import InvalidInput
from task_copilot.orchestrator import notices as module
from task_copilot.orchestrator.notices import MAX_TEXT, Notices, desktop
from task_copilot.text import escaped

LIMIT_SECONDS = 20.0
RECORDS = "import json, sys; open(sys.argv[1], 'a').write(json.dumps(sys.argv[2:]) + '\\n')"


class Own:
    """A user's own command, which writes down its words."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "said"
        self.program = folder / "tell"
        self.program.write_text(f"#!{sys.executable} -I\n{RECORDS}\n")
        self.program.chmod(0o700)

    def notices(self, words: str, workspace: str = "shop") -> Notices:
        return Notices(f"'{self.program}' '{self.file}' {words}", workspace, {})

    @property
    def said(self) -> list[list[str]]:
        return [json.loads(line) for line in self.file.read_text().splitlines()]


@pytest.fixture
def own(tmp_path: Path) -> Own:
    return Own(tmp_path)


@pytest.fixture
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is all of the PATH."""
    folder = tmp_path / "path"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def fake(folder: Path, name: str) -> Path:
    program = folder / name
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    return program


async def tell(notices: Notices, stream_id: str = "Stream-A", reason: str = "no key") -> None:
    async with asyncio.timeout(LIMIT_SECONDS):
        await notices.blocked(stream_id, reason)


def has_ended(number: Path) -> bool:
    """Whether the process has ended whose number the file holds."""
    return not Path(f"/proc/{int(number.read_text())}").exists()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]


# --- a command of one's own ---


async def test_a_command_of_ones_own_gets_its_words_filled_and_no_shell_sees_them(
    own: Own, caplog: pytest.LogCaptureFixture
) -> None:
    notices = own.notices("{stream} '{workspace}: {reason}' '{other}' $HOME", workspace="a b")
    await tell(notices, reason='"; touch /tmp/x; $(id) `id` *')
    assert own.said == [["Stream-A", 'a b: "; touch /tmp/x; $(id) `id` *', "{other}", "$HOME"]]
    assert warnings(caplog) == []


async def test_what_is_filled_in_is_not_looked_through_again(own: Own) -> None:
    await tell(own.notices("{reason} {stream}"), "{reason}", "{stream} {workspace} {reason}")
    assert own.said == [["{stream} {workspace} {reason}", "{reason}"]]


@pytest.mark.parametrize("reason", ["-rf", "--help", "", "<b>&", "größe 日本", "\n", "x" * 2_000])
async def test_a_command_gets_all_of_a_reason_as_it_is(own: Own, reason: str) -> None:
    await tell(own.notices("{reason}"), reason=reason)
    assert own.said == [[reason]]


async def test_what_no_program_can_be_passed_does_no_harm(
    own: Own, caplog: pytest.LogCaptureFixture
) -> None:
    await tell(own.notices("{reason}"), reason="a\0b\ud800c")
    assert own.said == [["a\ufffdb?c"]]
    assert warnings(caplog) == []


async def test_a_command_that_fails_is_warned_of_with_its_last_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    await tell(Notices("sh -c 'echo first >&2; echo no such phone >&2; exit 3'", "shop", {}))
    assert warnings(caplog) == ["sh failed (3): no such phone"]


async def test_a_program_that_is_missing_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    await tell(Notices("/no/such/program {reason}", "shop", {}))
    assert warnings(caplog) == ["/no/such/program failed (1): No such file or directory"]


async def test_a_command_that_takes_too_long_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "NOTICE_SECONDS", 1.0)
    number = tmp_path / "number"
    await tell(Notices(f"sh -c 'echo $$ >{number}; exec sleep 600'", "shop", {}))
    assert warnings(caplog) == ["sh was ended: it took over 1 s."]
    assert has_ended(number)


async def test_what_a_command_leaves_running_is_not_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pipe, done = tmp_path / "pipe", tmp_path / "done"
    os.mkfifo(pipe)
    await tell(Notices(f"sh -c '(read line <{pipe}; echo it >{done}) & exit 0'", "shop", {}))
    assert warnings(caplog) == []
    await asyncio.to_thread(pipe.write_text, "\n")
    await asyncio.to_thread(until, done.exists)


async def test_what_a_command_that_is_ended_leaves_running_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "NOTICE_SECONDS", 1.0)
    pipe, done = tmp_path / "pipe", tmp_path / "done"
    os.mkfifo(pipe)
    command = f"sh -c '(read line <{pipe}; echo it >{done}) & exec sleep 600'"
    await tell(Notices(command, "shop", {}))
    await asyncio.to_thread(pipe.write_text, "\n")
    await asyncio.to_thread(until, done.exists)


async def test_only_so_many_commands_run_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = most = 0
    enough = asyncio.Event()

    async def counted(*_: object) -> tuple[int, str]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == module.AT_ONCE:
            enough.set()
        await enough.wait()
        running -= 1
        return 0, ""

    monkeypatch.setattr(module, "_run", counted)
    notices = Notices("tell", "shop", {})
    await asyncio.gather(*(tell(notices) for _ in range(20)))
    assert most == module.AT_ONCE


async def test_who_stops_waiting_ends_the_command(tmp_path: Path) -> None:
    number = tmp_path / "number"
    command = f"sh -c 'echo $$ >{number}.new; mv {number}.new {number}; exec sleep 600'"
    telling = asyncio.create_task(tell(Notices(command, "shop", {})))
    await asyncio.to_thread(until, number.exists)
    telling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await telling
    assert has_ended(number)


@pytest.mark.parametrize("command", ["", "  "])
async def test_an_empty_command_tells_nobody(
    fakes: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    fake(fakes, "notify-send")
    monkeypatch.delattr(module, "_run")
    await tell(Notices(command, "shop", {}))


def test_what_is_no_command_is_refused_at_once() -> None:
    with pytest.raises(InvalidInput, match="No closing quotation"):
        Notices("tell 'it", "shop", {})


# --- the desktop ---


def test_a_desktop_with_notify_send_is_told_and_markup_is_text(fakes: Path) -> None:
    program = fake(fakes, "notify-send")
    words = desktop("--help", "-x <b>&amp; <img src='x'>")
    assert words[0] == str(program)
    assert words[-3:] == ["--", "--help", "-x &lt;b&gt;&amp;amp; &lt;img src='x'&gt;"]


def test_a_mac_is_told_through_osascript_which_takes_the_words_as_data(
    fakes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = fake(fakes, "osascript")
    monkeypatch.setattr(sys, "platform", "darwin")
    words = desktop("title", '" & (do shell script "id") & "')
    assert words[0] == str(program)
    assert words[-3:] == ["--", "title", '" & (do shell script "id") & "']
    assert words[1:-3:2] == ["-e"] * 3
    assert not any("do shell script" in word for word in words[:-1])


def test_without_a_desktop_there_is_no_command(fakes: Path) -> None:
    assert desktop("title", "text") == []


async def test_without_a_desktop_nothing_happens(
    fakes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(module, "_run")
    await tell(Notices(None, "shop", {}))


@pytest.mark.parametrize("reason", [*HARMFUL, "x" * 5_000, "-x", "a\0b"])
async def test_on_the_desktop_a_reason_is_short_and_harmless(fakes: Path, reason: str) -> None:
    fake(fakes, "notify-send")
    title, text = Notices(None, "shop", {})._words("Stream-A", reason)[-2:]
    assert title == "Stream-A is blocked (shop)"
    assert len(text) <= MAX_TEXT
    assert escaped(text) == text


async def test_a_desktop_that_does_not_work_is_no_warning(
    fakes: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fake(fakes, "notify-send").write_text("#!/bin/sh\nexit 1\n")
    await tell(Notices(None, "shop", {}))
    assert warnings(caplog) == []
