"""``task-copilot token`` makes, replaces, shows and signs; ``doctor`` looks at what it made."""

import json
import stat
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest

from certificates import self_signed
from e2e.shells import Shell
from task_copilot.commands.check_access import _lifetime, access
from task_copilot.settings import Settings

KEY = "k" * 32


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    return Shell(tmp_path, monkeypatch)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.touch(mode=0o600)
    path.write_text(f"{KEY}\n")
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_first_makes_it_and_the_next_names_it(shell: Shell) -> None:
    path = shell.data / "token"
    said = shell.said("token")
    assert said.startswith(f"A new token is in {path}; only you can read it.\n")
    assert "--auth required" in said
    secret = path.read_text().strip()
    assert len(secret) == 43
    assert secret not in said
    assert (mode(path), mode(shell.data)) == (0o600, 0o700)
    assert shell.said("token").startswith(f"The token is in {path}.\n")
    assert shell.said("token", "--show") == f"{secret}\n"


def test_a_program_learns_what_was_done(shell: Shell) -> None:
    path = str(shell.data / "token")
    first = json.loads(shell.said("token", "--json"))
    assert first == {"file": path, "made": True, "replaced": False}
    shown = json.loads(shell.said("token", "--json", "--show"))
    assert shown.pop("token") == Path(path).read_text().strip()
    assert shown == {"file": path, "made": False, "replaced": False}


def test_a_new_one_takes_the_place_of_the_old_one_also_where_that_is_no_secret(
    shell: Shell,
) -> None:
    old = shell.said("token", "--show")
    said = shell.said("token", "--new")
    assert "Servers take it at once; who has the old one is out." in said
    path = shell.data / "token"
    assert path.read_text() != old
    path.chmod(0o644)
    assert "other users can read" in shell.refused("token", "--show")
    path.write_text("short")
    path.chmod(0o600)
    assert "at least 16" in shell.refused("token")
    new = shell.said("token", "--new", "--show")
    assert (path.read_text(), mode(path)) == (new, 0o600)


def test_another_place_is_used_and_its_folder_left_as_it_is(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir(mode=0o755)
    path = folder / "secret"
    assert f"in {path};" in shell.said("--token-file", str(path), "token")
    assert (mode(path), mode(folder)) == (0o600, 0o755)
    assert "cannot be written" in shell.refused("--token-file", "/proc/none/x", "token")


def test_a_link_in_its_place_is_not_written_through(shell: Shell, tmp_path: Path) -> None:
    shell.data.mkdir(parents=True)
    (shell.data / "token").symlink_to(tmp_path / "elsewhere")
    assert "cannot be written" in shell.refused("token")
    assert not (tmp_path / "elsewhere").exists()


def test_the_variable_that_counts_before_the_file_is_said(shell: Shell) -> None:
    found = shell.run("token", TASK_COPILOT_TOKEN="made-up-token-of-tests")
    assert found.exit_code == 0
    assert found.stderr == "task-copilot: TASK_COPILOT_TOKEN is set here and counts before it.\n"


def test_init_writes_no_secret_into_the_project(shell: Shell) -> None:
    stored = shell.said("token", "--show").strip()
    given = "made-up-token-of-tests"
    assert shell.run("init", TASK_COPILOT_TOKEN=given).exit_code == 0
    texts = [path.read_text() for path in shell.folder.rglob("*") if path.is_file()]
    assert any("task-copilot" in text for text in texts)
    assert not any(stored in text or given in text for text in texts)


def test_options_that_do_not_belong_together_are_refused(shell: Shell) -> None:
    assert "stand alone" in shell.misused("token", "--ticket", "--show")
    assert "stand alone" in shell.misused("token", "--jwt", "--ticket")
    assert "--subject belongs to --jwt" in shell.misused("token", "--subject", "ada")
    assert not shell.data.exists()


def test_a_ticket_needs_a_hub(shell: Shell) -> None:
    assert "No hub of this database runs" in shell.refused("token", "--ticket")
    assert "Nobody serves at" in shell.refused("token", "--ticket", "--url", "http://127.0.0.1:1")


def test_a_token_is_signed_for_whom_and_for_how_long(shell: Shell, key: Path) -> None:
    words = ("--jwt-key-file", str(key), "token", "--jwt")
    plain = shell.said(*words).strip()
    claims = jwt.decode(plain, KEY, algorithms=["HS256"], audience="task-copilot")
    assert claims["scope"] == "read"
    assert 86_390 <= claims["exp"] - time.time() <= 86_400
    assert "sub" not in claims
    whole = ("--scopes", "write", "--subject", "ada", "--expires-in", "30d", "--json")
    found = json.loads(shell.said("--jwt-audience", "other", *words, *whole))
    claims = jwt.decode(found["token"], KEY, algorithms=["HS256"], audience="other")
    assert (claims["scope"], claims["sub"]) == ("read write", "ada")
    assert claims["exp"] - claims["iat"] == 30 * 86_400
    assert (found["scopes"], found["subject"]) == (["read", "write"], "ada")
    assert datetime.fromisoformat(found["expiresAt"]).timestamp() == claims["exp"]


@pytest.mark.parametrize(
    "words",
    [
        ("--expires-in", "0"),
        ("--expires-in", "367d"),
        ("--expires-in", "soon"),
        ("--scopes", "read,admin"),
        ("--scopes", ""),
    ],
)
def test_what_no_token_can_have_is_refused(shell: Shell, key: Path, words: tuple[str, ...]) -> None:
    assert words[0] in shell.misused("--jwt-key-file", str(key), "token", "--jwt", *words)


def test_keys_that_cannot_sign_are_refused(shell: Shell, key: Path, tmp_path: Path) -> None:
    assert "is not set" in shell.refused("token", "--jwt")
    words = ("--jwt-key-file", str(key), "token", "--jwt")
    assert "--subject: is a name" in shell.refused(*words, "--subject", "x" * 101)
    key.chmod(0o640)
    assert "other users can read" in shell.refused(*words)
    key.chmod(0o600)
    key.write_text("short")
    assert "holds 5 bytes" in shell.refused(*words)
    key.write_text("-----BEGIN PUBLIC KEY-----\n" + "x" * 40)
    assert "a key in PEM" in shell.refused(*words)
    none = ("--jwt-key-file", str(tmp_path / "none"), "token", "--jwt")
    assert "No such file" in shell.refused(*none)


# --- doctor ---


def findings(settings: Settings, **environment: str) -> list[tuple[str, str, str]]:
    return [(f.level, f.subject, f.text) for f in access(settings, environment)]


def one(settings: Settings, **environment: str) -> tuple[str, str]:
    """Level and text of the one thing that is found."""
    ((level, _subject, text),) = findings(settings, **environment)
    return level, text


def test_doctor_finds_a_token_that_is_asked_for_and_not_there(tmp_path: Path) -> None:
    path = tmp_path / "token"
    settings = Settings(auth="required", token_file=str(path))
    level, text = one(settings)
    assert (level, str(path) in text) == ("wrong", True)
    assert findings(Settings(token_file=str(path))) == []
    assert one(settings, TASK_COPILOT_TOKEN="made-up-token-of-tests")[0] == "note"
    assert one(settings, TASK_COPILOT_TOKEN="short")[0] == "wrong"
    path.touch(mode=0o600)
    path.write_text("made-up-token-of-tests")
    assert one(settings)[0] == "ok"
    path.chmod(0o604)
    level, text = one(settings)
    assert level == "wrong"
    assert "other users can read" in text


def test_doctor_finds_certificates_that_do_not_serve(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
    (certificate, key), (_other, other_key) = map(self_signed, folders)

    def said(certificate: Path | None, key: Path | None) -> tuple[str, str]:
        settings = Settings(
            token_file=str(tmp_path / "none"),
            tls_certificate=None if certificate is None else str(certificate),
            tls_key=None if key is None else str(key),
        )
        return one(settings)

    assert said(certificate, other_key) == (
        "wrong",
        f"The key {other_key} does not belong to the certificate {certificate}.",
    )
    assert "cannot be read" in said(tmp_path / "none", key)[1]
    assert "no certificate and key in PEM" in said(key, key)[1]
    assert said(certificate, None) == ("wrong", "The key is missing.")
    assert said(None, key) == ("wrong", "The certificate is missing.")
    level, text = said(certificate, key)
    assert level == "wrong"
    assert "expires in 0 days" in text


def test_doctor_tells_two_weeks_before_a_certificate_expires(tmp_path: Path) -> None:
    certificate, _key = self_signed(tmp_path)
    now = datetime.now(UTC)
    assert _lifetime(certificate, now - timedelta(days=14)).level == "ok"
    assert _lifetime(certificate, now - timedelta(days=12)).level == "wrong"
    assert "has expired" in _lifetime(certificate, now + timedelta(days=2)).text
