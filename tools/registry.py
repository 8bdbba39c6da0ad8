"""The tools that agents can call, declared once.

MCP's list, the checks of arguments, the help and the documentation read this registry. It
imports no database: an agent gets the list before one is opened.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from task_copilot.schema import compact
from task_copilot.tools import arguments as args


@dataclass(frozen=True)
class Tool:
    """One tool; the function of the same name in `operations` carries it out."""

    name: str
    description: str
    arguments: type[args.Arguments]
    writes: bool = False
    idempotent: bool = True
    always_load: bool = False

    @cached_property
    def input_schema(self) -> dict[str, Any]:
        """The JSON schema of its arguments, as short as it can be."""
        return compact(self.arguments)


TOOLS: tuple[Tool, ...] = (
    Tool(
        "task_create",
        "Record a task that must outlive this session, that others watch, or that belongs to a "
        "stream of parallel work. The first task that names a streamId makes the stream.",
        args.TaskCreate,
        writes=True,
        idempotent=False,
        always_load=True,
    ),
    Tool(
        "task_update",
        "Change a task: status as work moves (blocked with blockedReason), notes, assignee, "
        'stream. "" clears a field; metadata is merged, null removes a key.',
        args.TaskUpdate,
        writes=True,
        always_load=True,
    ),
    Tool(
        "task_get",
        "One task whole, with its subtasks and latest checkpoint.",
        args.TaskGet,
    ),
    Tool(
        "task_list",
        "Tasks of this workspace, a line each: id status stream @agent title.",
        args.TaskList,
    ),
    Tool(
        "stream_list",
        "Streams with progress, phase, what they need, and which are ready to start.",
        args.StreamList,
    ),
    Tool(
        "checkpoint_create",
        "Save where a task stands, so that any agent can go on from there: before a pause, a "
        "risky step, or the end of the session.",
        args.CheckpointCreate,
        writes=True,
        idempotent=False,
    ),
    Tool(
        "checkpoint_resume",
        "Go on from a task's checkpoint: its context, its draft, and what changed since.",
        args.CheckpointResume,
        writes=True,
        idempotent=False,
    ),
    Tool(
        "checkpoint_list",
        "A task's checkpoints, newest first.",
        args.CheckpointList,
    ),
)

TOOLS_BY_NAME = {tool.name: tool for tool in TOOLS}


def instructions(workspace: str) -> str:
    """What an agent reads about this server before it sees any tool."""
    return (
        "Task Copilot keeps tasks, streams and checkpoints that outlive the session and that "
        "people and other agents watch live. Use these tools rather than your own task list "
        "for work that must survive this session, that others follow or share, or that runs "
        "in parallel streams; keep your own list for steps that nobody else needs.\n"
        f"Workspace: {workspace}\n"
        "Start of a session: task_list status=in_progress, then checkpoint_resume on the task "
        "you go on with. stream_list shows which stream is ready to start.\n"
        "While you work: task_update status=in_progress when you begin, status=blocked with "
        "blockedReason when you cannot go on, status=completed when it is done; each change is "
        "shown to whoever watches. checkpoint_create before you pause, hand over or try "
        "something risky.\n"
        "Ids look like TASK-12 and CP-7. Say who you are with agent if several agents share "
        "this client."
    )
