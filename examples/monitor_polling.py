"""What monitor.py does, by reading the state again and again: without events, one sees only how
things stand at each look. The argument is the pause between two looks, in seconds."""

import sys
import time

from task_copilot_client import HubUnavailable, NotFound, TaskCopilotClient

POLL_SECONDS = 5.0

client = TaskCopilotClient()
pause = float(sys.argv[1]) if len(sys.argv) > 1 else POLL_SECONDS
shown: tuple[int, float] | None = None
blocked: set[str] = set()

try:
    while True:
        try:
            stream = client.stream("Stream-A")
            stuck = {task["id"]: task for task in client.tasks(status="blocked")["tasks"]}
        except NotFound:
            pass  # nobody has begun it yet
        except HubUnavailable as error:
            print(f"Not reached: {error}", file=sys.stderr)
        else:
            progress = (stream["totalTasks"], stream["progressPercentage"])
            if progress != shown:
                shown = progress
                print(f"Stream {stream['streamId']}: {progress[1]:.1f}% complete")
            for task_id in sorted(stuck.keys() - blocked):
                print(f"Task {task_id} blocked: {stuck[task_id]['blockedReason']}")
            blocked = set(stuck)
        time.sleep(pause)
except KeyboardInterrupt:
    pass
