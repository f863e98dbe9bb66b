"""The picker: what it hands out, in which order, and never twice."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm._bits import Bits
from swarm.engine.picker import Picker


def bits(n: int, *pieces: int) -> Bits:
    made = Bits(n)
    for piece in pieces:
        made.set(piece)
    return made


def whole(n: int) -> Bits:
    made = Bits(n)
    made.fill()
    return made


def test_first_a_few_at_random_then_the_rarest() -> None:
    n = 600
    firsts, orders = set(), set()
    for seed in range(40):
        picker, rng = Picker(Bits(n), random_first=2), random.Random(seed)
        common = whole(n)
        for rare in (5, 300, 599):
            common.clear(rare)
        for _ in range(3):
            picker.rarity.join(common)
        everything = whole(n)
        first = [picker.pick(everything, rng) for _ in range(2)]
        firsts.update(first)
        rare = [picker.pick(everything, rng) for _ in range(3)]
        assert set(rare) | set(first) >= {5, 300, 599}
        orders.add(tuple(rare))
    assert len(firsts) > 50
    assert len(orders) > 3


def test_pieces_on_disk_count_as_the_first_ones() -> None:
    picker = Picker(bits(100, 1, 2, 3, 4), random_first=4)
    common = whole(100)
    common.clear(42)
    picker.rarity.join(common)
    assert picker.pick(whole(100), random.Random(0)) == 42


def test_interesting_is_what_is_not_verified() -> None:
    picker = Picker(bits(10, 1))
    assert picker.pick(bits(10, 2), random.Random(0)) == 2
    assert picker.interesting(bits(10, 2))
    assert not picker.interesting(bits(10, 1))
    assert picker.pick(bits(10, 1, 2), random.Random(0)) is None
    picker.done(2)
    assert not picker.interesting(bits(10, 1, 2))
    picker.put_back(2)
    assert picker.pick(whole(10), random.Random(0)) != 2
    assert picker.remaining == 8


def test_an_empty_torrent_needs_nothing() -> None:
    picker = Picker(Bits(0))
    assert picker.exhausted
    assert picker.remaining == 0
    assert picker.pick(Bits(0), random.Random(0)) is None


@pytest.mark.parametrize("piece", [-1, 10])
def test_pieces_outside_are_refused(piece: int) -> None:
    picker = Picker(Bits(10))
    for call in (picker.put_back, picker.done):
        with pytest.raises(IndexError):
            call(piece)


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(0, 2**32), st.data())
def test_no_piece_is_handed_out_twice_unless_put_back(
    n: int, seed: int, data: st.DataObject
) -> None:
    rng = random.Random(seed)
    have = {piece for piece in range(n) if rng.random() < 0.3}
    picker = Picker(bits(n, *have))
    peers = [bits(n, *(p for p in range(n) if rng.random() < d)) for d in (0.1, 0.5, 1)]
    for peer in peers:
        picker.rarity.join(peer)
    assigned: set[int] = set()
    for action in data.draw(st.lists(st.sampled_from("pppppdb"), max_size=80)):
        if action == "p":
            peer = rng.choice(peers)
            pool = {p for p in range(n) if peer[p]} - have - assigned
            piece = picker.pick(peer, rng)
            assert piece in pool if pool else piece is None
            assigned |= {piece} - {None}
        elif assigned:
            piece = rng.choice(sorted(assigned))
            assigned.remove(piece)
            if action == "d":
                picker.done(piece)
                have.add(piece)
            else:
                picker.put_back(piece)
        assert picker.remaining == n - len(have)
        assert picker.exhausted == (len(have) + len(assigned) == n)
        for peer in peers:
            assert picker.interesting(peer) == any(peer[p] for p in range(n) if p not in have)
