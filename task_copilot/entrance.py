"""Connections from the moment they are accepted: how many there may be, and TLS before HTTP."""

import asyncio
import ipaddress
import logging
import ssl
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol
from weakref import WeakSet

logger = logging.getLogger(__name__)

REQUEST_SECONDS = 10.0
"""How long a connection may take to send its request, with the TLS handshake before it."""

SITE_BITS = 64
"""Of an IPv6 address: the rest is chosen by the machine itself, anew as often as it likes."""

ENCRYPTED_BYTES = 64 * 1024
"""As much may wait to be encrypted before a writer has to wait, as without TLS."""

END_SECONDS = 1.0
"""How long a client may take for the end of TLS, with what it has not read by then."""


class Guest(Protocol):
    """One connection."""

    transport: Any


class Crowd:
    """The connections of one server, of which `limit` may be there.

    Where one more comes, room is made: the oldest that has not sent a whole request is cut off,
    or else the one that has been idle for longest, or else the one that came. Another machine
    has half of the places at most.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._machines: dict[Guest, str] = {}
        self._present: Counter[str] = Counter()
        self.below: WeakSet[asyncio.WriteTransport] = WeakSet()
        """The transports beneath TLS: once it has been closed twice, asyncio's transport of the
        encrypted side cannot cut off any more."""
        self._asking: dict[Guest, None] = {}
        self._idle: dict[Guest, None] = {}

    def enters(self, guest: Guest, present: int) -> None:
        """Takes a new one; `present` counts all that are there, with it."""
        self._asking[guest] = None
        machine = other_machine(guest.transport)
        if machine is not None:
            self._machines[guest] = machine
            self._present[machine] += 1
        if machine is not None and self._present[machine] > max(1, self._limit // 2):
            self._make_room(guest, machine)
        elif present > self._limit:
            self._make_room(guest, None)

    def _make_room(self, guest: Guest, machine: str | None) -> None:
        """Cuts off one, of the machine if that is said."""
        others = (
            each
            for each in (*self._asking, *self._idle)
            if each is not guest and machine in {None, self._machines.get(each)}
        )
        victim = next(others, guest)
        self.ends(victim)
        victim.transport.abort()

    def asks(self, guest: Guest) -> None:
        """It has begun a request, which is not whole yet."""
        self._idle.pop(guest, None)
        self._asking.setdefault(guest)

    def is_served(self, guest: Guest) -> None:
        """It has sent a whole request, or listens: it is not cut off for others."""
        self._asking.pop(guest, None)
        self._idle.pop(guest, None)

    def idles(self, guest: Guest) -> None:
        """Its requests are answered."""
        self._asking.pop(guest, None)
        self._idle.setdefault(guest)

    def ends(self, guest: Guest) -> None:
        """It has gone, or is just being cut off."""
        self.is_served(guest)
        machine = self._machines.pop(guest, None)
        if machine is not None:
            self._present[machine] -= 1
            if not self._present[machine]:
                del self._present[machine]


def other_machine(transport: Any) -> str | None:
    """The machine at the other end; None for this one."""
    peer = transport.get_extra_info("peername")
    try:
        return machine_of(peer[0]) if isinstance(peer, tuple) else None
    except ValueError:
        return None


def machine_of(host: str) -> str | None:
    """The machine that has an address, of IPv6 the network that it is in; None for this machine.
    Raises ValueError for what is no address."""
    address = ipaddress.ip_address(host)
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            network = str(int(address) >> (address.max_prefixlen - SITE_BITS))
            return None if address.is_loopback else network
        address = address.ipv4_mapped
    return None if address.is_loopback else str(address)


class TlsEntrance(asyncio.Protocol):
    """Has a connection while it agrees on TLS; then `inner` has it.

    asyncio's own way counts a connection only after that, and gives it a minute.
    """

    def __init__(self, context: ssl.SSLContext, inner: Any) -> None:
        self._context = context
        self._inner = inner
        self._early: list[bytes] = []
        self._lost = False
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._inner.crowd.below.add(transport)
        self._inner.connections.add(self)
        self._inner.crowd.enters(self, len(self._inner.connections))
        task = self._inner.loop.create_task(self._agree())
        self._inner.tasks.add(task)
        task.add_done_callback(self._inner.tasks.discard)

    def data_received(self, data: bytes) -> None:
        # What comes with the end of the handshake, before `_agree` goes on.
        self._early.append(data)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._lost = True

    def shutdown(self) -> None:
        """The server ends."""
        self.transport.abort()

    async def _agree(self) -> None:
        loop = self._inner.loop
        opened = loop.time()
        try:
            encrypted = await loop.start_tls(
                self.transport,
                self,
                self._context,
                server_side=True,
                ssl_handshake_timeout=REQUEST_SECONDS,
                ssl_shutdown_timeout=END_SECONDS,
            )
        except OSError as error:  # of a client that leaves, speaks plain HTTP or is too slow
            logger.debug("A connection has not agreed on TLS: %s", error)
            encrypted = None
        finally:
            self._inner.connections.discard(self)
            self._inner.crowd.ends(self)
        if encrypted is not None and not self._lost:
            self._hand_over(encrypted, opened)

    def _hand_over(self, transport: Any, opened: float) -> None:
        transport.set_write_buffer_limits(high=ENCRYPTED_BYTES)
        self._inner.opened = opened
        self._inner.connection_made(transport)
        transport.set_protocol(self._inner)
        if self._early:
            self._inner.data_received(b"".join(self._early))
            self._early.clear()


def behind_tls(context: ssl.SSLContext, inner: Callable[..., Any]) -> Callable[..., TlsEntrance]:
    """What makes the protocol of each connection, where `inner` makes those behind TLS."""

    def entrance(**given: Any) -> TlsEntrance:
        return TlsEntrance(context, inner(**given))

    return entrance
