"""Where the hub is: at the address that was given, else where its own files say.

A hub that ends leaves its place to another, perhaps on another port, so this is asked anew
whenever a connection has ended.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx2

from task_copilot import runtime
from task_copilot.client.errors import HubUnavailable, RequestRefused
from task_copilot.client.model import Json
from task_copilot.client.options import checked_address
from task_copilot.places import Places
from task_copilot.settings import default_database_url

DEFAULT_ADDRESS = "http://127.0.0.1:9090"
SHOWN_CHARACTERS = 300
REFUSALS = {httpx2.codes.UNAUTHORIZED, httpx2.codes.FORBIDDEN}


@dataclass(frozen=True, slots=True)
class Candidate:
    """An address to ask; `epoch` names the only database that is looked for there."""

    address: str
    epoch: str | None = None


@dataclass(frozen=True, slots=True)
class Hub:
    """A hub that has just answered."""

    address: str
    epoch: str


def candidates(
    given: str | None, environment: Mapping[str, str] | None = None
) -> tuple[Candidate, ...]:
    """The addresses to ask, in order; raises HubUnavailable for nonsense in the environment."""
    environment = os.environ if environment is None else environment
    if given is not None:
        return (Candidate(checked_address(given)),)
    if address := environment.get("TASK_COPILOT_URL"):
        try:
            return (Candidate(checked_address(address)),)
        except ValueError as error:
            raise HubUnavailable(f"TASK_COPILOT_URL: {error}") from None
    record = runtime.read(_runtime_file(environment))
    if record is None:
        return (Candidate(DEFAULT_ADDRESS),)
    # A hub that was killed leaves its address behind: who is there now, or on the usual port, may
    # be the hub of another database.
    addresses = dict.fromkeys((record.url or DEFAULT_ADDRESS, DEFAULT_ADDRESS))
    return tuple(Candidate(address, record.epoch) for address in addresses)


def _runtime_file(environment: Mapping[str, str]) -> Path:
    url = environment.get("TASK_COPILOT_DATABASE_URL") or default_database_url()
    name = url.partition(":///")[2].partition("?")[0]
    if name.startswith("file:"):  # SQLite's own kind of address
        name = unquote(urlsplit(name).path)
    return Places.of(Path(name).absolute()).runtime


async def find(http: httpx2.AsyncClient, given: str | None) -> Hub:
    """The first hub that answers. Raises HubUnavailable, which says who was asked, and
    RequestRefused where it wants another token."""
    reasons = []
    for candidate in candidates(given):
        try:
            return await _ask(http, candidate)
        except HubUnavailable as error:
            reasons.append(str(error))
    raise HubUnavailable(" ".join(reasons))


async def _ask(http: httpx2.AsyncClient, candidate: Candidate) -> Hub:
    address = candidate.address
    try:
        answer = await http.get(f"{address}/health")
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        reason = str(error) or type(error).__name__
        raise HubUnavailable(f"Nobody answers at {address}: {reason}.") from None
    if answer.status_code in REFUSALS:
        raise RequestRefused(str(answer.status_code), f"{address}: {reason_of(answer)}")
    health = json_of(answer)
    epoch = health.get("epoch")
    if health.get("service") != runtime.SERVICE or not isinstance(epoch, str):
        raise HubUnavailable(f"At {address} is something else than Task Copilot.")
    if candidate.epoch not in {None, epoch}:
        raise HubUnavailable(f"At {address} is a hub of another database.")
    return Hub(address, epoch)


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
