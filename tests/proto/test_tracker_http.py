"""The HTTP tracker's queries and replies, from both ends."""

import contextlib
import gzip
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.errors import ProtocolError, TrackerError
from swarm.proto import bencode
from swarm.proto.tracker import (
    DEFAULT_INTERVAL,
    EVENTS,
    INT_MAX,
    MAX_PEERS,
    MAX_REPLY,
    MAX_TEXT,
    AnnounceRequest,
    Counts,
    PeerEntry,
    TrackerAnswer,
    TrackerReply,
)
from swarm.proto.tracker_http import announce_url, inflate, parse_reply, parse_scrape, scrape_url
from swarm.proto.tracker_http_server import (
    encode_answer,
    encode_failure,
    encode_scrape,
    parse_announce,
    parse_scrape_query,
)

URL = "http://t.example/announce"
HASH = bytes(range(20))
ME = b"-SW0100-" + bytes(range(244, 256))
REQUEST = AnnounceRequest(HASH, ME, 6881, left=5)
GOOD = bencode.encode(
    {
        "interval": 900,
        "min interval": 60,
        "complete": 3,
        "incomplete": 4,
        "tracker id": b"abc",
        "warning message": "careful",
        "external ip": bytes([9, 8, 7, 6]),
        "peers": bytes([1, 2, 3, 4, 0x1A, 0xE1]),
        "peers6": bytes([0x20, 1] + [0] * 13 + [1, 0, 80]),
    }
)


def reply(local: bool = False, **keys: object) -> TrackerReply:
    body = bencode.encode({k.replace("_", " ").encode(): v for k, v in keys.items()})
    return parse_reply(body, URL, local=local)


def test_a_partial_seed_says_that_it_is_paused() -> None:
    """BEP 21; our own tracker takes it for an announce without an event."""
    request = AnnounceRequest(HASH, ME, 6881, left=5, event="paused")
    url = announce_url(URL, request)
    assert "&event=paused" in url
    read = parse_announce(url.partition("?")[2].encode())
    assert (read.request.event, read.request.left) == ("", 5)


def test_query_goes_out_byte_by_byte() -> None:
    every = bytes(range(236, 256))
    url = announce_url(URL, AnnounceRequest(every, b"a/b?c&d=e+f g~h%i-j_", 1, numwant=7))
    fields = dict(p.split("=", 1) for p in url.partition("?")[2].split("&"))
    assert unquote_to_bytes(fields["info_hash"]) == every
    assert fields["peer_id"] == "a%2Fb%3Fc%26d%3De%2Bf%20g~h%25i-j_"
    assert fields["compact"] == fields["no_peer_id"] == "1"
    assert fields["numwant"] == "7"
    assert "supportcrypto" not in fields
    assert "event" not in fields


@pytest.mark.parametrize(
    ("url", "start"),
    [
        ("http://t/announce", "http://t/announce?info_hash="),
        ("http://t/announce?k=%2f%3A", "http://t/announce?k=%2f%3A&info_hash="),
        ("http://t/announce?", "http://t/announce?info_hash="),
        ("http://t/announce?k=1&", "http://t/announce?k=1&info_hash="),
        ("http://t/a#b", "http://t/a?info_hash="),
    ],
)
def test_own_query_of_the_url_is_kept(url: str, start: str) -> None:
    assert announce_url(url, REQUEST).startswith(start)


@given(
    st.builds(
        AnnounceRequest,
        st.binary(min_size=20, max_size=20),
        st.binary(min_size=20, max_size=20),
        st.integers(1000, 65535),
        st.integers(0, 2**63),
        st.integers(0, 2**63),
        st.integers(0, 2**63),
        st.sampled_from(EVENTS),
        st.integers(-1, 1000),
        st.integers(0, 2**32 - 1),
        st.sampled_from([None, "1.2.3.4", "2001:db8::1"]),
    )
)
def test_what_is_asked_is_what_the_tracker_reads(request: AnnounceRequest) -> None:
    query = announce_url(URL, request).partition("?")[2].encode()
    announce = parse_announce(query)
    assert announce.request == request
    assert announce.compact
    assert announce.no_peer_id


def test_a_whole_reply() -> None:
    assert parse_reply(GOOD, URL) == TrackerReply(
        interval=900,
        min_interval=60,
        peers=(("1.2.3.4", 6881), ("2001::1", 80)),
        seeds=3,
        leechers=4,
        tracker_id=b"abc",
        warning="careful",
        external_ip="9.8.7.6",
    )


def test_truncated_at_every_offset_and_with_trailing_bytes() -> None:
    for end in range(len(GOOD)):
        with pytest.raises(TrackerError):
            parse_reply(GOOD[:end], URL)
    with pytest.raises(TrackerError):
        parse_reply(GOOD + b"e", URL)


def test_th06_ragged_compact_peers() -> None:
    one = bytes([1, 2, 3, 4, 0x1A, 0xE1])
    assert reply(peers=one + b"\x01\x02\x03").peers == (("1.2.3.4", 6881),)
    assert reply(peers=b"", peers6=b"\x20\x01").peers == ()


def test_th07_long_form_drops_what_is_no_peer() -> None:
    good = {"ip": "1.2.3.4", "port": 6881, "peer id": ME}
    bad: list[object] = [
        {"ip": "1.2.3.4"},
        {"port": 6881},
        {"ip": "1.2.3.4", "port": 70000},
        {"ip": "1.2.3.4", "port": -1},
        {"ip": "1.2.3.4", "port": "6881"},
        {"ip": "peer.example", "port": 6881},
        {"ip": 16909060, "port": 6881},
        {"ip": "fe80::1%eth0", "port": 6881},
        7,
        b"x",
        [],
    ]
    assert reply(peers=[*bad, good, {"ip": "2001:db8::5", "port": 1}]).peers == (
        ("1.2.3.4", 6881),
        ("2001:db8::5", 1),
    )


def test_th08_a_million_peers() -> None:
    body = b"".join(bytes([1, n >> 16, n >> 8 & 255, n & 255, 26, 225]) for n in range(100_000))
    peers = reply(peers=body).peers
    assert len(peers) == MAX_PEERS
    assert peers[0] == ("1.0.0.0", 6881)
    both = reply(peers=body[: 6 * (MAX_PEERS - 1)], peers6=(b"\x20" + bytes(14) + b"\1\0\x50") * 9)
    assert len(both.peers) == MAX_PEERS
    entry = {"ip": "1.2.3.4", "port": 1}
    assert len(reply(peers=[{**entry, "port": p} for p in range(1, 5000)]).peers) <= MAX_PEERS
    with pytest.raises(TrackerError, match="too large"):
        parse_reply(b"d5:peers" + b"2000000:" + bytes(2_000_000) + b"e", URL)


def test_th09_peers_that_nobody_should_dial() -> None:
    hosts = ["0.0.0.0", "127.0.0.1", "224.1.1.1", "255.255.255.255", "1.1.1.1"]
    peers = [{"ip": host, "port": 6881} for host in hosts]
    peers += [{"ip": "1.1.1.1", "port": port} for port in (0, 22, 25)]
    assert reply(peers=peers).peers == (("1.1.1.1", 6881),)
    assert reply(local=True, peers=peers).peers == (("127.0.0.1", 6881), ("1.1.1.1", 6881))


@pytest.mark.parametrize(
    ("said", "understood"),
    [(0, 0), (-1, 0), (2**31, INT_MAX), (2**63 - 1, INT_MAX), ("soon", DEFAULT_INTERVAL)],
)
def test_th10_intervals(said: object, understood: int) -> None:
    assert reply(interval=said).interval == understood


def test_th10_interval_missing() -> None:
    assert reply().interval == DEFAULT_INTERVAL
    assert reply().min_interval is None


@pytest.mark.parametrize(
    "reason", [b"x" * 1_000_000, b"<h1>no</h1>", b"\x1b[2J\r\n\0", b"\xff\xfe\xc3", b"", 7, []]
)
def test_th11_failure_reason(reason: object) -> None:
    with pytest.raises(TrackerError) as caught:
        reply(failure_reason=reason)
    text = str(caught.value)
    assert 0 < len(text) <= MAX_TEXT
    assert all(c.isprintable() or c == "�" for c in text)


def test_th12_wrong_types_are_ignored() -> None:
    odd = reply(tracker_id=5, warning_message=[], external_ip=b"123", complete=b"x", peers=3)
    assert odd == TrackerReply()
    assert reply(external_ip=bytes(16)).external_ip is None
    assert reply(external_ip=b"\x20\x01" + bytes(13) + b"\1").external_ip == "2001::1"


@pytest.mark.parametrize(
    "body", [b"", b"<html>login</html>", b"le", b"i1e", b"d", b"d1:ai1e1:ai2ee"]
)
def test_th13_not_a_reply(body: bytes) -> None:
    with pytest.raises(TrackerError):
        parse_reply(body, URL)


def test_th14_a_quoted_passkey_is_scrubbed() -> None:
    url = "http://t.example/0123456789abcdef/announce"
    body = bencode.encode({"failure reason": "passkey 0123456789abcdef is unknown"})
    with pytest.raises(TrackerError) as caught:
        parse_reply(body, url)
    assert "0123456789abcdef" not in str(caught.value) + caught.value.url + repr(caught.value)
    warned = parse_reply(bencode.encode({"warning message": "0123456789abcdef is old"}), url)
    assert warned.warning == "… is old"


@pytest.mark.parametrize(
    ("said", "seconds"),
    [(5, 300.0), (b"5", 300.0), (b"never", float("inf")), (-1, 0.0), (b"soon", None), ([], None)],
)
def test_bep31_retry_in(said: object, seconds: float | None) -> None:
    with pytest.raises(TrackerError) as caught:
        reply(failure_reason=b"busy", retry_in=said)
    assert caught.value.retry_in == seconds


@given(st.recursive(
    st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from([b"peers", b"peers6", b"interval", b"ip", b"port", b"files", b"complete",
                         b"tracker id", b"external ip", b"retry in", b"failure reason", HASH]),
        inner,
        max_size=6,
    ),
))  # fmt: skip
def test_any_bencode_is_a_reply_or_an_error(value: object) -> None:
    body = bencode.encode(value)
    for read in (lambda: parse_reply(body, URL), lambda: parse_scrape(body, URL, (HASH,))):
        with contextlib.suppress(TrackerError):
            read()


@given(st.binary(max_size=200))
def test_any_bytes_are_a_reply_or_an_error(body: bytes) -> None:
    with pytest.raises(TrackerError):
        parse_reply(b"x" + body, URL)


def test_th02_gzip() -> None:
    assert inflate(gzip.compress(GOOD)) == GOOD
    assert inflate(gzip.compress(bytes(MAX_REPLY))) == bytes(MAX_REPLY)
    with pytest.raises(ProtocolError, match="too large"):
        inflate(gzip.compress(bytes(MAX_REPLY + 1)))
    packed = gzip.compress(GOOD)
    for end in range(len(packed)):
        with pytest.raises(ProtocolError):
            inflate(packed[:end])
    with pytest.raises(ProtocolError):
        inflate(packed[:-8] + bytes(8))


@pytest.mark.parametrize(
    ("url", "scrape"),
    [
        ("http://t/announce", "http://t/scrape?info_hash=" + "%00" * 20),
        ("http://t/x/announce.php?k=1", "http://t/x/scrape.php?k=1&info_hash=" + "%00" * 20),
        ("http://t/a", None),
        ("http://t/announce/x", None),
    ],
)
def test_bep48_scrape_url(url: str, scrape: str | None) -> None:
    assert scrape_url(url, (bytes(20),)) == scrape


def test_th21_scrape_reply() -> None:
    files = {bytes([n]) * 20: {"complete": n, "downloaded": 1, "incomplete": 2} for n in range(90)}
    files[HASH] = {"complete": -5, "downloaded": 2**40, "incomplete": b"x"}
    body = bencode.encode({"files": files})
    asked = (HASH, b"\x03" * 20, b"\xff" * 20)
    assert parse_scrape(body, URL, asked) == {
        HASH: Counts(0, INT_MAX, 0),
        b"\x03" * 20: Counts(3, 1, 2),
    }
    assert parse_scrape(bencode.encode({"files": []}), URL, asked) == {}


@pytest.mark.parametrize(
    "query",
    [
        b"",
        b"info_hash=short&peer_id=" + b"a" * 20,
        b"info_hash=" + b"a" * 20 + b"&peer_id=" + b"a" * 21 + b"&port=1&left=0",
        b"info_hash=%zz&peer_id=%00&port=1&left=0",
    ]
    + [
        b"info_hash=" + b"a" * 20 + b"&peer_id=" + b"a" * 20 + rest
        for rest in (b"", b"&port=0&left=1", b"&port=70000&left=1", b"&port=-1&left=1",
                     b"&port=1", b"&port=1&left=-1", b"&port=1&left=" + b"9" * 21,
                     b"&port=1&left=x", b"&port=22&left=0", b"&port=\xb2&left=0")
    ],
)  # fmt: skip
def test_tracker_refuses_malformed_announces(query: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_announce(query)


@given(st.binary(max_size=200))
def test_tracker_reads_any_query(query: bytes) -> None:
    base = b"info_hash=" + b"a" * 20 + b"&peer_id=" + b"b" * 20 + b"&port=9&left=1&"
    with contextlib.suppress(ProtocolError):
        assert parse_announce(base + query).request.infohash == b"a" * 20
    with contextlib.suppress(ProtocolError):
        parse_scrape_query(query)


def test_tracker_ignores_odd_optional_fields() -> None:
    base = "info_hash=" + "a" * 20 + "&peer_id=" + "b" * 20 + "&port=9&left=1"
    odd = f"{base}&event=dance&numwant=many&ip=host.example&key=zz&uploaded=1"
    request = parse_announce(odd.encode()).request
    assert (request.event, request.numwant, request.ip, request.key) == ("", -1, None, 0)


def test_th21_tracker_caps_scrapes() -> None:
    one = b"info_hash=" + b"%01" * 20
    assert parse_scrape_query(b"&".join([one] * 74)) == (b"\1" * 20,) * 74
    for query in (b"&".join([one] * 75), b"", b"info_hash=short"):
        with pytest.raises(ProtocolError):
            parse_scrape_query(query)


PEERS = (
    PeerEntry(bytes([1, 2, 3, 4]), 6881, ME),
    PeerEntry(b"\x20\x01" + bytes(13) + b"\1", 80, ME),
)


@pytest.mark.parametrize("compact", [True, False])
def test_what_the_tracker_says_is_what_is_read(compact: bool) -> None:
    answer = TrackerAnswer(900, 450, Counts(3, 9, 4), PEERS)
    body = encode_answer(answer, compact=compact, no_peer_id=False)
    got = parse_reply(body, URL)
    assert got.peers == (("1.2.3.4", 6881), ("2001::1", 80))
    assert (got.interval, got.min_interval, got.seeds, got.leechers) == (900, 450, 3, 4)
    assert (ME in body) is not compact
    assert ME not in encode_answer(answer, compact=False, no_peer_id=True)


def test_scrapes_and_failures_round_trip() -> None:
    counts = {HASH: Counts(1, 2, 3)}
    assert parse_scrape(encode_scrape(counts), URL, (HASH,)) == counts
    with pytest.raises(TrackerError, match="no such thing"):
        parse_reply(encode_failure("no such thing"), URL)
