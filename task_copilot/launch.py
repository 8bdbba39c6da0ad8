"""How a server's process begins and ends, with an agent or without one."""

import gc
import ipaddress
import logging
import os
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

import click

from task_copilot.settings import Settings


def require_loopback(host: str) -> None:
    """Refuses an address that other machines reach."""
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local:
        raise click.BadParameter(
            f"{host!r} is not a loopback address. Events can be read by whoever reaches the "
            "port, so it is served on 127.0.0.1, ::1 or localhost only.",
            param_hint="--host (TASK_COPILOT_HOST)",
        )


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
