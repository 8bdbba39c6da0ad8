"""The state of all streams, read from whichever hub answers."""

import asyncio

from task_copilot.client.asynchronous import AsyncTaskCopilotClient
from task_copilot.client.errors import HubUnavailable, TaskCopilotClientError
from task_copilot.client.shapes import StreamList
from task_copilot.commands.common import Refusal

HUB_SECONDS = 15.0
"""How long a hub may take until it answers, where one is just beginning or takes over."""

LOOK_SECONDS = 0.05


async def read_state(client: AsyncTaskCopilotClient, seconds: float = HUB_SECONDS) -> StreamList:
    """All streams, archived ones too, since others may need them. Raises Refusal where the hub
    refuses, or none answers for so long."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        try:
            return await client.streams(include_archived=True)
        except HubUnavailable as error:
            if loop.time() > deadline:
                raise Refusal(str(error)) from None
        except TaskCopilotClientError as error:
            raise Refusal(str(error)) from None
        await asyncio.sleep(LOOK_SECONDS)
