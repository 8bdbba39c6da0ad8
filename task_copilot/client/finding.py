"""Where the hub is: at the address that was given, else where its own files say.

A hub that ends leaves its place to another, perhaps on another port, so this is asked anew
whenever a connection has ended.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx2

from task_copilot import runtime
from task_copilot.bearer import UNAUTHORIZED, refusal_of
from task_copilot.client.door import Door, Place
from task_copilot.client.errors import HubUnavailable, NotFound, RequestRefused
from task_copilot.client.model import Json
from task_copilot.client.options import DEFAULT_ADDRESS, checked_address
from task_copilot.credentials import is_loopback
from task_copilot.places import Places, places_of
from task_copilot.settings import DEFAULT_PORT, URL_VARIABLE, default_database_url

SHOWN_CHARACTERS = 300
HTTPS_PORT = 443
REFUSALS = {UNAUTHORIZED, httpx2.codes.FORBIDDEN}


@dataclass(frozen=True, slots=True)
class Candidate:
    """An address to ask; `epoch` names the only database that is looked for there, `certificate`
    the file with the only certificate that is trusted there."""

    address: str
    epoch: str | None = None
    certificate: str | None = None

    @property
    def own(self) -> bool:
        """Whether it is a hub of this user: of its own files, or on this machine."""
        return self.epoch is not None or is_loopback(self.address)


@dataclass(frozen=True, slots=True)
class Hub:
    """A hub that has just answered."""

    address: str
    epoch: str
    certificate: str | None = None
    own: bool = False


def candidates(
    given: str | None, environment: Mapping[str, str] | None = None
) -> tuple[Candidate, ...]:
    """The addresses to ask, in order; raises HubUnavailable for nonsense in the environment."""
    environment = os.environ if environment is None else environment
    if given is not None:
        return (_named(checked_address(given), environment),)
    if address := environment.get(URL_VARIABLE):
        try:
            return (_named(checked_address(address), environment),)
        except ValueError as error:
            raise HubUnavailable(f"{URL_VARIABLE}: {error}") from None
    records = runtime.records(_places(environment))
    if not records:
        return (Candidate(DEFAULT_ADDRESS),)
    # A hub that was killed leaves its address behind: who is there now, or on the usual port, may
    # be the hub of another database.
    found = [
        Candidate(record.url, record.epoch, record.certificate)
        for record in records
        if record.url is not None and record.url != DEFAULT_ADDRESS
    ]
    return *found, Candidate(DEFAULT_ADDRESS, records[0].epoch)


def _named(address: str, environment: Mapping[str, str]) -> Candidate:
    """An address that the user gave; its certificate is known where it is the hub of the user's
    own files."""
    if address.startswith("https:") and is_loopback(address):
        for record in runtime.records(_places(environment)):
            if _port(address) == record.port:
                return Candidate(address, certificate=record.certificate)
    return Candidate(address)


def _port(address: str) -> int:
    return urlsplit(address).port or HTTPS_PORT


def _places(environment: Mapping[str, str]) -> Places:
    url = environment.get("TASK_COPILOT_DATABASE_URL") or default_database_url()
    port = environment.get("TASK_COPILOT_PORT") or ""
    return places_of(url, int(port) if port.isdecimal() else DEFAULT_PORT)


async def find(door: Door, given: str | None) -> Hub:
    """The first hub that answers. Raises HubUnavailable, which says who was asked, and
    RequestRefused where it wants another token."""
    reasons = []
    for candidate in candidates(given):
        try:
            return await _ask(door, candidate)
        except HubUnavailable as error:
            reasons.append(str(error))
    raise HubUnavailable(" ".join(reasons))


async def _ask(door: Door, candidate: Candidate) -> Hub:
    address = candidate.address
    try:
        answer = await door.get(candidate, "/health")
    except HubUnavailable as reason:
        raise HubUnavailable(f"Nobody answers at {address}: {reason}.") from None
    if answer.status_code in REFUSALS:
        raise refusal(door, candidate, answer)
    health = json_of(answer)
    epoch = health.get("epoch")
    if health.get("service") != runtime.SERVICE or not isinstance(epoch, str):
        raise HubUnavailable(f"At {address} is something else than Task Copilot.")
    if candidate.epoch not in {None, epoch}:
        raise HubUnavailable(f"At {address} is a hub of another database.")
    return Hub(address, epoch, candidate.certificate, candidate.own)


def refusal(door: Door, place: Place, answer: httpx2.Response) -> RequestRefused:
    """The error of an answer that is none of success."""
    code = json_of(answer).get("code", answer.status_code)
    reason = reason_of(answer)
    if answer.status_code in REFUSALS:
        reason = f"{place.address}: {reason}"
    if answer.status_code == UNAUTHORIZED:
        reason = refusal_of(reason, door.advice(place))
    kind = NotFound if answer.status_code == httpx2.codes.NOT_FOUND else RequestRefused
    return kind(str(code), reason)


def json_of(answer: httpx2.Response) -> Json:
    """The object that was answered; empty where there is none."""
    try:
        found = answer.json()
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def reason_of(answer: httpx2.Response) -> str:
    """Why a request was refused, as far as the answer says."""
    reason = json_of(answer).get("error")
    return reason[:SHOWN_CHARACTERS] if isinstance(reason, str) else answer.reason_phrase
