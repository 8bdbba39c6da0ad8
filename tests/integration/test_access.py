"""Who has no token gets nothing, on any route; what a token allows is allowed and no more."""

import asyncio
import base64
import json
import re
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin

from certificates import self_signed
from hubs import SECRET, RunningHub, bearer, running_hub, secret_file
from task_copilot import credentials
from task_copilot.access import tls
from task_copilot.access.configuration import access_of
from task_copilot.access.tickets import (
    MAX_TICKETS,
    MAX_TICKETS_OF_ONE,
    TICKET_SECONDS,
    Tickets,
)
from task_copilot.api.routes import ROUTES
from task_copilot.errors import InvalidInput
from task_copilot.events import log
from task_copilot.identity import ANYBODY, Identity
from task_copilot.settings import Settings
from validation import validated

LIMIT_SECONDS = 10.0
LOOK_SECONDS = 0.005
WRONG = ["", "x", SECRET[:-1], SECRET + "x", SECRET.lower(), SECRET[::-1], "e30.e30.", "null"]


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[RunningHub]:
    """One that asks for a token, with a task to read."""
    token_file = str(secret_file(tmp_path))
    async with running_hub(tmp_path, auth="required", token_file=token_file) as running:
        await running.task("Pay by card", "Stream-A")
        yield running


def listening(hub: RunningHub, **headers: str) -> Any:
    return connect(hub.events, additional_headers=headers, proxy=None, close_timeout=1)


async def refused_handshake(hub: RunningHub, **headers: str) -> tuple[int, dict[str, Any]]:
    with pytest.raises(InvalidStatus) as refused:
        await listening(hub, **headers)
    answer = refused.value.response
    return answer.status_code, json.loads(answer.body or b"{}")


async def subscribed(connection: ClientConnection) -> dict[str, Any]:
    await connection.send('{"type":"subscribe","payload":{"topics":["*"],"since":0}}')
    answer = json.loads(await asyncio.wait_for(connection.recv(), LIMIT_SECONDS))
    assert answer["type"] == "subscribed"
    event: dict[str, Any] = json.loads(await asyncio.wait_for(connection.recv(), LIMIT_SECONDS))
    found: dict[str, Any] = event["payload"]
    return found


async def ending(connection: ClientConnection) -> tuple[int, str]:
    """The code and the reason with which the server closes it."""
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            while True:
                await connection.recv()
    except ConnectionClosed as closed:
        return (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (0, "cut off")


def paths() -> list[tuple[str, str]]:
    """Every route with something in its braces, and some that do not exist."""
    found = [(route.method, re.sub(r"{\w+}", "TASK-1", route.path)) for route in ROUTES]
    found += [("GET", "/openapi.json"), ("GET", "/asyncapi.json"), ("GET", "/ws")]
    return [*found, ("GET", "/"), ("GET", "/nothing"), ("PATCH", "/api/tasks/TASK-1")]


# --- the shared secret ---


async def test_without_a_token_nothing_but_health_is_answered(hub: RunningHub) -> None:
    for method, path in paths():
        answer = await hub.http.request(method, path)
        if path == "/health":
            assert answer.status_code == 200
            continue
        assert answer.status_code == 401, (method, path)
        assert answer.headers["www-authenticate"] == 'Bearer realm="task-copilot"'
        assert set(answer.json()) == {"error"}
        assert "task-copilot token" in answer.json()["error"]
        if path.startswith("/api/") and method != "PATCH":
            validated(method, path, 401, answer.json())
    status, body = await refused_handshake(hub)
    assert status == 401
    assert "TASK_COPILOT_TOKEN" in body["error"]


async def test_a_wrong_token_is_refused_everywhere_and_repeated_nowhere(
    hub: RunningHub, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "task_copilot")
    wrong = "wr0ng-token-that-nobody-may-see-again"
    for method, path in paths():
        answer = await hub.http.request(method, path, headers=bearer(wrong))
        assert answer.status_code == 401, (method, path)
        assert "invalid_token" in answer.headers["www-authenticate"]
        assert wrong not in answer.text
    status, body = await refused_handshake(hub, **bearer(wrong))
    assert status == 401
    assert wrong not in json.dumps(body)
    assert wrong not in caplog.text


@pytest.mark.parametrize("token", WRONG)
async def test_nearly_the_token_is_not_the_token(hub: RunningHub, token: str) -> None:
    for value in (f"Bearer {token}", f"Basic {SECRET}", f"Bearer{SECRET}", SECRET):
        answer = await hub.http.get("/api/tasks", headers={"Authorization": value.strip()})
        assert answer.status_code == 401, value
    double = [("Authorization", f"Bearer {SECRET}"), ("Authorization", f"Bearer {token}".strip())]
    assert (await hub.http.get("/api/tasks", headers=double)).status_code == 401


async def test_the_token_opens_every_route_and_the_websocket(hub: RunningHub) -> None:
    for method, path in paths():
        if path == "/api/events/stream":
            continue
        answer = await hub.http.request(method, path, headers=bearer())
        assert answer.status_code not in {401, 403}, (method, path)
    async with hub.http.stream("GET", "/api/events/stream", headers=bearer()) as stream:
        assert stream.status_code == 200
    async with listening(hub, **bearer()) as connection:
        assert (await subscribed(connection))["data"]["taskTitle"] == "Pay by card"


async def test_a_token_in_an_address_is_no_token(hub: RunningHub) -> None:
    for name in ("token", "access_token", "ticket"):
        answer = await hub.http.get(f"/api/tasks?{name}={SECRET}")
        assert answer.status_code == 401
        assert SECRET not in answer.text
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"{hub.events}?token={SECRET}", proxy=None)
    assert refused.value.response.status_code == 401


async def test_a_new_secret_puts_out_who_has_the_old_one(tmp_path: Path) -> None:
    file = secret_file(tmp_path)
    settings = {"auth": "required", "token_file": str(file)}
    async with running_hub(tmp_path, **settings) as hub:
        async with listening(hub, **bearer()) as connection:
            await connection.send('{"type":"subscribe","payload":{"topics":["*"]}}')
            await asyncio.to_thread(secret_file, tmp_path, "Another-secret-0123456789")
            started = asyncio.get_running_loop().time()
            assert (await ending(connection))[0] == 1008
            # Not only when it is pinged next, which is after half a minute.
            assert asyncio.get_running_loop().time() - started < LIMIT_SECONDS / 2
        assert (await hub.http.get("/api/tasks", headers=bearer())).status_code == 401
        new = bearer("Another-secret-0123456789")
        assert (await hub.http.get("/api/tasks", headers=new)).status_code == 200
        await asyncio.to_thread(file.unlink)
        async with asyncio.timeout(LIMIT_SECONDS):
            while (await hub.http.get("/api/tasks", headers=new)).status_code != 401:  # noqa: ASYNC110
                await asyncio.sleep(LOOK_SECONDS)


async def test_on_this_machine_no_token_is_needed_unless_it_is_asked_for(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as hub:
        for headers in ({}, bearer("anything")):
            assert (await hub.http.get("/api/tasks", headers=headers)).status_code == 200


# --- the proof ---


async def test_the_hub_proves_that_it_has_the_secret_without_showing_it(hub: RunningHub) -> None:
    challenge = credentials.make_challenge()
    answer = await hub.http.get("/health", headers={credentials.CHALLENGE_HEADER: challenge})
    proof = answer.headers[credentials.PROOF_HEADER]
    place = credentials.place_of(hub.hub.address)
    assert place == f"127.0.0.1 {hub.port}"
    assert credentials.proves(proof, SECRET, challenge, place)
    assert not credentials.proves(proof, SECRET, challenge, f"127.0.0.1 {hub.port + 1}")
    assert not credentials.proves(proof, SECRET, challenge, f"::1 {hub.port}")
    assert not credentials.proves(proof, SECRET, credentials.make_challenge(), place)
    assert not credentials.proves(proof, "Another-secret-0123456789", challenge, place)
    assert SECRET not in answer.text + str(answer.headers)


@pytest.mark.parametrize("challenge", ["", "ab", "x" * 32, "AB" * 16, "ab" * 40, "ab" * 16 + "\t."])
async def test_a_challenge_of_another_form_is_not_answered(hub: RunningHub, challenge: str) -> None:
    answer = await hub.http.get("/health", headers={credentials.CHALLENGE_HEADER: challenge})
    assert answer.status_code == 200
    assert credentials.PROOF_HEADER not in answer.headers


# --- tickets and cookies ---


async def ticket(hub: RunningHub, headers: dict[str, str]) -> str:
    answer = await hub.http.post("/api/tickets", json={}, headers=headers)
    assert answer.status_code == 201, answer.text
    validated("POST", "/api/tickets", 201, answer.json())
    assert answer.headers["cache-control"] == "no-store"
    found: str = answer.json()["ticket"]
    return found


async def cookie(hub: RunningHub, headers: dict[str, str]) -> dict[str, str]:
    answer = await hub.http.get("/", params={"ticket": await ticket(hub, headers)})
    assert answer.status_code == 303, answer.text
    assert answer.headers["location"] == "/"
    attributes = answer.headers["set-cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(attributes)
    hub.http.cookies.clear()
    return {"Cookie": attributes[0]}


async def test_a_ticket_becomes_a_cookie_once_that_reads_writes_and_listens(
    hub: RunningHub,
) -> None:
    given = await ticket(hub, bearer())
    taken = await hub.http.get("/", params={"ticket": given})
    assert taken.status_code == 303
    assert given not in str(taken.headers)
    assert SECRET not in str(taken.headers)
    hub.http.cookies.clear()
    again = await hub.http.get("/", params={"ticket": given})
    assert again.status_code == 401
    assert "set-cookie" not in again.headers
    assert "task-copilot token --ticket" in again.text
    mine = await cookie(hub, bearer())
    assert (await hub.http.get("/api/tasks", headers=mine)).json()["totalTasks"] == 1
    made = await hub.http.post("/api/streams/Stream-A/checkpoint", json={}, headers=mine)
    assert made.status_code == 201, made.text
    async with listening(hub, Origin=hub.hub.address, **mine) as connection:
        assert (await subscribed(connection))["seq"] == 1


async def test_a_cookie_is_refused_when_it_is_changed_or_the_secret_is_another(
    hub: RunningHub, tmp_path: Path
) -> None:
    mine = (await cookie(hub, bearer()))["Cookie"]
    name, _, sealed = mine.partition("=")
    parts = sealed.split(".")
    claims = {"aud": "task-copilot dashboard", "exp": 2**40, "scope": "write"}
    unsigned = jwt.encode(claims, "", None)
    forged = jwt.encode(claims, SECRET + SECRET)
    for value in (sealed[:-2], ".".join([parts[0], parts[1], parts[2][::-1]]), unsigned, forged):
        answer = await hub.http.get("/api/tasks", headers={"Cookie": f"{name}={value}"})
        assert answer.status_code == 401, value
    assert (await hub.http.get("/api/tasks", headers={"Cookie": f"x={sealed}"})).status_code == 401
    await asyncio.to_thread(secret_file, tmp_path, "Another-secret-0123456789")
    async with asyncio.timeout(LIMIT_SECONDS):
        own = {"Cookie": mine}
        while (await hub.http.get("/api/tasks", headers=own)).status_code == 200:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_SECONDS)


async def test_a_cookie_among_those_of_other_servers_of_the_machine_is_found(
    hub: RunningHub,
) -> None:
    mine = (await cookie(hub, bearer()))["Cookie"]
    ours = mine.partition("=")[0]
    for others in (
        f'a=b; =; x="y; [1]=2; {mine}; task-copilot-1=e30.e30.e30',
        f"{mine}; {ours}=e30.e30.e30",
        f"{ours}=e30.e30.e30; {mine}",
    ):
        answer = await hub.http.get("/api/tasks", headers={"Cookie": others})
        assert answer.status_code == 200, others
    wrong = {"Cookie": f"{ours}=e30.e30.e30"}
    assert (await hub.http.get("/api/tasks", headers=wrong)).status_code == 401
    assert (await hub.http.get("/health", headers=wrong)).status_code == 200


def test_a_ticket_ends_after_a_minute_and_too_many_push_out_the_oldest() -> None:
    now = 1_000.0
    tickets = Tickets(lambda: now)
    first, ends = tickets.issue(ANYBODY)
    assert ends == now + TICKET_SECONDS
    second, _ = tickets.issue(ANYBODY)
    now += TICKET_SECONDS - 1
    assert tickets.redeem(first) is ANYBODY
    assert tickets.redeem(first) is None
    now += 1
    assert tickets.redeem(second) is None
    other = Identity(frozenset({"read"}), subject="ci")
    kept = [tickets.issue(ANYBODY)[0] for _ in range(MAX_TICKETS_OF_ONE)]
    others = [tickets.issue(other)[0] for _ in range(MAX_TICKETS_OF_ONE + 1)]
    assert tickets.redeem(others[0]) is None
    assert tickets.redeem(others[1]) is other
    assert tickets.redeem(kept[0]) is ANYBODY  # it is not for others to throw away
    many = [
        tickets.issue(Identity(frozenset(), subject=str(number)))[0]
        for number in range(MAX_TICKETS)
    ]
    assert tickets.redeem(kept[1]) is None
    assert tickets.redeem(many[-1]) is not None


# --- JSON Web Tokens ---

HS_KEY = "a-secret-for-signing-of-more-than-32-bytes"


def signed(key: Any = HS_KEY, algorithm: str = "HS256", **changed: Any) -> str:
    claims = {
        "aud": "task-copilot",
        "exp": int(time.time()) + 600,
        "scope": "read write",
        "sub": "ci",
        **changed,
    }
    present = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(present, key, algorithm)


@pytest.fixture
async def signing_hub(tmp_path: Path) -> AsyncIterator[RunningHub]:
    """One that takes tokens signed with `HS_KEY`, and has no secret of its own."""
    key_file = tmp_path / "signing-key"
    key_file.touch(mode=0o600)
    key_file.write_text(HS_KEY)
    settings = {"auth": "required", "jwt_key_file": str(key_file)}
    async with running_hub(
        tmp_path, **settings, token_file=str(tmp_path / "none"), ping_interval=0.1
    ) as running:
        await running.task("Pay by card", "Stream-A")
        yield running


async def statuses(hub: RunningHub, token: str) -> tuple[int, int]:
    """What reading and writing are answered with."""
    headers = bearer(token)
    reading = await hub.http.get("/api/tasks", headers=headers)
    writing = await hub.http.post("/api/streams/Stream-A/checkpoint", json={}, headers=headers)
    for answer in (reading, writing):
        assert token not in answer.text
    return reading.status_code, writing.status_code


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("read", (200, 403)),
        ("write", (200, 201)),
        ("read write", (200, 201)),
        ("openid read", (200, 403)),
        (["read"], (200, 403)),
        (["write", 5], (200, 201)),
        ("", (403, 403)),
        ("READ", (403, 403)),
        ("readwrite", (403, 403)),
        (None, (403, 403)),
        ({"read": 1}, (403, 403)),
        (5, (403, 403)),
    ],
)
async def test_a_scope_allows_what_it_says(
    signing_hub: RunningHub, scope: Any, expected: tuple[int, int]
) -> None:
    assert await statuses(signing_hub, signed(scope=scope)) == expected


async def test_a_refusal_for_want_of_a_scope_says_which(signing_hub: RunningHub) -> None:
    answer = await signing_hub.http.post(
        "/api/streams/Stream-A/checkpoint", json={}, headers=bearer(signed(scope="read"))
    )
    assert answer.status_code == 403
    assert "'write'" in answer.json()["error"]
    assert 'error="insufficient_scope", scope="write"' in answer.headers["www-authenticate"]
    validated("POST", "/api/streams/Stream-A/checkpoint", 403, answer.json())


async def test_the_routes_of_the_tools_need_the_scope_write_and_act_as_the_subject(
    signing_hub: RunningHub,
) -> None:
    written: tuple[tuple[str, str, dict[str, str]], ...] = (
        *(("POST", "/api/tasks", {"title": "x"}), ("PATCH", "/api/tasks/1", {"notes": "x"})),
        *(("POST", "/api/tasks/1/checkpoints", {}), ("POST", "/api/tasks/1/resume", {})),
    )
    for scope, allowed in (("read", False), ("write", True)):
        for method, path, body in written:
            answer = await signing_hub.http.request(
                method, path, json=body, headers=bearer(signed(scope=scope))
            )
            assert (answer.status_code != 403) == allowed, path
            assert answer.is_success == allowed
            validated(method, path, answer.status_code, answer.json())
    rows = signing_hub.database.read_now(lambda connection: log.rows_after(connection, 2))
    assert [json.loads(row.payload)["actor"] for row in rows] == ["ci"] * 4


async def test_tokens_that_are_not_as_they_must_be_are_refused_with_the_reason(
    signing_hub: RunningHub,
) -> None:
    now = int(time.time())
    rsa_key = rsa.generate_private_key(65537, 2048)
    for token, words in (
        (signed(exp=now - 60), "expired"),
        (signed(exp=None), "'exp'"),
        (signed(aud=None), "'aud'"),
        (signed(aud="another"), "aud"),
        (signed(nbf=now + 600), "not valid yet"),
        (signed(sub=5), "(sub) is no text"),
        (signed(key="another-secret-of-more-than-32-bytes!!"), "not a token"),
        (signed(key=HS_KEY * 2, algorithm="HS512"), "not a token"),
        (signed(key="", algorithm="none"), "not a token"),
        (signed(key=rsa_key, algorithm="RS256"), "not a token"),
        (signed()[:-3] + "AAA", "not a token"),
        ("a.b.c", "not a token"),
        ("." * 4_000, "not a token"),
    ):
        answer = await signing_hub.http.get("/api/tasks", headers=bearer(token))
        assert answer.status_code == 401, words
        assert words in answer.json()["error"]
        assert token not in answer.text


async def test_a_listener_is_sent_away_when_its_token_expires(signing_hub: RunningHub) -> None:
    # The clocks may be 10 s apart, so that this one has about a second.
    token = signed(exp=int(time.time()) - 8)
    async with listening(signing_hub, **bearer(token)) as connection:
        await subscribed(connection)
        assert await ending(connection) == (1008, "the token no longer holds")
    async with signing_hub.http.stream(
        "GET", "/api/events/stream", headers=bearer(signed(exp=int(time.time()) - 8))
    ) as stream:
        assert stream.status_code == 200
        async with asyncio.timeout(LIMIT_SECONDS):
            async for _line in stream.aiter_lines():
                pass


async def test_a_cookie_allows_no_more_and_no_longer_than_its_token(
    signing_hub: RunningHub,
) -> None:
    answer = await signing_hub.http.get(
        "/", params={"ticket": await ticket(signing_hub, bearer(signed(scope="read")))}
    )
    age = re.search("Max-Age=([0-9]+)", answer.headers["set-cookie"])
    assert age is not None
    assert int(age[1]) <= 600
    signing_hub.http.cookies.clear()
    mine = {"Cookie": answer.headers["set-cookie"].split(";")[0]}
    assert (await signing_hub.http.get("/api/tasks", headers=mine)).status_code == 200
    refused = await signing_hub.http.post("/api/streams/Stream-A/checkpoint", json={}, headers=mine)
    assert refused.status_code == 403


@pytest.mark.parametrize("kind", ["RS256", "PS384", "ES256", "ES384", "EdDSA"])
def test_a_public_key_checks_what_its_private_key_signed(tmp_path: Path, kind: str) -> None:
    private: Any = {
        "R": lambda: rsa.generate_private_key(65537, 2048),
        "P": lambda: rsa.generate_private_key(65537, 2048),
        "E": ed25519.Ed25519PrivateKey.generate,
    }[kind[0]]()
    if kind.startswith("ES"):
        private = ec.generate_private_key(ec.SECP256R1() if kind == "ES256" else ec.SECP384R1())
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    file = tmp_path / "key.pem"
    file.write_bytes(public)
    settings = Settings(auth="required", jwt_key_file=str(file), token_file=str(tmp_path / "none"))
    authority = access_of(settings, {}).authority
    assert authority is not None
    identity = authority.identity(signed(private, kind))
    assert (identity.scopes, identity.subject) == (frozenset({"read", "write"}), "ci")
    assert authority.secret() is None
    assert authority.sealing_key() is None
    # The public key is known to everybody: it must not do as a secret.
    with pytest.raises(Exception, match="not a token"):
        authority.identity(signed(HS_KEY))


def test_a_public_key_without_its_lines_is_not_taken_for_a_secret(tmp_path: Path) -> None:
    public = ed25519.Ed25519PrivateKey.generate().public_key()
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    der = public.public_bytes(*form)
    file = tmp_path / "key"
    for content in (der, base64.b64encode(der), base64.encodebytes(der)):
        file.write_bytes(content)
        file.chmod(0o644)
        with pytest.raises(InvalidInput, match="PEM form"):
            access_of(Settings(auth="required", jwt_key_file=str(file)), {})


# --- the next hub ---


def test_the_next_hub_asks_for_tokens_too_unless_it_is_told_otherwise(tmp_path: Path) -> None:
    file = str(secret_file(tmp_path))
    for auth, before, expected in (
        (None, "required", "required"),
        (None, "none", "none"),
        (None, None, "none"),
        ("none", "required", "none"),
        ("required", "none", "required"),
    ):
        settings = Settings(token_file=file, auth=auth)
        assert access_of(settings, {}, before=before).auth == expected
    with pytest.raises(InvalidInput, match="task-copilot token"):
        access_of(Settings(token_file=str(tmp_path / "none")), {}, before="required")


# --- what is refused at the start ---


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"host": "0.0.0.0"}, "--auth required"),  # noqa: S104
        ({"host": "::", "auth": "required"}, "TLS"),
        ({"host": "192.168.1.5", "auth": "required"}, "--allow-plaintext"),
        ({"host": "192.168.1.5", "allow_plaintext": True}, "--auth required"),
        ({"host": "example.org"}, "no address"),
        ({"auth": "required", "token_file": "nothing/here"}, "task-copilot token"),
        ({"jwt_key_file": "key"}, "--auth required"),
        ({"tls_certificate": "x"}, "TASK_COPILOT_TLS_KEY"),
        ({"tls_key": "x"}, "TASK_COPILOT_TLS_CERTIFICATE"),
        ({"tls_certificate": "x", "tls_key": "y"}, "cannot be read"),
        ({"allowed_origins": "null"}, "TASK_COPILOT_ALLOWED_ORIGINS"),
        ({"allowed_hosts": "a/b"}, "TASK_COPILOT_ALLOWED_HOSTS"),
    ],
)
def test_settings_that_let_in_too_many_or_cannot_work_are_refused(
    tmp_path: Path, settings: dict[str, Any], words: str
) -> None:
    file = str(secret_file(tmp_path))
    with pytest.raises(InvalidInput) as refused:
        access_of(Settings(**{"token_file": file, **settings}), {})
    assert words in str(refused.value)


def test_with_a_token_and_tls_or_a_word_for_its_want_other_machines_are_let_in(
    tmp_path: Path,
) -> None:
    file = str(secret_file(tmp_path))
    certificate, key = map(str, self_signed(tmp_path))
    for more in ({"tls_certificate": certificate, "tls_key": key}, {"allow_plaintext": True}):
        settings = Settings(host="0.0.0.0", auth="required", token_file=file, **more)  # noqa: S104
        access = access_of(settings, {})
        assert access.authority is not None
        assert (access.scheme == "https") is (access.tls is not None) is ("tls_key" in more)


def test_the_secret_of_the_environment_comes_before_the_file(tmp_path: Path) -> None:
    settings = Settings(auth="required", token_file=str(secret_file(tmp_path)))
    authority = access_of(settings, {"TASK_COPILOT_TOKEN": "From-the-environment-1"}).authority
    assert authority is not None
    assert authority.secret() == "From-the-environment-1"
    with pytest.raises(InvalidInput, match="TASK_COPILOT_TOKEN"):
        access_of(settings, {"TASK_COPILOT_TOKEN": "short"})


@pytest.mark.parametrize("what", ["mismatch", "nonsense", "password", "open to all"])
def test_certificates_that_cannot_work_are_refused_in_words(tmp_path: Path, what: str) -> None:
    certificate, key = self_signed(tmp_path)
    words = {
        "mismatch": "does not belong",
        "nonsense": "PEM",
        "password": "password",
        "open to all": "chmod",
    }[what]
    if what == "mismatch":
        (tmp_path / "other").mkdir()
        _, key = self_signed(tmp_path / "other")
    elif what == "nonsense":
        certificate.write_text("nonsense")
    elif what == "password":
        private = ec.generate_private_key(ec.SECP256R1())
        encryption = serialization.BestAvailableEncryption(b"secret")
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
        key.write_bytes(private.private_bytes(*form))
    else:
        key.chmod(0o644)
    with pytest.raises(InvalidInput, match=words):
        access_of(Settings(tls_certificate=str(certificate), tls_key=str(key)), {})


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        (b"short", 0o600, "at least 32"),
        (HS_KEY.encode(), 0o644, "chmod 600"),
        (b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGz", 0o600, "another form"),
        (b'{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}', 0o600, "another form"),
        ("-----BEGIN PUBLIC KEY-----".encode("utf-16"), 0o600, "another form"),
        (b"# ours\n-----BEGIN PUBLIC KEY-----\nnonsense", 0o644, "public key"),
        (b"-----BEGIN PUBLIC KEY-----\nnonsense\n-----END PUBLIC KEY-----", 0o644, "public key"),
        (b"-----BEGIN PRIVATE KEY-----\nMC4\n-----END PRIVATE KEY-----", 0o600, "private key"),
    ],
)
def test_a_key_that_cannot_check_tokens_is_refused_in_words(
    tmp_path: Path, content: bytes, mode: int, words: str
) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    file.chmod(mode)
    settings = Settings(auth="required", jwt_key_file=str(file), token_file=str(tmp_path / "none"))
    with pytest.raises(InvalidInput, match=words):
        access_of(settings, {})


# --- TLS ---


async def test_over_tls_everything_is_served_as_without(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    trust = ssl.create_default_context(cafile=str(certificate))
    settings = {"auth": "required", "token_file": str(secret_file(tmp_path))}
    async with running_hub(
        tmp_path, **settings, tls_certificate=str(certificate), tls_key=str(key), trust=trust
    ) as hub:
        assert hub.hub.address == f"https://127.0.0.1:{hub.port}"
        await hub.task("Pay by card", "Stream-A")
        assert (await hub.http.get("/health")).json()["service"] == "task-copilot"
        assert (await hub.http.get("/api/tasks")).status_code == 401
        assert (await hub.http.get("/api/tasks", headers=bearer())).status_code == 200
        answer = await hub.http.get("/", params={"ticket": await ticket(hub, bearer())})
        assert "Secure" in answer.headers["set-cookie"].split("; ")
        origin = {"Origin": f"https://localhost:{hub.port}", **bearer()}
        async with connect(
            hub.events, ssl=trust, additional_headers=origin, proxy=None, close_timeout=1
        ) as connection:
            assert (await subscribed(connection))["data"]["taskTitle"] == "Pay by card"
        foreign = {"Origin": f"http://localhost:{hub.port}", **bearer()}
        assert (await hub.http.get("/api/tasks", headers=foreign)).status_code == 403
        with pytest.raises(httpx2.HTTPError):
            async with httpx2.AsyncClient(trust_env=False) as plain:
                await plain.get(f"http://127.0.0.1:{hub.port}/health")


async def test_a_renewed_certificate_is_used_without_a_restart_and_a_broken_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tls, "LOOK_SECONDS", 0.02)
    certificate, key = self_signed(tmp_path)

    def shown(port: int) -> str:
        return ssl.get_server_certificate(("127.0.0.1", port))

    settings = {"tls_certificate": str(certificate), "tls_key": str(key), "trust": False}
    async with running_hub(tmp_path, **settings) as hub:
        first = await asyncio.to_thread(shown, hub.port)
        key.write_text("nonsense")
        async with asyncio.timeout(LIMIT_SECONDS):
            while "stays in use" not in caplog.text:
                assert await asyncio.to_thread(shown, hub.port) == first
        assert await asyncio.to_thread(shown, hub.port) == first
        self_signed(tmp_path)
        async with asyncio.timeout(LIMIT_SECONDS):
            while await asyncio.to_thread(shown, hub.port) != certificate.read_text():
                pass
        assert certificate.read_text() != first


# --- other origins, and pages that send none ---


async def test_an_allowed_origin_may_ask_first_and_read_and_another_may_not(
    tmp_path: Path,
) -> None:
    allowed = "http://localhost:5173"
    async with running_hub(tmp_path, allowed_origins=allowed) as hub:
        asks = {
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type, authorization",
        }
        first = await hub.http.options("/api/tasks", headers={"Origin": allowed, **asks})
        assert first.status_code == 200
        assert first.headers["access-control-allow-origin"] == allowed
        assert "access-control-allow-credentials" not in first.headers
        read = await hub.http.get("/api/tasks", headers={"Origin": allowed})
        assert read.headers["access-control-allow-origin"] == allowed
        for origin in ("http://localhost:5174", "https://localhost:5173", "null"):
            refused = await hub.http.options("/api/tasks", headers={"Origin": origin, **asks})
            assert refused.status_code == 403
            assert "TASK_COPILOT_ALLOWED_ORIGINS" in refused.json()["error"]
            assert "access-control-allow-origin" not in refused.headers
        async with connect(hub.events, origin=Origin(allowed), proxy=None, close_timeout=1):
            pass


@pytest.mark.parametrize("site", ["cross-site", "same-site", "nonsense"])
async def test_a_browser_that_says_it_asks_for_another_page_is_refused(
    tmp_path: Path, site: str
) -> None:
    async with running_hub(tmp_path) as hub:
        for more in ({}, {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}):
            for path in ("/api/tasks", "/health", "/api/events/stream", "/", "/nothing"):
                answer = await hub.http.get(path, headers={"Sec-Fetch-Site": site, **more})
                assert answer.status_code == 403, path
                assert "Sec-Fetch-Site" in answer.json()["error"]
        link = {
            "Sec-Fetch-Site": site,
            "Sec-Fetch-Mode": "navigate",
            "Sec-Fetch-Dest": "document",
        }
        assert (await hub.http.get("/", headers=link)).status_code != 403
        assert (await hub.http.get("/api/tasks", headers=link)).status_code == 403
        assert (await hub.http.post("/", headers=link)).status_code == 403
        framed = {**link, "Sec-Fetch-Dest": "iframe"}
        assert (await hub.http.get("/", headers=framed)).status_code == 403


async def test_a_browser_s_own_requests_and_addresses_typed_in_are_let_in(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as hub:
        for site in ("same-origin", "none"):
            answer = await hub.http.get("/api/tasks", headers={"Sec-Fetch-Site": site})
            assert answer.status_code == 200


async def test_every_answer_tells_browsers_to_keep_it_from_other_pages(hub: RunningHub) -> None:
    for headers in ({}, bearer()):
        for path in ("/health", "/api/tasks", "/nothing", "/openapi.json"):
            answer = await hub.http.get(path, headers=headers)
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["cross-origin-resource-policy"] == "same-origin"
            assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
            assert answer.headers["referrer-policy"] == "no-referrer"
