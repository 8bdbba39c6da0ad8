"""What the address of an MCP client says: ``/mcp?workspace=web-shop&agent=ada``."""

from collections.abc import Iterable
from dataclasses import dataclass

from task_copilot.errors import InvalidInput

PATH = "/mcp"
PARAMETERS = ("workspace", "agent")
NAME_CHARACTERS = 100
"""Of the name of a workspace or an agent."""

SHOWN_CHARACTERS = 60
NOT_UTF_8 = "\ufffd"
"""What bytes become that are no characters."""


@dataclass(frozen=True, slots=True)
class Address:
    """`workspace` is None where the address names none, or none that there can be; `fault`
    then says so."""

    workspace: str | None
    fault: str
    agent: str | None


def address_of(pairs: Iterable[tuple[str, str]]) -> Address:
    """The address with these query parameters. Raises InvalidInput for one that is unknown or
    given twice, and for an agent that cannot be one; a wrong workspace is for the agent to read."""
    given: dict[str, str] = {}
    for name, value in pairs:
        if name not in PARAMETERS:
            raise InvalidInput(
                f"{name[:SHOWN_CHARACTERS]!a} is no parameter of {PATH}; it takes "
                f"{' and '.join(PARAMETERS)}."
            )
        if name in given:
            raise InvalidInput(f"{name!a} is given more than once.")
        given[name] = value
    workspace, fault = _workspace(given.get("workspace"))
    return Address(workspace, fault, _agent(given.get("agent")))


def _workspace(text: str | None) -> tuple[str | None, str]:
    if text is None:
        return None, "The address of this MCP server names no workspace."
    name = text.strip()
    if not is_name(name) or "/" in name or "\\" in name:
        return None, (
            f"The address of this MCP server names the workspace {text[:SHOWN_CHARACTERS]!a}; a "
            f"name is 1 to {NAME_CHARACTERS} printable characters without slashes."
        )
    return name, ""


def _agent(text: str | None) -> str | None:
    if text is None:
        return None
    name = text.strip()
    if not is_name(name):
        raise InvalidInput(
            f"agent: got {text[:SHOWN_CHARACTERS]!a}; takes 1 to {NAME_CHARACTERS} printable "
            "characters."
        )
    return name


def is_name(text: str) -> bool:
    """Whether `text` can be the name of a workspace or an agent."""
    return 0 < len(text) <= NAME_CHARACTERS and text.isprintable() and NOT_UTF_8 not in text
