"""The datagrams of the DHT (BEP 5, BEP 32), whole and broken."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.errors import ProtocolError
from swarm.proto import krpc
from swarm.proto.bencode import encode
from swarm.proto.krpc import Contact, Failure, Query, Reply

ME, HASH = b"abcdefghij0123456789", b"mnopqrstuvwxyz123456"
V4 = bytes([1, 2, 3, 4, 0x1A, 0xE1])
V6 = bytes.fromhex("20010db8000000000000000000000001") + b"\x1a\xe1"

ids = st.binary(min_size=20, max_size=20)
transactions = st.binary(min_size=1, max_size=krpc.MAX_TRANSACTION)
tokens = st.binary(min_size=1, max_size=krpc.MAX_TOKEN)
ports = st.integers(1, 65535).filter(lambda port: port not in (22, 25))
hosts = st.ip_addresses().map(lambda ip: ip.packed)


@st.composite
def queries(draw: st.DrawFn) -> Query:
    method = draw(st.sampled_from(["ping", "find_node", "get_peers", "announce_peer"]))
    announce = method == "announce_peer"
    return Query(
        draw(transactions),
        method,
        draw(ids),
        target=b"" if method == "ping" else draw(ids),
        token=draw(tokens) if announce else b"",
        port=draw(st.just(0) | ports) if announce else 0,
        seed=announce and draw(st.booleans()),
        want=draw(st.sampled_from([(), (4,), (6,), (4, 6)])),
        read_only=draw(st.booleans()),
    )


@st.composite
def replies(draw: st.DrawFn) -> bytes:
    def addrs(size: int) -> list[bytes]:
        host = hosts.filter(lambda packed: len(packed) == size)
        both = st.tuples(host, st.integers(0, 65535)).map(lambda h: h[0] + h[1].to_bytes(2, "big"))
        return draw(st.lists(both, max_size=30))

    return krpc.encode_reply(
        draw(transactions),
        draw(ids),
        asker=draw(st.sampled_from([V4, V6])),
        nodes=b"".join(draw(ids) + addr for addr in addrs(4)),
        nodes6=b"".join(draw(ids) + addr for addr in addrs(16)),
        values=addrs(draw(st.sampled_from([4, 16]))),
        token=draw(st.binary(max_size=100)),
    )


def test_the_examples_of_bep5() -> None:
    ping = b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe"
    assert krpc.parse(ping) == Query(b"aa", "ping", ME)
    pong = b"d1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:y1:re"
    assert krpc.parse(pong) == Reply(b"aa", HASH)
    announce = (
        b"d1:ad2:id20:abcdefghij012345678912:implied_porti1e9:info_hash20:mnopqrstuvwxyz123456"
        b"4:porti6881e5:token8:aoeusnthe1:q13:announce_peer1:t2:aa1:y1:qe"
    )
    assert krpc.parse(announce) == Query(b"aa", "announce_peer", ME, HASH, b"aoeusnth", 0)
    peers = b"d1:rd2:id20:abcdefghij01234567895:token8:aoeusnth6:valuesl6:axje.u6:idhtnmee1:t2:aa1:y1:re"
    said = krpc.parse(peers)
    assert said == Reply(
        b"aa",
        ME,
        values=(("97.120.106.101", 0x2E75), ("105.100.104.116", 0x6E6D)),
        token=b"aoeusnth",
    )
    error = b"d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee"
    assert krpc.parse(error) == Failure(b"aa", 201, "A Generic Error Ocurred")


@given(queries())
def test_a_query_comes_back_as_it_was(query: Query) -> None:
    assert krpc.parse(query.encode()) == query


@given(transactions, st.integers(200, 299), st.text(st.characters(codec="ascii"), max_size=20))
def test_a_failure_comes_back(transaction: bytes, code: int, reason: str) -> None:
    said = krpc.parse(Failure(transaction, code, reason).encode())
    assert isinstance(said, Failure)
    assert (said.transaction, said.code) == (transaction, code)


@given(replies())
def test_a_reply_names_only_places_where_somebody_can_be(data: bytes) -> None:
    said = krpc.parse(data)
    assert isinstance(said, Reply)
    assert len(said.nodes) <= krpc.MAX_NODES
    assert len(said.nodes6) <= krpc.MAX_NODES
    assert len(said.token) <= krpc.MAX_TOKEN
    for host, port in [*said.values, *(contact.addr for contact in said.nodes + said.nodes6)]:
        assert port not in (0, 22, 25)
        assert not host.startswith(("127.", "0.", "169.254.", "ff"))
        assert krpc.unpack_addr(krpc.pack_addr((host, port)), False) == (host, port)


@given(queries().map(Query.encode) | replies(), st.data())
def test_nothing_cut_or_longer_is_a_message(data: bytes, draw: st.DataObject) -> None:
    with pytest.raises(ProtocolError):
        krpc.parse(data[: draw.draw(st.integers(0, len(data) - 1))])
    with pytest.raises(ProtocolError):
        krpc.parse(data + draw.draw(st.binary(min_size=1, max_size=9)))


@given(st.binary(max_size=300))
def test_dh01_no_datagram_does_worse_than_a_typed_error(data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        krpc.parse(data)


loose = st.recursive(
    st.integers(-5, 70_000) | st.binary(max_size=30) | st.sampled_from([ME, V4, V6, b"n4"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.binary(max_size=3), inner),
    max_leaves=8,
)
keys = b"id target info_hash token port want nodes nodes6 values".split()


@given(
    st.sampled_from([b"q", b"r", b"e", b"x", 7]),
    st.dictionaries(st.sampled_from(keys), loose),
    st.sampled_from([b"ping", b"find_node", b"get_peers", b"announce_peer", b"get", 3]),
    loose,
)
def test_dh01_every_field_may_be_of_any_type(kind, inner, method, other) -> None:
    message = {b"t": b"aa", b"y": kind, b"q": method, b"a": inner, b"r": inner, b"e": other}
    with contextlib.suppress(ProtocolError):
        krpc.parse(encode(message | {b"ip": other, b"ro": other}))


def test_dh02_a_token_of_any_length_is_never_echoed() -> None:
    said = krpc.parse(krpc.encode_reply(b"aa", ME, asker=V4, token=bytes(65)))
    assert isinstance(said, Reply)
    assert said.token == b""
    with pytest.raises(ProtocolError):
        krpc.parse(krpc.encode_reply(b"aa", ME, asker=V4, token=bytes(64 * 1024)))
    with pytest.raises(ProtocolError):
        krpc.parse(Query(b"aa", "announce_peer", ME, HASH, bytes(65), 1).encode())


def test_dh04_of_too_many_values_and_ragged_nodes_the_rest_is_dropped() -> None:
    values = [bytes([1, 2, n // 250, n % 250 + 1, 9, 9]) for n in range(400)]
    said = krpc.parse(krpc.encode_reply(b"aa", ME, asker=V4, values=values))
    assert isinstance(said, Reply)
    assert len(said.values) == krpc.MAX_VALUES
    said = krpc.parse(krpc.encode_reply(b"aa", ME, asker=V4, nodes=(ME + V4) * 30 + b"rag"))
    assert isinstance(said, Reply)
    assert len(said.nodes) == krpc.MAX_NODES
    with pytest.raises(ProtocolError):
        krpc.parse(krpc.encode_reply(b"aa", ME, asker=V4, values=[V4] * 10_000))


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255"])
def test_dh05_nobody_is_at_such_an_address(host: str) -> None:
    for addr in (krpc.pack_addr((host, 6881)), krpc.pack_addr(("1.2.3.4", 0))):
        said = krpc.parse(krpc.encode_reply(b"aa", ME, asker=V4, nodes=ME + addr, values=[addr]))
        assert said == Reply(b"aa", ME, your_ip="1.2.3.4")


def test_dh05_loopback_counts_for_those_who_are_there() -> None:
    addr = krpc.pack_addr(("127.0.0.1", 6881))
    said = krpc.parse(krpc.encode_reply(b"aa", ME, asker=V4, nodes=ME + addr), local=True)
    assert said == Reply(b"aa", ME, nodes=(Contact(ME, ("127.0.0.1", 6881)),), your_ip="1.2.3.4")


def test_dh20_nodes6_of_odd_length_and_mapped_addresses_are_dropped() -> None:
    mapped = bytes(10) + b"\xff\xff" + V4
    nodes6 = ME + V6 + ME + mapped + ME + V6[:7]
    said = krpc.parse(krpc.encode_reply(b"aa", ME, asker=V6, nodes6=nodes6, values=[mapped, V6]))
    here = ("2001:db8::1", 0x1AE1)
    assert said == Reply(
        b"aa", ME, nodes6=(Contact(ME, here),), values=(here,), your_ip="2001:db8::1"
    )


def test_an_unknown_method_is_still_a_query() -> None:
    said = krpc.parse(b"d1:ad2:id20:abcdefghij0123456789e1:q3:get1:t2:aa1:y1:qe")
    assert said == Query(b"aa", "", ME)


@pytest.mark.parametrize("port", [0, -1, 22, 25, 65536])
def test_an_announce_names_a_port_that_a_peer_can_have(port: int) -> None:
    said = {b"id": ME, b"info_hash": HASH, b"token": b"t", b"port": port}
    data = encode({b"t": b"aa", b"y": b"q", b"q": b"announce_peer", b"a": said})
    with pytest.raises(ProtocolError):
        krpc.parse(data)
