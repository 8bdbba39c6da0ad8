"""Why a connection over TLS could not be made, for the person who can mend it."""

import ssl
from collections.abc import Iterator

NO_TLS = {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNEXPECTED_MESSAGE", "HTTP_REQUEST"}
"""OpenSSL's words for what answers without TLS."""


def tls_reason(error: BaseException) -> str | None:
    """What `error`, or what it came from, says of TLS; None where it is about something else."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"its certificate is not trusted ({cause.verify_message}). If it is the right hub, "
                "name the file of its certificate, or of who signed it, with ca_file, --ca-file "
                "or TASK_COPILOT_CA_FILE"
            )
        if isinstance(cause, ssl.SSLError):
            if cause.reason in NO_TLS:
                return "what is there speaks no TLS; an address that begins with http:// may do"
            return f"no TLS connection ({cause.reason or cause})"
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__ or found.__context__
