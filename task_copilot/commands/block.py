"""A marked block at the end of a file for agents, which can be taken out without a trace."""

from task_copilot.commands.jsonedit import newline_of

START = "<!-- task-copilot -->"
END = "<!-- /task-copilot -->"

TEXT = """\
## Tasks that outlive the session

Use the task-copilot tools (`task_create`, `task_update`, …) instead of your own task list for \
work that must survive this session, that people or other agents follow, or that runs in \
parallel streams. Keep your own list for steps that nobody else needs.

- Begin a session with `task_list` (status `in_progress`) and `checkpoint_resume`.
- Set a task `in_progress` when you begin, `blocked` with the reason when you cannot go on, \
`completed` when it is done.
- Make a checkpoint before you pause, hand over, or try something risky.
"""


class HalfMarked(ValueError):
    """One of the two marks is there without the other, or in the wrong order."""


def has_block(text: str) -> bool:
    """Whether the block is there; raises HalfMarked."""
    marks = text.count(START), text.count(END)
    if marks == (0, 0):
        return False
    if marks != (1, 1) or text.index(START) > text.index(END):
        raise HalfMarked(f"{START} and {END} are not there once each, in this order")
    return True


def with_block(text: str) -> str:
    """`text` with the block at its end, behind one line break."""
    newline = newline_of(text)
    block = f"{START}\n{TEXT}{END}\n".replace("\n", newline)
    return f"{text}{newline}{block}"


def new_text() -> str:
    """The text of a file that has nothing but the block."""
    return f"{START}\n{TEXT}{END}\n"


def without_block(text: str) -> str | None:
    """`text` as it was before `with_block`; None where it was `new_text`."""
    start, end = text.index(START), text.index(END) + len(END)
    before, after = text[:start], text[end:]
    after = after.removeprefix("\r\n" if after.startswith("\r\n") else "\n")
    if not before and not after:
        return None
    if not after:
        # The line break before it is of the same kind as those in it.
        return before.removesuffix("\r\n" if text[start + len(START)] == "\r" else "\n")
    return before + after
