"""One torrent's decisions: routes events to whoever decides, and keeps the set of its peers.

Pure. The owner feeds events in with `now`, gives the torrent a `Host` to ask for slots and to act for
it, and calls `tick` at `deadline()`. Wires touched on the way put themselves on the shared dirty list;
the owner writes their output.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping

from swarm import _wire
from swarm._bits import Bits
from swarm._fill import BLOCK_SIZE
from swarm.proto.tracker import TrackerReply
from swarm.settings import Settings

from .admission import place_for
from .announce import Announce, Announcer
from .blame import Blame
from .candidates import Candidates
from .flight import Flight
from .host import Geometry, Host
from .limit import Limit
from .limit_requests import LimitedRequests
from .peer import Peer
from .picker import Picker
from .unchoking import Unchoking

TICK = 1.0
LEAST_SHARE = 16
"""Blocks that any peer may be asked ahead, however many there are."""
LOOK = 0.25
"""In end game those who have nothing to do look this often whether somebody has come to be slow."""
HELPERS = 8
"""In end game the fastest so many, and as many others, are asked at a time to take work over."""
HAVE_DELAY = 0.1
"""Finished pieces wait this long for company before they are announced to a peer."""
SHORT_PATIENCE = 4.0
"""Seconds after which a peer that sends nothing is snubbed while others wait for what it holds."""
FEW_PEERS = 3
"""With fewer peers and candidates than this a download asks its trackers early."""


class Torrent:
    """The swarm of one torrent, as this end sees it."""

    def __init__(
        self,
        meta: Geometry,
        have: Bits,
        host: Host,
        *,
        tiers: Iterable[Iterable[str]] = (),
        settings: Settings,
        rng: random.Random,
        padding: Mapping[int, int] | None = None,
        down: Limit | None = None,
    ) -> None:
        self.have = have
        self.peers: dict[int, Peer] = {}
        self.picker = Picker(have)
        self.candidates = Candidates(rng=rng)
        self.announcer = Announcer([list(tier) for tier in tiers], rng)
        self.downloaded = self.uploaded = self.wasted = 0
        """Payload of peers that are gone; `totals` adds the present ones."""
        self.running = False
        self._limit = LimitedRequests(down or Limit(), self.peers, self.totals)
        self._meta = meta
        self._host = host
        self._settings = settings
        self._rng = rng
        self._blame = Blame()
        self._unchoking = Unchoking(self.peers, settings, rng)
        self._flight = Flight(
            self.picker,
            host,
            rng,
            length=meta.length,
            piece_length=meta.piece_length,
            memory=settings.memory,
            padding=padding,
        )
        self._tick_at = self._look_at = float("inf")
        self._haves_at = float("inf")
        self._feed_at = float("inf")
        self._memory_blocks = settings.memory // BLOCK_SIZE

    # ------------------------------------------------------------ life

    @property
    def finished(self) -> bool:
        """Whether all that is wanted is here: then we only upload."""
        return self.picker.missing.count == 0

    @property
    def complete(self) -> bool:
        """Whether every piece is here."""
        return self.have.full

    def start(self, now: float) -> None:
        """Begin to announce, dial and trade."""
        self.running = True
        self._tick_at = self._look_at = now
        self.announcer.start(now)

    def stop(self, now: float) -> None:
        """Stop: every connection is closed and the trackers are to be told."""
        self.running = False
        self._tick_at = self._look_at = self._haves_at = self._feed_at = float("inf")
        for peer in list(self.peers.values()):
            self._host.close(peer, "stopped")
        self._flight.drop_all()
        self.announcer.stop(now)

    def arrange(self, ranks: bytes, *, sequential: bool) -> None:
        """Other pieces are wanted from now on, or in another order (`Picker.arrange`).

        What is under way and not wanted any more is given up at once. Before `start` it says what is
        wanted in the first place.
        """
        was_finished = self.finished
        self.picker.arrange(ranks, sequential=sequential)
        self._flight.give_up_unwanted()
        if not self.running:
            return
        if was_finished and not self.finished:
            self.candidates.retry()
            self._host.upload_only(False)
        elif self.finished and not was_finished:
            self._on_finished()
        for peer in self.peers.values():
            peer.wire.interested(self.picker.interesting(peer.wire.bits))
        self._feed_idle()

    def on_limit(self) -> None:
        """The limit of the download has changed."""
        if self._limit.update():
            self._feed_idle()

    def grant(self, peer: Peer, blocks: int) -> int:
        """Requests so many blocks at most from a peer that `Host.ask` was told of; returns bytes."""
        return self._limit.grant(peer, blocks, self._flight.feed)

    def deadline(self) -> float:
        """When `tick` wants to be called next."""
        if not self.peers:
            return min(self._tick_at, self._haves_at)
        choke_at = max(self._unchoking.deadline(), self._tick_at - TICK)
        look_at = self._look_at if self._flight.ending else self._tick_at
        return min(self._tick_at, self._haves_at, self._feed_at, choke_at, look_at)

    def totals(self) -> tuple[int, int, int]:
        """Bytes of payload downloaded, uploaded and wasted since the start."""
        wires = [peer.wire for peer in self.peers.values()]
        return (
            self.downloaded + sum(wire.downloaded for wire in wires),
            self.uploaded + sum(wire.uploaded for wire in wires),
            self.wasted + sum(wire.wasted for wire in wires),
        )

    # ------------------------------------------------------------ peers come and go

    def join(self, peer: Peer, now: float) -> None:
        """A handshake is done. What we have is the first thing said."""
        self.peers[peer.key] = peer
        self._limit.join(peer)
        peer.wire.head_room = self._settings.queue_time
        self._blame.join(peer)
        peer.wire.send_bitfield()
        if peer.outgoing:
            self.candidates.connected(peer.addr, now)

    def leave(self, peer: Peer, now: float) -> None:
        """A connection has ended, for whatever reason."""
        if self.peers.pop(peer.key, None) is None:
            return
        wire = peer.wire
        self._blame.leave(peer)
        self.downloaded += wire.downloaded
        self.uploaded += wire.uploaded
        self.wasted += wire.wasted
        was_unchoked = not wire.am_choking
        # Dialled again soon if it was good for something and still is.
        useful = wire.downloaded + wire.uploaded > 0 and not self._pointless(peer)
        # A read that ended in a broken protocol may have completed a part before.
        self._flight.collect(peer)
        self._flight.abandon(peer)
        wire.leave()
        if peer.announced is not None:
            self.candidates.closed(peer.announced, now, useful=useful)
        if self.running:
            self._feed_at = now
            if was_unchoked:
                self._unchoking.left(now)

    def refusal(
        self, peer_id: bytes, addr: tuple[str, int], *, outgoing: bool, our_id: bytes
    ) -> str | None:
        """Why this connection is not to be taken in; None if it is. May close another one."""
        if not self.running:
            return "not running"
        if peer_id == our_id:
            if outgoing:
                self.candidates.refuse(addr)
            return "connected to ourselves"
        if self.candidates.is_banned(addr[0]):
            return "banned"
        most = self._settings.max_peers_per_torrent
        place = place_for(self.peers.values(), peer_id, addr, outgoing, our_id, most)
        if place.closes is not None:
            self._host.close(place.closes, place.reason)
            return None
        return place.reason or None

    def set_address(self, peer: Peer, port: int, now: float) -> None:
        """The peer that dialled us said where it listens (BEP 10)."""
        if peer.announced is None:
            peer.announced = (peer.addr[0], port)
            self.candidates.connected(peer.announced, now)

    # ------------------------------------------------------------ what wires report

    def on_wire(self, peer: Peer, events: int, now: float) -> None:
        """`Wire.receive` returned `events` for this peer."""
        wire = peer.wire
        if events & _wire.PARTS:
            peer.landed(now)
            self._flight.collect(peer)
        if events & _wire.USELESS:
            self._host.close(peer, self._offence(peer, now) or "of no use")
            return
        if events & (_wire.BITFIELD | _wire.HAVE):
            if not wire.am_interested and self.picker.interesting(wire.bits):
                wire.interested(True)
            if self._pointless(peer):
                self._host.close(peer, "nothing to trade")
                return
        if events & (_wire.CHOKED | _wire.REJECTED):
            if wire.peer_choking:
                self._flight.abandon(peer)
            self._feed_at = now
        if events & _wire.INTEREST:
            self._unchoking.on_interest(peer, now)
        if events & _wire.REQUESTS:
            self._host.serve(peer)
        if not wire.hungry or self._flight.eager(peer):
            self._feed(peer)

    def set_upload_only(self, peer: Peer, upload_only: bool) -> None:
        """The peer said that it downloads nothing, or that it does so again (BEP 21)."""
        peer.upload_only = upload_only
        if self._pointless(peer):
            self._host.close(peer, "nothing to trade")

    def on_written(self, now: float) -> None:
        """A slot may have come free."""
        self._feed_starving()

    def on_verdict(self, piece: int, good: bool, now: float) -> None:
        """A piece was hashed, and written where it was right."""
        was_finished = self.finished
        keys = self._flight.verdict(piece, good)
        if keys is None:
            pass  # it was given up meanwhile
        elif good:
            self._on_good(piece, keys, now)
            if self.finished and not was_finished:
                self._on_finished()
        else:
            self._on_bad(piece, keys)
        self._feed_starving()
        for key in keys or ():  # strangers wait for what becomes of their first pieces
            if (peer := self.peers.get(key)) is not None:
                self._feed(peer)

    def on_storage_error(self, piece: int) -> None:
        """The disk failed while it took this piece."""
        self._flight.unwritten(piece)

    def _on_good(self, piece: int, keys: set[int], now: float) -> None:
        self._blame.good(keys, self.peers)
        for peer in self.peers.values():
            peer.wire.have(piece)
        if self._haves_at > now + HAVE_DELAY:
            self._haves_at = now + HAVE_DELAY
        self._host.verified(piece)
        if self.complete:
            self.announcer.complete(now)

    def _on_finished(self) -> None:
        self._push_haves()
        self._host.upload_only(True)
        for peer in list(self.peers.values()):
            peer.wire.interested(False)
            if self._pointless(peer):
                self._host.close(peer, "nothing to trade")

    def _on_bad(self, piece: int, keys: set[int]) -> None:
        suspects = [self.peers[key] for key in keys if key in self.peers]
        self._host.corrupt(piece, suspects)
        if (host := self._blame.bad(keys, self.peers)) is not None:
            self.candidates.ban(host)
            self._flight.distrust(self._blame.keys(host, self.peers))
            for peer in suspects:
                self._host.close(peer, "bad pieces")
        self._feed_idle()

    def _pointless(self, peer: Peer) -> bool:
        return self.finished and peer.is_seed

    # ------------------------------------------------------------ time

    def tick(self, now: float) -> None:
        """Does what is due: haves, and once a second rates, pipelines, time-outs and choking."""
        if self._haves_at <= now:
            self._push_haves()
        if not self.running:
            return
        if self.peers and self._unchoking.deadline() <= now:
            self._unchoking.run(now, seeding=self.finished)
        if self._look_at <= now and self._flight.ending:
            self._look_at = now + LOOK
            for peer in self.peers.values():
                peer.wire.at(now)
            self._feed_idle()
        elif self._feed_at <= now:
            self._feed_idle()
        if self._tick_at > now:
            return
        self._tick_at = now + TICK
        self._limit.settle()
        asked = [peer for peer in self.peers.values() if peer.wire.outstanding]
        pace = sum(peer.pace for peer in asked) or 1.0
        half = self._memory_blocks * 3 // 8
        equal = half // max(len(asked), 1)
        patience = self._patience()
        for peer in list(self.peers.values()):
            peer.sample(now)
            if reason := self._offence(peer, now):
                self._host.close(peer, reason)
                continue
            # One half of the memory is for everybody, the other for those who fill it.
            share = equal + int(half * min(peer.pace / pace, 1.0))
            self._care(peer, max(share, LEAST_SHARE), patience, now)
        self._unchoking.look_for_deaf(self._host.unread, now)
        self._feed_idle()

    def _patience(self) -> float:
        """For how long a peer may send nothing of what it owes us before others get it."""
        idle = any(peer.wire.hungry and not peer.wire.outstanding for peer in self.peers.values())
        longest = self._settings.snub_timeout
        return min(longest, SHORT_PATIENCE) if idle or self._flight.starving else longest

    def _offence(self, peer: Peer, now: float) -> str | None:
        if peer.wire.take_noise() > _wire.NOISE_LIMIT * TICK:
            return "a flood of messages of no use"
        if peer.wire.wasted > peer.wire.downloaded + _wire.WASTE_LIMIT:
            return "mostly bytes of no use"
        if now - peer.heard_at > self._settings.idle_timeout:
            return "silent for too long"
        return None

    def _care(self, peer: Peer, share: int, patience: float, now: float) -> None:
        wire = peer.wire
        if wire.outstanding and now - peer.progress_at > patience:
            peer.snubbed = True
            peer.progress_at = now
            self._flight.abandon(peer)
        peer.set_depth(share)
        wire.held = False
        wire.refill()  # the pipeline may have become longer
        if wire.am_interested and not wire.fills and not self.picker.interesting(wire.bits):
            wire.interested(False)
        if wire.wants:
            self._host.serve(peer)
        if now - peer.kept_alive_at >= self._settings.keepalive_interval:
            peer.kept_alive_at = now
            wire.keepalive()

    def _push_haves(self) -> None:
        self._haves_at = float("inf")
        for peer in self.peers.values():
            peer.wire.push_haves()

    def _feed_idle(self) -> None:
        self._feed_at = float("inf")
        if self.finished:
            return
        starving = self._flight.starving
        idle = [
            peer
            for peer in self.peers.values()
            if (peer.wire.hungry or peer.wire.limited) and peer.key not in starving
        ]
        # Who keeps us waiting comes last, or what was taken from it would be its own again.
        idle.sort(key=lambda peer: (peer.snubbed, -peer.pace))
        if self._flight.ending and len(idle) > 2 * HELPERS:
            # What the fastest have no use for is seldom of use to others: but it may be all that they have.
            idle[HELPERS:] = self._rng.sample(idle[HELPERS:], HELPERS)
        for peer in idle:
            self._feed(peer)
        self._feed_starving()

    def _feed_starving(self) -> None:
        if self._limit.active:
            for peer in self._flight.starving.values():
                self._feed(peer)  # which asks for its turn
        self._flight.feed_starving()

    def _feed(self, peer: Peer) -> None:
        if peer.wire.hungry:
            self._flight.feed(peer)
        elif peer.wire.limited:
            self._host.ask(peer)

    # ------------------------------------------------------------ whom to ask

    def dials(self, now: float, room: int) -> list[tuple[str, int]]:
        """Addresses to dial now, `room` at most."""
        room = min(room, self._settings.max_peers_per_torrent - len(self.peers))
        if not self.running or room <= 0:
            return []
        return self.candidates.take(now, room)

    @property
    def needs_peers(self) -> bool:
        """Whether it downloads, and hardly knows from whom."""
        known = len(self.peers) + len(self.candidates)
        return self.running and not self.finished and known < FEW_PEERS

    def announces(self, now: float) -> list[Announce]:
        """Trackers to ask now: more often, as far as they let us, while there is hardly anybody."""
        if self.needs_peers:
            self.announcer.more_peers(now)
        self.announcer.partial = self.finished and not self.complete
        return self.announcer.poll(now)

    def on_tracker_reply(self, url: str, reply: TrackerReply, now: float) -> None:
        """A tracker answered: its peers become candidates."""
        self.announcer.replied(url, reply, now)
        if self.running:
            self.candidates.add(reply.peers, "tracker", now)

    def on_tracker_error(self, url: str, retry_in: float | None, reason: str, now: float) -> None:
        """A tracker did not answer, or refused."""
        self.announcer.failed(url, now, retry_in, reason)
