"""The address book: budgets, back-off, bans, and what it never returns."""

from __future__ import annotations

import random

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from swarm.engine.candidates import (
    FIRST_RETRY,
    LONGEST_RETRY,
    MOST_FAILURES,
    PORTS_PER_HOST,
    REDIAL,
    Candidates,
)

NOW = float("-inf")
A, B, C = ("10.0.0.1", 1), ("10.0.0.2", 2), ("10.0.0.3", 3)


def book(limit: int = 3000, seed: int = 0) -> Candidates:
    return Candidates(limit=limit, rng=random.Random(seed))


def many(n: int, net: int = 20) -> list[tuple[str, int]]:
    return [(f"{net}.{i >> 16 & 255}.{i >> 8 & 255}.{i & 255}", 6881) for i in range(n)]


def test_each_address_is_dialled_once() -> None:
    candidates = book()
    assert candidates.deadline() is None
    assert candidates.add([A, B, A, C], "tracker", 0.0) == 3
    assert candidates.add([A], "pex", 0.0) == 0
    assert candidates.deadline() == NOW
    assert len(candidates.take(0.0, 2)) == 2
    assert len(candidates.take(0.0, 9)) == 1
    assert candidates.take(0.0, 9) == []
    assert candidates.deadline() is None


def test_the_order_is_random_and_repeatable() -> None:
    def order(seed: int) -> list[tuple[str, int]]:
        candidates = book(seed=seed)
        candidates.add(many(50), "tracker", 0.0)
        return candidates.take(0.0, 50)

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert sorted(order(1)) == sorted(many(50))


def test_failures_back_off_then_are_forgotten() -> None:
    candidates, now, waits = book(), 0.0, []
    candidates.add([A], "tracker", now)
    while candidates.take(now, 1):
        candidates.failed(A, now)
        due = candidates.deadline()
        if due is None:
            break
        assert candidates.take(due - 0.001, 1) == []
        waits.append(due - now)
        now = due
    assert waits == [min(FIRST_RETRY * 2**i, LONGEST_RETRY) for i in range(MOST_FAILURES - 1)]
    assert len(candidates) == 0


def test_untried_then_fewest_failures() -> None:
    candidates = book()
    candidates.add([A], "tracker", 0.0)
    for now in (0.0, 100.0):
        assert candidates.take(now, 1) == [A]
        candidates.failed(A, now)
    candidates.add([B], "tracker", 200.0)
    candidates.take(200.0, 1)
    candidates.failed(B, 200.0)
    candidates.add([C], "tracker", 300.0)
    assert candidates.take(300.0, 9) == [C, B, A]


def test_a_useful_peer_is_redialled_soon_and_a_useless_one_later() -> None:
    candidates = book()
    candidates.add([A, B], "tracker", 0.0)
    for addr in candidates.take(0.0, 2):
        candidates.connected(addr, 0.0)
    assert len(candidates) == 0
    candidates.closed(A, 50.0, useful=True)
    candidates.closed(B, 50.0, useful=False)
    assert candidates.deadline() == 50.0 + REDIAL
    assert candidates.take(50.0 + REDIAL, 9) == [A]
    assert candidates.deadline() == 50.0 + FIRST_RETRY


def test_who_waits_may_be_tried_at_once_where_there_is_a_reason() -> None:
    candidates = book()
    candidates.add([A, B, C], "tracker", 0.0)
    candidates.take(0.0, 3)
    candidates.connected(A, 0.0)
    candidates.failed(B, 0.0)
    candidates.failed(C, 0.0)
    assert candidates.deadline() == FIRST_RETRY
    candidates.retry()
    assert sorted(candidates.take(0.0, 9)) == [B, C]
    candidates.failed(B, 0.0)
    assert candidates.deadline() == 2 * FIRST_RETRY, "what has failed has not been forgotten"
    candidates.ban(C[0])
    candidates.retry()
    assert candidates.take(0.0, 9) == [B]


def test_inbound_ports_are_not_dialled_unless_somebody_names_them() -> None:
    candidates = book()
    for addr in (A, B):
        candidates.connected(addr, 0.0)
    assert candidates.add([A], "pex", 1.0) == 0
    assert candidates.take(1.0, 9) == []
    for addr in (A, B):
        candidates.closed(addr, 2.0, useful=True)
    assert candidates.take(100.0, 9) == [A]


@pytest.mark.parametrize(
    "addr",
    [
        ("10.0.0.1", 0),
        ("10.0.0.1", 65536),
        ("10.0.0.1", -1),
        ("0.0.0.0", 1),
        ("0.1.2.3", 1),
        ("::", 1),
        ("::ffff:0.0.0.0", 1),
        ("224.0.0.1", 1),
        ("ff02::1", 1),
        ("255.255.255.255", 1),
        ("240.0.0.1", 1),
        ("", 1),
        ("tracker.example", 1),
        ("1" * 100_000, 1),
        ("10.0.0.256", 1),
    ],
    ids=lambda addr: str(addr)[:24],
)
def test_nonsense_is_dropped(addr: tuple[str, int]) -> None:
    candidates = book()
    assert candidates.add([addr], "user", 0.0) == 0
    assert len(candidates) == 0


def test_one_address_has_one_spelling() -> None:
    candidates = book()
    candidates.add([("::ffff:10.0.0.1", 1), ("2001:DB8:0::1", 1)], "tracker", 0.0)
    assert candidates.add([A, ("2001:db8::1", 1)], "tracker", 0.0) == 0
    assert sorted(candidates.take(0.0, 9)) == [A, ("2001:db8::1", 1)]


def test_pw25_a_ban_covers_all_ports_and_an_ipv6_network() -> None:
    candidates = book()
    near, far = ("2a00:1:2:3::1", 5), ("2a00:1:2:4::1", 5)
    candidates.add([A, ("10.0.0.1", 99), B, near, far], "tracker", 0.0)
    candidates.ban("10.0.0.1")
    candidates.ban("2a00:1:2:3:ffff::9")
    assert candidates.is_banned("::ffff:10.0.0.1")
    assert candidates.is_banned("2a00:1:2:3::77")
    assert not candidates.is_banned("2a00:1:2:4::77")
    assert sorted(candidates.take(0.0, 9)) == [B, far]
    assert candidates.add([A, near], "user", 0.0) == 0


def test_a_ban_of_a_connected_host_ends_with_its_connection() -> None:
    candidates = book()
    candidates.add([A], "tracker", 0.0)
    candidates.connected(*candidates.take(0.0, 1), 0.0)
    candidates.ban(A[0])
    candidates.closed(A, 1.0, useful=True)
    assert candidates.deadline() is None
    assert len(candidates) == 0


def test_ourselves_are_never_dialled_again() -> None:
    candidates = book()
    candidates.add([A, B], "tracker", 0.0)
    candidates.refuse(A)
    assert candidates.add([A], "user", 0.0) == 0
    assert candidates.take(0.0, 9) == [B]
    candidates.refuse(B)
    candidates.failed(B, 0.0)
    candidates.closed(B, 0.0, useful=True)
    assert candidates.deadline() is None


def test_hearsay_has_budgets() -> None:
    candidates = book(limit=1000)
    assert candidates.add(many(5000), "pex", 0.0) == 500
    assert candidates.add([("9.9.9.9", port) for port in range(1, 999)], "dht", 0.0) == (
        PORTS_PER_HOST
    )
    assert candidates.add(many(5000, net=30), "dht", 0.0) == 500 - PORTS_PER_HOST
    assert candidates.add(many(10, net=40), "lsd", 0.0) == 0
    assert len(candidates) == 1000


def test_a_tracker_replaces_what_has_failed_in_a_full_book() -> None:
    candidates = book(limit=10)
    candidates.add(many(10), "tracker", 0.0)
    assert candidates.add([A], "user", 0.0) == 0
    for addr in candidates.take(0.0, 3):
        candidates.failed(addr, 0.0)
    assert candidates.add([A, B], "pex", 0.0) == 0
    assert candidates.add([A, B, C, ("10.0.0.4", 4)], "tracker", 0.0) == 3
    assert len(candidates) == 10
    assert {A, B, C} <= set(candidates.take(0.0, 10))


def test_flapping_connections_do_not_fill_the_memory() -> None:
    candidates = book()
    candidates.add([A], "tracker", 0.0)
    for i in range(10_000):
        candidates.connected(A, i / 1000)
        candidates.closed(A, i / 1000, useful=True)
    assert len(candidates._waiting) < 100


class BookMachine(RuleBasedStateMachine):
    """Any sequence of events: what `take` returns is always free to be dialled."""

    addrs = st.builds(
        lambda host, port: (f"10.0.0.{host}", port), st.integers(1, 6), st.integers(1, 3)
    )

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.candidates = Candidates(limit=12, rng=random.Random(1))
        self.busy: set[tuple[str, int]] = set()  # being dialled, or connected
        self.connected: set[tuple[str, int]] = set()
        self.barred: dict[tuple[str, int], float] = {}
        self.refused: set[tuple[str, int]] = set()
        self.banned: set[str] = set()

    @rule(addrs=st.lists(addrs), source=st.sampled_from(["user", "tracker", "pex", "dht"]))
    def add(self, addrs: list[tuple[str, int]], source: str) -> None:
        for addr in addrs:
            self.candidates.add([addr], source, self.now)
            # A full book forgets somebody that backs off, and with it how long it was to wait.
            self.barred = {a: t for a, t in self.barred.items() if a in self.candidates._book}

    @rule(seconds=st.sampled_from([0.0, 1.0, 6.0, 31.0, 500.0, 4000.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(room=st.integers(0, 5))
    def take(self, room: int) -> None:
        due = self.candidates.deadline()
        taken = self.candidates.take(self.now, room)
        assert len(taken) == len(set(taken)) <= room
        assert bool(taken) == (room > 0 and due is not None and due <= self.now)
        for addr in taken:
            assert addr not in self.busy | self.refused
            assert addr[0] not in self.banned
            assert self.barred.get(addr, 0.0) <= self.now
        self.busy.update(taken)

    @rule()
    def retry(self) -> None:
        self.candidates.retry()
        self.barred.clear()

    @rule(addr=addrs)
    def connect(self, addr: tuple[str, int]) -> None:
        self.candidates.connected(addr, self.now)
        self.busy.add(addr)
        self.connected.add(addr)

    @rule(addr=addrs)
    def fail(self, addr: tuple[str, int]) -> None:
        self.candidates.failed(addr, self.now)
        if addr in self.busy - self.connected:
            self.busy.remove(addr)
            self.barred[addr] = self.now + FIRST_RETRY

    @rule(addr=addrs, useful=st.booleans())
    def close(self, addr: tuple[str, int], useful: bool) -> None:
        known = self.candidates._book.get(addr)
        self.candidates.closed(addr, self.now, useful=useful)
        if addr in self.busy:
            self.busy.remove(addr)
            self.connected.discard(addr)
            if known is not None and known.source:  # nobody named the others: they are forgotten
                self.barred[addr] = self.now + (REDIAL if useful else FIRST_RETRY)

    @rule(host=st.integers(1, 6))
    def ban(self, host: int) -> None:
        self.candidates.ban(f"10.0.0.{host}")
        self.banned.add(f"10.0.0.{host}")

    @rule(addr=addrs)
    def refuse(self, addr: tuple[str, int]) -> None:
        self.candidates.refuse(addr)
        self.refused.add(addr)

    @invariant()
    def the_book_is_bounded(self) -> None:
        assert 0 <= len(self.candidates) <= 12 + 18


TestBook = BookMachine.TestCase
TestBook.settings = settings(
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # a shrink would outlast the time-out
)
