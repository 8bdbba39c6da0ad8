"""Clients and commands over TLS: what they trust, and what they say where they do not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from certificates import self_signed
from client_support import MODES, Hub, Log, until
from e2e.shells import Shell
from strangers import Stranger, stranger
from task_copilot import runtime
from task_copilot.client.finding import Candidate, candidates
from task_copilot.credentials import context_for
from task_copilot.errors import InvalidInput
from task_copilot.places import Places
from task_copilot.ports import Holder, holder_of
from task_copilot_client import HubUnavailable, TaskCopilotClient


class TlsHub(Hub):
    """A hub that speaks TLS only."""

    def __init__(self, folder: Path) -> None:
        self.certificate, key = self_signed(folder)
        super().__init__(folder, tls_certificate=self.certificate, tls_key=key)

    @property
    def address(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def _serves(self) -> bool:
        try:
            return bool(self.health()["service"] == "task-copilot")
        except httpx2.HTTPError:
            return False

    def health(self) -> Any:
        context = context_for(str(self.certificate), None)
        return httpx2.get(f"{self.address}/health", verify=context, trust_env=False).json()


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsHub]:
    found = TlsHub(tmp_path_factory.mktemp("encrypted"))
    try:
        found.start()
        found.tasks(1, "S")
        yield found
    finally:
        found.close()


@pytest.fixture
def plain() -> Iterator[Stranger]:
    with stranger(status=200) as found:
        yield found


@pytest.fixture(autouse=True)
def nothing_is_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("TOKEN", "TOKEN_FILE", "URL", "DATABASE_URL", "CA_FILE"):
        monkeypatch.delenv(f"TASK_COPILOT_{name}", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.mark.parametrize("mode", MODES)
def test_events_come_over_tls_from_a_hub_whose_certificate_is_named(
    encrypted: TlsHub, mode: str
) -> None:
    log = Log()
    with TaskCopilotClient(
        encrypted.address, ca_file=encrypted.certificate, **MODES[mode]
    ) as client:
        assert client.get_mode() == ("websocket" if mode == "websocket" else "http")
        client.subscribe(["task:*"], log)
        encrypted.tasks(1)
        until(lambda: log.topics == [f"task:TASK-{encrypted.newest}"])


def test_the_variable_names_certificates_too(
    encrypted: TlsHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASK_COPILOT_CA_FILE", str(encrypted.certificate))
    address = encrypted.address.replace("127.0.0.1", "localhost")
    assert TaskCopilotClient(address).streams()["totalStreams"] == 1


def written_record(
    folder: Path, serving: TlsHub, monkeypatch: pytest.MonkeyPatch, certificate: Path
) -> None:
    """A database whose runtime file names that hub and its certificate."""
    database = folder / "data" / "tasks.db"
    path = Places.of(database).runtime
    path.parent.mkdir(parents=True, exist_ok=True)
    record = runtime.HubRecord(
        takeovers=1,
        epoch=serving.health()["epoch"],
        version="1",
        host="127.0.0.1",
        started_at="x",
        port=serving.port,
        url=serving.address,
        certificate=str(certificate),
    )
    runtime.write(path, record)
    monkeypatch.setenv("TASK_COPILOT_DATABASE_URL", f"sqlite:///{database}")


def test_the_users_own_hub_is_trusted_by_its_certificate_alone(
    encrypted: TlsHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written_record(tmp_path, encrypted, monkeypatch, encrypted.certificate)
    assert TaskCopilotClient().streams()["totalStreams"] == 1
    # Also where its address is given, and whatever its name.
    with TaskCopilotClient(f"https://localhost:{encrypted.port}") as client:
        assert client.get_mode() == "websocket"


def test_another_hub_in_the_place_of_the_users_own_is_not_trusted(
    encrypted: TlsHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, _key = self_signed(tmp_path)
    written_record(tmp_path, encrypted, monkeypatch, other)
    with pytest.raises(HubUnavailable, match="its certificate is not trusted"):
        TaskCopilotClient().streams()


def test_a_certificate_that_nobody_vouches_for_is_refused_with_what_to_do(
    encrypted: TlsHub, tmp_path: Path
) -> None:
    client = TaskCopilotClient(encrypted.address)
    assert not client.connect()
    with pytest.raises(HubUnavailable, match="ca_file, --ca-file or TASK_COPILOT_CA_FILE"):
        client.streams()
    with pytest.raises(HubUnavailable, match="cannot be read"):
        TaskCopilotClient(encrypted.address, ca_file=tmp_path / "none").streams()


def test_the_wrong_one_of_http_and_https_is_said(encrypted: TlsHub, plain: Stranger) -> None:
    with pytest.raises(HubUnavailable, match="if it serves TLS, its address is https"):
        TaskCopilotClient(f"http://127.0.0.1:{encrypted.port}").streams()
    with pytest.raises(HubUnavailable, match="speaks no TLS"):
        TaskCopilotClient(f"https://127.0.0.1:{plain.server.server_port}").streams()


def test_the_runtime_file_of_an_older_version_names_no_certificate(
    encrypted: TlsHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written_record(tmp_path, encrypted, monkeypatch, encrypted.certificate)
    path = Places.of(tmp_path / "data" / "tasks.db").runtime
    path.write_text(path.read_text().replace("certificate", "unknown"))
    record = runtime.read(path)
    assert record is not None
    assert record.certificate is None
    assert candidates(None)[0] == Candidate(encrypted.address, record.epoch)


def test_a_file_without_certificates_is_named(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing")
    with pytest.raises(InvalidInput, match=r"TASK_COPILOT_CA_FILE.*empty\.pem holds no"):
        context_for(None, str(empty))
    with pytest.raises(InvalidInput, match=r"hub's certificate .*empty\.pem holds no"):
        context_for(str(empty), None)


def test_commands_over_tls(
    encrypted: TlsHub, plain: Stranger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = Shell(tmp_path, monkeypatch)
    words = ("streams", "--all-workspaces", "--url")
    trusted = ("--ca-file", str(encrypted.certificate))
    assert "1 stream" in shell.said(*words, encrypted.address, *trusted)
    assert "1 stream" in shell.said(
        *words, encrypted.address, TASK_COPILOT_CA_FILE=str(encrypted.certificate)
    )
    events = ("events", "--all-workspaces", "--limit", "1", "--url", encrypted.address)
    (line,) = shell.said(*events, *trusted).splitlines()
    assert " shop " in line
    assert "name the file of its certificate" in shell.refused(*words, encrypted.address)
    assert "cannot be read" in shell.refused(*words, encrypted.address, "--ca-file", "none")
    assert "speaks no TLS" in shell.refused(*words, f"https://127.0.0.1:{plain.server.server_port}")
    said = shell.refused(*words, f"http://127.0.0.1:{encrypted.port}")
    assert "if it serves TLS, its address is https" in said
    written_record(tmp_path, encrypted, monkeypatch, encrypted.certificate)
    assert "1 stream" in shell.said(*words, encrypted.address)
    assert "1 stream" in shell.said("streams", "--all-workspaces")


@pytest.mark.parametrize("tls", [False, True])
async def test_who_has_a_port_is_found_out_with_and_without_tls(
    encrypted: TlsHub, plain: Stranger, *, tls: bool
) -> None:
    real = encrypted.health()["epoch"]
    for port, epoch in ((encrypted.port, real), (plain.server.server_port, plain.epoch)):
        assert await holder_of("127.0.0.1", port, epoch, tls=tls) == Holder.SAME_DATABASE
        assert await holder_of("127.0.0.1", port, "other", tls=tls) == Holder.OTHER
