"""What a client raises.

TaskCopilotClientError
├── HubUnavailable    nobody answers as Task Copilot; come back later
└── RequestRefused    the hub says no, and would say it again
    └── NotFound      the stream or the task does not exist

Wrong arguments raise ValueError or TypeError before anything is asked.
"""


class TaskCopilotClientError(Exception):
    """Base of what a client raises; ``str()`` of it is for the person who reads it."""


class HubUnavailable(TaskCopilotClientError):
    """No hub of Task Copilot answers."""


class RequestRefused(TaskCopilotClientError):
    """The hub does not do what was asked for. `code` is its error code or the HTTP status."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code


class NotFound(RequestRefused):
    """What was asked for does not exist."""


class NoWebSocket(Exception):
    """A handshake that failed: answered with `status`, or `silent` where there was no answer at
    all."""

    def __init__(self, reason: str, *, silent: bool = False, status: int | None = None) -> None:
        super().__init__(reason)
        self.silent = silent
        self.status = status


class Unusable(Exception):
    """A connection brought what makes no sense; the transport connects anew."""
