"""What the settings say about access, checked as a whole before anything is served."""

import ipaddress
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from task_copilot import credentials
from task_copilot.access.addresses import Addresses, addresses, is_loopback
from task_copilot.access.tls import Stamps, server_context, stamps
from task_copilot.access.tokens import Authority, Either, SharedSecret
from task_copilot.errors import InvalidInput
from task_copilot.settings import TOKEN_VARIABLE, Settings

REQUIRED = "required"
HOST = "TASK_COPILOT_HOST (--host)"


@dataclass(frozen=True, slots=True)
class Access:
    """Who may come in, and how. Without an `authority` no token is asked for."""

    settings: Settings
    authority: Authority | None = None
    tls: ssl.SSLContext | None = None
    tls_stamps: Stamps = field(default_factory=list)
    """Of the certificate and its key, before they were read."""

    @property
    def auth(self) -> str:
        """Whether tokens are asked for, as the setting says it."""
        return "none" if self.authority is None else REQUIRED

    @property
    def scheme(self) -> str:
        """``https`` where there is a certificate."""
        return "https" if self.tls else "http"

    @property
    def certificate(self) -> str | None:
        """Where local programs find the certificate that they may trust."""
        given = self.settings.tls_certificate
        return os.path.abspath(given) if self.tls and given else None  # noqa: PTH100 - no file is read

    def addresses(self, port: int) -> Addresses:
        """The addresses of a hub that got this port."""
        given = self.settings
        return addresses(
            host=given.host,
            port=port,
            scheme=self.scheme,
            allowed_hosts=given.allowed_hosts,
            allowed_origins=given.allowed_origins,
        )


def access_of(
    settings: Settings, environment: Mapping[str, str] = os.environ, *, before: str | None = None
) -> Access:
    """The access that the settings describe, or the one `before` where they say nothing. Raises
    InvalidInput, which names the setting, where they let in more than they say or cannot be
    carried out. Blocking."""
    _check_host(settings)
    required = (settings.auth or before) == REQUIRED
    read_at = stamps(settings.tls_certificate, settings.tls_key)
    access = Access(
        settings,
        _authority(settings, environment, required=required),
        server_context(settings.tls_certificate, settings.tls_key),
        read_at,
    )
    access.addresses(settings.port)
    if not is_loopback(settings.host):
        _check_remote(access)
    return access


def _check_host(settings: Settings) -> None:
    if settings.host == "localhost":
        return
    try:
        ipaddress.ip_address(settings.host)
    except ValueError:
        raise InvalidInput(
            f"{HOST}: {settings.host!r} is no address of this machine; they look like 127.0.0.1, "
            "::1, 192.168.1.5, or 0.0.0.0 for all of them."
        ) from None


def _check_remote(access: Access) -> None:
    host = access.settings.host
    if access.authority is None:
        raise InvalidInput(
            f"{HOST}: other machines reach {host}, and whoever reaches the port could read and "
            "change every task. Add --auth required (TASK_COPILOT_AUTH), after making a token "
            "with 'task-copilot token', or serve on 127.0.0.1."
        )
    if access.tls is None and not access.settings.allow_plaintext:
        raise InvalidInput(
            f"{HOST}: other machines reach {host}, and without TLS the token could be read on the "
            "way. Give --tls-certificate and --tls-key, or, where a proxy or a tunnel encrypts, "
            "say --allow-plaintext (TASK_COPILOT_ALLOW_PLAINTEXT) too."
        )


def _authority(
    settings: Settings, environment: Mapping[str, str], *, required: bool
) -> Authority | None:
    if not required:
        if settings.jwt_key_file is not None:
            raise InvalidInput(
                "TASK_COPILOT_JWT_KEY_FILE (--jwt-key-file) checks nothing unless tokens are asked "
                "for: add --auth required (TASK_COPILOT_AUTH)."
            )
        return None
    secret = _shared_secret(settings, environment)
    if settings.jwt_key_file is None:
        if secret is None:
            raise InvalidInput(
                "Tokens are asked for (--auth required, TASK_COPILOT_AUTH, or the database was "
                "served so before), and there is none yet. 'task-copilot token' "
                f"makes one in {credentials.token_path(settings.token_file)}; TASK_COPILOT_TOKEN "
                "or --jwt-key-file serve too."
            )
        return secret
    from task_copilot.access.keys import json_web_tokens

    tokens = json_web_tokens(Path(settings.jwt_key_file), settings.jwt_audience)
    return tokens if secret is None else Either(secret, tokens)


def _shared_secret(settings: Settings, environment: Mapping[str, str]) -> SharedSecret | None:
    if given := environment.get(TOKEN_VARIABLE):
        content = given.encode(errors="surrogateescape")
        return SharedSecret(credentials.checked_secret(content, TOKEN_VARIABLE))
    path = credentials.token_path(settings.token_file)
    secret = credentials.read_secret(path)
    return None if secret is None else SharedSecret(secret, path)
