"""The 68 bytes of BEP 3."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.errors import ProtocolError
from swarm.proto.handshake import HEAD, PEER_ID_PREFIX, SIZE, Handshake, make_peer_id, plausible

INFOHASH, PEER_ID = bytes(range(20)), b"-XX0001-abcdefghijkl"
twenty = st.binary(min_size=20, max_size=20)


def test_the_bytes_on_the_wire() -> None:
    data = bytes(Handshake(INFOHASH, PEER_ID))
    assert data == HEAD + b"\0\0\0\0\0\x10\0\x04" + INFOHASH + PEER_ID
    assert len(data) == SIZE == 68
    assert bytes([19]) + b"BitTorrent protocol" == HEAD
    plain = Handshake(INFOHASH, PEER_ID, fast=False, extended=False)
    assert bytes(plain)[20:28] == bytes(8)


@given(twenty, twenty, st.booleans(), st.booleans())
def test_there_and_back(infohash: bytes, peer_id: bytes, fast: bool, extended: bool) -> None:
    said = Handshake(infohash, peer_id, fast, extended)
    assert Handshake.parse(bytes(said)) == said


@given(st.binary(min_size=8, max_size=8))
def test_pw07_reserved_bits_that_we_do_not_know(reserved: bytes) -> None:
    said = Handshake.parse(HEAD + reserved + INFOHASH + PEER_ID)
    assert said.fast == bool(reserved[7] & 4)
    assert said.extended == bool(reserved[5] & 16)
    assert (said.infohash, said.peer_id) == (INFOHASH, PEER_ID)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(SIZE),
        b"\xff" * SIZE,
        b"\x00" + HEAD[1:] + bytes(48),
        b"\x12" + HEAD[1:] + bytes(48),
        HEAD.replace(b"p", b"P") + bytes(48),
        bytes(Handshake(INFOHASH, PEER_ID))[:-1],
        bytes(Handshake(INFOHASH, PEER_ID)) + b"\0",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" * 2,
    ],
)
def test_pw03_what_is_no_handshake(data: bytes) -> None:
    with pytest.raises(ProtocolError, match="not a BitTorrent handshake"):
        Handshake.parse(data)


@given(st.binary(max_size=100))
def test_pw03_anything_at_all(data: bytes) -> None:
    assert plausible(data) == (data[:20] == HEAD[: len(data)])
    with pytest.raises(ProtocolError):
        Handshake.parse(data)


def test_pw02_a_start_is_judged_byte_by_byte() -> None:
    data = bytes(Handshake(INFOHASH, PEER_ID))
    assert all(plausible(data[:n]) for n in range(SIZE + 1))
    for n in range(len(HEAD)):
        wrong = bytearray(data)
        wrong[n] ^= 1
        assert plausible(wrong[:n])
        assert not any(plausible(bytes(wrong[:m])) for m in range(n + 1, SIZE + 1))


def test_peer_ids_are_fresh_and_ours() -> None:
    rng = random.Random(1)
    ids = {make_peer_id(rng) for _ in range(100)}
    assert len(ids) == 100
    assert all(len(one) == 20 and one.startswith(PEER_ID_PREFIX) for one in ids)
    assert make_peer_id(random.Random(1)) == make_peer_id(random.Random(1))
