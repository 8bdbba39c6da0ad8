"""The names that arguments have on the command line, and refusals that say those."""

import contextlib
import re
from collections.abc import Iterator, Mapping

from task_copilot.commands.common import Refusal

OPTIONS = {
    "agent": "--as",
    "assignedAgent": "--agent",
    "files": "--file",
    "id": "ID",
    "parentId": "--parent",
    "streamDependencies": "--depends-on",
    "streamId": "--stream",
    "streamPhase": "--phase",
}
"""Where the name is not just the argument's with two dashes."""


def option_of(argument: str) -> str:
    """The name of an argument on the command line."""
    return OPTIONS.get(argument, "--" + re.sub("([A-Z])", r"-\1", argument).lower())


@contextlib.contextmanager
def with_option_names(names: Mapping[str, str]) -> Iterator[None]:
    """Refusals name options in place of arguments where a sentence begins with one."""
    try:
        yield
    except Refusal as refusal:
        raise Refusal(renamed(refusal.message, names)) from None


def renamed(message: str, names: Mapping[str, str]) -> str:
    """`message` with the names of arguments, which begin its sentences, as in `names`."""
    return re.sub(
        r"(?:(?<=^)|(?<=\. ))(\w+)(?=[:\[])", lambda found: names.get(found[1], found[1]), message
    )
