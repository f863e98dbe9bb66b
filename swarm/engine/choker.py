"""Who may download from us (BEP 3, "choking")."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

ROUND = 10.0
"""Seconds between two looks at the rates: long enough for TCP to show what a peer can give."""
TURN = 30.0
"""Seconds of an optimistic unchoke, and between two changes of whom a seed serves."""
LONGEST_STAY = 120.0
"""Seconds after which even the fastest taker of a seed makes room for one that waits."""
HURRY = 0.1
"""Seconds between two early runs at least, however often peers change their minds."""


@dataclass(slots=True)
class ChokeView:
    """What the choker sees of one peer. Rates in bytes/s: `down_rate` is what it gives us."""

    key: int
    interested: bool
    unchoked: bool
    down_rate: float
    up_rate: float
    snubbed: bool
    joined: float


class Choker:
    """Shares `slots` unchokes among the interested peers of a torrent.

    Leeching: all slots but one go to those who give us most, snubs excluded. What is left goes
    round, and every 30 s the next choked peer has its turn; a new peer is three times as likely to
    be that next one as to have any other place in the rotation.

    Seeding: every 30 s the slower half of those served, and whoever was served for two minutes,
    make room for those who have waited longest. Fast takers stay longer, and nobody waits for more
    than 30 s for each `slots // 2` peers (at least one) that came before it.

    A peer that is not interested is never unchoked. BEP 3 unchokes those with better rates, so that
    they can start at once when they get interested; here the owner calls `hurry` instead, and at
    no moment can more than `slots` peers ask us for data.
    """

    def __init__(self, slots: int, rng: random.Random) -> None:
        self.slots = slots
        self._rng = rng
        self._round = self._turn = self._last = float("-inf")
        self._early = float("inf")
        self._rotation: list[int] = []  # keys of all peers; turns are taken from the front
        self._optimistic: set[int] = set()
        self._since: dict[int, float] = {}  # when each peer was last choked or unchoked, or joined

    def deadline(self) -> float:
        """When `run` is due; minus infinity before the first run."""
        return min(self._round, self._early)

    def hurry(self, now: float) -> None:
        """A slot fell free, or a peer got interested: `run` is due now, but not twice within `HURRY`.

        Runs that found nobody interested do not count, or the first peer would wait for its first unchoke.
        """
        self._early = max(now, self._last + HURRY)

    def run(self, now: float, peers: Sequence[ChokeView], *, seeding: bool) -> set[int]:
        """The keys of the peers to be unchoked; all others are to be choked.

        May be called at any time. Before a round is due it only fills slots that fell free.
        """
        views = {peer.key: peer for peer in peers}
        self._enrol(views)
        due, turn = now >= self._round, now >= self._turn
        if due:
            self._round = now + ROUND
        if turn:
            self._turn = now + TURN
        self._early = float("inf")
        keys = [key for key in self._rotation if views[key].interested]
        if keys:
            self._last = now
        order = (self._serve if seeding else self._reward)(now, views, keys, turn)
        if not due:
            order = [key for key in keys if views[key].unchoked] + order
        chosen = set(list(dict.fromkeys(order))[: self.slots])
        self._optimistic = chosen.difference(self._givers(views, keys))
        for key, peer in views.items():
            if peer.unchoked != (key in chosen):
                self._since[key] = now
        return chosen

    def _enrol(self, views: dict[int, ChokeView]) -> None:
        """Forgets peers that have left, and gives new ones their place in the rotation."""
        self._rotation = [key for key in self._rotation if key in views]
        self._since = {key: since for key, since in self._since.items() if key in views}
        for key, peer in views.items():
            if key not in self._since:
                self._since[key] = peer.joined
                # Three of the draws land in front.
                place = self._rng.randrange(-2, len(self._rotation) + 1)
                self._rotation.insert(max(place, 0), key)

    def _givers(self, views: dict[int, ChokeView], keys: list[int]) -> list[int]:
        """Those who have earned a slot."""
        giving = [key for key in keys if views[key].down_rate > 0 and not views[key].snubbed]
        giving.sort(key=lambda key: -views[key].down_rate)
        return giving[: self.slots - 1]

    def _reward(
        self, now: float, views: dict[int, ChokeView], keys: list[int], turn: bool
    ) -> list[int]:
        """Leeching: interested peers, the most deserving first."""
        givers = self._givers(views, keys)
        others = [key for key in keys if key not in givers]
        if not turn:  # whoever has the optimistic slots keeps them until the turn is over
            return givers + sorted(others, key=lambda key: key not in self._optimistic)
        # Those whose turn is over line up behind all others.
        self._rotation.sort(key=lambda key: views[key].unchoked)
        return givers + sorted(others, key=lambda key: views[key].unchoked)

    def _serve(
        self, now: float, views: dict[int, ChokeView], keys: list[int], turn: bool
    ) -> list[int]:
        """Seeding: interested peers, the next to be served first."""
        served = [key for key in keys if views[key].unchoked]
        served.sort(key=lambda key: (-views[key].up_rate, -self._since[key]))
        queue = [key for key in keys if not views[key].unchoked]
        queue.sort(key=lambda key: self._since[key])
        if not turn:
            return served + queue
        staying = [key for key in served if now - self._since[key] < LONGEST_STAY]
        room = self.slots - min(len(queue), max(self.slots // 2, 1))
        return staying[:room] + queue + staying[room:] + served
