"""What the engine knows of one connected peer."""

from __future__ import annotations

from swarm._fill import BLOCK_SIZE
from swarm._wire import Wire

from .rate import Rate
from .slots import BUFFERED

SLOW_PIECE = 30.0
"""A peer that needs longer than this for one piece, in seconds, shares pieces with its like."""
PATIENCE = 4.0
"""Seconds that a peer of unknown speed is given for a piece."""
PACE_TAU, PACE_YOUNGEST = 2.0, 0.001
"""How quickly a pace is forgotten and found, in seconds in which the peer owed us something."""
CHOKE_GRACE = 2.0
"""Requests that come this long after a choke, in seconds, were not sent before it."""
FRESH_DEPTH = 16
"""Requests that a peer of unknown speed is asked ahead."""
HEAD_ROOM = 512
"""The most blocks (8 MiB) that are asked ahead beyond what fills the line."""
LEAST_BATCH, MOST_BATCH = 4, 64
"""Blocks that are read for a peer at once: 64 KiB to 1 MiB."""
BATCH_TIME = 0.25
"""Seconds of a peer's rate that one such read may be, so that slow peers do not hold the read slots."""
ABREAST_TIME = 0.25
"""Seconds of a peer's rate that the pieces may be which it sends side by side."""
MOST_ABREAST = 32
SHORTEST = 0.02
"""Seconds that a rate is taken over, at least."""


class Peer:
    """One connection and its history. The wire holds the protocol's state; this holds the judgement."""

    __slots__ = (
        "_busy",
        "addr",
        "announced",
        "blocks",
        "burst",
        "choked_at",
        "client",
        "down",
        "extended",
        "heard_at",
        "joined",
        "kept_alive_at",
        "opened",
        "outgoing",
        "pace",
        "parole",
        "peer_id",
        "progress_at",
        "proven",
        "received",
        "request_queue",
        "sampled_at",
        "served",
        "snubbed",
        "strikes",
        "unchoked_at",
        "up",
        "upload_only",
        "waited",
        "wire",
    )

    def __init__(
        self,
        wire: Wire,
        *,
        addr: tuple[str, int],
        peer_id: bytes,
        outgoing: bool,
        now: float,
    ) -> None:
        self.wire = wire
        wire.depth = FRESH_DEPTH
        self.addr = addr
        self.peer_id = peer_id
        self.outgoing = outgoing
        self.joined = now
        self.client = ""
        self.announced: tuple[str, int] | None = addr if outgoing else None
        """Where it can be dialled, when that is known."""
        self.request_queue = 250
        self.extended = False
        """It takes extended messages (BEP 10)."""
        self.upload_only = False
        self.down = Rate(now)
        self.up = Rate(now)
        self.pace = 0.0
        """Bytes/s that it gives when it is asked; 0 before it has given anything."""
        self.burst = 0.0
        """Bytes/s of the current second, as of its last part."""
        self._busy = Rate(0.0, tau=PACE_TAU, youngest=PACE_YOUNGEST)
        self.waited = 0.0
        """Seconds since the last block of those that it owes us."""
        self.blocks = 0
        self.received = 0
        self.sampled_at = self.heard_at = self.progress_at = self.kept_alive_at = self.choked_at = (
            now
        )
        self.unchoked_at = 0
        """What it had been sent, in bytes, when we unchoked it."""
        self.served = 0
        """What of its bytes since then was counted as served."""
        self.snubbed = False
        self.parole = False
        self.opened = -1
        """The piece that it began last; at first, none."""
        self.strikes = 0
        """Bad pieces that its host has sent alone."""
        self.proven = False
        """A piece that it sent alone was right."""

    @property
    def key(self) -> int:
        return self.wire.key

    @property
    def is_seed(self) -> bool:
        return self.wire.bits.full or self.upload_only

    def slow_for(self, piece_length: int) -> bool:
        """Whether this peer would hold a whole piece for too long (unknown speed counts as fast)."""
        return self.blocks > 0 and self.pace * SLOW_PIECE < piece_length

    def eta(self, size: int) -> float:
        """Seconds for `size` more bytes. Who has given nothing may yet give a block in this moment."""
        return size / self.pace if self.pace > 0 else size * self.waited / BLOCK_SIZE

    @property
    def due(self) -> float:
        """Seconds until it is through with what it was asked."""
        return float("inf") if self.snubbed else self.eta(self.wire.owed)

    def landed(self, now: float) -> None:
        """A part has come."""
        if now - self.sampled_at >= SHORTEST:
            self.burst = (self.wire.downloaded - self.down.total) / (now - self.sampled_at)

    def abreast(self, piece_length: int) -> int:
        """How many pieces it may send side by side: so few that they are through in a moment."""
        return min(int(self.burst * ABREAST_TIME / piece_length), MOST_ABREAST)

    def choke(self, choking: bool, now: float) -> None:
        """Chokes or unchokes it."""
        if choking == self.wire.am_choking:
            return
        if choking:
            self.choked_at = now
        else:
            self.unchoked_at, self.served = self.wire.uploaded, 0
        self.wire.choke(choking)

    def take_served(self) -> int:
        """Bytes it was sent since the last call, without what may only have filled buffers (`Slots`)."""
        before = self.served
        self.served = max(0, self.wire.uploaded - self.unchoked_at - BUFFERED)
        return self.served - before

    def sample(self, now: float) -> None:
        """Reads the wire's counters: rates, and when it last moved."""
        wire = self.wire
        wire.at(now)
        self.measure()
        self.down.sample(wire.downloaded, now)
        self.up.sample(wire.uploaded, now)
        self.sampled_at = now
        if wire.received != self.received:
            self.received = wire.received
            self.heard_at = now
        if wire.blocks != self.blocks or not wire.outstanding:
            self.progress_at = now
        if wire.blocks != self.blocks:
            self.blocks = wire.blocks
            if self.snubbed:
                self.snubbed = False
                wire.depth = FRESH_DEPTH
        self.waited = now - self.progress_at
        wire.choke_settled = wire.am_choking and now - self.choked_at > CHOKE_GRACE

    def measure(self) -> None:
        """Finds its pace anew, from what it did while it owed us something: idleness says nothing."""
        if self.wire.blocks:
            self._busy.sample(self.wire.downloaded, self.wire.busy)
            self.pace = self._busy.value

    def set_depth(self, most: int) -> None:
        """Bounds the request pipeline: two round trips of its rate and some head-room, `most` blocks at most.

        How much of that it takes is found by the wire, with each block that comes.
        """
        wire = self.wire
        most = max(1, min(most, self.request_queue))
        if self.snubbed:
            wire.ceiling = 1
        else:
            wire.ceiling = min(most, HEAD_ROOM + int(2 * self.pace * wire.round_trip / BLOCK_SIZE))
        wire.depth = min(wire.depth, wire.ceiling)
        taken = int(self.up.value * BATCH_TIME / BLOCK_SIZE)
        wire.batch = max(LEAST_BATCH, min(MOST_BATCH, taken))
