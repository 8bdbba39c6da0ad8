"""Which Host headers name a hub, and which origins may use it."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from task_copilot.access.addresses import Authority, addresses, authority_of, origin_of, texts
from task_copilot.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "name", "port"),
    [
        ("localhost:9090", "localhost", 9090),
        ("LOCALHOST.:9090", "localhost", 9090),
        ("Hub.Example.COM", "hub.example.com", None),
        ("[::1]:9090", "::1", 9090),
        ("[0:0:0:0:0:0:0:1]:9090", "::1", 9090),
        ("[0000::0001]", "::1", None),
        ("[FE80::ABCD]:80", "fe80::abcd", 80),
        ("[::ffff:127.0.0.1]:1", "::ffff:7f00:1", 1),
        ("127.0.0.1:65535", "127.0.0.1", 65_535),
    ],
)
def test_spellings_of_one_host_are_one(text: str, name: str, port: int | None) -> None:
    found = authority_of(text)
    assert found is not None
    assert authority_of(found.name if ":" not in found.name else f"[{found.name}]") == Authority(
        found.name, None
    )
    assert found == authority_of(text.upper())
    assert (found.name, found.port) in {(name, port), ("::ffff:127.0.0.1", port)}


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", ":", ":80", "a:", "a:x", "a:65536", "a:080", "a:-1", "a b", "a/b", "a@b", "a,b"),
        *("[::1", "::1", "[::1]x", "[1]", "[::1%eth0]", "[:::]:1", "a\x00b", "\u00e9", "a..:1:2"),
    ],
)
def test_what_names_no_host_is_none(text: str) -> None:
    assert authority_of(text) is None


@given(st.text(max_size=60))
@example("[" + ":" * 44 + "]")
def test_no_text_is_taken_for_a_host_that_it_is_not(text: str) -> None:
    found = authority_of(text)
    if found is not None:
        cleaned = text.strip(" \t").lower()
        assert found.name in cleaned or "[" in cleaned
        assert not addresses(port=9090).is_ours(found) or found.name in {
            *("127.0.0.1", "localhost", "::1"),
        }


def ours(text: str, **settings: str) -> bool:
    found = authority_of(text)
    return found is not None and addresses(port=9090, **settings).is_ours(found)


def test_a_name_that_is_set_is_ours_at_our_own_port() -> None:
    for host in ("hub.example.com:9090", "HUB.example.com.:9090", "localhost:9090"):
        assert ours(host, allowed_hosts="hub.example.com, other"), host
    for host in ("hub.example.com", "hub.example.com:443", "x.hub.example.com:9090", "example.com"):
        assert not ours(host, allowed_hosts="hub.example.com, other"), host


def test_a_name_with_a_port_is_that_of_a_proxy() -> None:
    names = "hub.example.com:443,[2001:DB8::1]:8443"
    for host in ("hub.example.com", "hub.example.com:443", "[2001:db8:0::1]:8443"):
        assert ours(host, allowed_hosts=names), host
    for host in ("hub.example.com:9090", "hub.example.com:80", "[2001:db8::1]", "[2001:db8::1]:1"):
        assert not ours(host, allowed_hosts=names), host
    here = addresses(port=9090, allowed_hosts=names)
    for origin in ("https://hub.example.com", "https://HUB.example.com:443"):
        found = origin_of(origin)
        assert found is not None
        assert here.allows(found)
    plain = origin_of("http://hub.example.com")
    assert plain is not None
    assert not here.allows(plain)


def test_on_all_addresses_every_number_is_ours_and_no_unknown_name() -> None:
    for host in ("192.168.1.5:9090", "10.0.0.1:9090", "[2001:db8::1]:9090", "localhost:9090"):
        assert ours(host, host="0.0.0.0"), host  # noqa: S104
    for host in ("rebind.example:9090", "127.1:9090", "2130706433:9090", "0x7f000001:9090"):
        assert not ours(host, host="0.0.0.0"), host  # noqa: S104
    assert not ours("192.168.1.6:9090", host="192.168.1.5")
    assert ours("192.168.1.5:9090", host="192.168.1.5")
    assert not ours("127.0.0.1:9090", host="192.168.1.5")


def test_a_page_at_another_number_is_none_of_ours() -> None:
    everywhere = addresses(host="0.0.0.0", port=9090)  # noqa: S104
    origin = origin_of("http://203.0.113.66:9090")
    assert origin is not None
    assert not everywhere.allows(origin, authority_of("192.168.1.5:9090"))
    assert not everywhere.allows(origin, authority_of("203.0.113.66:9091"))
    assert everywhere.allows(origin, authority_of("203.0.113.66:9090"))


def test_with_a_certificate_only_pages_that_came_encrypted_are_ours() -> None:
    here = addresses(port=9090, scheme="https")
    for text, allowed in (
        ("https://localhost:9090", True),
        ("https://127.0.0.1:9090", True),
        ("http://localhost:9090", False),
        ("https://localhost", False),
    ):
        origin = origin_of(text)
        assert origin is not None
        assert here.allows(origin) is allowed, text


def test_other_origins_are_allowed_as_they_are_set_and_no_others() -> None:
    here = addresses(port=9090, allowed_origins="http://localhost:5173, https://Tools.example.com")
    assert sorted(texts(here.origins)) == ["http://localhost:5173", "https://tools.example.com"]
    for text, allowed in (
        ("http://localhost:5173", True),
        ("HTTP://LOCALHOST:5173", True),
        ("https://tools.example.com", True),
        ("https://tools.example.com:443", True),
        ("http://tools.example.com", False),
        ("https://localhost:5173", False),
        ("http://127.0.0.1:5173", False),
        ("http://localhost:51730", False),
        ("https://a.tools.example.com", False),
    ):
        origin = origin_of(text)
        assert origin is not None
        assert here.allows(origin) is allowed, text


@pytest.mark.parametrize("text", ["null", "*", "file://", "localhost:5173", "http://", "http://a/"])
def test_nonsense_among_origins_and_hosts_is_refused_with_what_they_look_like(text: str) -> None:
    with pytest.raises(InvalidInput, match="look like") as refused:
        addresses(port=9090, allowed_origins=text)
    assert "TASK_COPILOT_ALLOWED_ORIGINS" in str(refused.value)
    with pytest.raises(InvalidInput, match="TASK_COPILOT_ALLOWED_HOSTS"):
        addresses(port=9090, allowed_hosts="http://hub.example.com")
