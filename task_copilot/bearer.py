"""Which token goes to which hub, and what to do where the hub wants another one.

A token that was given goes to the hub that was named with it. The one that this user's token
file holds goes only to a hub of this user that has asked for one and has proved that it knows it:
on a machine of several users, whoever holds the port would get it otherwise.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path

from task_copilot.credentials import make_challenge, place_of, proves, read_secret
from task_copilot.errors import InvalidInput
from task_copilot.settings import TOKEN_VARIABLE

UNAUTHORIZED = 401

REPLACED_SECONDS = 5.0
"""Within this time a hub has seen that the secret was replaced; it looks once a second."""


@dataclass(frozen=True, slots=True)
class Given:
    """A token that somebody gave, and where: ``TASK_COPILOT_TOKEN``, for example."""

    token: str = field(repr=False)
    place: str

    def __post_init__(self) -> None:
        if not self.token.isascii() or not self.token.isprintable() or " " in self.token:
            raise ValueError(
                f"{self.place}: is no token, which has only letters, digits and signs of ASCII "
                "and no spaces"
            )

    @property
    def refused(self) -> str:
        """What to do where the hub does not accept it."""
        return (
            f"That was the token of {self.place}, which may be another hub's, or have expired or "
            "been replaced. Give the right one."
        )


@dataclass(frozen=True, slots=True)
class Question:
    """What a hub is asked before it gets the secret; `place` is where it must listen."""

    secret: str = field(repr=False)
    challenge: str
    place: str


class OwnToken:
    """The token that a client finds by itself for the hub at `address`, if it does.

    `own` says whether that is a hub of this user: found through its runtime file, or on this
    machine. `reason` says after each step what to do where the hub refuses.
    """

    def __init__(self, address: str, path: Path, *, own: bool, place: str) -> None:
        self.reason = ""
        self._proved = False
        self._doubted_at: float | None = None
        self._address, self._path, self._own = address, path, own
        self._give = f"Give the hub's token with {place}"
        self._or_give = f"Or give the hub's token with {place}"

    def question(self) -> Question | None:
        """What to ask the hub, if there is a token. Reads its file anew: it may be another."""
        if not self._own:
            self.reason = (
                "No token was sent: a hub that is not on this machine gets only one that was "
                f"given. {self._give}; 'task-copilot token --show' prints it there."
            )
            return None
        try:
            secret = read_secret(self._path)
        except InvalidInput as error:
            self.reason = f"No token was sent. {error}"
            return None
        if secret is None:
            self.reason = f"No token was sent: there is no file {self._path}. {self._give}."
            return None
        where = place_of(self._address)
        if where is None:
            self.reason = (
                f"No token was sent: {self._address} is a name, which may lead to several places. "
                f"Use the number in its place, such as 127.0.0.1. {self._or_give}."
            )
            return None
        return Question(secret, make_challenge(), where)

    def token(self, question: Question, answer: str | None) -> str | None:
        """The token, where `answer`, the hub's proof, is right."""
        if proves(answer, question.secret, question.challenge, question.place):
            self.reason = f"The token of {self._path} is not accepted; was it just replaced?"
            self._proved, self._doubted_at = True, None
            return question.secret
        self.reason = (
            f"The token of {self._path} was not sent: who answers at {self._address} has not "
            f"proved to know it, and may be another program or reached through a tunnel. "
            f"{self._give}."
        )
        if self._proved and self._doubted_at is None:
            self._doubted_at = time.monotonic()
        return None

    def replaced_a_moment_ago(self) -> bool:
        """Whether a hub that had proved to know the secret has not done so with the one that is
        in the file by now, for a few seconds: it may still have to see that there is a new one."""
        doubted = self._doubted_at
        return doubted is not None and time.monotonic() - doubted < REPLACED_SECONDS


def given_token(argument: str | None, variable: str | None) -> Given | None:
    """The token of the argument `token`, else of ``TASK_COPILOT_TOKEN``; raises ValueError for
    what cannot be one."""
    if argument:
        return Given(argument, "the argument token")
    return Given(variable, TOKEN_VARIABLE) if variable else None


def refusal_of(reason: str, advice: str) -> str:
    """What to tell who is refused: the first sentence of the hub's `reason`, and the `advice`."""
    return f"{reason.partition('. ')[0].rstrip('.')}. {advice}".strip()
