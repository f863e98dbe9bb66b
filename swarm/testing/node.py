"""One client of a simulated swarm: an engine, its wires, its line and its disk."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from swarm._native import Pool, Slot
from swarm._wire import EXTENDED, Wire
from swarm.engine.announce import Announce
from swarm.engine.peer import Peer
from swarm.engine.selection import Priority, Selection
from swarm.engine.torrent import Torrent
from swarm.errors import ProtocolError
from swarm.proto.extension import HANDSHAKE, ExtendedHandshake
from swarm.proto.fast import allowed_fast_set
from swarm.proto.tracker import AnnounceRequest, TrackerReply
from swarm.settings import Settings

from .clock import Timer
from .end import End
from .limiting import Limiting
from .link import Link
from .store import Store, Verdict

if TYPE_CHECKING:
    from .swarm import Swarm

PORT = 6881
DIAL_TIMEOUT = 10.0


class Node:
    """A client. `Swarm.add` makes one.

    `lie(piece, begin)` says which blocks it sends with wrong bytes; while `mute` is set it answers
    no request at all. `engine` is the decision maker as it runs in the real program.
    """

    def __init__(
        self,
        swarm: Swarm,
        name: str,
        host: str,
        *,
        complete: bool,
        up: float,
        down: float,
        delay: float,
        disk_delay: float,
        settings: Settings,
        fast: bool,
        lie: Callable[[int, int], bool] | None,
        priorities: Mapping[int, Priority],
        sequential: bool,
        rng: random.Random,
    ) -> None:
        self.name = name
        self.addr = (host, PORT)
        self.peer_id = rng.randbytes(20)
        self.up = Link(swarm.clock, up)
        self.down = Link(swarm.clock, down)
        self.delay = delay
        self.store = Store(swarm.content, swarm.clock, delay=disk_delay, complete=complete)
        self.selection = Selection(swarm.content)
        self.selection.set(priorities)
        self.selection.sequential = sequential
        self.settings = settings
        self.pool = Pool(settings.memory)
        self.fast = fast
        self.lie = lie
        self.mute = False
        self.limit_down = Limiting(swarm.clock, settings.download_limit, self._grant, self.settle)
        self.limit_up = Limiting(swarm.clock, settings.upload_limit, End.give, self.settle)
        self.engine: Torrent
        self.ends: dict[int, End] = {}
        """Its connections, by the key of their wires."""
        self.asked: dict[int, set[int]] = {}
        """Pieces under way: whom they were asked from, by key."""
        self.dirty: list[Wire] = []
        self.swarm = swarm
        self._rng = rng
        self._keys = 0
        self._timer: Timer | None = None
        self._dialling = 0
        self._new_engine()

    def _new_engine(self) -> None:
        self.engine = Torrent(
            self.swarm.content,
            self.store.have,
            self,
            tiers=[[self.swarm.tracker_url]],
            settings=self.settings,
            rng=self._rng,
            down=self.limit_down.limit,
        )
        self._arrange()

    def _arrange(self) -> None:
        self.engine.arrange(self.selection.ranks(), sequential=self.selection.sequential)

    @property
    def complete(self) -> bool:
        """Whether it has every piece."""
        return self.store.have.full

    @property
    def finished(self) -> bool:
        """Whether it has all that it wants."""
        return self.engine.finished

    @property
    def running(self) -> bool:
        return self.engine.running

    def note(self, what: str, *details: object) -> None:
        """Adds to the trace."""
        self.swarm.trace.append((self.swarm.clock.now, self.name, what, details))

    # ------------------------------------------------------------ life

    def start(self) -> None:
        """Comes (back) to the swarm, with what it has on its disk."""
        if not self.running:
            self.note("start")
            self._new_engine()
            self.engine.start(self.swarm.clock.now)
            self._wake()

    def stop(self, *, crash: bool = False) -> None:
        """Leaves the swarm; after a crash nobody told the tracker. What is verified is kept."""
        if not self.running:
            return
        self.note("stop")
        self.engine.stop(self.swarm.clock.now)
        if not crash:
            self._announce_due()
        self.asked.clear()
        self.dirty.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def prioritise(
        self, priorities: Mapping[int, Priority], *, sequential: bool | None = None
    ) -> None:
        """Changes the priorities of some files, and whether pieces come in order."""
        self.selection.set(priorities)
        if sequential is not None:
            self.selection.sequential = sequential
        self.note("prioritise", *sorted((i, p.name) for i, p in priorities.items()))
        self._arrange()
        missing = self.engine.picker.missing
        self.asked = {piece: keys for piece, keys in self.asked.items() if missing[piece]}
        self.settle()

    def limit(self, *, down: int | None = None, up: int | None = None) -> None:
        """Changes the limits, in bytes/s."""
        self.limit_down.limit.set(down)
        self.limit_up.limit.set(up)
        self.engine.on_limit()
        for end in list(self.ends.values()):
            end.serve()
        self.settle()

    def _grant(self, peer: Peer, blocks: int) -> int:
        return self.engine.grant(peer, blocks)

    # ------------------------------------------------------------ time

    def _wake(self) -> None:
        self._timer = None
        self.engine.tick(self.swarm.clock.now)
        self._announce_due()
        self._dial_due()
        self.settle()

    def settle(self) -> None:
        """Sends what the wires have to say, and sets the timer to what the engine waits for."""
        while self.dirty:
            wire = self.dirty.pop()
            data = wire.take_output()
            if end := self.ends.get(wire.key):
                end.witness(data)
                end.pipe.send(data)
        at = self.engine.deadline()
        if self.running and (self._timer is None or at < self._timer.when):
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self.swarm.clock.at(at, self._wake)

    # ------------------------------------------------------------ the tracker

    def _announce_due(self) -> None:
        for announce in self.engine.announces(self.swarm.clock.now):
            self.swarm.clock.after(self.delay, self._announce, self.engine, announce)

    def _announce(self, engine: Torrent, announce: Announce) -> None:
        downloaded, uploaded, _ = engine.totals()
        content = self.swarm.content
        request = AnnounceRequest(
            infohash=content.infohash,
            peer_id=self.peer_id,
            port=PORT,
            uploaded=uploaded,
            downloaded=downloaded,
            left=0 if self.complete else content.length - self.store.verified,
            event=announce.event,
            numwant=announce.numwant,
        )
        reply = self.swarm.announce(request, self.addr[0])
        self.swarm.clock.after(self.delay, self._answered, engine, announce.url, reply)

    def _answered(self, engine: Torrent, url: str, reply: TrackerReply | None) -> None:
        now = self.swarm.clock.now
        if reply is None:
            engine.on_tracker_error(url, None, "no answer", now)
        else:
            engine.on_tracker_reply(url, reply, now)
        if engine is self.engine and engine.running:
            self._dial_due()

    # ------------------------------------------------------------ connections

    def _dial_due(self) -> None:
        room = self.settings.max_half_open - self._dialling
        for addr in self.engine.dials(self.swarm.clock.now, room):
            self._dialling += 1
            other = self.swarm.nodes_by_host.get(addr[0])
            if other is None or not other.running:
                self.swarm.clock.after(DIAL_TIMEOUT, self._unreachable, self.engine, addr)
            else:
                trip = self.delay + other.delay
                self.swarm.clock.after(trip, other._answer, self, self.engine, trip)

    def _unreachable(self, engine: Torrent, addr: tuple[str, int]) -> None:
        self._dialling -= 1
        engine.candidates.failed(addr, self.swarm.clock.now)

    def _answer(self, dialler: Node, engine: Torrent, trip: float) -> None:
        """Somebody dialled us."""
        clock = self.swarm.clock
        if self._refusal(dialler, outgoing=False):
            clock.after(trip, dialler._unreachable, engine, self.addr)
            return
        ours, theirs = End(self, dialler, trip), End(dialler, self, trip)
        ours.twin, theirs.twin = theirs, ours
        clock.after(trip, dialler._greeted, engine, theirs)
        self._attach(ours, (dialler.addr[0], self.swarm.ephemeral_port()), outgoing=False)

    def _greeted(self, engine: Torrent, end: End) -> None:
        """Somebody whom we dialled has taken us in."""
        self._dialling -= 1
        reason = self._refusal(end.other, outgoing=True) if engine is self.engine else "gone"
        if end.twin.closed or reason:
            engine.candidates.failed(end.other.addr, self.swarm.clock.now)
            end.shut(reason or "closed by the peer")
        else:
            self._attach(end, end.other.addr, outgoing=True)

    def _refusal(self, other: Node, *, outgoing: bool) -> str | None:
        return self.engine.refusal(
            other.peer_id, other.addr, outgoing=outgoing, our_id=self.peer_id
        )

    def _attach(self, end: End, addr: tuple[str, int], *, outgoing: bool) -> None:
        content, now = self.swarm.content, self.swarm.clock.now
        self._keys += 1
        wire = Wire(
            self._keys,
            self.store.have,
            self.engine.picker.rarity,
            self.dirty,
            piece_length=content.piece_length,
            length=content.length,
            fast=self.fast and end.other.fast,
            request_queue=self.settings.request_queue,
        )
        peer = Peer(wire, addr=addr, peer_id=end.other.peer_id, outgoing=outgoing, now=now)
        wire.owner = peer
        end.wire, end.peer = wire, peer
        self.ends[wire.key] = end
        self.note("join", end.other.name)
        self.engine.join(peer, now)
        self._introduce(peer)
        if wire.fast and self.complete:
            wire.send_allowed_fast(allowed_fast_set(content.infohash, addr[0], content.piece_count))
        self.settle()

    def _introduce(self, peer: Peer) -> None:
        said = ExtendedHandshake(
            client=self.name,
            request_queue=self.settings.request_queue,
            port=PORT,
            upload_only=self.finished,
        )
        peer.wire.send_extended(HANDSHAKE, said.encode())

    def on_bytes(self, end: End, data: bytes) -> None:
        """A connection of ours delivered something."""
        peer, now = end.peer, self.swarm.clock.now
        peer.wire.at(now)
        try:
            events = peer.wire.receive(data)
        except ProtocolError as error:
            self.close(peer, error.reason)
            self.settle()
            return
        if events & EXTENDED:
            for _, payload in peer.wire.take_extended():
                said = ExtendedHandshake.parse(payload)
                peer.client, peer.request_queue = said.client, said.request_queue
                if said.port:
                    self.engine.set_address(peer, said.port, now)
                if said.upload_only is not None:
                    self.engine.set_upload_only(peer, said.upload_only)
        if not end.closed:
            self.engine.on_wire(peer, events, now)
        self.settle()

    # ------------------------------------------------------------ what the engine asks for (Host)

    def align(self, slot: Slot, piece: int, offset: int) -> None:
        """There are no files here that a slot could lie like."""

    def checkout(self, size: int) -> Slot | None:
        return self.pool.checkout(size)

    def commit(
        self, piece: int, offset: int, slot: Any, length: int, *, last: bool, patient: bool
    ) -> None:
        engine = self.engine

        def done(piece: int, verdict: Verdict) -> None:
            if engine is self.engine:
                self._committed(piece, verdict)

        self.store.commit(piece, offset, slot, length, last, done)

    def _committed(self, piece: int, verdict: Verdict) -> None:
        now = self.swarm.clock.now
        if verdict is Verdict.WRITTEN:
            self.engine.on_written(now)
        elif verdict is Verdict.ERROR:
            self.note("error", piece)
            self.asked.pop(piece, None)
            self.engine.on_storage_error(piece)
        else:
            self.engine.on_verdict(piece, verdict is Verdict.VERIFIED, now)
        self.settle()

    def forget_piece(self, piece: int) -> None:
        self.store.forget(piece)

    def close(self, peer: Peer, reason: str) -> None:
        if end := self.ends.get(peer.key):
            end.shut(reason)

    def serve(self, peer: Peer) -> None:
        if end := self.ends.get(peer.key):
            end.serve()

    def ask(self, peer: Peer) -> None:
        self.limit_down.ask(peer)

    def unread(self, peer: Peer) -> int:
        end = self.ends.get(peer.key)
        return end.pipe.queued if end is not None else 0

    def upload_only(self, only: bool) -> None:
        self.note("complete" if only else "reopen")
        for peer in self.engine.peers.values():
            self._introduce(peer)

    def verified(self, piece: int) -> None:
        self.asked.pop(piece, None)
        self.note("verified", piece)

    def corrupt(self, piece: int, suspects: list[Peer]) -> None:
        self.asked.pop(piece, None)
        names = tuple(sorted(self.ends[peer.key].other.name for peer in suspects))
        self.note("corrupt", piece, names)
