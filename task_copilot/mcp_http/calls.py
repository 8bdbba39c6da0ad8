"""What a request over HTTP may do, where, and in whose name."""

from dataclasses import dataclass

from sqlalchemy import Connection, select
from starlette.requests import Request

from task_copilot.database.store import Database
from task_copilot.database.tables import workspaces
from task_copilot.errors import InvalidInput
from task_copilot.events.log import LogRow
from task_copilot.identity import READ, WRITE, identity_of
from task_copilot.location import Location
from task_copilot.mcp_http.address import PATH, Address, is_name
from task_copilot.mcp_http.parts import Parts
from task_copilot.tools.adapter import ACTOR_CHARACTERS
from task_copilot.tools.registry import Tool
from task_copilot.tools.session import ToolSession

WORKSPACES_NAMED = 10
"""As many are named to who has given none; where there are more, the list helps nobody."""


@dataclass(frozen=True, slots=True)
class Call:
    """Where a request acts, as whom, and what it may do."""

    parts: Parts
    address: Address
    request: Request

    @property
    def described(self) -> str:
        """The workspace, as an agent reads of it in the instructions."""
        if self.address.workspace is not None:
            return self.address.workspace
        return f"none, so every tool refuses. {self.address.fault} {_advice()}"

    def actor(self, client_name: str | None) -> str:
        """Who acts where a call does not say."""
        given = self.address.agent or identity_of(self.request.scope).subject
        if given is not None:
            return _printable(given)
        name = _printable(client_name or self._product() or "agent")
        short = f"-{self.parts.short_id}"
        return name[: ACTOR_CHARACTERS - len(short)] + short

    def _product(self) -> str | None:
        """The name in ``claude-code/2.1 (cli)``; most requests name their client nowhere else."""
        agent = self.request.headers.get("user-agent", "")
        name = agent.partition(" ")[0].partition("/")[0]
        return name if is_name(name) else None

    async def admit(self, tool: Tool) -> None:
        """Raises InvalidInput where this request may not call `tool`, or not from here."""
        identity = identity_of(self.request.scope)
        needed = WRITE if tool.writes else READ
        if not identity.may(needed):
            raise InvalidInput(
                f"{tool.name} needs a token with the scope {needed!r}; this one has "
                f"{', '.join(sorted(identity.scopes)) or 'none'}. Nothing was written."
            )
        if self.address.workspace is None:
            names = await self.parts.database.read(_some_names) if identity.may(READ) else []
            raise InvalidInput(f"{self.address.fault} {_advice(names)}")

    async def session(self) -> ToolSession:
        """The tools' side of the database; raises InvalidInput without a workspace."""
        if self.address.workspace is None:
            raise InvalidInput(self.address.fault)
        location = Location(self.address.workspace, None)
        return ToolSession(self._opened, location, self.parts.checkpoints_kept, self.parts.clock)

    async def _opened(self) -> Database[LogRow]:
        return self.parts.database


def _printable(name: str) -> str:
    return "".join(sign for sign in name if sign.isprintable())


def _some_names(connection: Connection) -> list[str]:
    """The workspaces, if they are few."""
    query = select(workspaces.c.name).order_by(workspaces.c.name).limit(WORKSPACES_NAMED + 1)
    found = list(connection.execute(query).scalars())
    return found if len(found) <= WORKSPACES_NAMED else []


def _advice(names: list[str] | None = None) -> str:
    there = f" There are: {', '.join(names)}." if names else ""
    return (
        f"Tell the user to add one to that address: {PATH}?workspace=NAME.{there} A name that is "
        "new makes a new workspace."
    )
