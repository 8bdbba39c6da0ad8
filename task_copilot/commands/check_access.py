"""What ``doctor`` looks at around tokens and TLS."""

import os
import ssl
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from task_copilot.commands.findings import Finding, note, ok, wrong
from task_copilot.credentials import checked_secret, read_secret, token_path
from task_copilot.errors import InvalidInput
from task_copilot.settings import TOKEN_VARIABLE, Settings

REQUIRED = "required"
SOON = timedelta(days=14)
"""A certificate that ends within this time has to be renewed now."""

MAX_CERTIFICATE_BYTES = 1_048_576


def access(settings: Settings, environment: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """The token that is asked for, and the certificate."""
    yield from _token(settings, environment)
    if settings.tls_certificate is not None or settings.tls_key is not None:
        yield from _tls(settings.tls_certificate, settings.tls_key)


def _token(settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    path = token_path(settings.token_file)
    if path.parent.exists() and not path.parent.is_dir():
        return  # said of the data directory already
    try:
        stored = read_secret(path)
    except InvalidInput as error:
        yield wrong("token", str(error), "task-copilot token --new makes one that nobody knows.")
        return
    given = environment.get(TOKEN_VARIABLE)
    if given:
        content = given.encode(errors="surrogateescape")
        try:
            checked_secret(content, TOKEN_VARIABLE)
        except InvalidInput as error:
            yield wrong("token", str(error), f"Correct {TOKEN_VARIABLE}, or remove it.")
            return
        yield note("token", f"{TOKEN_VARIABLE} is set and counts before {path}.")
    elif stored is not None:
        yield ok("token", f"{path}, yours alone")
    elif settings.auth == REQUIRED and settings.jwt_key_file is None:
        yield wrong(
            "token",
            f"--auth required (TASK_COPILOT_AUTH) asks for a token, and there is none in {path}.",
            "task-copilot token makes one.",
        )


def _tls(certificate: str | None, key: str | None) -> Iterator[Finding]:
    if certificate is None or key is None:
        missing, option = ("key", "--tls-key") if key is None else ("certificate", "")
        option = option or "--tls-certificate"
        yield wrong("TLS", f"The {missing} is missing.", f"Give {option} too.")
        return
    problem = _problem(certificate, key)
    if problem is not None:
        yield wrong("TLS", problem, "Correct --tls-certificate and --tls-key (TASK_COPILOT_TLS_…).")
        return
    yield _lifetime(Path(certificate), datetime.now(UTC))


def _problem(certificate: str, key: str) -> str | None:
    """Why a server cannot use these files; None where it can."""
    for file in (certificate, key):
        try:
            Path(file).open("rb").close()
        except OSError as error:
            return f"{file} cannot be read: {error.strerror}."
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, password=_none)
    except _Protected:
        return f"The key {key} is protected with a password, which nobody can type in."
    except ssl.SSLError as error:
        if "KEY_VALUES_MISMATCH" in str(error):
            return f"The key {key} does not belong to the certificate {certificate}."
        return f"{certificate} and {key} are no certificate and key in PEM form."
    return None


class _Protected(Exception):
    """A key that asks for a password."""


def _none() -> str:
    raise _Protected


def _lifetime(path: Path, now: datetime) -> Finding:
    from cryptography import x509

    with path.open("rb") as file:
        certificates = x509.load_pem_x509_certificates(file.read(MAX_CERTIFICATE_BYTES))
    first = min(certificates, key=lambda one: one.not_valid_after_utc)
    ends = first.not_valid_after_utc
    shown = f"{ends:%Y-%m-%d}"
    renew = "Renew it; servers take the new one by themselves."
    if ends <= now:
        return wrong("TLS", f"The certificate {path} has expired on {shown}.", renew)
    if ends - now < SOON:
        days = (ends - now).days
        return wrong("TLS", f"The certificate {path} expires in {days} days, on {shown}.", renew)
    return ok("TLS", f"{path}, good until {shown}")
