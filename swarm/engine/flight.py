"""The pieces under way: who fetches what, how slow peers share, and end game.

The engine deals in pieces; the wires ask for their blocks. A fast peer owns its pieces alone, so that a
bad one is traced to it at once. Slow peers share. What a lost peer leaves half done is finished first,
unless something more urgent can be had. What is not wanted any more is given up at once.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from swarm._bits import Bits
from swarm._fill import BLOCK_SIZE, Fill
from swarm._wire import Wire

from .buffers import Buffers
from .peer import PATIENCE, Peer
from .picker import Picker

PART_SIZE = 1 << 20
"""A piece is fetched in slots of at most this size, so that memory does not grow with the piece."""
MOST_UNPROVEN = 2
"""Pieces that a peer may have under way alone before the first one of it was right."""
MOST_PROBES = 2
"""Slots that all snubbed peers together may hold: they show what they are with one, and cost others no more."""
OLDEST = 8
"""Pieces under way of which some may need help, before something is begun that comes after them."""
MARGIN = 0.1
"""Seconds by which no estimate is right."""
EARLY = 2.0
"""What is urgent and comes within this many seconds is early enough."""
MOST_IN_VAIN = 8
"""Peers that are fed at once though there is nothing for them."""


class Flight:
    """Assigns pieces to peers and follows them until their verdict."""

    def __init__(
        self,
        picker: Picker,
        buffers: Buffers,
        rng: random.Random,
        *,
        length: int,
        piece_length: int,
        memory: int,
        padding: Mapping[int, int] | None = None,
    ) -> None:
        self.picker = picker
        self.fills: dict[int, Fill] = {}
        """Pieces with blocks missing, by piece."""
        self.judged: dict[int, Fill] = {}
        """Pieces whose blocks are all here and whose verdict is not."""
        self.starving: OrderedDict[int, Peer] = OrderedDict()
        """Peers that would take a piece if there was a slot, by key, the longest waiting first."""
        self._probing: list[Peer] = []
        self._orphans: dict[int, Fill] = {}
        self._shared: dict[int, Fill] = {}
        self._buffers = buffers
        self._rng = rng
        self._length = length
        self._piece_length = piece_length
        self._padding = padding or {}
        self._part_size = min(piece_length, PART_SIZE)
        self._slots = memory // self._part_size

    @property
    def ending(self) -> bool:
        """Whether no piece is left to begin, and there are some to be finished."""
        return bool(self.fills) and self.picker.exhausted

    # ------------------------------------------------------------ giving work

    def feed(self, peer: Peer) -> None:
        """Gives a peer pieces until its pipeline is full or there is nothing for it."""
        wire = peer.wire
        while wire.hungry:
            fill = self._beside(peer)
            if fill is None and self._grow(peer):
                wire.refill()
                continue
            fill = fill or self._next(peer)
            if fill is None:
                return
            before = wire.outstanding
            wire.assign(fill)
            wire.refill()
            # Only who was chosen to help asks again: not the late ones for what the helper was asked.
            fill.endgame = False
            if wire.outstanding == before:
                return

    def eager(self, peer: Peer) -> bool:
        """Whether a hungry peer is to be fed now: while there is no slot, only who has nothing to do at all."""
        return peer.key not in self.starving or not peer.wire.outstanding

    def feed_starving(self) -> None:
        """A slot may have come free: who has waited longest gets it, then the next, until there is none."""
        vain = 0
        while self.starving and vain < MOST_IN_VAIN:
            key, peer = self.starving.popitem(last=False)
            before = peer.wire.outstanding
            self.feed(peer)
            got = peer.wire.outstanding != before
            if key in self.starving:
                self.starving.move_to_end(key, last=got)
                return
            vain += not got

    def _next(self, peer: Peer) -> Fill | None:
        if peer.parole:
            return self._open(peer) or self._restart(peer)
        return self._adopt(peer) or self._hasten(peer) or self._open(peer) or self._rescue(peer)

    def _offers(self, wire: Wire, fill: Fill) -> bool:
        return self._has(wire, fill) and fill not in wire.fills

    @staticmethod
    def _has(wire: Wire, fill: Fill) -> bool:
        if wire.peer_choking and fill.piece not in wire.allowed_fast:
            return False
        return wire.bits[fill.piece]

    def _beside(self, peer: Peer) -> Fill | None:
        """One more piece of several parts for a fast peer: parts of one piece can only be hashed one after
        the other, those of several side by side. Never more than there are slots for, since a kill costs
        what is there of each."""
        if self._part_size == self._piece_length or self.picker.ordered:
            return None
        if len(self.fills) >= self._slots:
            return None
        if peer.parole or len(peer.wire.fills) >= peer.abreast(self._piece_length):
            return None
        return self._adopt(peer) or self._open(peer)

    def _grow(self, peer: Peer) -> bool:
        """The next slot for a piece this peer fetches already: for the one that has the fewest."""
        if peer.wire.peer_choking:
            return False
        fills = (fill for fill in peer.wire.fills if fill.wants_slot and not fill.has_free)
        fill = min(fills, key=_attached, default=None)
        return fill is not None and self._attach(fill, peer)

    def _attach(self, fill: Fill, peer: Peer) -> bool:
        slot = self._buffers.checkout(fill.slot_size)
        if slot is None:
            self.starving[peer.key] = peer
            return False
        self._buffers.align(slot, fill.piece, fill.next_offset)
        fill.attach(slot)
        return True

    def _adopt(self, peer: Peer) -> Fill | None:
        """A piece that somebody left half done; for a slow peer also one that its like fetch."""
        pools = [self._orphans]
        if peer.slow_for(self._piece_length):
            pools.append(self._shared)
        for pool in pools:
            for fill in pool.values():
                if not self._offers(peer.wire, fill) or self._outdone(fill, peer):
                    continue
                if self._has_work(fill, peer):
                    self._orphans.pop(fill.piece, None)
                    fill.exclusive = False
                    return fill
        return None

    def _outdone(self, fill: Fill, peer: Peer) -> bool:
        """Whether this peer could begin a piece that is to come before this one."""
        if not self.picker.ordered:
            return False
        new = self.picker.foremost(self._offered(peer.wire))
        return new is not None and self.picker.precedes(new, fill.piece)

    def _has_work(self, fill: Fill, peer: Peer) -> bool:
        return fill.has_free or (fill.wants_slot and self._attach(fill, peer))

    def _open(self, peer: Peer) -> Fill | None:
        """A new piece."""
        offered = self._offered(peer.wire)
        if not offered.offers(self.picker.rarity.wanted):
            return None
        if not peer.proven and self._alone(peer) >= max(MOST_UNPROVEN - peer.strikes, 1):
            return None
        if peer.snubbed and not self._may_probe(peer):
            return None
        slot = self._buffers.checkout(self._part_size) or self._reclaim()
        if slot is None:
            self.starving[peer.key] = peer
            return None
        piece = self._neighbour(peer, offered)
        if piece is None:
            piece = self.picker.pick(offered, self._rng)
        if piece is None:
            return None
        peer.opened = piece
        padding = self._padding.get(piece, 0)
        fill = Fill(piece, self._size(piece), self._part_size, padding)
        self._buffers.align(slot, piece, 0)
        fill.attach(slot)
        fill.exclusive = peer.parole
        self.fills[piece] = fill
        if not peer.parole and peer.slow_for(self._piece_length):
            self._shared[piece] = fill
        return fill

    def _may_probe(self, peer: Peer) -> bool:
        """Whether a snubbed peer may hold a slot that others could fill."""
        self._probing = [one for one in self._probing if one.snubbed and one.wire.fills]
        if len(self._probing) >= MOST_PROBES or peer in self._probing:
            return False
        self._probing.append(peer)
        return True

    def _neighbour(self, peer: Peer, offered: Bits) -> int | None:
        """The small piece behind the one that a fast peer began last: what follows each other is read and
        written at once, `PART_SIZE` of it."""
        together = PART_SIZE // self._piece_length
        if together < 2 or self.picker.ordered or not peer.abreast(PART_SIZE):
            return None
        if (peer.opened + 1) % together == 0:
            return None
        return self.picker.pick_next_to(peer.opened, offered)

    def _alone(self, peer: Peer) -> int:
        """Pieces without a verdict that have come, or are to come, from this peer only."""
        mine = {peer.key}
        coming = sum(fill.contributors <= mine for fill in peer.wire.fills)
        return coming + sum(fill.contributors == mine for fill in self.judged.values())

    def _reclaim(self) -> Any | None:
        """The memory of a piece that somebody left half done and that nobody here goes on with."""
        idle = (piece for piece, fill in self._orphans.items() if fill.has_free)
        if (piece := next(idle, None)) is None:
            return None
        idle.close()
        self._drop(self._orphans[piece])
        return self._buffers.checkout(self._part_size)

    def _hasten(self, peer: Peer) -> Fill | None:
        """What is to come before anything that this peer could begin, and is in slow hands.

        So what is urgent has an end game of its own, and when pieces come in order, no slow peer keeps
        a hole open behind which everything else is of no use yet.
        """
        picker = self.picker
        if not picker.ordered or not self.fills or peer.snubbed:
            return None
        new = picker.foremost(self._offered(peer.wire))
        if new is None:
            return None
        before = (piece for piece in islice(self.fills, OLDEST) if picker.precedes(piece, new))
        late = [fill for piece in before if self._is_late(fill := self.fills[piece], peer)]
        return self._help(peer, late) or self._take_over(peer, late, EARLY)

    def _rescue(self, peer: Peer) -> Fill | None:
        """No new piece is left for this peer: help with one that others fetch."""
        if fill := self._help(peer, self.fills.values()):
            return fill
        peer.measure()
        if not self.picker.exhausted or peer.snubbed or peer.due > peer.wire.round_trip + MARGIN:
            return None
        fills = self.fills.values()
        holders: set[Peer] = {wire.owner for fill in fills for wire in fill.wires}
        for holder in holders:
            holder.measure()
        pace = sum(holder.pace for holder in holders | {peer})
        end = sum(fill.missing for fill in fills) * BLOCK_SIZE / pace if pace else 0.0
        return self._take_over(peer, fills, end)

    def _help(self, peer: Peer, fills: Iterable[Fill]) -> Fill | None:
        """One of these that has blocks which nobody was asked for."""
        for fill in fills:
            if not fill.exclusive and self._offers(peer.wire, fill) and self._has_work(fill, peer):
                self._orphans.pop(fill.piece, None)
                return fill
        return None

    def _take_over(self, peer: Peer, fills: Iterable[Fill], end: float) -> Fill | None:
        """End game: what the slowest peers were asked last goes to this one, if it is much faster.

        What comes within `end` seconds is early enough.
        """
        wire = peer.wire
        fills = [f for f in fills if self._has(wire, f) and not wire.awaits(f)]
        for fill in sorted(fills, key=self._due, reverse=True):
            mine = self._mine(peer, fill)
            if self._due(fill) < max(2 * mine, end):
                continue
            if fill.exclusive:
                self._give_up(fill)
                return self._open(peer)
            if not peer.pace:
                # It may not keep its word: ask twice, but little.
                fill.endgame = not wire.outstanding
                return fill
            for other in list(fill.wires):
                # Cancelled before it is sent, no block comes twice; what comes soon may come.
                holder: Peer = other.owner
                soon = max(2 * mine, end)
                other.spare(fill, 0 if holder.snubbed else int(holder.pace * soon / BLOCK_SIZE))
            if fill.has_free:
                return fill
        return None

    @staticmethod
    def _mine(peer: Peer, fill: Fill) -> float:
        """In how many seconds this peer could be through with what is missing of a piece."""
        work = peer.wire.owed + fill.missing * BLOCK_SIZE
        return MARGIN + peer.wire.round_trip + (peer.eta(work) if peer.pace else PATIENCE)

    def _is_late(self, fill: Fill, peer: Peer) -> bool:
        """Whether this peer can do much for it, which others fetch now."""
        holders: list[Peer] = [wire.owner for wire in fill.wires]
        mine = self._mine(peer, fill)
        if not fill.has_free and not fill.wants_slot:  # there is only what was asked of somebody
            return min((holder.due for holder in holders), default=0.0) >= max(2 * mine, EARLY)
        pace = sum(holder.pace for holder in holders)
        return (fill.missing * BLOCK_SIZE / pace if pace else PATIENCE) > max(mine, EARLY)

    @staticmethod
    def _due(fill: Fill) -> float:
        """In how many seconds the first of its peers is through with what it was asked."""
        holders: list[Peer] = [wire.owner for wire in fill.wires if wire.awaits(fill)]
        return min((holder.due for holder in holders), default=0.0)

    def _restart(self, peer: Peer) -> Fill | None:
        """For a peer on parole: an orphan, from the start, so that all of it is the peer's."""
        for fill in list(self._orphans.values()):
            if self._offers(peer.wire, fill):
                self._drop(fill)
                return self._open(peer)
        return None

    def _offered(self, wire: Wire) -> Bits:
        if not wire.peer_choking:
            return wire.bits
        allowed = Bits(wire.bits.n)
        for piece in wire.allowed_fast:
            if wire.bits[piece]:
                allowed.set(piece)
        return allowed

    def _size(self, piece: int) -> int:
        return min(self._piece_length, self._length - piece * self._piece_length)

    # ------------------------------------------------------------ taking work back

    def abandon(self, peer: Peer) -> None:
        """The peer fetches nothing any more: others may have its pieces."""
        left = list(peer.wire.fills)
        peer.wire.release()
        self.starving.pop(peer.key, None)
        for fill in left:
            if not fill.wires and not fill.done:
                # What a peer on parole leaves is not mixed with what others send.
                if fill.untouched or fill.exclusive:
                    self._drop(fill)
                else:
                    self._orphans[fill.piece] = fill

    def distrust(self, keys: set[int]) -> None:
        """Starts every piece over that these wires had a hand in."""
        for fill in list(self.fills.values()):
            if not keys.isdisjoint(fill.contributors):
                self._give_up(fill)

    def give_up_unwanted(self) -> None:
        """Gives up every piece under way that is not wanted; what waits for a verdict still gets it."""
        for fill in list(self.fills.values()):
            if not self.picker.missing[fill.piece]:
                self._give_up(fill)

    def drop_all(self) -> None:
        """Gives up every piece under way; those that wait for a verdict still get it."""
        for fill in list(self.fills.values()):
            self._give_up(fill)
        self.starving.clear()

    def _give_up(self, fill: Fill) -> None:
        """Nobody goes on with it: requests are cancelled, its slots are free."""
        for wire in list(fill.wires):
            wire.unassign(fill)
        self._drop(fill)

    def _drop(self, fill: Fill) -> None:
        self._remove(fill)
        if fill.parts > 1:
            self._buffers.forget_piece(fill.piece)
        self.picker.put_back(fill.piece)

    def _remove(self, fill: Fill) -> None:
        self.fills.pop(fill.piece, None)
        self._orphans.pop(fill.piece, None)
        self._shared.pop(fill.piece, None)

    # ------------------------------------------------------------ finished parts

    def collect(self, peer: Peer) -> None:
        """Sends the parts that a peer completed on to the store."""
        for fill in peer.wire.take_parts():
            for offset, slot, length in fill.take_ready():
                last = offset + length == fill.length
                if last:
                    self._remove(fill)
                    self.judged[fill.piece] = fill
                # A stranger's next piece hangs on this one, and the last piece on nothing else.
                patient = peer.proven and fill.contributors == {peer.key} and bool(self.fills)
                self._buffers.commit(fill.piece, offset, slot, length, last=last, patient=patient)

    def verdict(self, piece: int, good: bool) -> set[int] | None:
        """A piece was hashed. The keys of the peers that its bytes came from; None if it was given up."""
        fill = self.judged.pop(piece, None)
        if fill is None:
            return None
        if good:
            self.picker.done(piece)
        else:
            self.picker.put_back(piece)
        return fill.contributors

    def unwritten(self, piece: int) -> None:
        """The disk failed on this piece: it is to be fetched again."""
        fill = self.judged.pop(piece, None) or self.fills.get(piece)
        if fill is None:
            return
        self._give_up(fill)


def _attached(fill: Fill) -> int:
    return fill.next_offset
