"""Where the processes of one database find each other: small files in the data directory."""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from task_copilot.settings import data_directory

NAME_BYTES = 8
"""So much of a hash tells apart what databases one user can have."""

SERVER_PORT = "5432"
"""Of PostgreSQL."""

_IDENTIFYING = ("host", "port", "dbname", "service", "options")
"""Parameters that say which database it is, and not as whom or how it is reached."""

_SERVER = re.compile(
    r"postgresql[\w+]*://(?:(?P<user>[^:/]*)(?::(?P<password>[^@]*))?@)?"
    r"(?:(?P<host>\[[^/?]+\]|[^/:?]+)?(?::(?P<port>[^/?]*))?)?"
    r"(?:/(?P<database>[^?]*))?(?:\?(?P<query>.*))?",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Places:
    """The files of one database. None of them is one of SQLite's own."""

    name: str
    """How the names of all of them begin."""
    lock: Path
    """Held by the process that serves the events."""
    runtime: Path
    """Says where that process serves them."""
    announced: Path
    """Says how far it has told listeners of the log."""
    opening: Path
    """Held for a moment by whoever opens the database."""

    @classmethod
    def of(cls, database: Path) -> "Places":
        """The places of a SQLite database, the same for every spelling of its path."""
        name = _name(os.fsencode(database.resolve()))
        return cls._named(name, name)

    @classmethod
    def of_server(cls, url: str, port: int) -> "Places":
        """The places of a hub on `port` of a PostgreSQL database. The database serves any number
        of them: one for each port on this machine, and those of other machines."""
        name = _name(_identity(url).encode(errors="surrogateescape"))
        return cls._named(name, f"{name}-{port}")

    @classmethod
    def _named(cls, name: str, own: str) -> "Places":
        folder = data_directory()
        return cls(
            name=name,
            lock=folder / f"{own}.lock",
            runtime=folder / f"{own}.json",
            announced=folder / f"{own}.head",
            opening=folder / f"{name}.opening",
        )

    def runtime_files(self) -> list[Path]:
        """`runtime`, and those of hubs of the same database on other ports."""
        others = self.runtime.parent.glob(f"{self.name}-*.json")
        numbered = {path for path in others if path.stem.rpartition("-")[2].isdecimal()}
        return [self.runtime, *sorted(numbered - {self.runtime})]


def places_of(url: str, port: int) -> Places:
    """The places of the database at `url`, and of a hub on `port` where each has its own."""
    if _SERVER.match(url):
        return Places.of_server(url, port)
    name = url.partition(":///")[2].partition("?")[0]
    if name.startswith("file:"):  # SQLite's own kind of address
        name = unquote(urlsplit(name).path)
    return Places.of(Path(name).absolute())


def _name(identity: bytes) -> str:
    return f"hub-{hashlib.blake2b(identity, digest_size=NAME_BYTES).hexdigest()}"


def _identity(url: str) -> str:
    """Which database a URL names, however it is spelt and whoever uses it."""
    found = _SERVER.fullmatch(url)
    if found is None:
        return url
    query = sorted(
        (name, value) for name, value in parse_qsl(found["query"] or "") if name in _IDENTIFYING
    )
    host = unquote(found["host"] or "").lower()
    database = unquote(found["database"] or "")
    return repr((host, found["port"] or SERVER_PORT, database, query))
