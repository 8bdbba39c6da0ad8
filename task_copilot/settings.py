"""Every setting of the program, declared once.

The command line's flags, their environment twins, the help texts and the checks all come
from the fields of `Settings`. A flag wins over its environment variable, which wins over
the default.
"""

from collections.abc import Iterable, Iterator
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any

import platformdirs

ENVIRONMENT_PREFIX = "TASK_COPILOT_"

DEFAULT_PORT = 9090

URL_VARIABLE = "TASK_COPILOT_URL"
"""Where clients and the reading commands find a hub, instead of looking for one."""


STREAM_VARIABLE = "TASK_COPILOT_STREAM"
"""Tells a worker of the orchestrator which stream it works on."""

TOKEN_VARIABLE = "TASK_COPILOT_TOKEN"  # noqa: S105 - its name
"""The token that a server asks for, and that clients and commands show; before any file."""

CA_FILE_VARIABLE = "TASK_COPILOT_CA_FILE"
"""Certificates that clients and commands trust, beside the system's."""


def setting(
    default: Any,
    about: str,
    *,
    choices: tuple[str, ...] = (),
    minimum: float | None = None,
    maximum: float | None = None,
) -> Any:
    """One field of `Settings` with all that its surfaces need."""
    bounds = {"about": about, "choices": choices, "minimum": minimum, "maximum": maximum}
    if callable(default):
        return field(default_factory=default, metadata=bounds)
    return field(default=default, metadata=bounds)


def data_directory() -> Path:
    """The user's folder for this program's data, by the habits of the operating system."""
    return Path(platformdirs.user_data_dir("task-copilot", appauthor=False))


def default_database_url() -> str:
    """A SQLite file in the user's data directory."""
    return f"sqlite:///{data_directory() / 'task-copilot.db'}"


LIKE_A_TYPO = 0.85
"""How similar (1: the same) a name must be to a known one to be taken for that, misspelt."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a user can set; read the fields' texts for units and limits."""

    database_url: str = setting(
        default_database_url,
        "Database that all sessions share: a SQLite file, or for sessions on several machines "
        "postgresql+psycopg://USER@HOST/DATABASE.",
    )
    host: str = setting(
        "127.0.0.1",
        "Address on which events and HTTP are served; one that other machines reach needs "
        "--auth required and TLS.",
    )
    port: int = setting(DEFAULT_PORT, "Port for events and HTTP.", minimum=1, maximum=65535)
    workspace: str | None = setting(
        None, "Folder or name of the workspace. [default: the git repository of the folder]"
    )
    agent: str | None = setting(
        None, "Who acts, where a call does not say. [default: the client's name and a short id]"
    )
    log_level: str = setting(
        "warning", "How much is said on stderr.", choices=("debug", "info", "warning", "error")
    )
    durability: str = setting(
        "full",
        "'full': a change that was answered survives a power cut; 'normal': a crash of this "
        "program only, and with PostgreSQL not one of its server.",
        choices=("full", "normal"),
    )
    checkpoints_kept: int = setting(
        5, "Newest checkpoints kept of each task.", minimum=1, maximum=1000
    )
    archive_after_days: int = setting(
        0,
        "Days without a change after which a finished stream is archived; 0: never.",
        minimum=0,
        maximum=36_500,
    )
    retention_days: float = setting(
        7.0,
        "Days that an event stays in the log at least; 0: age does not protect it.",
        minimum=0,
        maximum=36_500,
    )
    retention_events: int = setting(
        100_000,
        "Newest events that stay in the log whatever their age.",
        minimum=1,
        maximum=1_000_000_000,
    )
    max_listeners: int = setting(
        100,
        "Listeners at once, over whatever transport; the next gets 503.",
        minimum=1,
        maximum=100_000,
    )
    max_patterns: int = setting(50, "Topic patterns of one connection.", minimum=1, maximum=10_000)
    max_message_bytes: int = setting(
        65_536, "Bytes of one message from a listener.", minimum=1024, maximum=16_777_216
    )
    ping_interval: float = setting(
        30.0,
        "Seconds between pings to a listener, at most half of its timeout.",
        minimum=0.05,
        maximum=3600,
    )
    listener_timeout: float = setting(
        60.0,
        "Seconds without an answer to pings, or without reading, before a listener is dropped.",
        minimum=0.1,
        maximum=7200,
    )
    max_message_rate: int = setting(
        20,
        "Messages a second that a listener may send for long; who sends more is closed with 1008.",
        minimum=1,
        maximum=100_000,
    )
    max_request_rate: int = setting(
        100,
        "HTTP requests a second, for long, of one connection of this machine or of one other "
        "machine; more get 429.",
        minimum=1,
        maximum=1_000_000,
    )
    no_websocket: bool = setting(
        False, "Refuse WebSockets with 403, to see clients fall back to HTTP."
    )
    auth: str | None = setting(
        None,
        "'required': events, HTTP and /mcp need a token; 'none': whoever is on this machine "
        "may use them. [default: as the database was served before, at first none]",
        choices=("none", "required"),
    )
    token_file: str | None = setting(
        None,
        "File with the shared secret; 'task-copilot token' makes it. [default: 'token' in the "
        "data directory]",
    )
    jwt_key_file: str | None = setting(
        None,
        "File with the key that JSON Web Tokens are checked with: a public key (PEM), or a secret "
        "of at least 32 bytes for HS256.",
    )
    jwt_audience: str = setting("task-copilot", "The 'aud' that JSON Web Tokens must have.")
    tls_certificate: str | None = setting(
        None, "File with the certificate (PEM, with its chain) for https:// and wss://."
    )
    tls_key: str | None = setting(None, "File with the key of that certificate (PEM).")
    allow_plaintext: bool = setting(
        False,
        "Serve other machines without TLS: tokens and tasks can be read on the way, unless a "
        "proxy or a tunnel encrypts them.",
    )
    allowed_hosts: str | None = setting(
        None,
        "Names, separated by commas, under which others reach this server: hub.example.com, or "
        "hub.example.com:443 where a proxy listens on another port.",
    )
    allowed_origins: str | None = setting(
        None,
        "Origins, separated by commas, whose pages may use this server too: http://localhost:5173.",
    )


def declared() -> tuple[Field[Any], ...]:
    """The declarations, in the order in which help shows them."""
    return fields(Settings)


def flag(declaration: Field[Any]) -> str:
    """The command line's name of a setting: ``--database-url``."""
    return "--" + declaration.name.replace("_", "-")


def environment_variable(declaration: Field[Any]) -> str:
    """The environment's name of a setting: ``TASK_COPILOT_DATABASE_URL``."""
    return ENVIRONMENT_PREFIX + declaration.name.upper()


def shown_default(declaration: Field[Any]) -> Any:
    """The default as help shows it; None where the text says it in words."""
    if declaration.default_factory is not MISSING:
        return declaration.default_factory()
    return declaration.default


def known_variables() -> set[str]:
    """Every variable of the environment that some part of the program reads."""
    return {
        URL_VARIABLE,
        STREAM_VARIABLE,
        TOKEN_VARIABLE,
        CA_FILE_VARIABLE,
        *map(environment_variable, declared()),
    }


def unknown_variables(names: Iterable[str]) -> Iterator[tuple[str, str | None]]:
    """Those of `names` that look like variables of this program and are none, each with the
    known name that is meant probably, or None."""
    ours = [name for name in names if name.startswith(ENVIRONMENT_PREFIX)]
    known = known_variables()
    for name in sorted(set(ours) - known):
        from difflib import get_close_matches  # seldom needed

        yield name, next(iter(get_close_matches(name, sorted(known), 1, LIKE_A_TYPO)), None)
