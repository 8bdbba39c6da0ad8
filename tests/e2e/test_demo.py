"""`make demo` shows what is there, counts honestly, and leaves nothing behind."""

import asyncio
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx2
import psutil
import pytest

from examples import demo_run
from examples.demo_listener import Account, Picture, StreamState, account
from examples.demo_screen import columns, cut, printable
from examples.demo_story import FOUNDATION, ORDERS, PAGES, RELEASE

ROOT = Path(__file__).resolve().parents[2]
DEMO = (sys.executable, str(ROOT / "examples" / "demo.py"))
STREAMS = [plan.stream for plan in (FOUNDATION, ORDERS, PAGES, RELEASE)]
STYLE = re.compile(r"\x1b\[[0-9;]*m")


def environment(**more: str) -> dict[str, str]:
    """That of the tests, without what changes how the demo looks."""
    kept = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "COLUMNS", "LINES"}}
    return {**kept, "TERM": "xterm-256color", "PYTHONUTF8": "1", **more}


def test_it_ends_with_every_stream_complete_and_no_event_lost(tmp_path: Path) -> None:
    done = subprocess.run(
        [*DEMO, "--fast"],
        cwd=tmp_path,
        env=environment(TMPDIR=str(tmp_path)),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    summary = re.search(
        r"^events +(\d+) stored, \1 received: 0 lost, 0 doubled, 0 out of order$"
        r"\nby type (.*?)^time ",
        done.stdout,
        re.MULTILINE | re.DOTALL,
    )
    assert summary
    types = dict(re.findall(r"([a-z_]+\.[a-z_]+) (\d+)", summary[2]))
    assert sum(map(int, types.values())) == int(summary[1])
    assert {"task.blocked", "checkpoint.resumed", "stream.completed"} <= types.keys()
    for stream in STREAMS:
        assert f"{stream} 100 %" in done.stdout
        assert re.search(rf"{stream} \w+: 100 %", done.stdout)
    assert [sign for sign in done.stdout if not (sign.isprintable() or sign == "\n")] == []
    assert list(tmp_path.iterdir()) == []


def run_in_terminal(width: int, height: int, env: dict[str, str]) -> tuple[int, str]:
    """The exit code and all that the demo writes to a terminal of that size."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
    with subprocess.Popen(
        [*DEMO, "--fast"], stdin=slave, stdout=slave, stderr=slave, env=env
    ) as demo:
        os.close(slave)
        written = bytearray()
        deadline = time.monotonic() + 60
        with suppress(OSError):  # Linux says so when the other side has closed
            while time.monotonic() < deadline:
                readable, _, _ = select.select([master], [], [], 1)
                if readable and not (chunk := os.read(master, 1 << 16)):
                    break
                if readable:
                    written += chunk
        os.close(master)
        code = demo.wait(timeout=10)
    return code, written.decode()


def final_screen(written: str, width: int, height: int) -> list[str]:
    """The lines as they stand in the end; fails where one is too wide or a redraw too tall."""
    lines, row = [""], 0
    for part in re.split(r"(\x1b\[\d+F|\x1b\[J|\r\n|\n)", STYLE.sub("", written)):
        if up := re.fullmatch(r"\x1b\[(\d+)F", part):
            assert int(up[1]) < height
            row -= int(up[1])
        elif part == "\x1b[J":
            del lines[row:]
            lines.append("")
        elif part in {"\r\n", "\n"}:
            row += 1
            lines.append("")
        else:
            assert printable(part) == part
            lines[row] += part
            assert columns(lines[row]) <= width
    return lines


@pytest.mark.parametrize("width", [40, 80])
def test_in_a_terminal_each_stream_has_one_bar_and_no_line_is_too_wide(width: int) -> None:
    code, written = run_in_terminal(width, 24, environment())
    assert code == 0
    screen = final_screen(written, width, 24)
    for stream in STREAMS:
        (row,) = (line for line in screen if line.startswith(f"{stream}  "))
        assert "100 %" in row
    if width == 80:
        bars = [line for line in screen if "█████" in line]
        assert len(bars) == len(STREAMS)
    assert "0 lost, 0 doubled" in " ".join(" ".join(screen).split())
    assert STYLE.search(written)


def test_no_color_is_respected() -> None:
    code, written = run_in_terminal(80, 24, environment(NO_COLOR="1"))
    assert code == 0
    assert "█████" in written
    assert not STYLE.search(written)


def test_a_terminal_that_cannot_redraw_gets_plain_lines() -> None:
    code, written = run_in_terminal(80, 24, environment(TERM="dumb"))
    assert code == 0
    assert "\x1b" not in written
    assert "Stream-D release: 100 %" in written


def test_a_terminal_without_the_signs_of_the_bars_gets_ascii() -> None:
    env = environment(PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    code, written = run_in_terminal(80, 24, env)
    assert code == 0
    assert written.isascii()
    assert "#####" in written


@asynccontextmanager
async def running(*arguments: str) -> AsyncIterator[Process]:
    """A demo whose output is read here; it must have ended by itself at the end."""
    process = await asyncio.create_subprocess_exec(
        *DEMO, *arguments, stdout=PIPE, stderr=PIPE, env=environment()
    )
    try:
        yield process
        assert process.returncode is not None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def line_with(process: Process, wanted: str) -> str:
    """Reads the output up to a line that contains `wanted`."""
    assert process.stdout is not None
    async with asyncio.timeout(40):
        while text := (await process.stdout.readline()).decode():
            if wanted in text:
                return text
    raise AssertionError(f"it ended without {wanted!r}")


def helpers_of(process: Process) -> list[psutil.Process]:
    """The processes that the demo has started."""
    found = psutil.Process(process.pid).children(recursive=True)
    assert found
    return found


def assert_gone(helpers: Sequence[psutil.Process]) -> None:
    _gone, alive = psutil.wait_procs(helpers, timeout=5)
    assert alive == []


@pytest.mark.parametrize(
    ("number", "at"),
    [
        (signal.SIGINT, "events "),
        (signal.SIGINT, "task.created"),
        (signal.SIGINT, "stream.started"),
        (signal.SIGTERM, "stream.started"),
    ],
)
async def test_a_signal_ends_it_without_a_traceback_or_a_server(
    number: signal.Signals, at: str
) -> None:
    async with running() as process:
        await line_with(process, at)
        helpers = helpers_of(process)
        process.send_signal(number)
        process.send_signal(number)
        _out, err = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == demo_run.STOPPED
    assert err.decode() == "\nStopped before the end.\n"
    assert_gone(helpers)


async def test_with_keep_it_serves_until_it_is_told_to_stop() -> None:
    async with running("--fast", "--keep") as process:
        dashboard = (await line_with(process, "dashboard")).split()[-1]
        await line_with(process, "until Ctrl+C")
        helpers = helpers_of(process)
        async with httpx2.AsyncClient(trust_env=False, verify=False) as client:
            assert "<title>Task Copilot" in (await client.get(dashboard)).text
            assert (await client.get(f"{dashboard}/health")).json()["status"] == "ok"
        process.send_signal(signal.SIGINT)
        _out, err = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 0
    assert err == b""
    assert_gone(helpers)


async def test_it_says_so_when_the_server_ends_on_the_way() -> None:
    async with running() as process:
        await line_with(process, "stream.started")
        for helper in helpers_of(process):
            helper.kill()
        _out, err = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 1
    assert err.decode().startswith("The demo failed: ")
    assert "Traceback" not in err.decode()


async def test_it_ends_when_nobody_reads_its_output_any_more() -> None:
    async with running() as process:
        await line_with(process, "stream.started")
        helpers = helpers_of(process)
        transport = process._transport  # type: ignore[attr-defined]
        transport.get_pipe_transport(1).close()
        err = await asyncio.wait_for(process.stderr.read(), 20) if process.stderr else b""
        assert await asyncio.wait_for(process.wait(), 20) == 1
    assert err == b""
    assert_gone(helpers)


@pytest.mark.parametrize(
    ("received", "expected"),
    [
        ([1, 2, 3, 4], Account(4, 4, lost=0, doubled=0, out_of_order=0, unknown=0)),
        ([1, 3, 4], Account(4, 3, lost=1, doubled=0, out_of_order=0, unknown=0)),
        ([1, 2, 2, 3, 4], Account(4, 5, lost=0, doubled=1, out_of_order=0, unknown=0)),
        ([1, 2, 2, 4], Account(4, 4, lost=1, doubled=1, out_of_order=0, unknown=0)),
        ([1, 3, 2, 4], Account(4, 4, lost=0, doubled=0, out_of_order=1, unknown=0)),
        ([1, 2, 3, 4, 5], Account(4, 5, lost=0, doubled=0, out_of_order=0, unknown=1)),
        ([], Account(4, 0, lost=4, doubled=0, out_of_order=0, unknown=0)),
    ],
)
def test_the_account_counts_what_was_lost_and_what_came_twice(
    received: list[int], expected: Account
) -> None:
    found = account([1, 2, 3, 4], received)
    assert found == expected
    assert found.clean == (received == [1, 2, 3, 4])


def test_a_lost_and_a_doubled_event_make_the_demo_fail(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def deaf(stored: Sequence[int], received: Sequence[int]) -> Account:
        return account(stored, [*received[1:], received[-1]])

    monkeypatch.setattr(demo_run, "account", deaf)
    assert demo_run.main(fast=True, keep=False) == 1
    printed = capsys.readouterr()
    assert "1 lost, 1 doubled" in printed.out
    assert printed.err.startswith("The demo failed: 1 events were lost, 1 came twice")


def test_an_incomplete_stream_makes_the_demo_fail() -> None:
    clean = account([1], [1])
    assert demo_run._problem(clean, incomplete=0) is None
    assert demo_run._problem(clean, incomplete=1) == "1 streams are not complete."
    picture = Picture({"A": StreamState("A", status="completed", percentage=100.0)})
    picture.streams["B"] = StreamState("B", status="blocked", percentage=50.0)
    assert len(demo_run._complete(picture)) == 1


def test_texts_of_others_cannot_steer_the_terminal() -> None:
    assert printable("a\x1b[2Jb\rc\nd\u202e") == "a?[2Jb?c?d?"


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdef", 4, "abc…"),
        ("日本語", 6, "日本語"),
        ("日本語", 5, "日本…"),
    ],
)
def test_a_text_is_cut_at_the_columns_that_it_takes(text: str, width: int, expected: str) -> None:
    assert cut(text, width, "…") == expected
