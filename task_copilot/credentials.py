"""The shared secret, the proof that a hub has it, and whose certificate is trusted.

The secret stands in a file that only its owner can read. Clients of that user find it by
themselves; so that it never goes to a stranger who holds the port of a hub that has ended, a hub
proves first that it has the same secret.
"""

import ipaddress
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from task_copilot.errors import InvalidInput
from task_copilot.private import read_private
from task_copilot.settings import data_directory

if TYPE_CHECKING:
    import ssl

TOKEN_FILE_NAME = "token"  # noqa: S105 - a file's name

SECRET_BYTES = 32
MIN_CHARACTERS = 16
MAX_BYTES = 4096
"""Of the token file; a secret is far shorter."""

CHALLENGE_HEADER = "Task-Copilot-Challenge"
"""On ``GET /health``: 32 to 64 hex digits of the client's choice."""

PROOF_HEADER = "Task-Copilot-Proof"
"""On its answer: `proof` of the secret, the challenge and the port."""

CHALLENGE_BYTES = 32
CHALLENGE = re.compile("[0-9a-f]{32,64}")
PROOF_CONTEXT = b"task-copilot proof\n"


def token_path(token_file: str | None) -> Path:
    """Where the secret stands: `token_file`, else its place in the data directory."""
    return Path(token_file) if token_file else data_directory() / TOKEN_FILE_NAME


def read_secret(path: Path) -> str | None:
    """The secret in `path`; None where there is no such file. Raises InvalidInput for a file that
    cannot be read, that others can read, or that holds no secret."""
    try:
        content = read_private(path, MAX_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InvalidInput(f"The token file {path} cannot be read: {error.strerror}.") from None
    return checked_secret(content, f"The token file {path}")


def checked_secret(content: bytes, place: str) -> str:
    """The secret in `content`, whose name is `place`; raises InvalidInput."""
    secret = content.strip(b" \t\r\n")
    if not secret:
        raise InvalidInput(f"{place} is empty; 'task-copilot token --new' makes a new secret.")
    if any(not ord("!") <= byte <= ord("~") for byte in secret):
        raise InvalidInput(
            f"{place} holds something else than a secret, which has only letters, digits and "
            "signs of ASCII and no spaces; 'task-copilot token --new' makes one."
        )
    if len(secret) < MIN_CHARACTERS:
        raise InvalidInput(
            f"{place} holds only {len(secret)} characters, and a secret has at least "
            f"{MIN_CHARACTERS}; 'task-copilot token --new' makes one."
        )
    return secret.decode("ascii")


def make_secret() -> str:
    """A new secret, of 43 characters that are safe in a URL."""
    import secrets

    return secrets.token_urlsafe(SECRET_BYTES)


def make_challenge() -> str:
    """A new challenge, in hex digits."""
    return os.urandom(CHALLENGE_BYTES).hex()


def is_challenge(text: str) -> bool:
    """Whether a client's challenge is one."""
    return CHALLENGE.fullmatch(text) is not None


def proof(secret: str, challenge: str, place: str) -> str:
    """What a hub with this secret, which listens on `place` (`place_of` its address), answers to
    `challenge`.

    The place is its own, so that nobody at another one can pass the question on to it.
    """
    import hmac

    message = PROOF_CONTEXT + challenge.encode("ascii") + b"\n" + place.encode("ascii")
    return hmac.digest(secret.encode("ascii"), message, "sha256").hex()


def proves(answer: str | None, secret: str, challenge: str, place: str) -> bool:
    """Whether `answer` shows that the hub at `place` has the secret."""
    import hmac

    expected = proof(secret, challenge, place).encode("ascii")
    return answer is not None and hmac.compare_digest(answer.encode("utf-8"), expected)


def place_of(address: str) -> str | None:
    """Where the hub at `address` listens: ``127.0.0.1 9090``. None for a host name, which may
    lead to several places of which a stranger has one."""
    parts = urlsplit(address)
    try:
        host = ipaddress.ip_address(parts.hostname or "")
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return None
    return f"{host} {port}"


def is_loopback(address: str) -> bool:
    """Whether an address is this machine's own, which no proxy can reach for it."""
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def context_for(certificate: str | None, ca_file: str | None) -> "ssl.SSLContext":
    """What a client trusts: exactly the `certificate` of a hub of this user, whatever its name,
    or the system's certificates and those in `ca_file`. Reads files; raises InvalidInput."""
    import ssl

    if certificate is None:
        context = ssl.create_default_context()
        place = f"TASK_COPILOT_CA_FILE (ca_file, --ca-file) {ca_file}"
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = False  # it is known by its key
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        place = f"The hub's certificate {certificate}"
    trusted = certificate or ca_file
    if trusted:
        try:
            context.load_verify_locations(trusted)
        except ssl.SSLError:
            raise InvalidInput(f"{place} holds no certificates; they are in PEM form.") from None
        except OSError as error:
            raise InvalidInput(f"{place} cannot be read: {error.strerror}.") from None
    return context
