"""What commands that change something say to programs, and the token that they show."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from e2e.shells import Shell


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    found = Shell(tmp_path, monkeypatch)
    found.said("create", "Pay by card", "--stream", "Stream-A", "--description", "secret")
    found.said("update", "TASK-1", "--status", "completed")
    return found


def told(shell: Shell, *words: str) -> Any:
    """The one line of JSON that a command prints."""
    (line,) = shell.said(*words, "--json").splitlines()
    return json.loads(line)


def test_archive_names_what_it_put_away(shell: Shell) -> None:
    assert told(shell, "archive", "Stream-A") == {"workspace": "project", "archived": ["Stream-A"]}
    assert told(shell, "archive", "--all-finished") == {"workspace": "project", "archived": []}


def test_redact_counts_where_it_removed_something(shell: Shell) -> None:
    found = told(shell, "redact", "TASK-1", "--field", "description", "--yes")
    counts = {name: found.pop(name) for name in ("events", "checkpoints", "answers")}
    assert found == {"workspace": "project", "id": "TASK-1", "field": "description"}
    assert all(isinstance(count, int) for count in counts.values())


def test_copies_say_how_much_they_hold(shell: Shell) -> None:
    copy, lines = shell.home / "copy.db", shell.home / "lines"
    assert told(shell, "backup", str(copy)) == {"file": str(copy), "bytes": copy.stat().st_size}
    exported = told(shell, "export", str(lines))
    assert exported == {"file": str(lines), "lines": len(lines.read_text().splitlines())}
    new = shell.home / "new.db"
    found = told(shell, "--database-url", f"sqlite:///{new}", "import", str(lines))
    header = json.loads(lines.read_text().splitlines()[0])
    assert (found["file"], found["epoch"], found["seq"]) == (
        str(new),
        header["epoch"],
        header["head"],
    )
    assert found["rows"]["tasks"] == 1


def test_purge_says_what_is_gone(shell: Shell) -> None:
    found = told(shell, "purge", "--workspace", "project", "--yes")
    assert (found["workspace"], found["rows"]["tasks"], found["seq"]) == ("project", 1, 0)
    assert str(shell.database) in told(shell, "purge", "--everything", "--yes")["files"]


def test_init_names_the_files_that_it_changed(shell: Shell) -> None:
    tried = told(shell, "init", "--dry-run")
    assert (tried["changed"], len(tried["said"])) == ([], 2)
    done = told(shell, "init")
    names = [str(shell.folder / name) for name in (".mcp.json", "CLAUDE.md")]
    assert (done["folder"], done["changed"]) == (str(shell.folder), names)
    assert told(shell, "init")["changed"] == []
    assert told(shell, "init", "--remove")["changed"] == names


def test_a_token_of_the_environment_is_shown_to_the_hub(shell: Shell) -> None:
    seen: list[str | None] = []

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers["Authorization"])
            self.send_error(403)

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Hub) as hub:
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{hub.server_port}"
        assert shell.run("tasks", "--url", url, TASK_COPILOT_TOKEN="made-up").exit_code == 1
        assert shell.run("tasks", "--url", url).exit_code == 1
        hub.shutdown()
    assert "Bearer made-up" in seen
    assert seen[-1] is None
