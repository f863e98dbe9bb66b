"""Which nodes the table keeps, and whose place a new one takes."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.engine.dht_id import bound_id, is_bound, key_of, shared_bits
from swarm.engine.dht_table import FRESH, MOST_FAILURES, SPARES, WIDE, K, Table
from swarm.proto.krpc import Contact

OWN = bytes(20)


def contact(number: int, shared: int = len(WIDE)) -> Contact:
    """A node of its own subnet, whose id has so many bits in common with ours."""
    rng = random.Random(number)
    host = f"{11 + number // 60_000}.{number // 250 % 250}.{number % 250}.1"
    key = 1 << (159 - shared) | rng.getrandbits(159 - shared)
    return Contact(key.to_bytes(20, "big"), (host, 6881))


def bound_contact(number: int) -> Contact:
    """The same, with an id that follows from its address."""
    rng = random.Random(number)
    while True:
        host = f"{rng.randrange(80, 99)}.{rng.randrange(250)}.{rng.randrange(250)}.1"
        node_id = bound_id(host, rng)
        if shared_bits(key_of(node_id), 0) == len(WIDE):
            return Contact(node_id, (host, 6881))


def filled(room: int = K + SPARES) -> tuple[Table, list[Contact]]:
    """A table with one bucket full, and spares."""
    table = Table(OWN)
    contacts = [contact(n) for n in range(room)]
    for at, one in enumerate(contacts):
        table.heard(one, float(at))
    return table, contacts


def ids(table: Table) -> set[bytes]:
    return {node.contact.id for node in table}


@given(st.integers(0, 2**32), st.integers(0, 300), st.integers(1, 20))
def test_closest_are_the_closest_of_those_that_do_not_fail(seed, size, many) -> None:
    rng = random.Random(seed)
    table = Table(rng.randbytes(20))
    for number in range(size):
        shared = min(159, int(rng.expovariate(0.3)))
        key = key_of(table.own_id) ^ (1 << (159 - shared) | rng.getrandbits(159 - shared))
        host = f"20.{number // 250}.{number % 250}.1"
        table.heard(Contact(key.to_bytes(20, "big"), (host, 1)), 0.0)
    for node in list(table):
        if rng.random() < 0.2:
            table.failed(node.addr)
    target = rng.randbytes(20)
    alive = [node for node in table if not node.failures]
    alive.sort(key=lambda node: node.key ^ key_of(target))
    assert table.closest(target, many) == alive[:many]
    assert len(table) == len(list(table))


def test_a_full_bucket_keeps_who_is_there_and_remembers_spares() -> None:
    table, contacts = filled()
    assert ids(table) == {one.id for one in contacts[:K]}
    assert not table.wants(contact(99))
    assert table.wants(contact(99, shared=0))


def test_dh14_who_fails_gives_way_to_a_spare() -> None:
    table, contacts = filled()
    gone = contacts[0].addr
    table.failed(gone)
    assert table.get(gone) is not None
    table.failed(gone)
    assert table.get(gone) is None
    assert len(table) == K
    assert contacts[-1].id in ids(table)  # the spare that answered last


def test_dh14_without_a_spare_it_takes_one_failure_more() -> None:
    table, contacts = filled(K)
    for _ in range(MOST_FAILURES - 1):
        table.failed(contacts[0].addr)
    assert table.get(contacts[0].addr) is not None
    assert contacts[0].id not in {node.contact.id for node in table.closest(OWN)}
    table.heard(contacts[0], 50.0)
    assert contacts[0].id in {node.contact.id for node in table.closest(OWN)}
    for _ in range(MOST_FAILURES):
        table.failed(contacts[0].addr)
    assert table.get(contacts[0].addr) is None


def test_dh14_who_was_silent_for_long_is_doubtful() -> None:
    table, contacts = filled(K)
    assert table.doubtful(FRESH - 1) is None
    node = table.doubtful(FRESH + 3)
    assert node is not None
    assert node.contact == contacts[0]
    node.checking = True
    node = table.doubtful(FRESH + 3)
    assert node is not None
    assert node.contact == contacts[1]
    table.heard(contacts[1], FRESH)
    node = table.doubtful(FRESH + 3)
    assert node is not None
    assert node.contact == contacts[2]


def test_dh11_one_subnet_has_one_place_in_a_bucket_and_one_host_in_the_table() -> None:
    table = Table(OWN)
    rng = random.Random(1)
    for last in range(1, 255):
        one = contact(rng.getrandbits(16), (0, 1, 5, 9)[last % 4])
        table.heard(Contact(one.id, (f"66.6.6.{last}", 6881)), 0.0)
    assert len(table) == 4
    before = len(table)
    for port in range(1, 200):
        table.heard(Contact(rng.randbytes(20), ("77.7.7.7", port)), 0.0)
    assert len(table) == before + 1


def test_dh11_a_bound_id_takes_the_place_of_one_that_is_not() -> None:
    table, _ = filled(K)
    assert not any(node.bound for node in table)
    newcomers = [bound_contact(n) for n in range(K + 1)]
    assert all(is_bound(one.id, one.addr[0]) for one in newcomers)
    for one in newcomers:
        assert table.wants(one)
        table.heard(one, 100.0)
    assert ids(table) == {one.id for one in newcomers[:K]}


def test_a_house_may_have_many_nodes() -> None:
    table = Table(OWN)
    for port in range(1, 9):
        table.heard(Contact(contact(port).id, ("127.0.0.1", port)), 0.0)
    assert len(table) == 8


def test_who_changes_its_id_begins_anew() -> None:
    table, contacts = filled(K)
    other = Contact(contact(50).id, contacts[0].addr)
    table.heard(other, 9.0)
    assert table.get(other.addr) is None
    assert len(table) == K - 1
    table.heard(other, 10.0)
    assert other.id in ids(table)


def test_an_id_stays_with_whom_it_was_found_at() -> None:
    table, contacts = filled(K - 1)
    table.heard(Contact(contacts[0].id, ("66.6.6.6", 1)), 9.0)
    assert table.get(("66.6.6.6", 1)) is None
    table.heard(Contact(OWN, ("66.6.6.6", 1)), 9.0)
    assert len(table) == K - 1


def test_dh15_a_new_id_of_ours_keeps_the_nodes() -> None:
    table = Table(OWN)
    contacts = [contact(n, shared=n % 3) for n in range(60)]
    for one in contacts:
        table.heard(one, 7.0)
    before = ids(table)
    table.rename(bytes([0x80]) + bytes(19))
    assert table.own_id[0] == 0x80
    assert ids(table) <= before
    assert len(table) >= 40
    target = contacts[7].id
    nearest = min(table, key=lambda node: node.key ^ key_of(target))
    assert table.closest(target, 1) == [nearest]


def test_buckets_with_room_are_looked_into_in_turn() -> None:
    table = Table(OWN)
    rng = random.Random(1)
    assert table.stale(0.0, rng) is None
    for shared in (0, 3, 5):
        table.heard(contact(shared, shared), 0.0)
    looked = []
    while (target := table.stale(0.0, rng)) is not None:
        looked.append(shared_bits(key_of(target), 0))
    assert looked == [0, 1, 2, 3, 4, 5]
    assert table.stale(FRESH - 1, rng) is None
    assert table.stale(FRESH, rng) is not None


@pytest.mark.parametrize("seed", range(5))
def test_the_table_agrees_with_itself_whatever_happens(seed: int) -> None:
    rng = random.Random(seed)
    table = Table(rng.randbytes(20))
    addrs = [
        (f"{rng.randrange(11, 90)}.{rng.randrange(9)}.{rng.randrange(9)}.1", 1) for _ in range(400)
    ]
    for step in range(5000):
        addr = rng.choice(addrs)
        match rng.randrange(8):
            case 0 | 1 | 2 | 3:
                table.heard(Contact(random.Random(repr(addr)).randbytes(20), addr), float(step))
            case 4 | 5:
                table.failed(addr)
            case 6:
                table.heard(Contact(rng.randbytes(20), addr), float(step))
            case 7 if rng.random() < 0.02:
                table.rename(rng.randbytes(20))
    nodes = list(table)
    assert len(nodes) == len(table) == len({node.addr for node in nodes})
    assert len({node.contact.id for node in nodes}) == len(nodes)
    for node in nodes:
        assert table.get(node.addr) is node
    for addr in addrs:
        for _ in range(MOST_FAILURES):
            table.failed(addr)
    for addr in addrs:  # the spares came in and had not failed yet
        for _ in range(MOST_FAILURES):
            table.failed(addr)
    assert len(table) == 0
    assert not table._hosts
    assert not table._ids
