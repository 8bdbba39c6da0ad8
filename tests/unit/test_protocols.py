"""Frames and writes of the server's own WebSocket connection."""

import asyncio
from typing import Any

import pytest
from websockets.frames import Frame, Opcode

from frames import parsed
from task_copilot.events.frames import framed
from task_copilot.events.live import WRITE_BYTES
from task_copilot.protocols import PatientWebSocket


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 300_000])
@pytest.mark.parametrize("sign", ["x", "\u00e4", "\U0001f600"], ids=ascii)
def test_a_text_is_one_whole_frame_of_its_size(size: int, sign: str) -> None:
    text = sign * (size // len(sign.encode())) + "x" * (size % len(sign.encode()))
    assert len(text.encode()) == size
    [frame] = parsed(framed(text))
    assert (frame.opcode, frame.fin) == (Opcode.TEXT, True)
    assert bytes(frame.data).decode() == text
    assert framed(text) == Frame(Opcode.TEXT, text.encode()).serialize(mask=False)


class Transport:
    """Takes what is written and says so."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closing = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return 0


def connection() -> Any:
    found: Any = PatientWebSocket.__new__(PatientWebSocket)
    found.transport = Transport()
    found.writable = asyncio.Event()
    found.writable.set()
    found.disconnected = found.close_sent = False
    return found


async def test_small_texts_go_out_with_one_write_and_large_ones_bounded() -> None:
    to = connection()
    await to.send_texts(["a", "b" * 200, "c"])
    assert len(to.transport.written) == 1
    texts = [f"{number}" + "x" * 30_000 for number in range(20)]
    await to.send_texts(texts)
    assert max(map(len, to.transport.written)) < WRITE_BYTES + 31_000
    found = [bytes(frame.data).decode() for frame in parsed(b"".join(to.transport.written))]
    assert found == ["a", "b" * 200, "c", *texts]
    await to.send_texts([])
    assert len(to.transport.written) == 8


async def test_what_is_put_is_written_whole_or_not_at_all() -> None:
    to = connection()
    assert to.put(b"frames")
    assert to.sent() == len(b"frames")
    to.pause_writing()
    assert not to.put(b"more")
    assert to.transport.written == [b"frames"]


async def test_nothing_is_written_while_the_client_does_not_read() -> None:
    to = connection()
    to.pause_writing()
    sending = asyncio.create_task(to.send_texts(["x" * WRITE_BYTES, "y"]))
    await asyncio.sleep(0)
    assert to.transport.written == []
    to.resume_writing()
    await asyncio.wait_for(sending, 1)
    assert len(to.transport.written) == 2


async def test_a_listener_whose_room_is_taken_again_at_once_is_waited_for() -> None:
    to = connection()
    to.pause_writing()
    sending = asyncio.create_task(to.send_texts(["x"]))
    await asyncio.sleep(0)
    to.resume_writing()
    to.pause_writing()
    for _ in range(3):
        await asyncio.sleep(0)
    assert not sending.done()
    to.resume_writing()
    await asyncio.wait_for(sending, 1)
    assert to.transport.written == [framed("x")]


async def test_who_waits_for_a_client_that_does_not_read_is_told_when_it_has_gone() -> None:
    to = connection()
    to.pause_writing()
    sending = asyncio.create_task(to.send_texts(["x"]))
    await asyncio.sleep(0)
    to.disconnected = True
    to.writable.set()  # as uvicorn does at the end of a connection
    with pytest.raises(ConnectionError):
        await asyncio.wait_for(sending, 1)
    assert to.transport.written == []


@pytest.mark.parametrize("state", ["disconnected", "close_sent", "closing"])
async def test_to_a_connection_that_ends_nothing_is_written(state: str) -> None:
    to = connection()
    setattr(to.transport if state == "closing" else to, state, True)
    with pytest.raises(ConnectionError):
        await to.send_texts(["x"])
    assert not to.put(b"x")
    assert to.transport.written == []
