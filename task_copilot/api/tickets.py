"""The route that gives a ticket to whoever has a token already."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from task_copilot.access.tickets import Tickets
from task_copilot.api.endpoint import body_of, parameters, refused
from task_copilot.api.routes import TICKETS
from task_copilot.clock import timestamp
from task_copilot.errors import TaskCopilotError
from task_copilot.identity import identity_of


def give_ticket(tickets: Tickets) -> Callable[[Request], Awaitable[Response]]:
    """``POST /api/tickets``: a ticket that allows what the token of the request allows."""

    async def respond(request: Request) -> Response:
        try:
            parameters(TICKETS, request)
            await body_of(TICKETS, request)
        except TaskCopilotError as error:
            return refused(error)
        ticket, ends = tickets.issue(identity_of(request.scope))
        return JSONResponse(
            {"ticket": ticket, "expiresAt": timestamp(datetime.fromtimestamp(ends, UTC))},
            TICKETS.status,
            {"Cache-Control": "no-store"},
        )

    return respond
