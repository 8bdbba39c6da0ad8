"""Completes the tasks of the stream that is named as its argument, one after the other."""

import asyncio
import os
import sys
from typing import Any

from mcp import Client, StdioServerParameters

# The orchestrator's environment names the workspace, the database and who acts.
SERVER = StdioServerParameters(command="task-copilot", env=dict(os.environ))


async def work(client: Client, stream: str) -> None:
    async def call(tool: str, **arguments: Any) -> Any:
        answer = await client.call_tool(tool, arguments)
        if answer.is_error:
            sys.exit(f"{tool}: {answer.content}")
        return answer.structured_content

    found = await call("task_list", streamId=stream, limit=200, format="json")
    for task in found["tasks"]:
        if task["status"] in {"pending", "in_progress"}:
            print("works on", task["title"], flush=True)
            await call("task_update", id=task["id"], status="in_progress")
            # Here the work is done; what a later worker would need to know goes into a checkpoint.
            await call("checkpoint_create", taskId=task["id"], executionPhase="done")
            await call("task_update", id=task["id"], status="completed")


async def main(stream: str) -> None:
    async with Client(SERVER) as client:
        await work(client, stream)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
