"""The extended handshake (BEP 10): what a peer may say of itself, and what is made of it."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.errors import ProtocolError
from swarm.proto.bencode import decode, encode
from swarm.proto.extension import (
    DEFAULT_REQUEST_QUEUE,
    MAX_CLIENT_LENGTH,
    MAX_EXTENSIONS,
    MAX_REQUEST_QUEUE,
    ExtendedHandshake,
    clean_name,
)

NOTHING = ExtendedHandshake()


def said(**what: object) -> ExtendedHandshake:
    return ExtendedHandshake.parse(encode({key.encode(): value for key, value in what.items()}))


names = st.text(string.ascii_lowercase + "_", min_size=1, max_size=20)


@given(
    st.builds(
        ExtendedHandshake,
        client=st.text(string.ascii_letters + " ./", max_size=MAX_CLIENT_LENGTH),
        request_queue=st.integers(1, MAX_REQUEST_QUEUE),
        port=st.none() | st.integers(1, 65535),
        your_ip=st.none() | st.ip_addresses().map(str),
        upload_only=st.booleans(),
        extensions=st.dictionaries(names, st.integers(1, 255), max_size=8).map(
            lambda items: tuple(sorted(items.items()))
        ),
    )
)
def test_there_and_back(handshake: ExtendedHandshake) -> None:
    assert ExtendedHandshake.parse(handshake.encode()) == handshake


def test_the_bytes_on_the_wire() -> None:
    handshake = ExtendedHandshake(
        client="swarm",
        request_queue=500,
        upload_only=False,
        port=6881,
        your_ip="1.2.3.4",
        extensions=(("ut_pex", 1),),
    )
    assert handshake.encode() == (
        b"d1:md6:ut_pexi1ee1:pi6881e4:reqqi500e11:upload_onlyi0e1:v5:swarm6:yourip4:\x01\x02\x03\x04e"
    )
    assert decode(NOTHING.encode()) == {b"m": {}, b"reqq": 250}


def test_nothing_said() -> None:
    assert ExtendedHandshake.parse(b"de") == NOTHING
    assert NOTHING.request_queue == DEFAULT_REQUEST_QUEUE


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"i1e",
        b"le",
        b"4:spam",
        b"d",
        b"d1:m",
        b"de1",
        b"\xff" * 100,
        b"l" * 100_000 + b"e" * 100_000,
        b"d1:a" * 100_000 + b"e" * 100_000,
        b"d1:md" + b"1:a" + b"l" * 200 + b"e" * 202,
        b"d1:ml" + b"i1e" * 300_000 + b"ee",
        b"d1:v99999999999999999999:e",
    ],
    ids=lambda payload: repr(payload[:12]),
)
def test_ex01_no_dictionary_or_a_bomb(payload: bytes) -> None:
    with pytest.raises(ProtocolError, match="extended handshake"):
        ExtendedHandshake.parse(payload)


def test_ex01_a_mebibyte_of_one_string_is_dropped() -> None:
    assert said(v=b"x" * (1 << 20)).client == "x" * MAX_CLIENT_LENGTH
    assert said(nonsense=b"x" * (1 << 20)) == NOTHING


@given(st.binary(max_size=200))
def test_ex01_anything_at_all(payload: bytes) -> None:
    try:
        handshake = ExtendedHandshake.parse(payload)
    except ProtocolError:
        return
    assert isinstance(decode(payload), dict)
    assert 1 <= handshake.request_queue <= MAX_REQUEST_QUEUE


anything = st.recursive(
    st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=300),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.binary(max_size=9), inner),
    max_leaves=5,
)
keys = st.sampled_from([b"m", b"v", b"p", b"reqq", b"yourip", b"upload_only", b"x"])


@given(st.dictionaries(keys, anything))
def test_ex01_values_of_any_type(values: dict[bytes, object]) -> None:
    handshake = ExtendedHandshake.parse(encode(values))
    assert 1 <= handshake.request_queue <= MAX_REQUEST_QUEUE
    assert handshake.port is None or 0 < handshake.port < 65536
    assert len(handshake.client) <= MAX_CLIENT_LENGTH
    assert handshake.client.isprintable()
    assert all(0 < number < 256 for _, number in handshake.extensions)


def test_ex02_extension_numbers() -> None:
    numbers = {"a": 0, "b": 1, "c": 255, "d": 256, "e": -1, "f": 1, "g": b"1", "h": 2**62}
    taken = said(m={name.encode(): number for name, number in numbers.items()}).extensions
    assert taken == (("b", 1), ("c", 255), ("f", 1))  # 0 is off, a number twice is no harm


def test_ex02_a_thousand_extensions() -> None:
    many = {b"%03d" % i: 1 + i % 255 for i in range(990)}
    assert len(said(m=many).extensions) <= MAX_EXTENSIONS
    with pytest.raises(ProtocolError):
        said(m={b"%05d" % i: 1 for i in range(3000)})
    assert said(m={b"x" * (MAX_CLIENT_LENGTH + 1): 1}).extensions == ()
    assert said(m=[b"ut_pex", 1]).extensions == ()


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"qBittorrent/5.1.0", "qBittorrent/5.1.0"),
        ("µTorrent 3.5.5".encode(), "µTorrent 3.5.5"),
        (b"\x1b[31mred\x1b]0;title\x07", "?[31mred?]0;title?"),
        (b"one\r\ntwo\0three\x7f", "one??two?three?"),
        ("\u202eevil\u200b\u2028".encode(), "?evil??"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"x" * 10_000, "x" * 64),
        ("\U0001f600".encode() * 100, "\U0001f600" * 64),
        (b"", ""),
    ],
)
def test_ex04_names_that_can_be_shown(raw: bytes, shown: str) -> None:
    assert clean_name(raw) == shown
    assert said(v=raw).client == shown


@given(st.binary(max_size=400))
def test_ex04_any_name(raw: bytes) -> None:
    shown = clean_name(raw)
    assert len(shown) <= MAX_CLIENT_LENGTH
    assert shown.isprintable()


@pytest.mark.parametrize(
    ("reqq", "queue"),
    [(1, 1), (500, 500), (2000, 2000), (2001, 2000), (2**31, 2000)]
    + [(bad, DEFAULT_REQUEST_QUEUE) for bad in (0, -1, -(2**63), b"9", [])],
)
def test_ex05_request_queues(reqq: object, queue: int) -> None:
    assert said(reqq=reqq).request_queue == queue


@pytest.mark.parametrize(
    ("raw", "address"),
    [
        (b"\x01\x02\x03\x04", "1.2.3.4"),
        (bytes(15) + b"\x01", "::1"),
        (b"", None),
        (b"123", None),
        (b"12345", None),
        (bytes(17), None),
        (b"1.2.3.4", None),
        (16909060, None),
    ],
)
def test_ex06_our_address_as_seen_from_there(raw: object, address: str | None) -> None:
    assert said(yourip=raw).your_ip == address


@pytest.mark.parametrize(("port", "taken"), [(6881, 6881), (0, None), (65536, None), (-1, None)])
def test_listening_ports(port: int, taken: int | None) -> None:
    assert said(p=port).port == taken


@pytest.mark.parametrize(("value", "taken"), [(1, True), (0, False), (2, None), (b"1", None)])
def test_upload_only(value: object, taken: bool | None) -> None:
    assert said(upload_only=value).upload_only is taken


def test_ex03_repeated_handshakes_are_noise_on_the_wire() -> None:
    from swarm._bits import Bits, Rarity
    from swarm._wire import Wire

    wire = Wire(1, Bits(4), Rarity(4), [], piece_length=16384, length=65536)
    message = b"\0\0\0\x04\x14\0de"
    wire.receive(message * 10_000)
    assert wire.noise == 10_000
    assert len(wire.take_extended()) == 10_000
