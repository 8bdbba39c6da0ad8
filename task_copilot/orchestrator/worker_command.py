"""What a worker is: the command that is run for a stream, and the environment it gets."""

import difflib
import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from task_copilot.database.sqlite import file_of, is_address
from task_copilot.database.urls import is_postgres, parse_url
from task_copilot.errors import InvalidInput
from task_copilot.location import names_a_folder
from task_copilot.settings import (
    CA_FILE_VARIABLE,
    STREAM_VARIABLE,
    TOKEN_VARIABLE,
    URL_VARIABLE,
    Settings,
    declared,
    environment_variable,
)

PLACES = ("{stream}", "{workspace}", "{folder}")
"""What is filled in in the words of a worker's command."""

SERVER = "task-copilot"
"""The name of this server in an agent's configuration, from which its tools get theirs."""

AGENT = "worker-{stream}"
"""Who acts in the events of a worker that does not say otherwise."""

PROMPT = """\
Work on stream {stream} of workspace {workspace} with the task-copilot tools until every task in \
it is completed. Others work on the other streams; leave those alone.
1. task_list with streamId "{stream}" shows its tasks. Call checkpoint_resume for the one that is \
in progress, or was last: an earlier session may have been cut off there. Go on from there.
2. Set a task in_progress before you work on it, and completed when it is done. Save a checkpoint \
(checkpoint_create) after each larger step, with what the next session needs to know.
3. If only a person can help, set the task blocked with a blockedReason that says what you need, \
and end. You are started again when it is unblocked.\
"""

BRANCHES = """
You are in a git worktree of your own, on branch {branch}. Commit your work there. What this \
stream needs is on {needed}: merge that into your branch first where it is not in it yet. Do not \
merge into other branches, and do not push.\
"""

LINE = 100
"""Characters of a command that is shown on one line."""

OF_ANOTHER_SESSION = ("CLAUDECODE", "CLAUDE_CODE_SESSION_ID", "CLAUDE_CODE_ENTRYPOINT")
"""What says to Claude Code that it runs inside another one; a worker is a session of its own."""

OF_FILES = {"token_file", "jwt_key_file", "tls_certificate", "tls_key"}
"""Settings that name a file."""

DATABASE_VARIABLE = "TASK_COPILOT_DATABASE_URL"
PROJECT_VARIABLE = "CLAUDE_PROJECT_DIR"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPlan:
    """How workers are started. `given` is the user's own command; None is Claude Code, which may
    edit files where `permission_mode` says so. `url` is a hub elsewhere."""

    workspace: str
    settings: Settings
    given: str | None = None
    permission_mode: str | None = None
    url: str | None = None

    def command(self, stream_id: str, folder: Path, note: str = "") -> list[str]:
        """The words of the command for a stream that is worked on in `folder`; `note` is added to
        what Claude Code is told."""
        places = {
            "{stream}": stream_id,
            "{workspace}": self.workspace,
            "{folder}": os.fspath(folder),
        }
        if self.given is not None:
            return [filled(word, places) for word in split(self.given)]
        mode = ["--permission-mode", self.permission_mode] if self.permission_mode else []
        return [
            *("claude", "-p", filled(PROMPT, places) + note),
            *("--mcp-config", json.dumps({"mcpServers": {SERVER: self._server(stream_id)}})),
            *("--allowedTools", f"mcp__{SERVER}__*"),
            *mode,
        ]

    def environment(
        self, stream_id: str, folder: Path, present: Mapping[str, str]
    ) -> dict[str, str]:
        """The environment of a worker: `present`, and what its own server joins by."""
        # A flag may have set what a variable says otherwise back to its default.
        ours = {*OF_ANOTHER_SESSION, *map(environment_variable, declared())}
        inherited = {name: value for name, value in present.items() if name not in ours}
        joins = {STREAM_VARIABLE: stream_id, PROJECT_VARIABLE: os.fspath(folder)}
        return {**inherited, **self._joining(stream_id), **joins}

    def _joining(self, stream_id: str) -> dict[str, str]:
        """The settings that make a server, or a client, of a worker join."""
        defaults = Settings()
        changed = {
            environment_variable(one): _text(one.name, getattr(self.settings, one.name))
            for one in declared()
            if getattr(self.settings, one.name) != getattr(defaults, one.name)
        }
        own = {
            "TASK_COPILOT_WORKSPACE": self._workspace(),
            "TASK_COPILOT_AGENT": AGENT.format(stream=stream_id),
        }
        return {**changed, **own, **({} if self.url is None else {URL_VARIABLE: self.url})}

    def _workspace(self) -> str:
        """What names the workspace wherever a worker runs."""
        if self.url is None and names_a_folder(self.workspace):
            # As a name it would be taken for a folder: .dotfiles
            return _from_anywhere(self.settings.workspace or ".")
        return self.workspace

    def _server(self, stream_id: str) -> dict[str, object]:
        """The entry of this server in an agent's configuration."""
        if self.url is None:
            # -P: a folder of the project may be called task_copilot too.
            words = ["-P", "-m", "task_copilot"]
            joining = self._joining(stream_id)
            if is_postgres(parse_url(self.settings.database_url)):
                joining[DATABASE_VARIABLE] = _by_name(DATABASE_VARIABLE)
            return {"command": sys.executable, "args": words, "env": joining}
        address = f"{self.url.rstrip('/')}/mcp?{urlencode({'workspace': self.workspace})}"
        server: dict[str, object] = {"type": "http", "url": address}
        if os.environ.get(TOKEN_VARIABLE):
            server["headers"] = {"Authorization": f"Bearer {_by_name(TOKEN_VARIABLE)}"}
        return server


def _by_name(variable: str) -> str:
    """A secret in a configuration: Claude Code puts the value in, and no list of processes, in
    which its command line stands, shows it."""
    return f"${{{variable}}}"


def trusting(ca_file: str | None) -> dict[str, str]:
    """What makes Node.js trust certificates, as this program does."""
    found = ca_file or os.environ.get(CA_FILE_VARIABLE)
    if not found:
        return {}
    file = _from_anywhere(found)
    return {"NODE_EXTRA_CA_CERTS": file, CA_FILE_VARIABLE: file}


def branches_note(branch: str, needed: Sequence[str]) -> str:
    """What Claude Code is told where each stream has a worktree of its own."""
    return BRANCHES.format(branch=branch, needed=", ".join(needed) or "the branch you are on")


def split(command: str) -> list[str]:
    """The words of a command as a shell splits them; raises InvalidInput."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise InvalidInput(f"{command!r} is no command: {error}.") from None
    if not words:
        raise InvalidInput("A command has at least the name of a program.")
    return words


def refuse_typos(words: Iterable[str], known: Sequence[str]) -> None:
    """Raises InvalidInput for what is almost a placeholder; braces may mean anything else."""
    for found in (place for word in words for place in re.findall(r"\{[A-Za-z]+\}", word)):
        meant = difflib.get_close_matches(found, known, 1)
        if found not in known and meant:
            raise InvalidInput(f"{found} is no placeholder; {meant[0]} is one.")


def filled(text: str, places: Mapping[str, str]) -> str:
    """`text` with the placeholders replaced; what is put in is not looked through again."""
    either = "|".join(map(re.escape, places))
    return re.sub(either, lambda found: places[found[0]], text)


def require_program(words: Sequence[str], folder: Path, hint: str) -> None:
    """Raises InvalidInput where the program of a command is not there."""
    # A name with a slash is looked up from the folder in which the worker runs.
    named = os.fspath(folder / words[0]) if os.sep in words[0] else words[0]
    if shutil.which(named) is None:
        raise InvalidInput(f"There is no program {words[0]!r}. {hint}")


def shown(words: Sequence[str]) -> list[str]:
    """A command as a person could type it; what is given to options stands on lines of its own."""
    quoted = [shlex.quote(word) for word in words]
    if len(shlex.join(words)) <= LINE:
        return [" ".join(quoted)]
    lines = [quoted[0]]
    for word in quoted[1:]:
        if word.startswith("-"):
            lines.append(word)
        else:
            lines[-1] += f" {word}"
    return "\n".join(lines).splitlines()


def _text(name: str, value: object) -> str:
    """A setting in the environment of a worker, which may run in another folder than this."""
    if name == "database_url":
        url = parse_url(str(value))
        if is_postgres(url):
            return str(value)
        if not is_address(url):
            url = url.set(database=os.fspath(file_of(url)))
        return url.render_as_string(hide_password=False)
    if name in OF_FILES:
        return _from_anywhere(str(value))
    return "true" if value is True else str(value)


def _from_anywhere(path: str) -> str:
    return os.fspath(Path(path).expanduser().absolute())
