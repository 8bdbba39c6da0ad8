"""In CI every test has to run: one that is skipped or expected to fail fails the whole run."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.nodeid import coerce_node_id

import postgres


@pytest.fixture(scope="session", autouse=True)
def _data_directory(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keeps what is opened in this process out of the user's own data directory."""
    os.environ["XDG_DATA_HOME"] = str(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Server]:
    """A PostgreSQL server, started when a test first asks for it."""
    with postgres.running() as server:
        yield server


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """What a test says of a database holds for each kind, unless it says that it is of one."""
    only = metafunc.definition.get_closest_marker("sqlite_only") is not None
    if "database_url" in metafunc.fixturenames and not only:
        metafunc.parametrize("database_url", ("sqlite", "postgres"), indirect=True)


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a new database, of each kind in turn."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield f"sqlite:///{tmp_path / 'tasks.db'}"
        return
    server: postgres.Server = request.getfixturevalue("postgres_server")
    with server.database() as url:
        yield url


_NOT_RUN = pytest.StashKey[list[str]]()


def _in_ci() -> bool:
    return os.environ.get("CI", "").lower() in {"1", "true", "yes"}


class _EverythingRuns:
    """Collects the skips, expected failures and unexpected passes of tests and of whole files."""

    def __init__(self, config: pytest.Config) -> None:
        self._not_run = config.stash.setdefault(_NOT_RUN, [])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped or hasattr(report, "wasxfail"):
            self._not_run.append(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self._not_run.append(report.nodeid)

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if self._not_run and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._not_run:
            terminalreporter.section("did not run, and CI wants every test to run", red=True)
            for nodeid in sorted(set(self._not_run)):
                terminalreporter.line(nodeid)


def pytest_configure(config: pytest.Config) -> None:
    if _in_ci():
        config.pluginmanager.register(_EverythingRuns(config), "everything-runs")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keeps the tests of a group (``xdist_group``) in one process: pytest-xdist 3.8 writes the
    group where pytest before 9.2 had the id of a test."""
    for item in items:
        if grouped := vars(item).get("_nodeid"):
            item._id = coerce_node_id(grouped)
