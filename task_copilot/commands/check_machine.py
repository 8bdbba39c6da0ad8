"""What ``doctor`` looks at outside the database: versions, environment, data directory."""

import os
import platform
import stat
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from task_copilot import __version__
from task_copilot.commands.findings import Finding, note, ok, wrong
from task_copilot.database.sqlite import driver
from task_copilot.errors import InvalidInput, StorageError
from task_copilot.location import current_folder, locate
from task_copilot.private import name_of, user_id
from task_copilot.settings import data_directory, unknown_variables

FOR_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def versions() -> Iterator[Finding]:
    """The program, Python and SQLite."""
    place = Path(sys.executable)
    yield ok(
        "program", f"Task Copilot {__version__} with Python {platform.python_version()}, {place}"
    )
    try:
        module = driver()
    except StorageError as error:
        yield wrong("SQLite", str(error), "pip install pysqlite3, for the Python named above.")
    else:
        name = module.__name__.partition(".")[0]
        yield ok("SQLite", f"{module.sqlite_version} ({name}), safe for several processes")


def environment(variables: Mapping[str, str], place: str = "environment") -> Iterator[Finding]:
    """Variables that look like settings and are none."""
    given = [name for name, value in variables.items() if value]
    found = list(unknown_variables(given))
    for name, meant in found:
        remedy = f"Is {meant} meant? Else remove it." if meant else "Remove it."
        yield wrong(place, f"{name} is no setting and does nothing.", remedy)
    if not found and place == "environment":
        number = sum(name.startswith("TASK_COPILOT_") for name in given)
        yield ok(place, f"{number} TASK_COPILOT_ variables set, all known")


def data_folder() -> Iterator[Finding]:
    """The folder where sessions find each other."""
    folder = data_directory()
    subject = "data directory"
    try:
        found = folder.stat()
    except FileNotFoundError:
        yield note(subject, f"{folder} is not there yet; the first session makes it.")
        return
    except OSError as error:
        yield wrong(subject, f"{folder}: {error.strerror}.", "Put a folder of your own there.")
        return
    mode = found.st_mode
    if not stat.S_ISDIR(mode):
        yield wrong(subject, f"{folder} is no folder.", "Move it away; a folder belongs there.")
    elif user_id() not in {None, found.st_uid}:
        text = f"{folder} belongs to user {name_of(found.st_uid)}."
        yield wrong(subject, text, f"Run this as that user, or: sudo chown -R {user_id()} {folder}")
    elif not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        yield wrong(subject, f"{folder} cannot be written.", f"chmod u+rwx {folder}")
    elif mode & FOR_OTHERS and os.name == "posix":
        text = f"{folder} is open to other users (mode {stat.S_IMODE(mode):o})."
        yield wrong(subject, text, f"chmod 700 {folder}")
    else:
        yield ok(subject, f"{folder}, writable and yours alone")


def here(wanted: str | None) -> Iterator[Finding]:
    """Which workspace a server that is started here would have."""
    try:
        location = locate(wanted, os.environ, current_folder())
    except InvalidInput as error:
        yield wrong("workspace", str(error), "Correct TASK_COPILOT_WORKSPACE or --workspace.")
        return
    except FileNotFoundError:
        yield wrong("workspace", "The current folder was removed.", "cd to one that is there.")
        return
    if location.path is not None and is_no_project(location.path):
        yield note(
            "workspace",
            f"Here it would be {location.described}, which is no project.",
            "Start agents in the folder of a project, or set TASK_COPILOT_WORKSPACE.",
        )
    else:
        yield ok("workspace", f"here it is {location.described}")


def is_no_project(path: str) -> bool:
    """Whether a folder is the root of the file system or the user's home."""
    return Path(path) in {Path(Path(path).anchor), Path.home(), Path.home().resolve()}
