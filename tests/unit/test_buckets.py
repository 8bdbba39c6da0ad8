"""Token buckets, and the rates of requests that are counted with them."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import PlainTextResponse
from starlette.types import Message

from task_copilot.access import rates
from task_copilot.access.rates import MAX_BUCKETS, RequestRates, client_of
from task_copilot.buckets import Bucket


@given(
    rate=st.integers(1, 50),
    burst=st.integers(1, 100),
    steps=st.lists(st.floats(0, 3, allow_nan=False), max_size=60),
)
def test_no_more_is_taken_than_the_burst_and_the_rate_allow(
    rate: int, burst: int, steps: list[float]
) -> None:
    bucket, now, taken = Bucket(rate, burst, 0.0), 0.0, 0
    for step in steps:
        now += step
        while bucket.take(now):
            taken += 1
        assert burst - 1 <= taken <= burst + rate * now + 1e-6
        assert bucket.wait(now) > 0


def test_a_full_bucket_holds_no_more_than_its_burst_however_long_nothing_is_taken() -> None:
    bucket = Bucket(10, 5, 0.0)
    assert not bucket.take(1_000.0, 6)
    assert [bucket.take(1_000.0) for _ in range(6)] == [True] * 5 + [False]
    assert bucket.wait(1_000.0) == pytest.approx(0.1)
    assert bucket.take(1_000.1)


def test_a_clock_that_goes_back_takes_nothing_away() -> None:
    bucket = Bucket(10, 5, 100.0)
    assert bucket.take(50.0, 5)
    assert not bucket.take(50.0)


@pytest.mark.parametrize(
    ("client", "who"),
    [
        (("127.0.0.1", 5), "127.0.0.1:5"),
        (("127.9.9.9", 6), "127.9.9.9:6"),
        (("::1", 5), "::1:5"),
        (("::ffff:127.0.0.1", 5), "::ffff:127.0.0.1:5"),
        (("10.1.2.3", 5), "10.1.2.3"),
        (("::ffff:10.1.2.3", 5), "10.1.2.3"),
        (("2001:db8::1", 5), client_of({"client": ("2001:db8::ffff", 9)})),
        (("127.0.0.1", 0), None),
        (("testclient", 5), None),
        (None, None),
    ],
)
def test_a_connection_of_this_machine_and_another_machine_are_one_client_each(
    client: tuple[str, int] | None, who: str | None
) -> None:
    assert client_of({"client": client}) == who


def test_machines_of_different_ipv6_sites_are_different_clients() -> None:
    near, far = ("2001:db8::1", 1), ("2001:db8:0:1::1", 1)
    assert client_of({"client": near}) != client_of({"client": far})


class Asked:
    """Requests to an application behind the rates, at a time of the test's own."""

    def __init__(self, per_second: int) -> None:
        self.now = 0.0
        self.served = 0
        self.rates = RequestRates(self._serve, per_second, clock=lambda: self.now)

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        self.served += 1
        await PlainTextResponse("x")(scope, receive, send)

    async def ask(self, host: str, port: int = 1, kind: str = "http") -> tuple[int, dict[str, str]]:
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": f"{kind}.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {
            "type": kind,
            "client": (host, port),
            "method": "GET",
            "path": "/",
            "headers": [],
            "extensions": {"websocket.http.response": {}},
        }
        await self.rates(scope, receive, send)
        headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], headers


async def test_more_requests_than_the_burst_get_429_until_time_has_passed() -> None:
    asked = Asked(10)
    assert [(await asked.ask("10.0.0.1"))[0] for _ in range(21)] == [200] * 20 + [429]
    assert (await asked.ask("10.0.0.1", kind="websocket"))[0] == 429
    assert (await asked.ask("10.0.0.2"))[0] == 200
    asked.now = 0.1
    status, headers = await asked.ask("10.0.0.1", port=99)
    assert status == 200
    status, headers = await asked.ask("10.0.0.1", port=99)
    assert (status, headers["retry-after"]) == (429, "1")


async def test_each_connection_of_this_machine_has_a_rate_of_its_own() -> None:
    asked = Asked(1)
    assert [(await asked.ask("127.0.0.1", port))[0] for port in (1, 1, 1, 2)] == [
        *(200, 200, 429),
        200,
    ]


async def test_only_so_many_clients_are_remembered_and_those_who_ask_are() -> None:
    asked = Asked(1)
    for _ in range(2):
        await asked.ask("127.0.0.1")
    for port in range(2, MAX_BUCKETS + 100):
        await asked.ask("127.0.0.1", port)
        if port % 1_000 == 0:
            assert (await asked.ask("127.0.0.1"))[0] == 429
    assert asked.rates.remembered == MAX_BUCKETS


async def test_a_refusal_comes_late_so_that_a_flood_costs_little(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rates, "REFUSAL_SECONDS", 0.05)
    asked, loop = Asked(1), asyncio.get_running_loop()
    stays = asyncio.Event()
    sent: list[Message] = []

    async def receive() -> Message:
        await stays.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    for _ in range(2):
        await asked.ask("10.0.0.1")
    begun = loop.time()
    scope = {"type": "http", "client": ("10.0.0.1", 1), "method": "GET", "path": "/", "headers": []}
    await asked.rates(scope, receive, send)
    assert loop.time() - begun >= 0.05
    assert sent[0]["status"] == 429
    assert b"TASK_COPILOT_MAX_REQUEST_RATE" in sent[1]["body"]
    assert asked.served == 2
