"""``python -m task_copilot`` is ``task-copilot``."""

from task_copilot.cli import main

main(prog_name="task-copilot")
