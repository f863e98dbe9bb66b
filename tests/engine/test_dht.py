"""One node of the DHT, spoken to in datagrams: what it answers, and what nobody gets it to do."""

from __future__ import annotations

import random
from collections.abc import Callable
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from overlay import Overlay

from swarm.engine import dht_throttle
from swarm.engine.dht import MOST_CHECKS, Dht
from swarm.engine.dht_address import QUORUM
from swarm.engine.dht_calls import LEAST_LOST
from swarm.engine.dht_id import bound_id, is_bound
from swarm.engine.dht_table import K
from swarm.engine.dht_throttle import FACTOR, MOST_REPLY, header
from swarm.proto.bencode import decode, encode
from swarm.proto.krpc import (
    PROTOCOL,
    UNKNOWN_METHOD,
    Addr,
    Failure,
    Query,
    Reply,
    encode_reply,
    pack_addr,
    parse,
)

OTHER = b"abcdefghij0123456789"
HASH = b"mnopqrstuvwxyz123456"
THEM = ("70.1.2.3", 6881)
US = "80.1.2.3"


def node(*, version: int = 4, host: str | None = US, **more: bool) -> Dht:
    return Dht(version, random.Random(1), b"secret", 0.0, host=host, **more)


def answer_of(dht: Dht, query: Query, addr: Addr = THEM, now: float = 0.0) -> Reply | Failure:
    """What it answers, whatever else it sends."""
    dht.receive(query.encode(), addr, now)
    sent = [(parse(data, local=True), to) for data, to in dht.take_output()]
    [answer] = [m for m, to in sent if not isinstance(m, Query) and to == addr]
    assert isinstance(answer, Reply | Failure)
    assert answer.transaction == query.transaction
    return answer


def addrs(start: int = 20) -> Callable[[], Addr]:
    """Global addresses, each of its own subnet."""
    numbers = iter(range(start << 24, 100 << 24, 257))
    return lambda: (str(IPv4Address(next(numbers))), 6881)


def befriend(dht: Dht, count: int, now: float = 0.0, seen_as: str = US) -> list[tuple[bytes, Addr]]:
    """Nodes that ask it something and answer its ping; those that got into its table."""
    address, rng = addrs(), random.Random(2)
    for _ in range(count):
        addr = address()
        node_id = bound_id(addr[0], rng)
        dht.receive(Query(b"aa", "ping", node_id).encode(), addr, now)
        for data, to in dht.take_output():
            ping = parse(data)
            if isinstance(ping, Query):
                assert ping.method == "ping"
                said = encode_reply(ping.transaction, node_id, asker=pack_addr((seen_as, 1)))
                dht.receive(said, to, now)
        dht.take_output()
    return [(n.contact.id, n.addr) for n in dht.table]


# ------------------------------------------------------------ answers


def test_it_answers_the_four_queries_of_bep5() -> None:
    dht = node()
    befriend(dht, 30)
    assert answer_of(dht, Query(b"t1", "ping", OTHER)) == Reply(b"t1", dht.id, your_ip=THEM[0])
    found = answer_of(dht, Query(b"t2", "find_node", OTHER, HASH))
    assert isinstance(found, Reply)
    assert found.nodes
    got = answer_of(dht, Query(b"t3", "get_peers", OTHER, HASH))
    assert isinstance(got, Reply)
    assert got.token
    assert not got.values
    announce = Query(b"t4", "announce_peer", OTHER, HASH, got.token, 7000)
    assert isinstance(answer_of(dht, announce), Reply)
    got = answer_of(dht, Query(b"t5", "get_peers", OTHER, HASH), ("70.2.2.2", 1))
    assert isinstance(got, Reply)
    assert got.values == ((THEM[0], 7000),)
    assert got.nodes


def test_the_port_may_be_the_one_that_the_announce_came_from() -> None:
    dht = node()
    got = answer_of(dht, Query(b"t3", "get_peers", OTHER, HASH))
    assert isinstance(got, Reply)
    answer_of(dht, Query(b"t4", "announce_peer", OTHER, HASH, got.token, 0))
    assert dht.peers.some(HASH, 9, 0.0) == [pack_addr(THEM)]


def test_an_unknown_method_is_refused() -> None:
    dht = node()
    dht.receive(encode({b"t": b"aa", b"y": b"q", b"q": b"vote", b"a": {b"id": OTHER}}), THEM, 0.0)
    refused = parse(dht.take_output()[0][0])
    assert isinstance(refused, Failure)
    assert refused.code == UNKNOWN_METHOD


def test_dh07_no_announce_without_a_token_for_this_host() -> None:
    dht = node()
    got = answer_of(dht, Query(b"t3", "get_peers", OTHER, HASH))
    assert isinstance(got, Reply)
    wrong = [
        (b"nonsense", THEM, 0.0),
        (got.token, ("70.9.9.9", 6881), 0.0),
        (got.token, THEM, 1200.0),
    ]
    for token, addr, now in wrong:
        refused = answer_of(dht, Query(b"t4", "announce_peer", OTHER, HASH, token, 7), addr, now)
        assert isinstance(refused, Failure)
        assert refused.code == PROTOCOL
    assert dht.peers.size == 0


def test_dh16_a_read_only_node_is_answered_and_not_remembered() -> None:
    dht = node()
    dht.receive(Query(b"aa", "ping", OTHER, read_only=True).encode(), THEM, 0.0)
    assert [to for _, to in dht.take_output()] == [THEM]  # the answer, and no ping


def test_bep43_a_read_only_node_says_so_and_answers_nobody() -> None:
    dht = node(read_only=True)
    dht.receive(Query(b"aa", "ping", OTHER).encode(), THEM, 0.0)
    assert dht.take_output() == []
    dht.meet([THEM], 0.0)
    [(data, _)] = dht.take_output()
    asked = parse(data)
    assert isinstance(asked, Query)
    assert asked.read_only


def test_bep32_each_family_tells_of_the_other_when_asked() -> None:
    four, six = node(), node(version=6, host=None)
    four.sibling, six.sibling = six, four
    befriend(four, 2)
    there = ("2a00:1::1", 6881)
    six.meet([there], 0.0)
    [(data, _)] = six.take_output()
    asked = parse(data)
    assert isinstance(asked, Query)
    assert four.lonely
    assert asked.want == (4, 6)
    told = HASH + pack_addr(THEM)
    six.receive(encode_reply(asked.transaction, OTHER, asker=told[20:], nodes=told), there, 0.1)
    assert THEM in [to for _, to in four.take_output()]
    got = answer_of(four, Query(b"aa", "find_node", bytes(20), HASH, want=(4, 6)))
    assert isinstance(got, Reply)
    assert got.nodes
    assert [contact.addr for contact in got.nodes6] == [there]
    plain = answer_of(four, Query(b"ab", "find_node", bytes(20), HASH))
    assert isinstance(plain, Reply)
    assert plain.nodes6 == ()


# ------------------------------------------------------------ floods and forgeries


def test_dh09_a_flood_of_one_host_is_answered_within_its_share() -> None:
    dht = node()
    for number in range(20_000):
        dht.receive(
            Query(b"aa", "ping", OTHER).encode(), ("66.6.6.6", 1 + number % 60_000), 0.001 * number
        )
    answered = [to for _, to in dht.take_output()]
    assert len(answered) <= 2 * (dht_throttle.BURST + 20 * dht_throttle.QUERIES)
    assert dht.counters.refused > 15_000
    assert isinstance(answer_of(dht, Query(b"bb", "ping", OTHER), now=20.0), Reply)


def test_dh09_a_flood_from_everywhere_stays_in_the_budget_of_bytes() -> None:
    dht = node()
    befriend(dht, 100)
    dht.take_output()
    rng, answers, questions = random.Random(3), 0, 0
    for number in range(40_000):
        addr = f"66.{number // 250 % 250}.{number % 250}.{1 + number // 62_500}", 6881
        query = Query(b"aa", "get_peers", rng.randbytes(20), rng.randbytes(20))
        dht.receive(query.encode(), addr, number / 1000)
        dht.tick(number / 1000)
        for data, _ in dht.take_output():
            if b"1:y1:q" in data:
                questions += 1
            else:
                answers += len(data)
    assert answers <= dht_throttle.BURST_BYTES + 40 * dht_throttle.BYTES
    assert questions <= 40 / LEAST_LOST * MOST_CHECKS + 2 * len(dht.table)
    assert dht.counters.refused > 10_000


@pytest.mark.parametrize("method", ["ping", "find_node", "get_peers", "announce_peer", "vote"])
@pytest.mark.parametrize("host", ["70.1.2.3", "2a00::1"])
def test_dh10_a_forged_source_gets_three_times_what_was_sent_at_most(
    method: str, host: str
) -> None:
    version = 6 if ":" in host else 4
    worst = 0.0
    for seed in range(20):
        rng = random.Random(seed)
        dht = node(version=version, host=None)
        if version == 4:
            befriend(dht, 200)
        for n in range(120):  # a torrent of many peers
            peer = f"{20 + n}.1.1.1" if version == 4 else f"2a00:{n:x}::1"
            dht.peers.add(HASH, (peer, 6881), 0.0)
        asked = sent = 0
        for number in range(5):
            query: dict[bytes, object] = {b"id": rng.randbytes(20)}
            if method in ("get_peers", "announce_peer"):
                query |= {b"info_hash": HASH, b"token": b"x", b"port": 1}
            if method == "find_node":
                query[b"target"] = HASH
            message = {b"t": b"a", b"y": b"q", b"q": method.encode(), b"a": query}
            if method == "get_peers":
                del query[b"token"], query[b"port"]
            data = encode(message)
            dht.receive(data, (host, 6881), float(number))
            dht.tick(float(number))
            asked += len(data) + header(host)
            sent += sum(len(d) + header(host) for d, to in dht.take_output() if to[0] == host)
        worst = max(worst, sent / asked)
    print(f"{method} over IPv{version}: {worst:.2f} bytes for each")
    assert 0 < worst <= FACTOR


def test_dh10_who_has_shown_where_it_is_gets_all_there_is() -> None:
    dht = node()
    [(node_id, addr), *_] = befriend(dht, 60)
    for n in range(200):
        dht.peers.add(HASH, (f"{20 + n // 100}.1.{n}.1", 6881), 0.0)
    dht.receive(Query(b"aa", "get_peers", node_id, HASH).encode(), addr, 1.0)
    [(data, _)] = dht.take_output()
    got = parse(data)
    assert isinstance(got, Reply)
    assert len(got.values) > 30
    assert len(got.nodes) >= K - 1
    assert len(data) <= MOST_REPLY


def test_dh06_answers_that_nobody_waits_for_change_nothing() -> None:
    dht = node()
    dht.meet([THEM], 0.0)
    [(data, _)] = dht.take_output()
    asked = parse(data)
    for transaction, addr in ((b"abcd", THEM), (asked.transaction, ("70.1.2.3", 6882))):
        forged = encode_reply(
            transaction, OTHER, asker=pack_addr(THEM), nodes=HASH + pack_addr(THEM)
        )
        dht.receive(forged, addr, 0.1)
    assert len(dht.table) == 0
    assert dht.counters.strays == 2
    dht.receive(encode_reply(asked.transaction, OTHER, asker=pack_addr(THEM)), THEM, 0.2)
    assert len(dht.table) == 1


def test_dh05_a_stranger_cannot_send_us_into_our_own_network() -> None:
    dht = node()
    befriend(dht, 3)
    dht.announce(HASH, 6881, 1.0)
    inside = [("192.168.1.1", 80), ("10.0.0.1", 80), ("127.0.0.1", 80)]
    [(data, addr), *_] = dht.take_output()
    asked = parse(data)
    node_id = next(n.contact.id for n in dht.table if n.addr == addr)
    said = encode_reply(
        asked.transaction,
        node_id,
        asker=pack_addr(addr),
        nodes=b"".join(bytes([n]) * 20 + pack_addr(a) for n, a in enumerate(inside)),
        values=[*map(pack_addr, inside), pack_addr(THEM)],
        token=b"token",
    )
    dht.receive(said, addr, 1.1)
    assert dht.take_found() == [(HASH, [THEM])]
    assert all(not to[0].startswith(("192", "10.", "127")) for _, to in dht.take_output())


def test_dh14_nobody_gets_into_the_table_without_an_answer() -> None:
    dht = node()
    address = addrs()
    for number in range(200):
        addr = address()
        dht.receive(
            Query(b"aa", "ping", bound_id(addr[0], random.Random(number))).encode(), addr, 0.0
        )
    assert len(dht.table) == 0
    pings = [data for data, _ in dht.take_output() if b"1:y1:q" in data]
    assert len(pings) <= MOST_CHECKS


def test_dh14_while_our_own_line_is_dead_nobody_is_forgotten() -> None:
    dht = node()
    befriend(dht, 40)
    before = len(dht.table)
    now = 0.0
    while now < 4 * 3600:
        now = max(now + 0.01, dht.deadline())
        dht.tick(now)
        dht.take_output()
    assert len(dht.table) == before


def test_dh14_after_a_long_sleep_among_the_dead_it_asks_for_help_and_begins_anew() -> None:
    overlay = Overlay(5)
    overlay.grow(20)
    sleeper = overlay.honest[0]
    assert not sleeper.dht.lonely
    for place in overlay.honest[1:]:
        place.die()
    overlay.grow(20)
    overlay.run(7200)
    assert not sleeper.dht.lonely
    assert {node.addr for node in sleeper.dht.table} <= set(overlay.places)


def test_dh15_a_new_address_gives_a_new_id_and_keeps_the_table() -> None:
    dht = node(host=None)
    first = dht.id
    befriend(dht, QUORUM + 4, seen_as="81.2.3.4")
    assert dht.own.host == "81.2.3.4"
    assert dht.id != first
    assert is_bound(dht.id, "81.2.3.4")
    assert len(dht.table) >= QUORUM + 2
    befriend(dht, 1, seen_as="82.2.3.4")
    assert dht.own.host == "81.2.3.4"


@given(st.binary(max_size=200), st.data())
def test_dh01_whatever_comes_is_survived(noise: bytes, draw: st.DataObject) -> None:
    dht = node()
    dht.meet([THEM], 0.0)
    [(data, _)] = dht.take_output()
    message = decode(data)
    assert isinstance(message, dict)
    reply = {
        b"t": message[b"t"],
        b"y": b"r",
        b"r": {b"id": OTHER, b"nodes": noise, b"values": [noise]},
    }
    for one in (
        noise,
        encode(reply),
        encode(message | {b"a": noise}),
        encode(message | {b"t": noise}),
    ):
        dht.receive(one[: draw.draw(st.integers(0, 300))], THEM, 0.5)
        dht.receive(one, THEM, 0.5)
    dht.tick(1.0)


# ------------------------------------------------------------ lookups


def test_two_nodes_find_each_other_through_a_third() -> None:
    overlay = Overlay(1)
    overlay.add()
    first, second = overlay.add(starts=1), overlay.add(starts=1)
    overlay.run(5)
    first.do(lambda dht, now: dht.announce(HASH, 4321, now))
    overlay.run(5)
    assert overlay.search(second, HASH, 5) == {(first.addr[0], 4321)}


def test_nobody_finds_a_torrent_whose_owner_only_looked() -> None:
    overlay = Overlay(1)
    overlay.grow(10)
    first, second = overlay.honest[:2]
    overlay.search(first, HASH, 5)
    assert overlay.search(second, HASH, 5) == set()


def test_dh17_it_starts_from_any_node_that_is_still_there() -> None:
    overlay = Overlay(2)
    overlay.grow(20)
    late = overlay.add(starts=0)
    gone = [overlay.address() for _ in range(30)]
    alive = overlay.honest[3].addr
    late.do(lambda dht, now: dht.meet([*gone, alive], now))
    overlay.run(10)
    assert not late.dht.lonely


def test_a_torrent_added_before_any_node_is_known_is_looked_up_when_there_is_one() -> None:
    overlay = Overlay(3)
    overlay.grow(12)
    owner = overlay.honest[0]
    owner.do(lambda dht, now: dht.announce(HASH, 99, now))
    overlay.run(5)
    late = overlay.add(starts=0)
    late.do(lambda dht, now: dht.announce(HASH, 0, now))
    overlay.run(5)
    late.do(lambda dht, now: dht.meet([owner.addr], now))
    overlay.run(5)
    assert (owner.addr[0], 99) in late.found[HASH]


def test_an_idle_node_with_a_full_table_says_little() -> None:
    overlay = Overlay(4)
    overlay.grow(60)
    overlay.run(120)
    before, start = overlay.bytes, overlay.clock.now
    overlay.run(3600)
    rate = (overlay.bytes - before) / (overlay.clock.now - start) / len(overlay.places)
    assert rate < 200
    assert min(len(place.dht.table) for place in overlay.honest) > 20
