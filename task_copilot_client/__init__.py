"""The client of Task Copilot: events as they happen, and the state of streams and tasks.

from task_copilot_client import TaskCopilotClient

client = TaskCopilotClient()
client.connect()
client.subscribe(["stream:*"], lambda topic, event_type, data: print(topic, event_type))
"""

from task_copilot.client.asynchronous import AsyncTaskCopilotClient
from task_copilot.client.errors import (
    HubUnavailable,
    NotFound,
    RequestRefused,
    TaskCopilotClientError,
)
from task_copilot.client.model import Event, Gap, GapReason, Mode
from task_copilot.client.shapes import (
    Batch,
    CheckpointRow,
    Filter,
    StreamList,
    StreamRow,
    StreamWithTasks,
    SubtaskRow,
    TaskList,
    TaskRow,
    TaskWhole,
)
from task_copilot.client.synchronous import TaskCopilotClient

__all__ = [
    "AsyncTaskCopilotClient",
    "Batch",
    "CheckpointRow",
    "Event",
    "Filter",
    "Gap",
    "GapReason",
    "HubUnavailable",
    "Mode",
    "NotFound",
    "RequestRefused",
    "StreamList",
    "StreamRow",
    "StreamWithTasks",
    "SubtaskRow",
    "TaskCopilotClient",
    "TaskCopilotClientError",
    "TaskList",
    "TaskRow",
    "TaskWhole",
]
