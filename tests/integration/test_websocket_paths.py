"""The contract of a listener where the server offers no more than ASGI, and over TLS.

The tests are those of the ordinary case, where the server's own connection is written to.
"""

import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from certificates import self_signed
from integration.test_websocket import (
    Client,
    Running,
    Start,
    running,
    test_a_client_that_closes_in_order_is_answered_and_forgotten,
    test_a_hub_that_stops_closes_every_listener_with_1012,
    test_a_listener_gets_an_event_as_soon_as_the_change_is_written,
    test_a_listener_of_other_topics_gets_nothing,
    test_a_listener_that_reads_later_gets_everything_and_then_what_comes,
    test_a_newcomer_in_a_burst_starts_at_the_seq_that_the_answer_names,
    test_a_ping_names_the_seq_up_to_which_the_client_has_everything,
    test_after_an_unsubscribe_nothing_comes_until_the_next_subscribe,
    test_after_each_refusal_the_connection_stays_open,
    test_all_listeners_of_a_stream_get_everything_in_order,
    test_an_event_comes_once_however_many_patterns_select_it,
    test_the_server_says_nothing_before_it_is_asked,
    test_to_a_client_that_asked_for_nothing_pings_name_the_head,
    test_who_subscribes_during_a_burst_gets_every_event_after_seq_exactly_once,
)
from task_copilot import protocols

__all__ = [
    "test_a_client_that_closes_in_order_is_answered_and_forgotten",
    "test_a_hub_that_stops_closes_every_listener_with_1012",
    "test_a_listener_gets_an_event_as_soon_as_the_change_is_written",
    "test_a_listener_of_other_topics_gets_nothing",
    "test_a_listener_that_reads_later_gets_everything_and_then_what_comes",
    "test_a_newcomer_in_a_burst_starts_at_the_seq_that_the_answer_names",
    "test_a_ping_names_the_seq_up_to_which_the_client_has_everything",
    "test_after_an_unsubscribe_nothing_comes_until_the_next_subscribe",
    "test_after_each_refusal_the_connection_stays_open",
    "test_all_listeners_of_a_stream_get_everything_in_order",
    "test_an_event_comes_once_however_many_patterns_select_it",
    "test_the_server_says_nothing_before_it_is_asked",
    "test_to_a_client_that_asked_for_nothing_pings_name_the_head",
    "test_who_subscribes_during_a_burst_gets_every_event_after_seq_exactly_once",
]


@pytest.fixture(params=["plain ASGI", "TLS"])
async def start(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Start]:
    """Starts a hub with the given settings; it ends with the test."""
    how: dict[str, Any] = {}
    if request.param == "TLS":
        certificate, key = self_signed(tmp_path)
        trust = ssl.create_default_context(cafile=str(certificate))
        how = {"trust": trust, "tls_certificate": str(certificate), "tls_key": str(key)}
    else:  # the application does not find what the server offers
        monkeypatch.setattr(protocols, "EXTENSION", "of.another.server")
    async with contextlib.AsyncExitStack() as stack:

        async def begin(**changes: Any) -> Running:
            return await stack.enter_async_context(running(tmp_path, **how, **changes))

        yield begin


async def test_the_path_is_the_one_that_is_meant(
    start: Start, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[bytes] = []
    put = protocols.PatientWebSocket.put

    def noted(self: protocols.PatientWebSocket, data: bytes) -> bool:
        written.append(data)
        return put(self, data)

    monkeypatch.setattr(protocols.PatientWebSocket, "put", noted)
    hub = await start()
    async with Client.to(hub, "*") as client:
        await hub.create()
        assert await client.seqs(1) == [1]
    assert bool(written) is ("TLS" in request.node.name)
