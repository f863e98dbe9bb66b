"""The UDP tracker's packets, from both ends (BEP 15, BEP 41)."""

import contextlib
import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.errors import ProtocolError
from swarm.proto import tracker_udp as udp
from swarm.proto.tracker import (
    EVENTS,
    INT_MAX,
    MAX_PEERS,
    MAX_SCRAPE,
    MAX_TEXT,
    AnnounceRequest,
    Counts,
    PeerEntry,
    TrackerAnswer,
)

HASH, ME = bytes(range(20)), b"-SW0100-abcdefghijkl"
REQUEST = AnnounceRequest(HASH, ME, 6881, 1, 2, 3, "started", 50, 0xDEADBEEF)
ANSWER = TrackerAnswer(900, 450, Counts(3, 9, 4), (PeerEntry(bytes([1, 2, 3, 4]), 6881, ME),))


def test_connect_is_laid_out_as_bep15_says() -> None:
    assert udp.connect_request(7) == bytes.fromhex("00000417271019800000000000000007")
    assert udp.parse_request(udp.connect_request(7)) == udp.UdpRequest(udp.CONNECT, 0, 7)
    assert udp.parse_connected(udp.connected(7, 2**63)) == 2**63


def test_announce_is_laid_out_as_bep15_says() -> None:
    packet = udp.announce_request(0x1122334455667788, 9, REQUEST)
    assert len(packet) == 98
    assert packet[:16] == bytes.fromhex("11223344556677880000000100000009")
    assert packet[16:56] == HASH + ME
    assert struct.unpack_from(">QQQIIIiH", packet, 56) == (2, 3, 1, 2, 0, 0xDEADBEEF, 50, 6881)


u64 = st.integers(0, 2**64 - 1)


@given(
    st.builds(
        AnnounceRequest,
        st.binary(min_size=20, max_size=20),
        st.binary(min_size=20, max_size=20),
        st.integers(1000, 65535),
        u64,
        u64,
        u64,
        st.sampled_from(EVENTS),
        st.integers(-1, 1000),
        st.integers(0, 2**32 - 1),
        st.sampled_from([None, "1.2.3.4"]),
    ),
    u64,
    st.binary(max_size=3000),
)
def test_what_is_asked_is_what_the_tracker_reads(
    request: AnnounceRequest, connection: int, path: bytes
) -> None:
    packet = udp.announce_request(connection, 9, request, path)
    assert udp.parse_request(packet) == udp.UdpRequest(udp.ANNOUNCE, connection, 9, request)


def test_a_partial_seed_has_no_event_of_its_own() -> None:
    """BEP 15 has no number for what BEP 21 adds."""
    request = AnnounceRequest(HASH, ME, 6881, left=5, event="paused")
    assert struct.unpack_from(">I", udp.announce_request(1, 9, request, b""), 80) == (0,)


@pytest.mark.parametrize("length", [0, 1, 255, 256, 600, 1024, 5000])
def test_tu10_url_options_are_bounded_and_whole(length: int) -> None:
    data = bytes(n % 251 for n in range(length))
    options = udp.url_options(data)
    out, at = b"", 0
    while at < len(options):
        kind, size = options[at], options[at + 1]
        assert kind == 2
        out += options[at + 2 : at + 2 + size]
        at += 2 + size
    assert at == len(options)
    assert out == data[: udp.MAX_URL_DATA]


@pytest.mark.parametrize(
    "options", [b"\x02\xff/a", b"\x02", b"\x01" * 900, b"\x07\x00", b"\x00junk"]
)
def test_tu10_the_tracker_takes_any_options(options: bytes) -> None:
    assert udp.parse_request(udp.announce_request(1, 2, REQUEST) + options).announce == REQUEST


@pytest.mark.parametrize(
    ("packet", "whole", "read"),
    [
        (udp.connected(7, 1), 16, udp.parse_connected),
        (udp.announced(7, ANSWER, v6=False), 20, lambda p: udp.parse_announced(p, v6=False)),
        (udp.scraped(7, [Counts(1, 2, 3)]), 8, lambda p: udp.parse_scraped(p, (HASH,))),
        (udp.connect_request(7), 16, udp.parse_request),
        (udp.announce_request(1, 7, REQUEST), 98, udp.parse_request),
        (udp.scrape_request(1, 7, (HASH,)), 36, udp.parse_request),
    ],
)
def test_tu02_cut_at_every_length_and_longer(
    packet: bytes, whole: int, read: Callable[[bytes], object]
) -> None:
    for length in range(whole):
        with pytest.raises(ProtocolError):
            read(packet[:length])
    for length in range(whole, len(packet)):
        read(packet[:length])
    read(packet + b"\0")


def test_tu02_wrong_action() -> None:
    readers: list[Callable[[bytes], object]] = [
        udp.parse_connected,
        lambda p: udp.parse_announced(p, v6=False),
        lambda p: udp.parse_scraped(p, (HASH,)),
        udp.parse_request,
    ]
    for read in readers:
        with pytest.raises(ProtocolError):
            read(b"\0\0\0\x63" * 30)


@given(st.binary(max_size=300), st.booleans())
def test_any_packet_is_read_or_refused(packet: bytes, v6: bool) -> None:
    readers: list[Callable[[bytes], object]] = [
        udp.parse_head,
        udp.parse_connected,
        lambda p: udp.parse_announced(p, v6=v6),
        lambda p: udp.parse_scraped(p, (HASH, ME)),
        udp.parse_request,
    ]
    for action in range(4):
        for at in (0, 8):
            forged = packet[:at] + action.to_bytes(4, "big") + packet[at + 4 :]
            for read in readers:
                with contextlib.suppress(ProtocolError):
                    read(forged)


def test_tu05_ragged_peer_list() -> None:
    packet = udp.announced(7, ANSWER, v6=False)
    for extra in range(6):
        reply = udp.parse_announced(packet + bytes([9] * extra), v6=False)
        assert reply.peers == (("1.2.3.4", 6881),)
    assert (reply.interval, reply.seeds, reply.leechers) == (900, 3, 4)


def test_th08_peers_are_capped() -> None:
    packet = udp.announced(7, ANSWER, v6=False)[:20]
    body = b"".join(bytes([1, 2, n >> 8, n & 255, 26, 225]) for n in range(10_000))
    assert len(udp.parse_announced(packet + body, v6=False).peers) == MAX_PEERS


def test_ipv6_answers_have_ipv6_peers_only() -> None:
    six = PeerEntry(b"\x20\x01" + bytes(13) + b"\1", 80, ME)
    answer = TrackerAnswer(900, 450, Counts(0, 0, 0), (*ANSWER.peers, six))
    reply = udp.parse_announced(udp.announced(7, answer, v6=True), v6=True)
    assert reply.peers == (("2001::1", 80),)


def test_tu06_error_text() -> None:
    text = udp.parse_error(udp.failed(7, "")[:8] + b"\x1b[2J" + b"x" * 60_000)
    assert len(text) <= MAX_TEXT
    assert "\x1b" not in text
    assert udp.parse_error(bytes(8)) == "refused without a reason"
    assert len(udp.failed(7, "x" * 999)) == 8 + udp.MAX_ERROR


def test_th21_scrape() -> None:
    packet = udp.scrape_request(5, 6, (HASH,) * 90)
    assert udp.parse_request(packet).infohashes == (HASH,) * MAX_SCRAPE
    short = udp.scraped(7, [Counts(1, 2, 2**32 - 1)])
    assert udp.parse_scraped(short, (HASH, ME)) == {HASH: Counts(1, 2, INT_MAX)}


def test_connection_ids_hold_two_minutes_for_their_address_only() -> None:
    secret, here, there = b"s" * 32, bytes([1, 2, 3, 4]), bytes([1, 2, 3, 5])
    for now in (0.0, 59.9, 1e6):
        given_id = udp.cookie(secret, here, now)
        assert udp.cookie_holds(secret, here, now, given_id)
        assert udp.cookie_holds(secret, here, now + 120, given_id)
        assert not udp.cookie_holds(secret, here, now + 181, given_id)
        assert not udp.cookie_holds(secret, there, now, given_id)
        assert not udp.cookie_holds(b"t" * 32, here, now, given_id)
