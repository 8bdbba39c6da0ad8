"""Which databases can be used, and how they are shown: a URL can hold a password."""

import re

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from task_copilot.errors import StorageError

POSTGRES = "postgresql+psycopg"
_SQLITE = ("sqlite", "sqlite+pysqlite")
_NO_FILES = (None, "", ":memory:")
_SHOWN = ("host", "port", "dbname", "service", "options", "sslmode", "target_session_attrs")
"""Parameters of a PostgreSQL URL that people are told of; others may be secrets, also misspelt."""

_USER_AND_PASSWORD = re.compile(r":.*@|\b(?:ssl)?password=[^&\s]*", re.DOTALL | re.IGNORECASE)


def parse_url(text: str) -> URL:
    """The URL of a database that this program can use; raises StorageError otherwise."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise refused(text, "it is not a URL") from None
    if url.drivername == POSTGRES:
        if not url.database:
            raise refused(text, "it names no database")
        return url
    if url.get_backend_name() in {"postgresql", "postgres"}:
        raise refused(text, f"for PostgreSQL it begins with {POSTGRES}://")
    if url.drivername not in _SQLITE or url.database in _NO_FILES:
        raise refused(text, "it names no SQLite file")
    return url


def is_postgres(url: URL) -> bool:
    """Whether it is a PostgreSQL database."""
    return url.drivername == POSTGRES


def refused(text: str, reason: str) -> StorageError:
    """The error of a URL that cannot be used."""
    return StorageError(
        f"TASK_COPILOT_DATABASE_URL cannot be {without_secrets(text)!r}: {reason}. It looks like "
        f"sqlite:////home/me/tasks.db or {POSTGRES}://user@host/database"
    )


def without_secrets(text: str) -> str:
    """Any text that was meant as a URL, without what may be a user's name and password."""
    return _USER_AND_PASSWORD.sub(_hidden, text)


def _hidden(found: re.Match[str]) -> str:
    text = found[0]
    return "://***@" if text.startswith(":") else f"{text.partition('=')[0]}=***"


def shown(url: URL) -> str:
    """A URL as people may see it."""
    if not is_postgres(url):
        return url.render_as_string()
    kept = url.difference_update_query([name for name in url.query if name not in _SHOWN])
    return kept._replace(password=None).render_as_string()


def welcome(text: str) -> str:
    """What was given as a URL, as people may see it, whether it is one or not."""
    try:
        return shown(parse_url(text))
    except StorageError:
        return without_secrets(text)
