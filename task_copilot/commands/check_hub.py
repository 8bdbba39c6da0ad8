"""What ``doctor`` looks at around the hub: the runtime file, the port, who answers there."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from task_copilot import __version__, ports, runtime
from task_copilot.commands.asking import SCHEMES, Unreachable, found_hub, health, hub_at
from task_copilot.commands.check_database import opened_to_read
from task_copilot.commands.common import Refusal, is_there, places_of_database
from task_copilot.commands.findings import Finding, note, ok, wrong
from task_copilot.errors import TaskCopilotError
from task_copilot.settings import Settings

LISTENING = "0A"
"""The state of a listening socket in /proc/net/tcp."""

PORT_FIELD, STATE_FIELD, INODE_FIELD = 1, 3, 9


def hub(settings: Settings) -> Iterator[Finding]:
    """Who serves, and who has the port."""
    try:
        places = places_of_database(settings)
    except TaskCopilotError:
        return  # said already
    record = runtime.record_of(places)
    serving = None if record is None or record.url is None else record
    if serving is None:
        yield note("hub", "Nobody serves events; a session or task-copilot serve will.")
    else:
        yield from _hub(settings, serving, places.runtime)
    yield from _port(settings, serving)


def _hub(settings: Settings, record: runtime.HubRecord, path: Path) -> Iterator[Finding]:
    where = f"process {record.pid} on {record.url}"
    try:
        found = health(found_hub(settings, record))
    except (Unreachable, Refusal) as reason:
        yield wrong(
            "hub",
            f"{path} names {where}, but nobody serves there: {reason}.",
            f"Start a session or task-copilot serve, which writes it anew; or remove {path}",
        )
        return
    restart = f"End process {record.pid}; another session takes its place."
    problems = []
    if settings.auth == "required" and record.auth != "required":
        problems.append("it asks nobody for a token, though --auth required says so")
    if found.get("version") != __version__:
        problems.append(f"it is version {found.get('version')}, and this is {__version__}")
    epoch = _stored_epoch(settings)
    if epoch is not None and found.get("epoch") != epoch:
        problems.append("it serves another database than the one that stands there now")
    for problem in problems:
        yield wrong("hub", f"{where}: {problem}.", restart)
    if not problems:
        yield ok("hub", f"{where}, event {found.get('seq')}, listeners: {found.get('clients')}")


def _stored_epoch(settings: Settings) -> str | None:
    # What is wrong with the database is said elsewhere.
    with contextlib.suppress(Exception):
        if is_there(settings):
            with opened_to_read(settings) as connection:
                return str(connection.execute("SELECT epoch FROM log").fetchone()[0])
    return None


def _port(settings: Settings, serving: runtime.HubRecord | None) -> Iterator[Finding]:
    host, port = settings.host, settings.port
    place = f"{ports.in_url(host)}:{port}"
    if serving is not None and serving.port == port:
        yield ok("port", f"{place} is the hub's")
        return
    try:
        ports.bind(host, port).close()
    except OSError as error:
        holder = _holder(settings, place, port)
        yield wrong(
            "port",
            f"{place} cannot be had ({error.strerror}): {holder}.",
            "End that program, or take another port with TASK_COPILOT_PORT (--port). Until then "
            "sessions take the next free one, and clients that know only this one meet a stranger.",
        )
    else:
        yield ok("port", f"{place} is free")


def _holder(settings: Settings, place: str, port: int) -> str:
    for scheme in SCHEMES:
        hub = replace(hub_at(settings, f"{scheme}://{place}"), anonymous=True)
        with contextlib.suppress(Unreachable, Refusal):
            return f"Task Copilot {health(hub).get('version')} has it, for another database"
    return owner_of(port) or "another program has it"


def owner_of(port: int) -> str | None:
    """The process that listens on a port, where the system lets us see it (Linux)."""
    inodes = set(_listening(port))
    for folder in Path("/proc").glob("[0-9]*") if inodes else ():
        # Processes of other users, and those that are just ending, do not let us look.
        with contextlib.suppress(OSError):
            for link in (folder / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if os.readlink(link) in inodes:  # noqa: PTH115 - not a path
                        name = (folder / "comm").read_text(errors="replace").strip()
                        return f"process {folder.name} ({name}) has it"
    return None


def _listening(port: int) -> Iterator[str]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        lines: list[str] = []
        with contextlib.suppress(OSError):
            lines = Path(table).read_text(encoding="ascii").splitlines()[1:]
        for fields in map(str.split, lines):
            address, state = fields[PORT_FIELD], fields[STATE_FIELD]
            if state == LISTENING and int(address.rpartition(":")[2], 16) == port:
                yield f"socket:[{fields[INODE_FIELD]}]"
