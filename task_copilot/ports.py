"""Ports: taking one to listen on, and finding out who has one that could not be had."""

import asyncio
import contextlib
import json
import socket
import ssl
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


def local_host(host: str) -> str:
    """The address under which programs of this machine reach what listens on `host`."""
    return {"localhost": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104


def local_address(host: str, port: int, scheme: str = "http") -> str:
    """Where programs of this machine find a server that listens on `host` and `port`."""
    return f"{scheme}://{in_url(local_host(host))}:{port}"


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


async def holder_of(host: str, port: int, epoch: str, *, tls: bool = False) -> Holder:
    """Who has the port; `epoch` names our database, `tls` says whether it is asked over TLS
    first. A hub of other settings may do the other, so that is tried then."""
    found = []
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            for context in (_trusting(), None) if tls else (None, _trusting()):
                health = await _health(host, port, context)
                found.append(health)
                if isinstance(health, dict):
                    break
    except TimeoutError:
        return Holder.OTHER
    health = found[-1]
    if isinstance(health, dict):
        ours = health.get("service") == SERVICE and health.get("epoch") == epoch
        return Holder.SAME_DATABASE if ours else Holder.OTHER
    return Holder.OTHER if False in found else Holder.NOBODY


def _trusting() -> ssl.SSLContext:
    """Accepts every certificate: no secret is sent, and who lies about the epoch gains nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def _health(host: str, port: int, context: ssl.SSLContext | None) -> Any:
    """What ``GET /health`` answers, False if that is no object, None if it is nothing at all.

    By hand: a library's client would take longer to make than all the rest of a takeover.
    """
    try:
        answer = await _answer(host, port, context)
        found = json.loads(answer.partition(b"\r\n\r\n")[2]) if answer else None
    except OSError:  # also of TLS, which the other side may not speak
        return None
    except (ValueError, RecursionError):
        return False
    return found if found is None or isinstance(found, dict) else False


async def _answer(host: str, port: int, context: ssl.SSLContext | None) -> bytes:
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        request = (
            f"GET /health HTTP/1.1\r\nHost: {in_url(host)}:{port}\r\nConnection: close\r\n\r\n"
        )
        writer.write(request.encode())
        answer = b""
        while len(answer) < PROBE_BYTES and (chunk := await reader.read(PROBE_BYTES)):
            answer += chunk
        return answer
    finally:
        writer.transport.abort()  # TLS would wait for the other side to take its leave
        with contextlib.suppress(OSError):  # it is no longer of interest how this ends
            await writer.wait_closed()
