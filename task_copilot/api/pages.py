"""Serves the files of the dashboard to browsers, and nothing else that is on the disk."""

import asyncio
import hashlib
import re
from importlib.resources import files
from importlib.resources.abc import Traversable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from task_copilot.api.endpoint import etags

PAGE = "/"
ASSETS = "/assets/{path:path}"
INDEX = "index.html"
PACKAGE = "task_copilot.dashboard"
MEDIA_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
    "woff2": "font/woff2",
}
"""What may be asked for; a file with another suffix is not there."""

_STEP = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}")
"""A part of a path: it begins with no dot, so there is no way up and nothing hidden."""

MAX_STEPS = 5

POLICY = "; ".join(
    (
        *("default-src 'none'", "script-src 'self'", "style-src 'self'"),
        *("img-src 'self' data:", "connect-src 'self'", "font-src 'self'"),
        *("manifest-src 'self'", "base-uri 'none'", "form-action 'none'"),
        "frame-ancestors 'none'",
    )
)
"""Nothing from elsewhere and nothing inline: what an agent wrote cannot become a program."""


def page_routes() -> list[BaseRoute]:
    """The routes of the dashboard, whatever the query of its address."""
    return [
        Route(PAGE, _index, methods=["GET"]),
        Route(ASSETS, _asset, methods=["GET"]),
    ]


async def _index(request: Request) -> Response:
    return await _file(request, (INDEX,), "text/html; charset=utf-8")


async def _asset(request: Request) -> Response:
    steps = tuple(request.path_params["path"].split("/"))
    media_type = MEDIA_TYPES.get(steps[-1].rpartition(".")[2])
    known = len(steps) <= MAX_STEPS and all(_STEP.fullmatch(step) for step in steps)
    if media_type is None or not known:
        raise HTTPException(404)
    return await _file(request, steps, media_type)


async def _file(request: Request, steps: tuple[str, ...], media_type: str) -> Response:
    content = await asyncio.to_thread(_read, files(PACKAGE), steps)
    if content is None:
        raise HTTPException(404)
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": "no-cache", "Content-Security-Policy": POLICY}
    if etag in etags(request.headers.get("if-none-match", "")):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)


def _read(folder: Traversable, steps: tuple[str, ...]) -> bytes | None:
    place = folder.joinpath(*steps)
    return place.read_bytes() if place.is_file() else None
