"""Imported as ``task_copilot.tools``; never under its bare name, which belongs to others."""

if __name__ != "task_copilot.tools":
    raise ImportError("import task_copilot.tools instead of the bare folder name 'tools'")
