"""What is wanted of a torrent: priorities of files against a list of bytes."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm._bits import Bits
from swarm.engine.selection import Priority, Selection
from swarm.proto.metainfo_files import File

SKIP, LOW, NORMAL, HIGH = Priority


@dataclass
class Meta:
    """Files of these lengths, the pad files among them by index."""

    lengths: list[int]
    piece_length: int = 10
    pads: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        offsets = accumulate(self.lengths, initial=0)
        self.files = [
            File(i, (f"f{i}",), length, offset, "p" if i in self.pads else "")
            for i, (length, offset) in enumerate(zip(self.lengths, offsets, strict=False))
        ]

    @property
    def piece_count(self) -> int:
        return -(-sum(self.lengths) // self.piece_length)


def bits(n: int, *pieces: int) -> Bits:
    made = Bits(n)
    for piece in pieces:
        made.set(piece)
    return made


def test_at_first_everything_is_wanted_alike() -> None:
    selection = Selection(Meta([15, 0, 30]))
    assert selection.priorities == (NORMAL, NORMAL, NORMAL)
    assert len(set(selection.ranks())) == 1
    assert selection.ranks()[0] > 0
    assert selection.length == 45


def test_a_shared_piece_is_as_urgent_as_the_most_urgent_file() -> None:
    selection = Selection(Meta([15, 10, 15]))
    selection.set({0: HIGH, 1: SKIP, 2: LOW})
    high, shared, low, last = selection.ranks()
    assert high == shared > low == last > 0
    selection.set({0: SKIP})
    assert selection.ranks()[0] == 0
    assert selection.ranks()[1] == 0, "the first two files are skipped, the third begins later"
    assert selection.ranks()[2] > 0


def test_a_piece_over_many_files_is_wanted_for_one_of_them() -> None:
    selection = Selection(Meta([1] * 30))
    selection.set(dict.fromkeys(range(30), SKIP) | {14: LOW})
    assert [rank > 0 for rank in selection.ranks()] == [False, True, False]
    assert selection.length == 1


def test_in_order_the_ends_of_each_file_come_first() -> None:
    selection = Selection(Meta([40, 30, 0]))
    selection.set({1: HIGH})
    selection.sequential = True
    ranks = selection.ranks()
    assert ranks[0] == ranks[3] > ranks[1] == ranks[2]
    assert ranks[4] == ranks[6] > ranks[5] > ranks[0]


def test_pad_files_are_never_wanted() -> None:
    selection = Selection(Meta([15, 5, 20], pads=frozenset({1})))
    assert selection.priorities == (NORMAL, SKIP, NORMAL)
    selection.set({1: HIGH})
    assert selection.priorities[1] is SKIP
    assert selection.length == 35
    assert selection.done(bits(4, 0, 1, 2, 3)) == 35


@pytest.mark.parametrize("index", [-1, 3])
def test_files_outside_are_refused(index: int) -> None:
    selection = Selection(Meta([15, 10, 15]))
    with pytest.raises(IndexError):
        selection.set({0: SKIP, index: HIGH})
    assert selection.priorities == (NORMAL, NORMAL, NORMAL)


@pytest.mark.parametrize("saved", [b"", b"\1", b"\1\1\4", b"\1\1\1\1"])
def test_what_does_not_fit_is_not_restored(saved: bytes) -> None:
    selection = Selection(Meta([15, 10, 15]))
    assert not selection.restore(saved)
    assert selection.priorities == (NORMAL, NORMAL, NORMAL)


def test_nothing_may_be_wanted() -> None:
    selection = Selection(Meta([15, 10]))
    selection.set({0: SKIP, 1: SKIP})
    assert (selection.length, selection.done(bits(3, 0, 1, 2))) == (0, 0)
    assert selection.ranks() == bytes(3)


@given(
    st.lists(st.integers(0, 25), min_size=1, max_size=12).filter(any),
    st.integers(0, 2**32),
    st.booleans(),
)
def test_against_a_list_of_bytes(lengths: list[int], seed: int, sequential: bool) -> None:
    dice = random.Random(seed)
    pads = frozenset(i for i in range(len(lengths)) if dice.random() < 0.2)
    meta = Meta(lengths, dice.choice([1, 7, 10, 64]), pads)
    selection = Selection(meta)
    selection.set({i: dice.choice(list(Priority)) for i in range(len(lengths))})
    selection.sequential = sequential
    twin = Selection(meta)
    assert twin.restore(bytes(selection))
    assert twin.priorities == selection.priorities

    owner = [i for i, length in enumerate(lengths) for _ in range(length)]  # of each byte
    have = {piece for piece in range(meta.piece_count) if dice.random() < 0.5}
    here = [at // meta.piece_length in have for at in range(len(owner))]
    wanted = [selection.priorities[i] > SKIP for i in owner]
    assert selection.length == sum(wanted)
    found = bits(meta.piece_count, *have)
    assert selection.done(found) == sum(w and h for w, h in zip(wanted, here, strict=True))
    for index in range(len(lengths)):
        mine = sum(h for i, h in zip(owner, here, strict=True) if i == index)
        assert selection.done_of(index, found) == mine

    for piece, rank in enumerate(selection.ranks()):
        span = range(piece * meta.piece_length, (piece + 1) * meta.piece_length)
        touched = {owner[at] for at in span if at < len(owner)}
        most = max(selection.priorities[i] for i in touched)
        ends = {
            i
            for i in touched
            if {owner.index(i), len(owner) - 1 - owner[::-1].index(i)} & set(span)
        }
        upper = sequential and most > SKIP and any(selection.priorities[i] == most for i in ends)
        assert rank == (0 if most is SKIP else 2 * most - (not upper)), piece
