"""One end of a connection of a simulated swarm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swarm._fill import BLOCK_SIZE
from swarm._wire import Wire
from swarm.engine.peer import Peer

from .link import LOW_WATER, Pipe
from .trace import CANCEL, FLAGS, REQUEST, messages

if TYPE_CHECKING:
    from .node import Node


class End:
    """One node's end of a connection."""

    def __init__(self, node: Node, other: Node, trip: float) -> None:
        self.node = node
        self.other = other
        self.twin: End
        self.wire: Wire
        self.peer: Peer
        self.closed = False
        self.trip = trip
        self.pipe = Pipe(
            node.swarm.clock, node.up, other.down, trip, self._deliver, self._attached_serve
        )

    def _deliver(self, data: bytes) -> None:
        if not self.twin.closed:
            self.other.on_bytes(self.twin, data)

    def _attached_serve(self) -> None:
        if not self.closed:
            self.serve()

    def serve(self) -> None:
        """Answers requests, as long as the line takes them."""
        if self.node.limit_up.limit.rate is not None:
            if self._room:
                self.node.limit_up.ask(self)
            return
        while self._room:
            self._send(self._room)

    def give(self, blocks: int) -> int:
        """Sends so many blocks at most; how many bytes those are."""
        sent = self._send(min(blocks, self._room)) if self._room else 0
        self.serve()
        return sent

    @property
    def _room(self) -> int:
        """Blocks that the line takes now and the peer waits for; 0 if there is none."""
        if self.closed or self.node.mute or not self.wire.wants or self.pipe.queued >= LOW_WATER:
            return 0
        return 1 + (LOW_WATER - self.pipe.queued) // BLOCK_SIZE

    def _send(self, blocks: int) -> int:
        packed = self.wire.take_requests(blocks)
        frames = self.node.store.frames(packed, self.node.lie)
        size = len(frames) - 13 * (len(packed) // 12)
        self.wire.sent(size, at_once=False)
        self.pipe.send(frames)
        return size

    def shut(self, reason: str) -> None:
        """Ends the connection here at once, and at the other end when it gets to know."""
        if self.closed:
            return
        self.closed = True
        self.pipe.close()
        node, clock = self.node, self.node.swarm.clock
        if hasattr(self, "peer"):
            del node.ends[self.peer.key]
            node.limit_down.drop(self.peer)
            node.limit_up.drop(self)
            node.note("leave", self.other.name, reason)
            node.engine.leave(self.peer, clock.now)
            for asked in node.asked.values():
                asked.discard(self.peer.key)
            if node.engine.candidates.is_banned(self.peer.addr[0]):
                node.note("ban", self.other.name)
        clock.after(self.trip, self.twin._lost)

    def _lost(self) -> None:
        if not self.closed:
            self.shut("closed by the peer")
            self.node.settle()

    def witness(self, data: bytes) -> None:
        """Puts what our wire says into the trace."""
        node, name = self.node, self.other.name
        for kind, first, second in messages(data):
            if kind == REQUEST:
                asked = node.asked.setdefault(first, set())
                if self.peer.key not in asked:
                    if asked:
                        node.note("share", name, first)
                    else:
                        node.note("request", name, first, *self._rarity(first))
                    asked.add(self.peer.key)
            elif kind == CANCEL:
                node.note("cancel", name, first, second)
            elif kind in FLAGS:
                node.note(FLAGS[kind], name)

    def _rarity(self, piece: int) -> tuple[int, int]:
        """How many leechers have this piece, and the least of all as urgent this peer could give."""
        rarity, wire = self.node.engine.picker.rarity, self.wire
        mine = rarity.availability(piece) - rarity.seeds
        wanted = rarity.wanted
        if wire.peer_choking:
            return mine, mine
        rank = rarity.rank(piece)
        others = (
            i for i in range(wanted.n) if wanted[i] and wire.bits[i] and rarity.rank(i) == rank
        )
        return mine, min((rarity.availability(i) - rarity.seeds for i in others), default=mine)
