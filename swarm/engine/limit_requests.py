"""A download limit, kept by asking: no more is requested than may come.

Peers send what they were asked for, so what is not requested takes nothing from anybody's line. Not reading
from a socket would leave it to the kernel's buffers how much comes how suddenly, would hold up the peer's
own requests and haves, and would let time-outs of requests run that our own limit keeps from being answered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from swarm._fill import BLOCK_SIZE
from swarm._wire import UNLIMITED

from .limit import Limit
from .peer import Peer


class LimitedRequests:
    """Holds the requests of one torrent's wires to a limit, and keeps the account.

    A request is paid for when it is sent. `totals` are the bytes downloaded, uploaded and wasted so far.
    """

    def __init__(
        self, limit: Limit, peers: Mapping[int, Peer], totals: Callable[[], tuple[int, int, int]]
    ) -> None:
        self.active = limit.lowest is not None
        self._limit = limit
        self._peers = peers
        self._totals = totals
        self._paid = 0

    def join(self, peer: Peer) -> None:
        """A new peer: nothing is requested from it before it was granted."""
        if self.active:
            peer.wire.allowance = 0

    def update(self) -> bool:
        """The limit has changed; whether there is one now and was none, or the other way round.

        What is under way by then comes as it was asked for.
        """
        active = self._limit.lowest is not None
        changed, self.active = active != self.active, active
        if changed:
            self._paid = self._ordered()
            for peer in self._peers.values():
                peer.wire.allowance = 0 if active else UNLIMITED
                peer.wire.refill()
        return changed

    def grant(self, peer: Peer, blocks: int, feed: Callable[[Peer], None]) -> int:
        """Requests so many blocks at most; `feed` finds more pieces. Returns how many bytes were."""
        wire = peer.wire
        if not self.active or peer.key not in self._peers:
            return 0
        wire.allowance = blocks
        wire.refill()
        if wire.hungry:
            feed(peer)
        size = (blocks - wire.allowance) * BLOCK_SIZE
        wire.allowance = 0
        self._paid += size
        return size

    def settle(self) -> None:
        """What was paid for and does not come (a choke, a cancel, a loss) is given back."""
        if self.active:
            ordered = self._ordered()
            self._limit.spend(ordered - self._paid)
            self._paid = ordered

    def _ordered(self) -> int:
        """Bytes that have come or are to come."""
        downloaded, _, wasted = self._totals()
        blocks = sum(peer.wire.outstanding for peer in self._peers.values())
        return downloaded + wasted + blocks * BLOCK_SIZE
