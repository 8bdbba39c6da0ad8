"""The benchmarks: what they check of the servers, and that each of the newer ones runs."""

import math
import socket
import sys
import threading
from array import array
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from benchmarks import node, report
from benchmarks.contest import Outcome, Turn, turn
from benchmarks.dialects import DIALECTS
from benchmarks.framing import Broken, ChunkedFraming, WebSocketFraming
from benchmarks.line_process import LineProcess
from benchmarks.load_listener import LoadListener
from benchmarks.measures import Cell, Finding, Measure, Suite
from benchmarks.peers.event import Event, encode
from benchmarks.rivals import IN_MEMORY, NODE_ONCE, RIVALS, Rival, Running
from benchmarks.suites import change, commits, matching, peers, profile, thousand, transport

TINY = peers.Size(listeners=4, rounds=1, warm_up=0.02, steady=0.05, full=0.05, burst=150)
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"


def frame(text: str) -> bytes:
    size = len(text.encode())
    if size < 126:
        head = bytes([size])
    elif size < 1 << 16:
        head = b"\x7e" + size.to_bytes(2, "big")
    else:
        head = b"\x7f" + size.to_bytes(8, "big")
    return b"\x81" + head + text.encode()


def event(seq: int) -> bytes:
    return frame(encode(Event(seq, seq, "task:TASK-1").message))


@pytest.mark.parametrize("cut", [1, 2, 3, 7, 1000, 70_000])
def test_frames_are_whole_however_they_are_cut(cut: int) -> None:
    sent = frame("short") + frame("x" * 200) + b"\x89\x00" + frame("y" * 66_000) + frame("")
    framing = WebSocketFraming()
    assert b"".join(framing.take(sent[at : at + cut]) for at in range(0, len(sent), cut)) == sent
    assert framing.take(sent[:4]) == b""


@pytest.mark.parametrize("sent", [b"\x81\x85mask.....", b"\x88\x02\x03\xe8", b"\xc1\x01x"])
def test_a_frame_that_no_server_should_send_is_refused(sent: bytes) -> None:
    with pytest.raises(Broken):
        WebSocketFraming().take(sent)


@pytest.mark.parametrize("cut", [1, 3, 1000])
def test_chunks_are_whole_however_they_are_cut(cut: int) -> None:
    sent = b"5\r\ndata:\r\n1a\r\n" + b"x" * 26 + b"\r\n"
    framing = ChunkedFraming()
    assert b"".join(framing.take(sent[at : at + cut]) for at in range(0, len(sent), cut)) == sent


@contextmanager
def serving(sent: bytes) -> Iterator[int]:
    """One connection, which is sent this; the port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.sendall(SWITCHING + frame("ok") + sent)
                while connection.recv(1000):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
    thread.join()


@pytest.mark.parametrize(
    "sent",
    [
        event(5) + event(7),
        event(5) + event(5),
        event(6),
        event(5) + event(4),
    ],
    ids=["missing", "twice", "too early", "out of order"],
)
def test_a_listener_of_the_load_sees_that_events_are_not_as_they_should_be(sent: bytes) -> None:
    with serving(sent) as port, pytest.raises(Broken, match="was next"):
        receive_until(50, port)


def receive_until(last: int, port: int, step: int = 1) -> "array[int]":
    """What a listener notes that waits for event 5 first."""
    latencies = array("q")
    listener = LoadListener(port, DIALECTS["plain"], "*", 5, step, latencies)
    with closing(listener):
        while listener.next < last:
            listener.receive()
    return latencies


def test_a_listener_of_the_load_notes_each_event_that_is_its_own() -> None:
    with serving(b"".join(map(event, range(5, 50, 4)))) as port:
        assert len(receive_until(50, port, step=4)) == 12


@pytest.mark.parametrize("rival", RIVALS, ids=lambda rival: rival.name)
def test_a_server_does_both_jobs_and_loses_no_event(rival: Rival) -> None:
    if reason := rival.reason_against():
        assert rival.reason_against is node.reason_against, reason  # the others are always there
        return
    found = peers.compared([rival], TINY)
    assert {one.cell.row for one in found if one.cell is not None} == {rival.name}
    assert all(measure.value > 0 for measure in found)


def test_a_server_that_ends_in_a_run_is_named_with_its_last_words() -> None:
    words = "import sys; print('out of luck', file=sys.stderr); sys.exit(3)"
    with LineProcess([sys.executable, "-c", words]) as process:
        process.process.wait(30)
        gone = Running(_closed_port(), process, process)
        job = peers.kinds(4)[0].job(TINY)
        with pytest.raises(RuntimeError, match=r"refused(.|\n)*status 3: out of luck"):
            turn(gone, RIVALS[0].dialect, job)


def _closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port


def test_ours_are_compared_with_node_where_it_takes_part() -> None:
    job = peers.kinds(100)[0].job(peers.WHOLE)
    outcome = Outcome(1000, seconds=1.0, processor=0.01, load=0.1, p50=1.0, p99=2.0)
    turns = [Turn(dict.fromkeys(job.phases, outcome), memory=1e6)]
    shown = peers.shown_of(peers.kinds(100)[0], peers.WHOLE, {NODE_ONCE: turns, IN_MEMORY: turns})
    ratios = [measure for measure in shown if measure.cell is None]
    assert [measure.value for measure in ratios] == [1.0] * 6
    assert sum(measure.passed is True for measure in ratios) == 4


def test_peers_that_are_left_out_are_named_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node.reason_against.cache_clear()
    monkeypatch.setattr("shutil.which", lambda _name: None)
    monkeypatch.setattr(peers, "compared", lambda _rivals, _size: [])
    [measure] = peers.run(quick=True)
    node.reason_against.cache_clear()
    assert (measure.name, measure.value) == ("peers left out", 3)
    assert "Node ws (JSON once): node is not installed" in measure.note


@pytest.mark.parametrize("suite", [change, commits, matching, profile, thousand, transport])
def test_a_suite_runs_in_its_quick_form(suite: object) -> None:
    found = suite.SUITE.run(quick=True)  # type: ignore[attr-defined]
    assert found
    assert all(math.isfinite(measure.value) for measure in found)


def test_measures_with_a_cell_are_shown_as_a_grid() -> None:
    measures = [
        Measure("ratio", 0.5, "", "3"),
        Measure("p50", 1.5, "ms", "3", cell=Cell("all events", "ours")),
        Measure("p50", 2.5, "ms", "3", cell=Cell("all events", "theirs")),
        Measure("rate", 10, "/s", "3", cell=Cell("all events", "theirs")),
    ]
    finding = Finding(Suite("a", "b", lambda *, quick: []), measures, 0.0, 1)
    [listed, (title, grid)] = report.tables(finding)
    assert [row[0] for row in listed[1]] == ["measure", "ratio"]
    assert title == "all events"
    assert grid == [
        ("", "p50", "rate"),
        ("ours", "1.50 ms", ""),
        ("theirs", "2.50 ms", "10 /s"),
    ]
