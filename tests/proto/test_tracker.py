"""What both tracker transports share: addresses, and keeping secrets out of sight."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.errors import TrackerError
from swarm.proto import tracker

SCHEMES = ("http", "https", "udp")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://t.example/announce", "http://t.example/announce"),
        ("https://t.example:443/0123456789abcdef/announce", "https://t.example:443/…"),
        ("https://t.example/announce?passkey=0123456789abcdef", "https://t.example/…"),
        ("https://user:secret@t.example/announce", "https://t.example/announce"),
        ("udp://[::1]:6969/announce", "udp://[::1]:6969/announce"),
        ("http://[::1/announce", "(malformed URL)"),
        ("http://t.example:99999/announce", "(malformed URL)"),
        ("/announce/secret", "(malformed URL)"),
    ],
)
def test_th14_redact(url: str, shown: str) -> None:
    assert tracker.redact(url) == shown


@given(st.text(alphabet="0123456789abcdef", min_size=8, max_size=40))
def test_th14_no_passkey_survives(passkey: str) -> None:
    for url in (
        f"http://t.example/{passkey}/announce",
        f"http://t.example/announce?k={passkey}",
        f"http://me:{passkey}@t.example/announce",
    ):
        assert passkey not in tracker.redact(url)
        assert passkey not in tracker.scrub(f"unknown passkey {passkey}!", url)


def test_scrub_sees_through_percent_encoding() -> None:
    url = "http://t.example/announce?auth=tops%65cret"
    assert "topsecret" not in tracker.scrub("bad auth topsecret", url)
    assert tracker.scrub("torrent not registered", url) == "torrent not registered"


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "javascript:alert(1)",
        "wss://t.example/announce",
        "http:///announce",
        "http://t.example:port/announce",
        "http://t.example:70000/announce",
        "http://t.example/a nnounce",
        "http://t.example/announce\r\nHost: evil",
        "http://t.example/" + "a" * tracker.MAX_URL,
        "",
    ],
)
def test_split_url_refuses(url: str) -> None:
    with pytest.raises(TrackerError):
        tracker.split_url(url, SCHEMES)


@given(st.text(max_size=60))
def test_urls_never_raise_anything_else(url: str) -> None:
    tracker.redact(url)
    tracker.scrub("text", url)
    with contextlib.suppress(TrackerError):
        tracker.split_url(url, SCHEMES)


@given(st.binary(max_size=2000))
def test_th11_printable(raw: bytes) -> None:
    text = tracker.printable(raw)
    assert len(text) <= tracker.MAX_TEXT
    assert all(c.isprintable() or c == "�" for c in text)


@pytest.mark.parametrize(
    ("host", "far", "near"),
    [
        ("1.2.3.4", "1.2.3.4", "1.2.3.4"),
        ("10.0.0.1", "10.0.0.1", "10.0.0.1"),
        ("0.0.0.0", None, None),
        ("0.1.2.3", None, None),
        ("127.0.0.1", None, "127.0.0.1"),
        ("169.254.169.254", None, "169.254.169.254"),
        ("224.0.0.1", None, None),
        ("255.255.255.255", None, None),
        ("2001:db8::1", "2001:db8::1", "2001:db8::1"),
        ("::", None, None),
        ("::1", None, "::1"),
        ("ff02::1", None, None),
        ("fe80::1", None, None),
        ("::ffff:1.2.3.4", "1.2.3.4", "1.2.3.4"),
        ("::ffff:127.0.0.1", None, "127.0.0.1"),
    ],
)
def test_th09_who_can_be_a_peer(host: str, far: str | None, near: str | None) -> None:
    packed = tracker.packed_of(host.encode())
    assert packed is not None
    assert tracker.host_of(packed, local=False) == far
    assert tracker.host_of(packed, local=True) == near


@pytest.mark.parametrize("text", [b"t.example", b"", b"1.2.3", b"fe80::1%eth0", b"\xff", b"1" * 99])
def test_packed_of_refuses(text: bytes) -> None:
    assert tracker.packed_of(text) is None


@given(st.binary(max_size=200), st.sampled_from([4, 16]), st.integers(0, 5))
def test_th06_compact_peers_of_any_length(data: bytes, size: int, room: int) -> None:
    peers = tracker.unpack_peers(data, size, local=True, room=room)
    assert len(peers) <= min(room, len(data) // (size + 2))
    whole = len(data) // (size + 2) * (size + 2)
    assert peers == tracker.unpack_peers(data[:whole], size, local=True, room=room)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("192.168.1.1", True),
        ("fd00::1", True),
        ("fe80::1%eth0", True),
        ("::ffff:10.0.0.1", True),
        ("8.8.8.8", False),
        ("::ffff:8.8.8.8", False),
        ("2600::1", False),
    ],
)
def test_is_local(host: str, local: bool) -> None:
    assert tracker.is_local(host) is local
