"""Rate limits: how exact they are, that both of two hold, and that everybody has a turn."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm._fill import BLOCK_SIZE
from swarm.engine.limit import BURST, TURN, Limit, Sharing

KIB, MIB = 1 << 10, 1 << 20
RATES = st.integers(10 * KIB, 1000 * MIB)


class Crowd:
    """Those who wait below limits, each with an appetite in bytes/s (infinite: all it gets)."""

    def __init__(self, limits: dict[str, Limit], *, late: float = 0.0, seed: int = 0) -> None:
        self.limits = limits
        self.sharing: Sharing[str] = Sharing()
        self.rng = random.Random(seed)
        self.late = late
        self.now = 0.0
        self.turns = 0
        self.moved: list[tuple[float, str, int]] = []
        self.has_use_for = dict.fromkeys(limits, 1 << 60)

    def run(self, until: float) -> None:
        """Everybody wants more all the time. Turns come up to `late` seconds after they are due."""
        while True:
            for who, limit in self.limits.items():
                if self.has_use_for[who]:
                    self.sharing.ask(who, limit)
            at = self.sharing.deadline(self.now) + self.rng.random() * self.late
            if at > until:
                return
            self.now = max(self.now, at)
            self.turns += 1
            self.sharing.run(self.now, self.give)

    def give(self, who: str, blocks: int) -> int:
        blocks = min(blocks, self.has_use_for[who])
        self.has_use_for[who] -= blocks
        self.moved.append((self.now, who, blocks * BLOCK_SIZE))
        return blocks * BLOCK_SIZE

    def total(self, since: float = 0.0, until: float = float("inf")) -> int:
        return sum(size for at, _, size in self.moved if since <= at < until)

    def shares(self) -> Counter[str]:
        shares: Counter[str] = Counter(dict.fromkeys(self.limits, 0))
        for _, who, size in self.moved:
            shares[who] += size
        return shares


def crowd(rate: int | None, count: int, **how: float) -> Crowd:
    limit = Limit(rate)
    return Crowd({f"peer{i}": limit for i in range(count)}, **how)  # type: ignore[arg-type]


@given(RATES, st.integers(1, 30), st.floats(0, 0.05), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_three_per_cent_over_ten_seconds_and_ten_over_one(
    rate: int, count: int, late: float, seed: int
) -> None:
    waiting = crowd(rate, count, late=late, seed=seed)
    waiting.run(12.0)
    assert abs(waiting.total(1.0, 11.0) - 10 * rate) <= 0.03 * 10 * rate + BLOCK_SIZE
    for tenth in range(10, 110):
        second = waiting.total(tenth / 10, tenth / 10 + 1)
        assert abs(second - rate) <= 0.1 * rate + BLOCK_SIZE


@given(RATES, st.integers(1, 30))
@settings(max_examples=30, deadline=None)
def test_waiting_costs_some_turns_a_second_at_most_and_one_a_block(rate: int, count: int) -> None:
    waiting = crowd(rate, count)
    waiting.run(2.0)
    assert waiting.turns <= min(2.0 / TURN, 2.0 * rate / BLOCK_SIZE) + 2


def test_nobody_waits_and_nothing_is_due() -> None:
    sharing: Sharing[str] = Sharing()
    assert sharing.deadline(5.0) == float("inf")
    limit = Limit(MIB)
    sharing.ask("peer", limit)
    sharing.drop("peer")
    assert sharing.deadline(5.0) == float("inf")


@given(RATES, st.integers(2, 40))
@settings(max_examples=30, deadline=None)
def test_the_hungry_get_the_same(rate: int, count: int) -> None:
    waiting = crowd(rate, count)
    waiting.run(10.0)
    shares = waiting.shares()
    assert max(shares.values()) - min(shares.values()) <= 0.05 * rate + 2 * BLOCK_SIZE


def test_no_peer_starves_below_a_limit_of_less_than_a_block_a_second() -> None:
    waiting = crowd(10 * KIB, 20)
    waiting.run(100.0)
    order = [who for _, who, _ in waiting.moved]
    assert len(order) == 1000 * KIB // BLOCK_SIZE
    for first in range(0, len(order) - 20, 20):
        assert set(order[first : first + 20]) == set(waiting.limits)


@given(st.integers(1, 20), st.integers(0, 200))
@settings(max_examples=30, deadline=None)
def test_what_one_has_no_use_for_is_the_others(modest: int, wants: int) -> None:
    waiting = crowd(10 * MIB, modest + 1)
    for i in range(modest):
        waiting.has_use_for[f"peer{i}"] = wants
    waiting.run(5.0)
    for i in range(modest):
        size = min(wants * BLOCK_SIZE, 50 * MIB // (modest + 1))
        assert waiting.shares()[f"peer{i}"] == pytest.approx(size, rel=0.05, abs=BLOCK_SIZE)
    assert waiting.total() == pytest.approx(50 * MIB, rel=0.03)


@given(RATES, RATES, RATES)
@settings(max_examples=30, deadline=None)
def test_torrents_below_a_session(whole: int, first: int, second: int) -> None:
    """Each limit holds, and what one torrent may not have the other one gets."""
    above = Limit(whole)
    one, two = Limit(first, above), Limit(second, above)
    waiting = Crowd({"a1": one, "a2": one, "b": two})
    waiting.run(10.0)
    shares = waiting.shares()
    room = 1.01 * 10 + BURST
    assert shares["a1"] + shares["a2"] <= first * room + BLOCK_SIZE
    assert shares["b"] <= second * room + BLOCK_SIZE
    assert waiting.total() <= whole * room + BLOCK_SIZE
    assert waiting.total() >= 0.97 * 10 * min(whole, first + second) - 4 * BLOCK_SIZE
    assert one.lowest == min(whole, first)


def test_a_torrent_alone_has_a_limit() -> None:
    above = Limit()
    slow, free = Limit(MIB, above), Limit(None, above)
    assert free.lowest is None
    assert free.wait(0.0) == 0
    waiting = Crowd({"slow": slow})
    waiting.run(10.0)
    assert waiting.total() == pytest.approx(10 * MIB, rel=0.03)


def test_what_is_overdrawn_is_worked_off_and_what_is_given_back_may_be_used() -> None:
    limit = Limit(MIB)
    assert limit.left(0.0) == 0
    limit.spend(MIB)
    assert limit.wait(0.0) == pytest.approx(1 + BLOCK_SIZE / MIB)
    assert limit.left(2.0) == pytest.approx(BURST * MIB)
    limit.spend(-MIB)
    assert limit.left(2.5) == pytest.approx((1 + BURST) * MIB)


def test_time_that_seems_to_go_back_gives_nothing_twice() -> None:
    limit = Limit(MIB)
    limit.left(0.0)
    limit.left(0.05)
    limit.left(0.0)
    assert limit.left(0.05) == pytest.approx(0.05 * MIB)


def test_another_limit_holds_at_once() -> None:
    limit = Limit(100 * MIB)
    waiting = Crowd({"peer": limit})
    waiting.run(2.0)
    limit.set(MIB)
    before = waiting.total()
    waiting.run(12.0)
    assert waiting.total() - before == pytest.approx(10 * MIB, rel=0.03)
    limit.set(None)
    waiting.has_use_for["peer"] = 5000
    waiting.run(12.1)
    assert waiting.has_use_for["peer"] == 0
