"""Which token goes to which hub, and what is said where none does."""

from pathlib import Path

import pytest

from task_copilot.bearer import Given, OwnToken, given_token, refusal_of
from task_copilot.client.options import Options
from task_copilot.credentials import make_secret, place_of, proof

SECRET = make_secret()
ADDRESS = "http://127.0.0.1:9090"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.touch(mode=0o600)
    path.write_text(f"{SECRET}\n")
    return path


def of(address: str, path: Path, *, own: bool = True) -> OwnToken:
    return OwnToken(address, path, own=own, place="token=…")


def test_a_hub_that_proves_to_know_the_secret_gets_it(file: Path) -> None:
    own = of(ADDRESS, file)
    question = own.question()
    assert question is not None
    assert SECRET not in repr(question)
    answer = proof(SECRET, question.challenge, "127.0.0.1 9090")
    assert own.token(question, answer) == SECRET
    assert not own.replaced_a_moment_ago()


@pytest.mark.parametrize(
    "place", ["127.0.0.1 9091", "127.0.0.2 9090", "::1 9090", "127.0.0.1 90900", ""]
)
def test_a_proof_of_a_hub_at_another_place_is_none(file: Path, place: str) -> None:
    own = of(ADDRESS, file)
    question = own.question()
    assert question is not None
    assert own.token(question, proof(SECRET, question.challenge, place)) is None
    assert "was not sent" in own.reason
    assert SECRET not in own.reason


def test_a_proof_is_good_for_one_challenge(file: Path) -> None:
    own = of(ADDRESS, file)
    first, second = own.question(), own.question()
    assert first is not None
    assert second is not None
    old = proof(SECRET, first.challenge, "127.0.0.1 9090")
    assert own.token(second, old) is None
    assert own.token(second, None) is None
    assert own.token(second, "é") is None


def test_a_hub_that_knew_the_secret_has_a_moment_to_learn_the_new_one(file: Path) -> None:
    own = of(ADDRESS, file)
    question = own.question()
    assert question is not None
    right = proof(SECRET, question.challenge, "127.0.0.1 9090")
    assert own.token(question, None) is None
    assert not own.replaced_a_moment_ago()
    assert own.token(question, right) == SECRET
    assert own.token(question, None) is None
    assert own.replaced_a_moment_ago()
    assert own.token(question, right) == SECRET
    assert not own.replaced_a_moment_ago()


def test_a_hub_elsewhere_gets_only_a_token_that_was_given(file: Path) -> None:
    own = of("https://hub.example:9090", file, own=False)
    assert own.question() is None
    assert "only one that was given. Give the hub's token with token=…" in own.reason


def test_a_name_is_no_place_that_can_be_proved(file: Path) -> None:
    own = of("http://localhost:9090", file)
    assert own.question() is None
    assert "Use the number in its place, such as 127.0.0.1" in own.reason


def test_without_a_file_it_says_where_one_was_looked_for(tmp_path: Path) -> None:
    own = of(ADDRESS, tmp_path / "none")
    assert own.question() is None
    assert str(tmp_path / "none") in own.reason


def test_a_file_that_others_can_read_is_not_used(file: Path) -> None:
    file.chmod(0o644)
    own = of(ADDRESS, file)
    assert own.question() is None
    assert "No token was sent" in own.reason
    assert "other users can read" in own.reason


@pytest.mark.parametrize("token", ["two words", "ümlaut", "new\nline", "tab\t"])
def test_what_cannot_be_a_token_is_refused_without_being_shown(token: str) -> None:
    with pytest.raises(ValueError, match="is no token") as refused:
        given_token(None, token)
    assert token not in str(refused.value)
    with pytest.raises(ValueError, match="the argument token"):
        Options(token=token)


def test_the_argument_counts_before_the_variable_and_nothing_shows_them() -> None:
    assert given_token("first", "second") == Given("first", "the argument token")
    assert given_token("", "second") == Given("second", "TASK_COPILOT_TOKEN")
    assert given_token(None, "") is None
    assert "first" not in repr(given_token("first", None))
    assert "first" not in repr(Options(token="first"))


def test_a_refusal_is_the_first_sentence_of_the_hub_and_the_advice() -> None:
    assert refusal_of("It has expired. Much more.", "Give another.") == (
        "It has expired. Give another."
    )
    assert refusal_of("Unauthorized", "") == "Unauthorized."


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("http://127.0.0.1:9090", "127.0.0.1 9090"),
        ("https://[::1]", "::1 443"),
        ("http://127.0.0.1", "127.0.0.1 80"),
        ("http://localhost:9090", None),
    ],
)
def test_only_a_number_names_a_place(address: str, place: str | None) -> None:
    assert place_of(address) == place
