"""The routes that serve events and the hub's own state, which no transaction reads."""

import zlib
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from task_copilot import __version__
from task_copilot.api.endpoint import etags, parameters, refused
from task_copilot.api.parameters import EventSource, EventsQuery
from task_copilot.api.routes import EVENT_STREAM, EVENTS
from task_copilot.clock import Clock
from task_copilot.errors import InvalidInput, StorageError
from task_copilot.events.bus import NewEpoch
from task_copilot.events.feed import Feed, unless_gone
from task_copilot.events.http import read_page
from task_copilot.events.listeners import TooMany
from task_copilot.events.log import LogState
from task_copilot.events.messages import MAX_SEQ, Filter
from task_copilot.events.requests import (
    Cursor,
    Refused,
    Topics,
    Wanted,
    checked_patterns,
    cursor_of,
    filter_of,
)
from task_copilot.events.sse import EventStream
from task_copilot.runtime import SERVICE

RETRY_SECONDS = "5"
Endpoint = Callable[[Request], Awaitable[ASGIApp]]


def health(feed: Feed, clock: Clock) -> Endpoint:
    """``GET /health``: that this is Task Copilot, and where its log stands."""

    async def respond(_request: Request) -> ASGIApp:
        return JSONResponse(
            {
                "status": "ok",
                "service": SERVICE,
                "timestamp": clock(),
                "version": __version__,
                "epoch": feed.bus.epoch,
                "seq": feed.bus.head,
                "clients": feed.listeners.count,
            },
            headers={"Cache-Control": "no-store"},
        )

    return respond


def events(feed: Feed) -> Endpoint:
    """``GET /api/events``: the next page of events, now or when there is one."""

    async def answer(request: Request) -> ASGIApp:
        given: EventsQuery = parameters(EVENTS, request)  # type: ignore[assignment]
        reader = await feed.reader(_wanted(given, _cursor(given)), given.workspace)
        known = etags(request.headers.get("if-none-match", ""))
        etag = _etag(feed.bus.state, request)
        if not given.wait and etag in known:
            return Response(status_code=304, headers=_headers(etag))
        reading = read_page(feed, reader, limit=given.limit, wait=given.wait)
        page = await unless_gone(request.receive, reading) if given.wait else await reading
        if page is None:
            return Response(status_code=204)  # to nobody
        headers = _headers(_etag(page.state, request))
        return Response(page.encoded(), media_type="application/json", headers=headers)

    return _guarded(feed, answer)


def event_stream(feed: Feed) -> Endpoint:
    """``GET /api/events/stream``: every event as it comes."""

    async def answer(request: Request) -> ASGIApp:
        given: EventSource = parameters(EVENT_STREAM, request)  # type: ignore[assignment]
        last = request.headers.get("last-event-id")
        cursor = _cursor(given) if last is None else Cursor(_seq_of(last), given.epoch)
        return EventStream(feed, await feed.reader(_wanted(given, cursor), given.workspace))

    return _guarded(feed, answer)


def _guarded(feed: Feed, answer: Endpoint) -> Endpoint:
    async def respond(request: Request) -> ASGIApp:
        try:
            return await answer(request)
        except StorageError as error:
            return refused(error)
        except (Refused, InvalidInput) as error:
            refusal = as_refused(error)
            feed.listeners.errors[refusal.code] += 1
            return refused(refusal)
        except (TooMany, NewEpoch) as error:
            message = str(error) or "The database was replaced just now; begin anew."
            headers = {"Retry-After": RETRY_SECONDS}
            return JSONResponse({"error": message}, status_code=503, headers=headers)

    return respond


def as_refused(error: Refused | InvalidInput) -> Refused:
    """The refusal with the code that it has on a WebSocket."""
    return error if isinstance(error, Refused) else Refused("WS_INVALID_MESSAGE", str(error))


def _cursor(given: EventSource) -> Cursor:
    return cursor_of(given.since, given.epoch, given.replay)


def _seq_of(last_event_id: str) -> int:
    text = last_event_id.strip()
    if not (text.isascii() and text.isdecimal()) or len(text) > len(str(MAX_SEQ)):
        raise Refused(
            "WS_INVALID_CURSOR",
            f"Last-Event-ID: {text[:60]!a} is no id of an event, which is a whole number.",
        )
    return min(int(text), MAX_SEQ)


def _wanted(given: EventSource, cursor: Cursor) -> Wanted:
    patterns = checked_patterns(given.topics or ["*"], "The request")
    conditions = Filter(
        event_types=given.event_types,
        streams=given.streams,
        agents=given.agents,
        not_actors=given.not_actors,
    )
    return Wanted([Topics(patterns, filter_of(conditions))], cursor, None)


def _etag(state: LogState, request: Request) -> str:
    asked = zlib.crc32(request.url.query.encode())
    return f'"{state.epoch}-{state.head}-{asked:08x}"'


def _headers(etag: str) -> dict[str, str]:
    return {"ETag": etag, "Cache-Control": "no-cache"}
