"""How a server's process begins and ends, with an agent or without one."""

import gc
import logging
import os
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

import click

from task_copilot.settings import Settings

OPEN_BY_DEFAULT = ("127.0.0.1", "localhost", "::1")
ACCESS = (
    *("auth", "jwt_key_file", "tls_certificate", "tls_key", "allowed_hosts", "allowed_origins"),
)
"""Settings that change who may come in; without them there is nothing to look at."""


def refuse_what_is_unsafe(settings: Settings) -> None:
    """Raises click.UsageError where the settings let in whom they should not, or cannot be
    carried out."""
    defaults = Settings()
    if settings.host in OPEN_BY_DEFAULT and all(
        getattr(settings, name) == getattr(defaults, name) for name in ACCESS
    ):
        return
    from task_copilot.access.configuration import access_of
    from task_copilot.errors import InvalidInput

    try:
        access_of(settings)
    except InvalidInput as error:
        raise click.UsageError(str(error)) from None


Serve = Callable[[Settings], Coroutine[Any, Any, int | None]]
"""Serves until it is to end, and returns the exit code; None is 0."""


def run(settings: Settings, load: Callable[[], Serve]) -> NoReturn:
    """Runs what `load` imports until it returns, and ends the process."""
    # The garbage collector would go through the half-made modules a dozen times.
    gc.disable()
    import asyncio

    from task_copilot.errors import TaskCopilotError

    serve = load()
    gc.enable()
    gc.freeze()
    try:
        code = asyncio.run(serve(settings))
    except TaskCopilotError as error:
        raise click.UsageError(str(error)) from None
    finally:
        logging.shutdown()
    # Taking the interpreter down costs 0.2 s of the half second that a client waits; all
    # that matters is on disk since each call was answered. Nor is there a way to end the
    # thread that waits for the leader's lock.
    os._exit(code or 0)
