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
    assert picker.missing.count == 8


def test_the_piece_behind_is_taken_if_it_is_as_good_a_choice() -> None:
    picker = Picker(bits(8, 2))
    picker.rarity.join(whole(8))
    picker.rarity.join(bits(8, 5))  # now less rare than the others
    assert picker.pick_next_to(0, whole(8)) == 1
    assert picker.pick_next_to(0, whole(8)) is None  # it is assigned
    assert picker.pick_next_to(1, whole(8)) is None  # it is here
    assert picker.pick_next_to(2, bits(8, 4)) is None  # it is not offered
    assert picker.pick_next_to(4, whole(8)) is None
    assert picker.pick_next_to(5, whole(8)) == 6
    assert picker.pick_next_to(7, whole(8)) is None
    picker.arrange(b"\1\1\1\1\5\1\1\1", sequential=False)
    assert picker.pick_next_to(3, whole(8)) is None
    assert picker.rarity.wanted_count == 5


def test_an_empty_torrent_needs_nothing() -> None:
    picker = Picker(Bits(0))
    assert picker.exhausted
    assert picker.missing.count == 0
    assert picker.pick(Bits(0), random.Random(0)) is None


def test_the_most_urgent_come_first_and_the_unwanted_never() -> None:
    picker, rng = Picker(bits(9, 0)), random.Random(0)
    picker.arrange(b"\5\1\1\1\5\5\0\0\3", sequential=False)
    order = [picker.pick(whole(9), rng) for _ in range(9)]
    assert set(order[:2]) == {4, 5}
    assert order[2] == 8
    assert set(order[3:6]) == {1, 2, 3}
    assert order[6:] == [None, None, None]
    assert picker.exhausted
    assert picker.missing.count == 6


def test_in_order_of_the_index() -> None:
    picker, rng = Picker(bits(9, 1)), random.Random(0)
    picker.arrange(b"\1\1\1\1\2\2\0\1\1", sequential=True)
    assert picker.pick(bits(9, 0, 3, 8), rng) == 0
    assert [picker.pick(whole(9), rng) for _ in range(4)] == [4, 5, 2, 3]
    picker.put_back(3)
    assert picker.pick(whole(9), rng) == 3


def test_another_choice_while_pieces_are_assigned() -> None:
    picker, rng = Picker(Bits(4)), random.Random(0)
    picker.arrange(b"\1\1\0\0", sequential=True)
    assert picker.pick(whole(4), rng) == 0
    picker.arrange(b"\0\0\1\1", sequential=True)
    assert [picker.missing[piece] for piece in range(4)] == [False, False, True, True]
    assert not picker.interesting(bits(4, 0, 1))
    picker.put_back(0)
    assert picker.pick(bits(4, 0, 1), rng) is None
    picker.arrange(b"\1\1\1\1", sequential=True)
    assert picker.pick(whole(4), rng) == 0, "given up meanwhile, and free"


def test_what_was_done_though_unwanted_stays_done() -> None:
    picker = Picker(Bits(3))
    assert picker.pick(bits(3, 1), random.Random(0)) == 1
    picker.arrange(b"\1\0\1", sequential=False)
    picker.done(1)
    assert picker.missing.count == 2
    picker.arrange(b"\1\1\1", sequential=False)
    assert picker.missing.count == 2
    assert not picker.interesting(bits(3, 1))


@pytest.mark.parametrize("piece", [-1, 10])
def test_pieces_outside_are_refused(piece: int) -> None:
    picker = Picker(Bits(10))
    for call in (picker.put_back, picker.done):
        with pytest.raises(IndexError):
            call(piece)


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(0, 2**32), st.data())
def test_against_a_slow_model(n: int, seed: int, data: st.DataObject) -> None:
    """What is handed out is free, of the highest rank on offer, and the first of it when in order."""
    rng = random.Random(seed)
    have = {piece for piece in range(n) if rng.random() < 0.3}
    picker = Picker(bits(n, *have))
    peers = [bits(n, *(p for p in range(n) if rng.random() < d)) for d in (0.1, 0.5, 1)]
    for peer in peers:
        picker.rarity.join(peer)
    assigned: set[int] = set()
    ranks, sequential = bytes([1] * n), False
    for action in data.draw(st.lists(st.sampled_from("pppppdba"), max_size=80)):
        if action == "p":
            peer = rng.choice(peers)
            free = {p for p in range(n) if peer[p] and ranks[p]} - have - assigned
            best = max((ranks[p] for p in free), default=0)
            assert picker.foremost(peer) == min((p for p in free if ranks[p] == best), default=None)
            pool = {p for p in free if ranks[p] == best}
            piece = picker.pick(peer, rng)
            if not pool:
                assert piece is None
            elif sequential:
                assert piece == min(pool)
            else:
                assert piece in pool
            assigned |= {piece} - {None}
        elif action == "a":
            kinds, cuts = rng.choice(["1", "03", "013", "123456"]), [rng.randrange(n) for _ in "ab"]
            stretch = bytearray(int(rng.choice(kinds)) for _ in range(n))
            stretch[min(cuts) : max(cuts)] = bytes([int(kinds[-1])]) * (max(cuts) - min(cuts))
            ranks, sequential = bytes(stretch), rng.random() < 0.5
            picker.arrange(ranks, sequential=sequential)
        elif assigned:
            piece = rng.choice(sorted(assigned))
            assigned.remove(piece)
            if action == "d":
                picker.done(piece)
                have.add(piece)
            else:
                picker.put_back(piece)
        missing = {p for p in range(n) if ranks[p]} - have
        assert {p for p in range(n) if picker.missing[p]} == missing
        assert picker.missing.count == len(missing)
        assert picker.exhausted == (missing <= assigned)
        assert picker.graded == (len(set(ranks) - {0}) > 1)
        for peer in peers:
            assert picker.interesting(peer) == any(peer[p] for p in missing)
