"""Task Copilot: tasks and checkpoints for coding agents, with a durable stream of events."""

__version__ = "0.1.0"
