"""Imported as ``task_copilot.events``; never under its bare name, which belongs to others."""

if __name__ != "task_copilot.events":
    raise ImportError("import task_copilot.events instead of the bare folder name 'events'")
