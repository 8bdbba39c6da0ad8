"""The way into hubs for one client: its requests, with the token and the trust for each."""

import asyncio
import logging
import os
from collections.abc import Mapping
from ssl import SSLContext
from types import TracebackType
from typing import Protocol, Self

import httpx2

from task_copilot.bearer import UNAUTHORIZED, Given, OwnToken
from task_copilot.client.errors import HubUnavailable, NoWebSocket, RequestRefused
from task_copilot.client.network import link_of
from task_copilot.client.options import Connection, Options
from task_copilot.client.tls import tls_reason
from task_copilot.credentials import (
    CHALLENGE_HEADER,
    PROOF_HEADER,
    context_for,
    is_loopback,
    token_path,
)
from task_copilot.errors import InvalidInput
from task_copilot.settings import TOKEN_VARIABLE

logger = logging.getLogger("task_copilot_client")

TOKEN_FILE_VARIABLE = "TASK_COPILOT_TOKEN_FILE"  # noqa: S105 - its name
GIVE = f"token=… or {TOKEN_VARIABLE}"

_told_in_the_open: set[str] = set()
"""Addresses that get a token without TLS, of which was told: once in a process each."""


class Place(Protocol):
    """A hub, or an address where one may be."""

    @property
    def address(self) -> str:
        """Where it is, without a slash at its end."""

    @property
    def certificate(self) -> str | None:
        """The only certificate that is trusted there, if it is known."""

    @property
    def own(self) -> bool:
        """Whether it is a hub of this user: found through its own files, or on this machine."""


class Door:
    """Asks hubs. Tokens that were given go with every request; that of the user's own token file
    goes to hubs that ask for one, each time after they have proved that they know it."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._link = link_of(options)
        self._ways: dict[tuple[bool, str | None], tuple[SSLContext | None, httpx2.AsyncClient]] = {}
        """What is trusted, and the client that does, for http (False) or https and a
        certificate."""
        self._asking: dict[str, OwnToken] = {}
        """The addresses that ask for a token, where none was given."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        ways, self._ways = self._ways, {}
        for _, client in ways.values():
            await client.aclose()

    async def get(
        self,
        place: Place,
        path: str,
        params: Mapping[str, str | int | bool] | None = None,
        timeout: httpx2.Timeout | None = None,
    ) -> httpx2.Response:
        """The answer to a request; raises HubUnavailable with the reason alone."""
        given = self._given(place)
        token = given.token if given else await self._own_token(place)
        answer = await self._send(place, path, _bearer(token), params, timeout)
        if answer.status_code == UNAUTHORIZED and given is None and token is None:
            token = await self._first_token(place)
            if token is not None:
                answer = await self._send(place, path, _bearer(token), params, timeout)
        return answer

    async def websocket(self, place: Place, path: str) -> Connection:
        """A WebSocket; raises NoWebSocket."""
        given = self._given(place)
        try:
            token = given.token if given else await self._own_token(place)
            try:
                return await self._open(place, path, token)
            except NoWebSocket as error:
                if error.status != UNAUTHORIZED or given or token:
                    raise
                token = await self._first_token(place)
                if token is None:
                    raise
                return await self._open(place, path, token)
        except HubUnavailable as error:
            raise NoWebSocket(str(error)) from None

    def advice(self, place: Place) -> str:
        """What to do where the hub wants another token, as a sentence."""
        given = self._given(place)
        if given is not None:
            return given.refused
        asking = self._asking.get(place.address)
        return asking.reason if asking else ""

    # --- tokens ---

    def _given(self, place: Place) -> Given | None:
        try:
            given = self._options.given
        except ValueError as error:
            raise RequestRefused(str(UNAUTHORIZED), f"{error}.") from None
        if given is not None:
            _tell_in_the_open(place.address)
        return given

    async def _first_token(self, place: Place) -> str | None:
        """The token for a hub that has just asked for one."""
        if place.address not in self._asking:
            path = token_path(os.environ.get(TOKEN_FILE_VARIABLE))
            self._asking[place.address] = OwnToken(place.address, path, own=place.own, place=GIVE)
            return await self._own_token(place)
        return None

    async def _own_token(self, place: Place) -> str | None:
        asking = self._asking.get(place.address)
        question = asking.question() if asking else None  # reads a file of 43 bytes
        if asking is None or question is None:
            return None
        # Each time: another program may hold the port since the last answer.
        answer = await self._send(place, "/health", {CHALLENGE_HEADER: question.challenge})
        token = asking.token(question, answer.headers.get(PROOF_HEADER))
        if asking.replaced_a_moment_ago():
            raise HubUnavailable(asking.reason)
        return token

    # --- connections ---

    async def _send(
        self,
        place: Place,
        path: str,
        headers: Mapping[str, str],
        params: Mapping[str, str | int | bool] | None = None,
        timeout: httpx2.Timeout | None = None,
    ) -> httpx2.Response:
        _, client = await self._way(place)
        limit = self._options.answer_timeout if timeout is None else timeout
        try:
            return await client.get(
                place.address + path, headers=headers, params=params, timeout=limit
            )
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise HubUnavailable(await self._reason(place, error)) from None

    async def _open(self, place: Place, path: str, token: str | None) -> Connection:
        context, _ = await self._way(place)
        address = f"ws{place.address.removeprefix('http')}{path}"
        return await self._link.open_websocket(address, self._options, _bearer(token), context)

    async def _way(self, place: Place) -> tuple[SSLContext | None, httpx2.AsyncClient]:
        key = _key(place)
        if key not in self._ways:
            over_tls, certificate = key
            context = None
            if over_tls:
                trusted = self._options.trusted
                try:
                    context = await asyncio.to_thread(context_for, certificate, trusted)
                except InvalidInput as error:
                    raise HubUnavailable(str(error)) from None
            if key not in self._ways:  # still
                self._ways[key] = context, self._link.http_client(self._options, context)
        return self._ways[key]

    async def _reason(self, place: Place, error: Exception) -> str:
        reason = tls_reason(error)
        if reason is not None:
            way = self._ways.pop(_key(place), None)  # what is trusted is read anew next time
            if way is not None:
                await way[1].aclose()
            return reason
        if isinstance(error, httpx2.RemoteProtocolError | httpx2.ReadError) and not _key(place)[0]:
            return (
                f"{str(error) or type(error).__name__} (if it serves TLS, its address is https://…)"
            )
        return str(error) or type(error).__name__


def _key(place: Place) -> tuple[bool, str | None]:
    over_tls = place.address.startswith("https:")
    return over_tls, place.certificate if over_tls else None


def _bearer(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def _tell_in_the_open(address: str) -> None:
    if address.startswith("https:") or is_loopback(address) or address in _told_in_the_open:
        return
    _told_in_the_open.add(address)
    logger.warning(
        "The token goes to %s without encryption: whoever is on the way can read it. Use an "
        "https:// address, unless a tunnel or a proxy encrypts.",
        address,
    )
