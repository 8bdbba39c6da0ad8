"""Where a client looks for the hub."""

from pathlib import Path

import pytest

from task_copilot import runtime
from task_copilot.client.errors import HubUnavailable
from task_copilot.client.finding import Candidate, candidates
from task_copilot.client.options import DEFAULT_ADDRESS
from task_copilot.credentials import is_loopback
from task_copilot.places import Places
from task_copilot.runtime import HubRecord


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return {"TASK_COPILOT_DATABASE_URL": f"sqlite:///{tmp_path / 'tasks.db'}"}


def remember(database: Path, url: str | None) -> None:
    path = Places.of(database).runtime
    path.parent.mkdir(parents=True, exist_ok=True)
    runtime.write(
        path,
        HubRecord(takeovers=1, epoch="e1", version="1", host="127.0.0.1", started_at="x", url=url),
    )


def test_an_address_that_is_given_is_the_only_one(environment: dict[str, str]) -> None:
    environment["TASK_COPILOT_URL"] = "http://127.0.0.1:1"
    assert candidates("http://127.0.0.1:2/", environment) == (Candidate("http://127.0.0.1:2"),)
    assert candidates(None, environment) == (Candidate("http://127.0.0.1:1"),)


def test_nonsense_in_the_environment_is_said(environment: dict[str, str]) -> None:
    with pytest.raises(HubUnavailable, match="TASK_COPILOT_URL"):
        candidates(None, environment | {"TASK_COPILOT_URL": "127.0.0.1:9090"})


def test_without_a_file_it_is_the_usual_port(environment: dict[str, str]) -> None:
    assert candidates(None, environment) == (Candidate(DEFAULT_ADDRESS),)


@pytest.mark.parametrize("url", ["sqlite:///{}", "sqlite+pysqlite:///{}", "sqlite:///file:{}?a=b"])
def test_the_file_of_the_database_says_where_its_hub_is(
    environment: dict[str, str], tmp_path: Path, url: str
) -> None:
    remember(tmp_path / "tasks.db", "http://127.0.0.1:9091")
    environment["TASK_COPILOT_DATABASE_URL"] = url.format(tmp_path / "tasks.db")
    found = candidates(None, environment)
    assert found == (Candidate("http://127.0.0.1:9091", "e1"), Candidate(DEFAULT_ADDRESS, "e1"))


def test_where_nobody_serves_only_a_hub_of_the_same_database_counts(
    environment: dict[str, str], tmp_path: Path
) -> None:
    remember(tmp_path / "tasks.db", None)
    assert candidates(None, environment) == (Candidate(DEFAULT_ADDRESS, "e1"),)


def test_no_proxy_leads_to_this_machine() -> None:
    assert [is_loopback(f"http://{host}:9090") for host in ("127.0.0.1", "[::1]", "localhost")] == [
        True
    ] * 3
    assert not is_loopback("https://hub.example.org")
