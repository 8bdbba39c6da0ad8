"""Ports: taking one to listen on, and finding out who has one that could not be had."""

import asyncio
import contextlib
import json
import socket
import sys
from enum import Enum
from typing import Any

from task_copilot.runtime import SERVICE

if sys.platform == "win32":

    def _open_files() -> float:
        return float("inf")

else:
    import resource

    def _open_files() -> float:
        soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        return float("inf") if soft == resource.RLIM_INFINITY else soft


BACKLOG = 256

ACCEPTED_AT_ONCE = 8
"""Connections that are taken before the event loop looks whether there are too many."""

KEPT_FILES = 96
"""Files that are not for connections: the database, the process's own streams, and what is
accepted in the few rounds of the event loop before it is turned away."""

PROBE_SECONDS = 1.0
"""Who has a port and says nothing for so long is another program."""

PROBE_BYTES = 65_536
"""Far more than ``/health`` answers."""


class Holder(Enum):
    """Who has a port that could not be bound."""

    NOBODY = "nobody answers: its process may just be ending"
    SAME_DATABASE = "another Task Copilot process on this database"
    OTHER = "another program"


def most_connections(wanted: int) -> int:
    """`wanted`, or as many as the process may have with the files that it needs itself.

    Without a file for the next connection asyncio fails to accept it, again and again, with
    a hundred megabytes of errors in the log in a few seconds.
    """
    return int(max(1, min(wanted, _open_files() - KEPT_FILES)))


def in_url(host: str) -> str:
    """A host name or address as it stands in a URL."""
    return f"[{host}]" if ":" in host else host


def local_address(host: str, port: int, scheme: str = "http") -> str:
    """Where programs of this machine find a server that listens on `host` and `port`."""
    shown = {"localhost": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"{scheme}://{in_url(shown)}:{port}"


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; raises OSError.

    IPPROTO_TCP is said because asyncio sets TCP_NODELAY only where it is; without that each
    small frame waits 40 ms for the client's acknowledgement.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # Windows, where REUSEADDR shares the port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


async def holder_of(host: str, port: int, epoch: str) -> Holder:
    """Who has the port; `epoch` names our database."""
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            health = await _health(host, port)
    except TimeoutError:
        return Holder.OTHER
    except OSError:
        return Holder.NOBODY
    if health is None:
        return Holder.NOBODY
    ours = isinstance(health, dict) and health.get("service") == SERVICE
    return Holder.SAME_DATABASE if ours and health.get("epoch") == epoch else Holder.OTHER


async def _health(host: str, port: int) -> Any:
    """What ``GET /health`` answers, False if that is no JSON, None if it is nothing at all.

    By hand: a library's client would take longer to make than all the rest of a takeover.
    """
    reader, writer = await asyncio.open_connection(host, port)
    try:
        request = (
            f"GET /health HTTP/1.1\r\nHost: {in_url(host)}:{port}\r\nConnection: close\r\n\r\n"
        )
        writer.write(request.encode())
        answer = b""
        while len(answer) < PROBE_BYTES and (chunk := await reader.read(PROBE_BYTES)):
            answer += chunk
    finally:
        writer.close()
        with contextlib.suppress(OSError):  # it is no longer of interest how this ends
            await writer.wait_closed()
    try:
        return json.loads(answer.partition(b"\r\n\r\n")[2]) if answer else None
    except (ValueError, RecursionError):
        return False
