"""The certificate of a hub that speaks https and wss."""

import asyncio
import logging
import os
import ssl
from pathlib import Path
from typing import NoReturn

from task_copilot.errors import InvalidInput

logger = logging.getLogger(__name__)

CERTIFICATE = "TASK_COPILOT_TLS_CERTIFICATE (--tls-certificate)"
KEY = "TASK_COPILOT_TLS_KEY (--tls-key)"

Stamps = list[tuple[int, int] | None]

LOOK_SECONDS = 60.0
"""Between two looks at whether the certificate was renewed."""


async def follow_renewals(
    context: ssl.SSLContext, certificate: str, key: str, used: Stamps
) -> NoReturn:
    """Uses a renewed certificate for new connections, without a restart; `used` are the stamps
    of the files before the one in use was read."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        found = await asyncio.to_thread(stamps, certificate, key)
        if found == used:
            continue
        used = found
        try:
            await asyncio.to_thread(server_context, certificate, key)
            context.load_cert_chain(certificate, key, password=_no_password)
        except (InvalidInput, OSError) as error:  # ssl.SSLError is one: it changed once more
            logger.warning("The certificate before it stays in use: %s", error)
        else:
            logger.info("The renewed certificate %s is in use.", certificate)


def stamps(*paths: str | None) -> Stamps:
    """What is another value once one of the files is written anew. Blocking."""
    return [_stamp(Path(path)) for path in paths if path is not None]


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def server_context(certificate: str | None, key: str | None) -> ssl.SSLContext | None:
    """What a server encrypts with; None where there is no certificate. Raises InvalidInput,
    which names the setting. Blocking."""
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        missing = CERTIFICATE if certificate is None else KEY
        raise InvalidInput(f"{missing}: is missing; TLS needs a certificate and its key.")
    _check_readable(CERTIFICATE, Path(certificate))
    _check_readable(KEY, Path(key))
    _check_private(Path(key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except ssl.SSLError as error:
        reason = "the key does not belong to the certificate"
        if "KEY_VALUES_MISMATCH" not in str(error):
            reason = "they are no certificate and key in PEM"
        raise InvalidInput(f"{CERTIFICATE} {certificate} and {KEY} {key}: {reason}.") from None
    return context


def _no_password() -> str:
    raise InvalidInput(
        f"{KEY}: the key is protected with a password, which nobody can type in here. Store it "
        "without one, in a file that only you can read: openssl pkey -in KEY -out NEW"
    )


def _check_readable(setting: str, path: Path) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise InvalidInput(f"{setting}: {path} cannot be read: {error.strerror}.") from None


def _check_private(path: Path) -> None:
    """A group may read it, as those do that renew certificates for several services."""
    if os.name != "nt" and path.stat().st_mode & 0o007:
        raise InvalidInput(f"{KEY}: everybody on this machine can read {path}: chmod o= {path}")
