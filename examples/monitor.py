"""Prints the progress of Stream-A, and every task that is blocked, until Ctrl+C."""

import time

from task_copilot_client import TaskCopilotClient

client = TaskCopilotClient()
client.connect()

def on_stream_progress(topic, event_type, data):
    print(f"Stream {data['streamId']}: {data['progressPercentage']:.1f}% complete")

client.subscribe(['stream:Stream-A'], on_stream_progress)

def on_task_status(topic, event_type, data):
    if data['newStatus'] == 'blocked':
        print(f"Task {data['taskId']} blocked: {data['blockedReason']}")

client.subscribe(['task:*'], on_task_status)
try:
    while True:
        time.sleep(1)
except KeyboardInterrupt:
    client.disconnect()
