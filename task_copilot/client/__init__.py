"""The Python client: `task_copilot_client` is its public face."""
