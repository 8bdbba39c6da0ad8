"""The addresses under which a hub is reached, and the origins of pages that may use it."""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from task_copilot.errors import InvalidInput

DEFAULT_PORTS = {"http": 80, "https": 443}
LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")
WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - to know them
HIGHEST_PORT = 65_535

_AUTHORITY = re.compile(
    r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9_-][a-z0-9._-]{0,252}?)\.?(?::(0|[1-9][0-9]{0,4}))?"
)
_ORIGIN = re.compile(r"(https?)://(.*)")


class Authority(NamedTuple):
    """A host name or address, without brackets, and the port if one was said."""

    name: str
    port: int | None


class Origin(NamedTuple):
    """A page's origin; the port is always there."""

    scheme: str
    name: str
    port: int


def authority_of(text: str) -> Authority | None:
    """What a Host header names, in lower case, without the dot that may end a name, and with
    the shortest form of an IPv6 address; None where it names nothing."""
    found = _AUTHORITY.fullmatch(text.strip(" \t").lower())
    if found is None:
        return None
    name, port = found[1], found[2]
    if port is not None and int(port) > HIGHEST_PORT:
        return None
    if name.startswith("["):
        try:
            name = str(ipaddress.IPv6Address(name[1:-1]))
        except ValueError:
            return None
    return Authority(name, None if port is None else int(port))


def origin_of(text: str) -> Origin | None:
    """What an Origin header names; None for ``null`` and everything else that is no page on a
    server."""
    found = _ORIGIN.fullmatch(text.strip(" \t").lower())
    authority = authority_of(found[2]) if found else None
    if found is None or authority is None:
        return None
    port = DEFAULT_PORTS[found[1]] if authority.port is None else authority.port
    return Origin(found[1], authority.name, port)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Made by `addresses`."""

    scheme: str
    port: int
    names: frozenset[str]
    """Under which it is reached at its own port."""
    proxied: frozenset[Authority]
    """Under which a proxy is reached that leads to it."""
    any_address: bool
    """Whether every number of this machine leads to it."""
    origins: frozenset[Origin]
    """Of other servers, whose pages may use it."""

    def is_ours(self, host: Authority) -> bool:
        """Whether a Host names this hub.

        A page that had its own name lead here (DNS rebinding) sends that name, never an address,
        so an address is as good as a name that is known.
        """
        port = DEFAULT_PORTS[self.scheme] if host.port is None else host.port
        if port == self.port and self._leads_here(host.name):
            return True
        if host.port is not None:
            return host in self.proxied
        return any(Authority(host.name, port) in self.proxied for port in DEFAULT_PORTS.values())

    def _leads_here(self, name: str) -> bool:
        return name in self.names or (self.any_address and _is_address(name))

    def allows(self, origin: Origin, host: Authority | None = None) -> bool:
        """Whether pages of `origin` may use this hub: its own, and those that were allowed.
        `host` is where the request goes to: where every number leads here, a page that came from
        one of them can speak to that one only."""
        own_port = (origin.scheme, origin.port) == (self.scheme, self.port)
        if own_port and origin.name in self.names:
            return True
        if own_port and host is not None and host.name == origin.name and self.is_ours(host):
            return True
        return origin in self.origins or Authority(origin.name, origin.port) in self.proxied

    @property
    def shown(self) -> str:
        """The names for people, with the port."""
        known = [f"{_bracketed(name)}:{self.port}" for name in sorted(self.names)]
        known += [f"{_bracketed(name)}:{port}" for name, port in sorted(self.proxied)]
        return ", ".join(known)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _bracketed(name: str) -> str:
    return f"[{name}]" if ":" in name else name


def addresses(
    *,
    host: str = "127.0.0.1",
    port: int,
    scheme: str = "http",
    allowed_hosts: str | None = None,
    allowed_origins: str | None = None,
) -> Addresses:
    """The addresses of a hub that listens on `host` and `port`, with the names and origins of
    the settings; raises InvalidInput for nonsense among those."""
    names, proxied = set(), set()
    for given in _listed(allowed_hosts):
        authority = authority_of(given)
        if authority is None:
            raise InvalidInput(
                f"TASK_COPILOT_ALLOWED_HOSTS (--allowed-hosts): {given!r} is no name of a host; "
                "they look like hub.example.com,hub.example.com:443"
            )
        if authority.port is None:
            names.add(authority.name)
        else:
            proxied.add(authority)
    if is_loopback(host) or host in WILDCARDS:
        names.update(LOOPBACK_NAMES)
    if host not in WILDCARDS:
        names.add(host)
    return Addresses(
        scheme=scheme,
        port=port,
        names=frozenset(names),
        proxied=frozenset(proxied),
        any_address=host in WILDCARDS,
        origins=frozenset(_origins(allowed_origins)),
    )


def _origins(text: str | None) -> Iterable[Origin]:
    for given in _listed(text):
        origin = origin_of(given)
        if origin is None:
            raise InvalidInput(
                f"TASK_COPILOT_ALLOWED_ORIGINS (--allowed-origins): {given!r} is no origin; they "
                "look like http://localhost:5173,https://tools.example.com"
            )
        yield origin


def _listed(text: str | None) -> list[str]:
    return [item.strip() for item in (text or "").split(",") if item.strip()]


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def texts(origins: Iterable[Origin]) -> list[str]:
    """Origins as browsers write them."""
    return [
        f"{scheme}://{_bracketed(name)}" + ("" if DEFAULT_PORTS[scheme] == port else f":{port}")
        for scheme, name, port in origins
    ]
