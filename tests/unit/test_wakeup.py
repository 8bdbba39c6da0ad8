"""Datagrams that wake the hub, and what forged and lost ones cost."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

from psutil import net_if_addrs

from task_copilot import runtime
from task_copilot.runtime import HubRecord
from task_copilot.wakeup import PAUSE_SECONDS, WakeUpReceiver, WakeUpSender

LIMIT_SECONDS = 10.0
RECORD = HubRecord(
    takeovers=1,
    epoch="0123456789abcdef",
    version="0.1.0",
    host="127.0.0.1",
    started_at="2026-01-08T12:00:00.000Z",
    pid=os.getpid() + 1,  # another process
    port=9090,
    url="http://127.0.0.1:9090",
)


def test_a_datagram_wakes_the_hub(tmp_path: Path) -> None:
    woken = threading.Event()
    receiver = WakeUpReceiver(woken.set)
    runtime.write(tmp_path / "hub.json", replace(RECORD, wakeup_port=receiver.port))
    sender = WakeUpSender(tmp_path / "hub.json")
    sender.send()
    assert woken.wait(LIMIT_SECONDS)
    sender.close()
    receiver.close()


def test_the_next_hub_is_woken_where_it_listens(tmp_path: Path) -> None:
    sender = WakeUpSender(tmp_path / "hub.json")
    sender.send()  # there is no hub yet
    for _ in range(3):
        woken = threading.Event()
        receiver = WakeUpReceiver(woken.set)
        runtime.write(tmp_path / "hub.json", replace(RECORD, wakeup_port=receiver.port))
        sender.send()
        assert woken.wait(LIMIT_SECONDS)
        receiver.close()
    sender.close()


def test_who_is_closed_is_woken_no_more_and_ends_in_the_thread_that_was_woken() -> None:
    threads: list[threading.Thread] = []
    woken, ended = threading.Event(), threading.Event()

    def wake() -> None:
        threads.append(threading.current_thread())
        woken.set()

    def end() -> None:
        threads.append(threading.current_thread())
        ended.set()

    receiver = WakeUpReceiver(wake, end)
    _send(receiver.port)
    assert woken.wait(LIMIT_SECONDS)
    receiver.close()
    assert ended.wait(LIMIT_SECONDS)
    assert len(threads) == 2
    assert threads[0] is threads[1] is not threading.current_thread()
    receiver.close()  # once more does no harm


def test_the_hub_sends_itself_nothing(tmp_path: Path) -> None:
    sender = WakeUpSender(tmp_path / "hub.json")
    runtime.write(tmp_path / "hub.json", replace(RECORD, pid=os.getpid(), wakeup_port=40_000))
    sender.send()
    assert sender._socket is None


def test_a_hub_that_is_gone_is_no_error(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        port = gone.getsockname()[1]
    sender = WakeUpSender(tmp_path / "hub.json")
    runtime.write(tmp_path / "hub.json", replace(RECORD, wakeup_port=port))
    for _ in range(3):
        sender.send()
    (tmp_path / "hub.json").write_text("{")
    sender.send()
    (tmp_path / "hub.json").unlink()
    sender.send()
    sender.close()


FLOOD = """\
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as forger:
    for number in range(int(sys.argv[2])):
        forger.sendto(b"x" * (number % 100), ("127.0.0.1", int(sys.argv[1])))
"""
DATAGRAMS = 30_000
FEW = 50


def test_a_flood_of_forged_datagrams_costs_few_looks_at_the_log() -> None:
    looks: list[float] = []
    receiver = WakeUpReceiver(lambda: looks.append(time.monotonic()))
    begun = time.monotonic()
    command = [sys.executable, "-I", "-c", FLOOD, str(receiver.port), str(DATAGRAMS)]
    subprocess.run(command, check=True, timeout=LIMIT_SECONDS)
    seconds = time.monotonic() - begun
    receiver.close()
    assert 0 < len(looks) <= seconds / PAUSE_SECONDS + 1
    assert len(looks) < DATAGRAMS / 10


def test_after_a_flood_the_last_datagram_is_not_forgotten() -> None:
    sent = 0
    woken: list[int] = []
    last = threading.Event()

    def wake() -> None:
        woken.append(sent)
        if sent == FEW:
            last.set()

    receiver = WakeUpReceiver(wake)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(FEW):
            sent += 1
            sender.sendto(b"", ("127.0.0.1", receiver.port))
    assert last.wait(LIMIT_SECONDS)
    receiver.close()


def test_what_is_sent_to_another_address_of_this_machine_does_not_come() -> None:
    woken, ended = threading.Semaphore(0), threading.Event()
    receiver = WakeUpReceiver(woken.release, ended.set)
    others = {"127.0.0.2", *(found.address for each in net_if_addrs().values() for found in each)}
    for address in others - {"127.0.0.1"}:
        with contextlib.suppress(OSError):  # one of IPv6, or not of this machine
            _send(receiver.port, address)
    for _ in range(2):  # the second comes behind whatever waits
        _send(receiver.port)
        assert woken.acquire(timeout=LIMIT_SECONDS)
    receiver.close()
    assert ended.wait(LIMIT_SECONDS)
    assert not woken.acquire(blocking=False)


def _send(port: int, address: str = "127.0.0.1") -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", (address, port))
