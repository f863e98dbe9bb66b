"""Which piece to fetch next: the most urgent, and of those a few at random, then the rarest (BEP 3)."""

from __future__ import annotations

import random

from swarm._bits import Bits, Rarity


class Picker:
    """The pieces that are still to be fetched, handed out one at a time.

    A piece is verified (in `have`), assigned (handed out by `pick`), or free. Its rank says how
    urgent it is; one of rank 0 is not wanted and never handed out. Nothing here grows with the number
    of pieces except a scan of words: `rarity` keeps the free ones sorted. `have` is shared with the
    caller, and only the picker changes it.

    Every method that takes a piece raises IndexError for one that does not exist, and every one
    that takes a set raises ValueError for a set of another size.
    """

    def __init__(self, have: Bits, *, random_first: int = 4) -> None:
        self.have = have
        self.rarity = Rarity(have.n)
        self.sequential = False
        """Lowest index first instead of rarest first, among pieces of the same rank."""
        self.graded = False
        """Whether some of the wanted pieces are more urgent than others."""
        self._random_first = random_first
        self.rarity.want_missing(have)
        self.missing = self.rarity.lacking(have)
        """Pieces that are wanted and not verified, assigned or not."""

    def arrange(self, ranks: bytes, *, sequential: bool) -> None:
        """Ranks the pieces anew, a byte for each (`Selection.ranks`). Takes back nothing."""
        self.rarity.arrange(ranks)
        self.missing = self.rarity.lacking(self.have)
        self.graded = len(set(ranks) - {0}) > 1
        self.sequential = sequential

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left to assign, so that the end game may start."""
        return self.rarity.wanted_count == 0

    def pick(self, offered: Bits, rng: random.Random) -> int | None:
        """Assigns one of the offered pieces; None if none of them is both free and wanted.

        The first pieces are random, because the rarest piece is often slow to come, and until one
        is complete there is nothing to give in return. After that, the rarest spreads best.
        """
        rarity = self.rarity
        seed = rng.getrandbits(64)
        if self.sequential:
            piece = rarity.first(offered)
        elif self.have.n - rarity.wanted_count - rarity.idle_count < self._random_first:
            piece = rarity.any(offered, seed)
        else:
            piece = rarity.rarest(offered, seed)
        if piece < 0:
            return None
        rarity.unwant(piece)
        return piece

    def pick_next_to(self, piece: int, offered: Bits) -> int | None:
        """Assigns the piece behind one that was picked, if it was as good a choice: as urgent, no less rare."""
        rarity, after = self.rarity, piece + 1
        if after >= rarity.n or not (rarity.wanted[after] and offered[after]):
            return None
        if rarity.rank(after) != rarity.rank(piece):
            return None
        if rarity.availability(after) > rarity.availability(piece):
            return None
        rarity.unwant(after)
        return after

    def put_back(self, piece: int) -> None:
        """Its hash was wrong, or nobody fetches it any more. A verified piece stays verified."""
        if not self.have[piece]:
            self.rarity.want(piece)

    def done(self, piece: int) -> None:
        """It is verified, and will not be handed out again."""
        self.have.set(piece)
        self.missing.clear(piece)
        self.rarity.unwant(piece)

    def interesting(self, offered: Bits) -> bool:
        """Whether any offered piece is wanted and not verified yet (it may be assigned)."""
        return offered.offers(self.missing)

    @property
    def ordered(self) -> bool:
        """Whether some pieces are to come before others, however rare they are."""
        return self.graded or self.sequential

    def foremost(self, offered: Bits) -> int | None:
        """The free piece that comes before all others of those offered (`precedes`)."""
        piece = self.rarity.first(offered)
        return piece if piece >= 0 else None

    def precedes(self, piece: int, other: int) -> bool:
        """Whether a piece comes before another: it is more urgent, or earlier when in order."""
        more = self.rarity.rank(piece) - self.rarity.rank(other)
        return more > 0 or (not more and self.sequential and piece < other)
