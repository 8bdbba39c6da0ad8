"""``task-copilot token``: the shared secret, tickets for browsers, and signed tokens."""

import os
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from task_copilot.commands.asking import ca_file_option
from task_copilot.commands.common import Refusal, json_option, print_json, refusals, tell
from task_copilot.credentials import make_secret, read_secret, token_path
from task_copilot.database_file import weakness_of_folder
from task_copilot.identity import READ, SCOPES, WRITE
from task_copilot.private import (
    NotPrivate,
    open_private,
    private_folder,
    read_private,
    replace_private,
)
from task_copilot.settings import TOKEN_VARIABLE, URL_VARIABLE, Settings, data_directory

if TYPE_CHECKING:
    from task_copilot.commands.asking import HubAt

CREATED = 201
TICKET_SECONDS = 10.0
"""How long a hub may take to answer with a ticket."""

MAX_TICKET_BYTES = 65_536
MAX_KEY_BYTES = 65_536
MIN_KEY_BYTES = 32
"""Of a secret for HS256 (RFC 7518, section 3.2)."""

SUBJECT_CHARACTERS = 100
UNITS = {"m": 60, "h": 3600, "d": 86_400}
SHORTEST_SECONDS, LONGEST_SECONDS = 60, 366 * 86_400
DEFAULT_TIME = "24h"
KEY_SETTING = "TASK_COPILOT_JWT_KEY_FILE (--jwt-key-file)"

USE = """\
A server asks for it with:  task-copilot --auth required
Clients and commands of this user find it by themselves; elsewhere they take TASK_COPILOT_TOKEN.
To see it:  task-copilot token --show      For a browser:  task-copilot token --ticket"""


class _Lifetime(click.ParamType[int]):
    """A time such as 90m, 12h or 30d; a number alone is hours. In seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = re.fullmatch(r"([0-9]{1,6})([mhd]?)", str(value).strip().lower())
        seconds = int(found[1]) * UNITS[found[2] or "h"] if found else 0
        if not SHORTEST_SECONDS <= seconds <= LONGEST_SECONDS:
            self.fail(
                f"{value!r} is no time for a token; it is 1m to 366d, such as 90m, 12h or 30d.",
                param,
                ctx,
            )
        return seconds


class _Scopes(click.ParamType[tuple[str, ...]]):
    """Scopes between commas, of which write contains read."""

    name = "scopes"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        given = [part.strip() for part in str(value).split(",")]
        for scope in given:
            if scope not in SCOPES:
                self.fail(f"{scope!r} is no scope; there are: {', '.join(SCOPES)}.", param, ctx)
        return SCOPES if WRITE in given else (READ,)


@click.command()
@click.option("--show", is_flag=True, help="Print the token, and nothing else.")
@click.option("--new", is_flag=True, help="Make another one; who has the old one is out.")
@click.option("--ticket", is_flag=True, help="Print an address that lets a browser in, once.")
@click.option("--jwt", is_flag=True, help="Print a JSON Web Token, signed with --jwt-key-file.")
@click.option(
    "--scopes",
    type=_Scopes(),
    metavar="LIST",
    help="Of --jwt: read, or read,write. [default: read]",
)
@click.option("--subject", metavar="NAME", help="Of --jwt: who it is for.")
@click.option(
    "--expires-in",
    type=_Lifetime(),
    metavar="TIME",
    help=f"Of --jwt: such as 90m, 12h or 30d. [default: {DEFAULT_TIME}]",
)
@click.option(
    "--url",
    envvar=URL_VARIABLE,
    show_envvar=True,
    metavar="URL",
    help="The hub of --ticket. Without it: the hub of the database.",
)
@ca_file_option
@json_option
@click.pass_obj
def token(settings: Settings, /, url: str | None, *, as_json: bool, **given: Any) -> None:
    """Make the token that '--auth required' asks for, and say how to use it.

    It stands in a file that only you can read (--token-file), and is not shown unless --show
    says so. A browser gets in with --ticket: the address works once, for a minute.

        TASK_COPILOT_TOKEN=$(task-copilot token --show)
    """
    _check(given)
    if given["ticket"]:
        _ticket(settings, url, as_json=as_json)
    elif given["jwt"]:
        _jwt(settings, given, as_json=as_json)
    else:
        _secret(settings, show=given["show"], new=given["new"], as_json=as_json)


def _check(given: dict[str, Any]) -> None:
    if (given["show"] or given["new"]) + given["ticket"] + given["jwt"] > 1:
        raise click.UsageError("--ticket and --jwt stand alone, without --show and --new.")
    if not given["jwt"]:
        for name in ("scopes", "subject", "expires_in"):
            if given[name] is not None:
                raise click.UsageError(f"--{name.replace('_', '-')} belongs to --jwt.")


# --- the shared secret ---


def _secret(settings: Settings, *, show: bool, new: bool, as_json: bool) -> None:
    path = token_path(settings.token_file)
    with refusals():
        there = path.exists() if new else read_secret(path) is not None
        try:
            secret = _written(path, new=new) if new or not there else read_secret(path)
        except OSError as error:
            raise Refusal(f"The token file {path} cannot be written: {_reason(error)}.") from None
    made = new or not there
    if as_json:
        shown = {"token": secret} if show else {}
        print_json({"file": str(path), "made": made, "replaced": new and there, **shown})
    else:
        click.echo(secret if show else _said(path, made=made, replaced=new and there))
    if os.environ.get(TOKEN_VARIABLE):
        click.echo(f"task-copilot: {TOKEN_VARIABLE} is set here and counts before it.", err=True)


def _written(path: Path, *, new: bool) -> str:
    """A new secret, stored in `path`; raises OSError, also where another process was faster."""
    if path.parent == data_directory() or not path.parent.exists():
        private_folder(path.parent)
    elif (weakness := weakness_of_folder(path.parent)) is not None:
        raise NotPrivate(path.parent, weakness)
    secret = make_secret()
    content = f"{secret}\n".encode("ascii")
    if new:
        replace_private(path, content)
        return secret
    descriptor = open_private(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    return secret


def _said(path: Path, *, made: bool, replaced: bool) -> str:
    if replaced:
        first = f"A new token is in {path}. Servers take it at once; who has the old one is out."
    elif made:
        first = f"A new token is in {path}; only you can read it."
    else:
        first = f"The token is in {path}."
    return f"{first}\n{USE}"


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__


# --- tickets ---


def _ticket(settings: Settings, url: str | None, *, as_json: bool) -> None:
    from task_copilot.commands.asking import Unreachable, reason_of, request

    hub = _hub(settings, url)
    try:
        status, found = request(
            hub, "POST", "/api/tickets", {}, seconds=TICKET_SECONDS, limit=MAX_TICKET_BYTES
        )
    except Unreachable as reason:
        raise Refusal(f"{hub.url} does not answer: {reason}.") from None
    if status != CREATED or not isinstance(found, dict) or "ticket" not in found:
        raise Refusal(f"{hub.url} gives no ticket: {reason_of(status, found)}")
    address = f"{hub.url.rstrip('/')}/?ticket={found['ticket']}"
    tell(address, as_json=as_json, url=address, expiresAt=found.get("expiresAt"))


def _hub(settings: Settings, url: str | None) -> "HubAt":
    from task_copilot.commands.source import living_hub, named_hub

    hub = living_hub(settings) if url is None else named_hub(settings, url)
    if hub is None:
        raise Refusal(
            "No hub of this database runs; a session or 'task-copilot serve' is one. "
            "--url names another."
        )
    return hub


# --- JSON Web Tokens ---


def _jwt(settings: Settings, given: dict[str, Any], *, as_json: bool) -> None:
    import jwt

    key = _signing_key(settings.jwt_key_file)
    scopes = given["scopes"] or (READ,)
    subject = _subject(given["subject"])
    now = int(time.time())
    ends = now + (given["expires_in"] or UNITS["d"])
    claims = {"aud": settings.jwt_audience, "iat": now, "exp": ends, "scope": " ".join(scopes)}
    if subject is not None:
        claims["sub"] = subject
    signed = jwt.encode(claims, key, "HS256")
    if as_json:
        shown = datetime.fromtimestamp(ends, UTC).isoformat(timespec="seconds")
        expires_at = shown.replace("+00:00", "Z")
        fields = {"token": signed, "expiresAt": expires_at, "scopes": scopes, "subject": subject}
        print_json(fields)
    else:
        click.echo(signed)


def _subject(name: str | None) -> str | None:
    if name is None:
        return None
    if not name.strip() or not name.isprintable() or len(name) > SUBJECT_CHARACTERS:
        raise Refusal(f"--subject: is a name of 1 to {SUBJECT_CHARACTERS} characters.")
    return name.strip()


def _signing_key(file: str | None) -> bytes:
    """The secret that both signs and checks tokens; raises Refusal."""
    if file is None:
        raise Refusal(
            f"{KEY_SETTING}: is not set. It names a file with a secret of at least "
            f"{MIN_KEY_BYTES} bytes, the same that the server has."
        )
    try:
        content = read_private(Path(file), MAX_KEY_BYTES).strip()
    except OSError as error:
        raise Refusal(f"{KEY_SETTING}: {file}: {_reason(error)}.") from None
    if content.startswith(b"-----BEGIN "):
        raise Refusal(
            f"{KEY_SETTING}: {file} holds a key in PEM, with which servers check tokens that "
            "are signed elsewhere, by who has the private key. Tokens can be signed here only "
            "with a secret for HS256."
        )
    if len(content) < MIN_KEY_BYTES:
        raise Refusal(
            f"{KEY_SETTING}: {file} holds {len(content)} bytes, and a secret for HS256 has at "
            f"least {MIN_KEY_BYTES}."
        )
    return content


COMMANDS = {"token": token}
