"""Which piece to fetch next (BEP 3: a few at random, then the rarest first)."""

from __future__ import annotations

import random

from swarm._bits import Bits, Rarity


class Picker:
    """The pieces that are still to be fetched, handed out one at a time.

    A piece is verified (in `have`), assigned (handed out by `pick`), or in the pool. Nothing here
    grows with the number of pieces except a scan of words: `rarity` keeps the pool sorted. `have`
    is shared with the caller, and only the picker changes it.

    Every method that takes a piece raises IndexError for one that does not exist, and every one
    that takes a set raises ValueError for a set of another size.
    """

    def __init__(self, have: Bits, *, random_first: int = 4) -> None:
        self.have = have
        self.rarity = Rarity(have.n)
        self._random_first = random_first
        self.rarity.want_missing(have)

    @property
    def remaining(self) -> int:
        """How many pieces are not verified."""
        return self.have.n - self.have.count

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left to assign, so that the end game may start."""
        return self.rarity.wanted_count == 0

    def pick(self, offered: Bits, rng: random.Random) -> int | None:
        """Takes one of the offered pieces out of the pool; None if none of them is in it.

        The first pieces are random, because the rarest piece is often slow to come, and until one
        is complete there is nothing to give in return. After that, the rarest spreads best.
        """
        seed = rng.getrandbits(64)
        if self.have.n - self.rarity.wanted_count < self._random_first:
            piece = self.rarity.any(offered, seed)
        else:
            piece = self.rarity.rarest(offered, seed)
        if piece < 0:
            return None
        self.rarity.unwant(piece)
        return piece

    def put_back(self, piece: int) -> None:
        """Its hash was wrong, or nobody fetches it any more. A verified piece stays verified."""
        if not self.have[piece]:
            self.rarity.want(piece)

    def done(self, piece: int) -> None:
        """It is verified, and will not be handed out again."""
        self.have.set(piece)
        self.rarity.unwant(piece)

    def interesting(self, offered: Bits) -> bool:
        """Whether any offered piece is not verified yet (it may be assigned)."""
        return offered.exceeds(self.have)
