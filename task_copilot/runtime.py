"""The runtime file: where the hub of a database is, for people, clients and other processes.

Only the hub writes it. One that was killed leaves it behind, so it is a hint: who uses the
address asks ``/health`` who is there.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from task_copilot.places import Places
from task_copilot.private import read_own, replace_private

SERVICE = "task-copilot"

MAX_BYTES = 65_536
"""Far more than is ever written; what else stands there is not read to its end."""

_NAMES = {"wakeup_port": "wakeupPort", "started_at": "startedAt"}


@dataclass(frozen=True, slots=True, kw_only=True)
class HubRecord:
    """What the file says. Where nobody serves, `pid`, `port`, `url` and `wakeup_port` are None."""

    takeovers: int
    """How many hubs this database has had."""
    epoch: str
    version: str
    host: str
    started_at: str
    pid: int | None = None
    port: int | None = None
    url: str | None = None
    wakeup_port: int | None = None
    certificate: str | None = None
    """The file with the hub's certificate, where it speaks TLS."""
    auth: str | None = None
    """Whether it asks, or the last one asked, for tokens: ``required`` or ``none``."""


def write(path: Path, record: HubRecord) -> None:
    """Puts `record` in the place of what `path` says; raises OSError."""
    fields = {_NAMES.get(name, name): value for name, value in asdict(record).items()}
    text = json.dumps({"service": SERVICE, **fields}, indent=1) + "\n"
    replace_private(path, text.encode())


def records(places: Places) -> list[HubRecord]:
    """Those of the hubs of a database, of our own port first: those that serve, or where none
    does, what the last ones have left."""
    found = [record for path in places.runtime_files() if (record := read(path)) is not None]
    return [record for record in found if record.url is not None] or found


def record_of(places: Places) -> HubRecord | None:
    """The first of `records`."""
    return next(iter(records(places)), None)


def read(path: Path) -> HubRecord | None:
    """What `path` says; None where there is no such file, something else in it, or one that
    another user can write: a token would be shown to whoever it names."""
    try:
        found: Any = json.loads(read_own(path, MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.get("service") != SERVICE:
        return None
    return _record(found)


def _record(found: dict[str, Any]) -> HubRecord | None:
    texts = [found.get(name) for name in ("epoch", "version", "host", "startedAt")]
    url, certificate, auth = (found.get(name) for name in ("url", "certificate", "auth"))
    pid, takeovers = (found.get(name) for name in ("pid", "takeovers"))
    ports = [found.get(name) for name in ("port", "wakeupPort")]
    if not (
        all(isinstance(text, str) for text in texts)
        and all(text is None or isinstance(text, str) for text in (url, certificate, auth))
        and (pid is None or _is_number(pid, 2**31))
        and all(port is None or _is_number(port, 65_535) for port in ports)
        and _is_number(takeovers, 2**53)
    ):
        return None
    epoch, version, host, started_at = map(str, texts)
    return HubRecord(
        takeovers=takeovers,  # type: ignore[arg-type] # checked above
        epoch=epoch,
        version=version,
        host=host,
        started_at=started_at,
        pid=pid,
        port=ports[0],
        url=url,
        wakeup_port=ports[1],
        certificate=certificate,
        auth=auth,
    )


def _is_number(value: object, maximum: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= maximum
