"""`Bits` against a list of bools, `Rarity` against counting by hand."""

from __future__ import annotations

import bisect
import random
from collections import Counter

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from swarm._bits import CLASS_EDGES, MAX_PIECES, Bits, Rarity

SIZES = st.sampled_from([0, 1, 7, 8, 9, 63, 64, 65, 511, 512, 513, 1500])


def of(flags: list[bool]) -> Bits:
    bits = Bits(len(flags))
    for i, flag in enumerate(flags):
        if flag:
            bits.set(i)
    return bits


def wire(flags: list[bool]) -> bytes:
    padded = flags + [False] * (-len(flags) % 8)
    text = "".join("01"[flag] for flag in padded)
    return bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))


@st.composite
def flags(draw: st.DrawFn, size: int | None = None) -> list[bool]:
    n = draw(SIZES) if size is None else size
    dice = random.Random(draw(st.integers(0, 2**32)))
    density = draw(st.sampled_from([0.0, 0.01, 0.5, 0.99, 1.0]))
    return [dice.random() < density for _ in range(n)]


@given(flags(), st.data())
def test_bits_are_a_list_of_bools(model: list[bool], data: st.DataObject) -> None:
    bits = Bits(len(model), wire(model))
    assert bits == of(model)
    if model:
        for i in data.draw(st.lists(st.integers(0, len(model) - 1), max_size=30)):
            if data.draw(st.booleans()):
                assert bits.set(i) is not model[i]
                model[i] = True
            else:
                assert bits.clear(i) is model[i]
                model[i] = False
    assert list(bits) == model
    assert (bits.n, len(bits), bits.count) == (len(model), len(model), sum(model))
    assert bits.full == all(model)
    assert bytes(bits) == wire(model)


@given(st.data(), SIZES)
def test_offers_and_exceeds(data: st.DataObject, n: int) -> None:
    a, b = data.draw(flags(n)), data.draw(flags(n))
    assert of(a).offers(of(b)) == any(x and y for x, y in zip(a, b, strict=True))
    assert of(a).exceeds(of(b)) == any(x and not y for x, y in zip(a, b, strict=True))


@given(flags(), st.data())
def test_count_in(model: list[bool], data: st.DataObject) -> None:
    bits = of(model)
    first = data.draw(st.integers(0, len(model)))
    end = data.draw(st.integers(first, len(model)))
    assert bits.count_in(first, end) == sum(model[first:end])
    for outside in ((-1, end), (first, len(model) + 1), (end + 1, end)):
        with pytest.raises(IndexError):
            bits.count_in(*outside)


@given(flags())
def test_a_set_that_was_emptied_offers_nothing(model: list[bool]) -> None:
    """Cleared bits leave no trace in the summary, and new ones are found again."""
    bits = of(model)
    for i in range(len(model)):
        bits.clear(i)
    assert not bits.offers(of([True] * len(model)))
    assert bits == Bits(len(model))
    if model:
        bits.set(len(model) // 2)
        assert bits.offers(of([True] * len(model)))


@given(flags())
def test_fill_zero_and_copy(model: list[bool]) -> None:
    bits = of(model)
    twin = bits.copy()
    bits.fill()
    assert bits == Bits(len(model), wire([True] * len(model)))
    assert bits.full
    bits.zero()
    assert bits == Bits(len(model))
    assert bits.count == 0
    assert list(twin) == model


@pytest.mark.parametrize("i", [-1, 9, 64, 2**40])
def test_bits_refuse_a_piece_outside(i: int) -> None:
    bits = Bits(9)
    for touch in (bits.set, bits.clear, bits.__getitem__):
        with pytest.raises(IndexError):
            touch(i)
    assert bits.count == 0


@pytest.mark.parametrize(
    "raw", [b"", b"\xff", b"\xff\xff", b"\x00\x40", b"\x00\x01", b"\0\0\0"], ids=bytes.hex
)
def test_bits_refuse_a_bitfield_that_does_not_fit(raw: bytes) -> None:
    with pytest.raises(ValueError, match="9 pieces"):
        Bits(9, raw)


@pytest.mark.parametrize("n", [-1, MAX_PIECES + 1, 2**62])
def test_bits_refuse_a_size_before_they_allocate(n: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        Bits(n)
    with pytest.raises(ValueError, match="outside"):
        Rarity(n)


def test_sets_of_different_sizes_do_not_meet() -> None:
    small, large, rarity = Bits(8), Bits(4096), Rarity(4096)
    for clash in (
        lambda: small.offers(large),
        lambda: large.exceeds(small),
        lambda: rarity.join(small),
        lambda: rarity.leave(small),
        lambda: rarity.rarest(small, 0),
        lambda: rarity.any(small, 0),
        lambda: rarity.first(small),
        lambda: rarity.lacking(small),
        lambda: rarity.arrange(bytes(8)),
    ):
        with pytest.raises(ValueError, match="pieces"):
            clash()


@pytest.mark.parametrize("piece", [-1, 70, 2**33])
def test_rarity_refuses_a_piece_outside(piece: int) -> None:
    rarity = Rarity(70)
    calls = ["have", "lost", "want", "unwant", "availability", "rank"]
    for touch in (getattr(rarity, name) for name in calls):
        with pytest.raises(IndexError):
            touch(piece)


def test_a_rank_that_does_not_exist_changes_nothing() -> None:
    rarity = Rarity(3)
    with pytest.raises(ValueError, match="rank"):
        rarity.arrange(b"\6\0\7")
    assert [rarity.rank(piece) for piece in range(3)] == [1, 1, 1]


def test_free_pieces_of_rank_0_come_back_with_their_rank() -> None:
    rarity, whole = Rarity(600), Bits(600)
    whole.fill()
    for piece in (5, 599):
        rarity.want(piece)
    rarity.arrange(bytes(600))
    assert (rarity.wanted_count, rarity.idle_count) == (0, 2)
    assert rarity.first(whole) == rarity.any(whole, 1) == rarity.rarest(whole, 1) == -1
    rarity.unwant(5)
    rarity.want(7)
    rarity.arrange(bytes([2] * 600))
    assert (rarity.wanted_count, rarity.idle_count) == (2, 0)
    assert rarity.first(whole) == 7


def test_a_peer_that_was_never_counted_cannot_leave() -> None:
    rarity = Rarity(70)
    rarity.have(3)
    stranger = Bits(70)
    stranger.set(3)
    stranger.set(69)
    with pytest.raises(ValueError, match="fewer peers"):
        rarity.leave(stranger)
    with pytest.raises(ValueError, match="fewer peers"):
        rarity.lost(69)
    assert [rarity.availability(i) for i in (3, 69)] == [1, 0]


def test_counts_stop_at_the_top_instead_of_wrapping() -> None:
    rarity = Rarity(1)
    rarity.want(0)
    for _ in range(65540):
        rarity.have(0)
    assert rarity.availability(0) == 65535
    whole = Bits(1)
    whole.fill()
    assert rarity.rarest(whole, 1) == 0


@pytest.mark.parametrize("n", [10, 3000])
def test_ties_are_broken_by_chance(n: int) -> None:
    rarity, whole = Rarity(n), Bits(n)
    whole.fill()
    for piece in range(n):
        rarity.want(piece)
    for choose in (rarity.rarest, rarity.any):
        picks = Counter(choose(whole, seed) for seed in range(100 * n))
        assert len(picks) == n
        assert max(picks.values()) < 200


class RarityMachine(RuleBasedStateMachine):
    """Any sequence of peers, pieces and wishes, against counts kept by hand."""

    n = 700  # two blocks, the last word ragged

    def __init__(self) -> None:
        super().__init__()
        self.rarity = Rarity(self.n)
        self.peers: list[set[int]] = []
        self.free: set[int] = set()
        self.ranks = [1] * self.n

    @property
    def wanted(self) -> set[int]:
        return {piece for piece in self.free if self.ranks[piece]}

    def bits(self, pieces: set[int]) -> Bits:
        bits = Bits(self.n)
        for piece in pieces:
            bits.set(piece)
        return bits

    def sample(self, seed: int, density: float) -> set[int]:
        dice = random.Random(seed)
        return {piece for piece in range(self.n) if dice.random() < density}

    @rule(seed=st.integers(0, 2**32), density=st.sampled_from([0, 0.01, 0.3, 0.9, 1, 1]))
    def join(self, seed: int, density: float) -> None:
        peer = self.sample(seed, density)
        self.peers.append(peer)
        self.rarity.join(self.bits(peer))

    @precondition(lambda self: self.peers)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        peer = self.peers.pop(data.draw(st.integers(0, len(self.peers) - 1)))
        self.rarity.leave(self.bits(peer))

    @precondition(lambda self: self.peers)
    @rule(data=st.data(), rest=st.booleans())
    def have(self, data: st.DataObject, rest: bool) -> None:
        peer = data.draw(st.sampled_from(self.peers))
        missing = sorted(set(range(self.n)) - peer)
        for piece in missing if rest else missing[:3]:
            peer.add(piece)
            self.rarity.have(piece)

    @precondition(lambda self: any(self.peers))
    @rule(data=st.data())
    def lost(self, data: st.DataObject) -> None:
        peer = data.draw(st.sampled_from([peer for peer in self.peers if peer]))
        piece = data.draw(st.sampled_from(sorted(peer)))
        peer.remove(piece)
        self.rarity.lost(piece)

    @rule(seed=st.integers(0, 2**32), density=st.sampled_from([0, 0.01, 0.1, 0.7, 1]))
    def wish(self, seed: int, density: float) -> None:
        wanted = self.sample(seed, density)
        for piece in range(self.n):
            (self.rarity.want if piece in wanted else self.rarity.unwant)(piece)
        self.free = wanted

    @rule(seed=st.integers(0, 2**32), density=st.sampled_from([0, 0.7, 0.99, 1]))
    def wish_for_the_rest(self, seed: int, density: float) -> None:
        have = self.sample(seed, density)
        self.rarity.want_missing(self.bits(have))
        self.free |= set(range(self.n)) - have

    @rule(
        seed=st.integers(0, 2**32), kinds=st.sampled_from(["1", "01", "0123456", "06", "0", "26"])
    )
    def arrange(self, seed: int, kinds: str) -> None:
        """Whole stretches, as files are, and some single pieces."""
        dice = random.Random(seed)
        for _ in range(6):
            at, rank = dice.randrange(self.n), int(dice.choice(kinds))
            for piece in range(at, min(at + dice.choice([1, 9, 300, 700]), self.n)):
                self.ranks[piece] = rank
        self.rarity.arrange(bytes(self.ranks))

    @rule(seed=st.integers(0, 2**32))
    def lacking(self, seed: int) -> None:
        have = self.sample(seed, 0.3)
        lacking = self.rarity.lacking(self.bits(have))
        assert list(lacking) == [bool(r) and p not in have for p, r in enumerate(self.ranks)]

    def cls(self, piece: int) -> int:
        count = self.rarity.availability(piece) - self.rarity.seeds
        return bisect.bisect(CLASS_EDGES, count) - 1

    @rule(seed=st.integers(0, 2**64 - 1))
    def pick(self, seed: int) -> None:
        for peer in self.peers:
            common = peer & self.wanted
            bits = self.bits(peer)
            first = self.rarity.first(bits)
            rarest, some = self.rarity.rarest(bits, seed), self.rarity.any(bits, seed)
            if not common:
                assert (first, rarest, some) == (-1, -1, -1)
                continue
            urgent = max(self.ranks[piece] for piece in common)
            common = {piece for piece in common if self.ranks[piece] == urgent}
            assert first == min(common)
            assert some in common
            assert rarest in common
            assert self.cls(rarest) == min(map(self.cls, common))

    @invariant()
    def counts_are_right(self) -> None:
        have = Counter(piece for peer in self.peers for piece in peer)
        assert all(self.rarity.availability(piece) == have[piece] for piece in range(self.n))
        assert all(self.rarity.rank(piece) == rank for piece, rank in enumerate(self.ranks))
        assert self.rarity.wanted_count == len(self.wanted)
        assert self.rarity.idle_count == len(self.free) - len(self.wanted)
        assert {p for p, wanted in enumerate(self.rarity.wanted) if wanted} == self.wanted
        assert 0 <= self.rarity.seeds <= len(self.peers)


TestRarity = RarityMachine.TestCase
TestRarity.settings = settings(
    max_examples=30, stateful_step_count=20, deadline=None, phases=[Phase.explicit, Phase.generate]
)
