"""The key that JSON Web Tokens are checked with, read from its file."""

import base64
import contextlib
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm

from task_copilot.access.tokens import JsonWebTokens
from task_copilot.errors import InvalidInput

SETTING = "TASK_COPILOT_JWT_KEY_FILE (--jwt-key-file)"
MIN_SECRET_BYTES = 32
"""For HS256 (RFC 7518, section 3.2)."""

MAX_KEY_BYTES = 65_536
_PEM = b"-----BEGIN "
_FIRST_PRINTABLE, _LAST_PRINTABLE = 0x20, 0x7E

ELLIPTIC = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")


def json_web_tokens(path: Path, audience: str) -> JsonWebTokens:
    """Checks tokens with the key in `path`: a public key in PEM, or a secret for HS256.
    Raises InvalidInput, which names the file. Blocking."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_KEY_BYTES)
    except OSError as error:
        raise InvalidInput(f"{SETTING}: {path} cannot be read: {error.strerror}.") from None
    if _PEM in content:
        key, algorithms = _public_key(content[content.index(_PEM) :], path)
        return JsonWebTokens(key, algorithms, audience, None)
    _refuse_other_keys(content, path)
    secret = content.strip()
    if len(secret) < MIN_SECRET_BYTES:
        raise InvalidInput(
            f"{SETTING}: {path} holds {len(secret)} bytes, but a secret for HS256 has at least "
            f"{MIN_SECRET_BYTES}. A public key begins with -----BEGIN PUBLIC KEY-----."
        )
    if not _is_private(path):
        raise InvalidInput(f"{SETTING}: others can read the secret in {path}: chmod 600 {path}")
    return JsonWebTokens(secret, ("HS256",), audience, secret)


def _refuse_other_keys(content: bytes, path: Path) -> None:
    """A public key that is taken for a secret would let everybody sign who knows it."""
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    bare = b"".join(content.split())
    candidates = [content]
    with contextlib.suppress(ValueError):
        candidates.append(base64.b64decode(bare, validate=True))
    is_key = content.lstrip().startswith((b"{", b"ssh-", b"ecdsa-"))
    for candidate in candidates:
        with contextlib.suppress(ValueError, UnsupportedAlgorithm):
            load_der_public_key(candidate)
            is_key = True
    if is_key or not all(_FIRST_PRINTABLE <= byte <= _LAST_PRINTABLE for byte in content.strip()):
        raise InvalidInput(
            f"{SETTING}: {path} holds a key of another form, or is no text. A public key is in PEM "
            "form and begins with -----BEGIN PUBLIC KEY-----; a secret for HS256 is one line of "
            "printable ASCII."
        )


def _is_private(path: Path) -> bool:
    import os

    return os.name == "nt" or not path.stat().st_mode & 0o077


def _public_key(content: bytes, path: Path) -> tuple[Any, tuple[str, ...]]:
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    if b"PRIVATE KEY" in content:
        raise InvalidInput(
            f"{SETTING}: {path} holds a private key. A server that only checks tokens needs the "
            "public one: openssl pkey -in KEY -pubout"
        )
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidInput(
            f"{SETTING}: {path} holds no public key that can be read; it begins with "
            "-----BEGIN PUBLIC KEY-----."
        ) from None
    if isinstance(key, rsa.RSAPublicKey):
        return key, RSA
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in ELLIPTIC:
        return key, (ELLIPTIC[key.curve.name],)
    if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        return key, ("EdDSA",)
    raise InvalidInput(f"{SETTING}: {path}: a key of this kind cannot sign JSON Web Tokens.")
