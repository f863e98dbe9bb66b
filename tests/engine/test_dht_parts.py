"""The parts of the DHT node one by one: ids, calls, tokens, peers, schedule, our own address."""

from __future__ import annotations

import random
from itertools import count, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.engine import dht_peers, dht_throttle
from swarm.engine.dht_address import QUORUM, OwnAddress
from swarm.engine.dht_calls import LEAST_PATIENCE, MOST_LOST, MOST_PATIENCE, Calls
from swarm.engine.dht_id import bound_id, crc32c, is_bound, key_of, shared_bits, subnet
from swarm.engine.dht_peers import PeerStore
from swarm.engine.dht_schedule import INTERVAL, MOST_AT_ONCE, SOONEST, Loneliness, Schedule
from swarm.engine.dht_throttle import Throttle
from swarm.engine.dht_tokens import STEP, Tokens

HASH = bytes(range(20))
HERE = ("1.2.3.4", 6881)

# ------------------------------------------------------------ ids


@pytest.mark.parametrize(
    ("host", "start", "last"),
    [
        ("124.31.75.21", "5fbfbf", 1),
        ("21.75.31.124", "5a3ce9", 86),
        ("65.23.51.170", "a5d432", 22),
        ("84.124.73.14", "1b0321", 65),
        ("43.213.53.83", "e56f6c", 90),
    ],
)
def test_the_ids_of_bep42(host: str, start: str, last: int) -> None:
    node_id = bytes.fromhex(start) + bytes(16) + bytes([last])
    assert is_bound(node_id, host)
    assert not is_bound(bytes([node_id[0] ^ 1]) + node_id[1:], host)
    assert not is_bound(node_id, "124.31.76.21")


def test_crc32c_has_the_value_that_everybody_checks() -> None:
    assert crc32c(b"123456789") == 0xE3069283


@given(st.ip_addresses(), st.integers(0, 2**32))
def test_an_id_is_bound_to_the_address_it_was_made_for(ip, seed) -> None:
    assert is_bound(bound_id(str(ip), random.Random(seed)), str(ip))


@pytest.mark.parametrize("host", ["127.0.0.1", "10.1.2.3", "192.168.0.9", "::1", "fd00::1"])
def test_local_addresses_have_any_id_and_no_subnet(host: str) -> None:
    assert is_bound(HASH, host)
    assert subnet(host) == ""


def test_shared_bits() -> None:
    one = key_of(bytes(20))
    assert shared_bits(one, one) == 160
    assert shared_bits(one, 1) == 159
    assert shared_bits(one, 1 << 159) == 0


def test_a_subnet_is_what_one_person_may_own() -> None:
    assert subnet("8.8.8.8") == subnet("8.8.8.9") != subnet("8.8.9.8")
    assert subnet("2a00:1:2:3::1") == subnet("2a00:1:2:3:4::1") != subnet("2a00:1:2:4::1")


# ------------------------------------------------------------ calls


def test_dh06_only_the_one_who_was_asked_answers_and_only_once() -> None:
    calls = Calls(b"secret")
    transaction = calls.open(HERE, None, None, 0.0)
    assert calls.match(transaction, ("1.2.3.5", 6881), 0.1) is None
    assert calls.match(transaction, ("1.2.3.4", 6882), 0.1) is None
    assert calls.match(b"abcd", HERE, 0.1) is None
    call = calls.match(transaction, HERE, 0.1)
    assert call is not None
    assert call.addr == HERE
    assert calls.match(transaction, HERE, 0.1) is None


def test_transaction_ids_do_not_tell_the_next_one() -> None:
    ids = {Calls(bytes([n])).open(HERE, None, None, 0.0) for n in range(50)}
    assert len(ids) == 50


@given(st.lists(st.floats(0.001, 2.0), min_size=20, max_size=60))
def test_patience_follows_the_round_trips(trips: list[float]) -> None:
    calls = Calls(b"secret")
    for trip in trips:
        calls.match(calls.open(HERE, None, None, 0.0), HERE, trip)
    assert LEAST_PATIENCE <= calls.patience <= MOST_PATIENCE
    for _ in range(60):
        calls.match(calls.open(HERE, None, None, 0.0), HERE, 0.05)
    assert calls.patience < 0.4


def test_a_call_is_slow_first_and_then_lost() -> None:
    calls = Calls(b"secret")
    calls.open(HERE, None, "about", 0.0)
    at = calls.deadline()
    assert calls.due(at - 0.01) == []
    [(call, lost)] = calls.due(at)
    assert (call.about, call.slow, lost) == ("about", True, False)
    [(call, lost)] = calls.due(calls.deadline())
    assert lost
    assert call.lost_at <= MOST_LOST
    assert len(calls) == 0
    assert calls.deadline() == float("inf")


# ------------------------------------------------------------ tokens


def test_dh07_a_token_is_good_for_its_host_and_some_minutes() -> None:
    tokens = Tokens(b"secret")
    token = tokens.make("1.2.3.4", 1000.0)
    assert tokens.holds(token, "1.2.3.4", 1000.0 + STEP)
    assert not tokens.holds(token, "1.2.3.4", 1000.0 + 2 * STEP)
    assert not tokens.holds(token, "1.2.3.5", 1000.0)
    assert not tokens.holds(b"", "1.2.3.4", 1000.0)
    assert not Tokens(b"other").holds(token, "1.2.3.4", 1000.0)


# ------------------------------------------------------------ peers


def hosts() -> list[tuple[str, int]]:
    return [(f"{a}.{b}.{c}.1", 6881) for a in range(20, 24) for b in range(250) for c in range(250)]


def test_announced_peers_are_told_and_forgotten_in_time() -> None:
    store = PeerStore(random.Random(1))
    store.add(HASH, HERE, 0.0)
    store.add(HASH, ("1.2.3.5", 7), 100.0)
    assert sorted(store.some(HASH, 9, 100.0)) == [b"\1\2\3\4\x1a\xe1", b"\1\2\3\5\0\7"]
    assert len(store.some(HASH, 1, 100.0)) == 1
    assert store.some(HASH, 9, dht_peers.LIFE) == [b"\1\2\3\5\0\7"]
    store.expire(dht_peers.LIFE + 100.0)
    assert (len(store), store.size) == (0, 0)
    assert store.some(HASH, 9, 9e9) == []


def test_dh08_a_million_announces_cost_bounded_memory() -> None:
    store = PeerStore(random.Random(1))
    rng, addrs = random.Random(2), hosts()
    for number in range(60_000):
        store.add(rng.randbytes(20), addrs[number], float(number))
    assert len(store) == dht_peers.MOST_TORRENTS == store.size
    for number in range(2 * dht_peers.MOST_PEERS):
        store.add(HASH, addrs[number], 60_000.0 + number)
    assert len(store.some(HASH, 9999, 60_000.0)) == dht_peers.MOST_PEERS
    assert len(store) <= dht_peers.MOST_TORRENTS


def test_dh08_one_host_pushes_out_only_itself() -> None:
    store = PeerStore(random.Random(1))
    store.add(HASH, HERE, 0.0)
    rng = random.Random(3)
    for number in range(5000):
        store.add(rng.randbytes(20), ("6.6.6.6", 1 + number), float(number) / 100)
    for number in range(100):
        store.add(HASH, ("6.6.6.6", 1 + number), 60.0)
    assert store.size == 1 + dht_peers.MOST_OF_HOST
    told = store.some(HASH, 9999, 60.0)
    assert len(told) == 1 + dht_peers.MOST_PORTS
    assert b"\1\2\3\4\x1a\xe1" in told


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(1, 3), st.integers(0, 900)),
        max_size=60,
    )
)
def test_the_store_agrees_with_itself(announces: list[tuple[int, int, int, int]]) -> None:
    store, now = PeerStore(random.Random(1)), 0.0
    last: dict[tuple[bytes, tuple[str, int]], float] = {}
    for torrent, host, port, wait in announces:
        now += wait
        infohash, addr = bytes([torrent]) * 20, (f"1.2.3.{host + 1}", port)
        store.add(infohash, addr, now)
        last[infohash, addr] = now
    for torrent in range(4):
        infohash = bytes([torrent]) * 20
        alive = [a for (h, a), at in last.items() if h == infohash and at + dht_peers.LIFE > now]
        assert len(store.some(infohash, 999, now)) == len(alive)
    store.expire(now + 2 * dht_peers.LIFE)
    assert store.size == 0


# ------------------------------------------------------------ throttle


def test_dh09_one_source_gets_its_share_and_no_more() -> None:
    throttle = Throttle(0.0)
    admitted = sum(throttle.admits("6.6.6.6", number / 1000) for number in range(100_000))
    assert admitted <= dht_throttle.BURST + 100 * dht_throttle.QUERIES + 1
    assert throttle.admits("1.2.3.4", 100.0)


def test_dh09_ten_thousand_sources_share_the_budget_of_bytes() -> None:
    throttle, sent = Throttle(0.0), 0
    for number in range(100_000):
        now = number / 1000
        if throttle.admits(f"{number % 10_000}", now) and throttle.pays(300, now):
            sent += 300
    assert sent <= dht_throttle.BURST_BYTES + 100 * dht_throttle.BYTES
    assert len(throttle._sources) <= dht_throttle.MOST_SOURCES


# ------------------------------------------------------------ our address


def test_dh15_our_address_is_what_most_networks_say() -> None:
    own = OwnAddress()
    liars = (f"66.6.{n}.1" for n in count())
    moved = [own.vote("5.5.5.5", "9.9.9.9") for _ in range(50)]
    assert not any(moved)  # one network, one vote
    for n in range(QUORUM - 1):
        assert not own.vote(f"7.7.{n}.1", "8.8.8.8")
        assert not own.vote(next(liars), f"9.9.9.{n + 1}")
    assert own.host is None
    moved = [own.vote(f"7.8.{n}.1", "8.8.8.8") for n in range(9)]
    assert sum(moved) == 1
    assert own.host == "8.8.8.8"
    assert not any(own.vote(next(liars), f"9.9.9.{n + 1}") for n in range(200))


def test_dh15_a_local_address_or_one_of_the_other_family_is_none_of_ours() -> None:
    own = OwnAddress()
    for n in range(50):
        assert not own.vote(f"7.7.{n}.1", "192.168.1.2")
        assert not own.vote(f"7.7.{n}.1", "2a00::1")
        assert not own.vote("10.0.0.7", "8.8.8.8")
        assert not own.vote(f"7.7.{n}.1", None)


# ------------------------------------------------------------ schedule


def test_a_torrent_is_looked_up_at_once_and_then_every_quarter_of_an_hour() -> None:
    schedule = Schedule(random.Random(1))
    schedule.add(HASH, 6881, 5.0, seed=False)
    assert schedule.deadline() == 5.0
    [wanted] = schedule.poll(5.0)
    assert schedule.poll(500.0) == []
    schedule.finished(wanted, 6.0, good=True)
    at = schedule.deadline()
    assert 6.0 + 0.8 * INTERVAL <= at <= 6.0 + INTERVAL
    assert schedule.poll(at) == [wanted]
    schedule.remove(HASH)
    schedule.finished(wanted, at, good=True)
    assert schedule.poll(9e9) == []


def test_many_torrents_take_turns() -> None:
    schedule = Schedule(random.Random(1))
    for number in range(100):
        schedule.add(number.to_bytes(20, "big"), 6881, 0.0, seed=False)
    seen = []
    while batch := schedule.poll(1.0):
        assert len(batch) <= MOST_AT_ONCE
        seen += [wanted.infohash for wanted in batch]
        assert schedule.deadline() == float("inf") or len(batch) < MOST_AT_ONCE
        for wanted in batch:
            schedule.finished(wanted, 1.0, good=True)
    assert sorted(seen) == [number.to_bytes(20, "big") for number in range(100)]


def test_a_torrent_in_need_is_looked_up_sooner_but_not_at_once() -> None:
    schedule = Schedule(random.Random(1))
    schedule.add(HASH, 6881, 0.0, seed=False)
    [wanted] = schedule.poll(0.0)
    schedule.hurry(HASH, 0.5)
    schedule.finished(wanted, 1.0, good=True)
    for _ in range(1000):
        schedule.hurry(HASH, 2.0)
    assert len(schedule._times) <= 3
    assert schedule.deadline() <= SOONEST
    assert schedule.poll(SOONEST - 1) == []
    assert schedule.poll(SOONEST) == [wanted]


def test_dh17_who_is_lonely_asks_for_help_less_and_less() -> None:
    loneliness = Loneliness(3.0)
    asked = [t for t in range(4000) if loneliness.poll(float(t), True)]
    assert asked[0] == 3
    gaps = [b - a for a, b in pairwise(asked)]
    assert gaps == sorted(gaps)
    assert 8 < len(asked) < 20
    assert not loneliness.poll(4000.0, False)
