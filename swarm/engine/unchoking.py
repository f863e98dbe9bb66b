"""The choker at work on the peers of a torrent, with as many slots as are served well."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from swarm.settings import Settings

from .choker import Choker, ChokeView
from .peer import Peer
from .slots import LOOK, Slots
from .taking import Taking

SLOWEST_LOOK = 1.0
"""Seconds between two looks at what was uploaded, however little changes."""


class Unchoking:
    """Runs the choker when it is due, and looks for more slots while somebody waits for one."""

    def __init__(self, peers: Mapping[int, Peer], settings: Settings, rng: random.Random) -> None:
        self._peers = peers
        self._slots = Slots(settings.upload_slots, settings.slot_rate)
        self._choker = Choker(self._slots.count, rng)
        self._taking = Taking()
        self._look_at = float("inf")
        self._pause = SLOWEST_LOOK
        self._unchoked = 0

    def deadline(self) -> float:
        """When `run` is due; minus infinity before the first time."""
        return min(self._choker.deadline(), self._look_at)

    def on_interest(self, peer: Peer, now: float) -> None:
        """The peer got interested, or is not any more."""
        if not peer.wire.peer_interested or self._unchoked < self._slots.count:
            self._choker.hurry(now)
        elif self._look_at == float("inf"):
            self._look_after(LOOK, now)

    def left(self, now: float) -> None:
        """A peer that was unchoked is gone."""
        self._unchoked -= 1
        self._choker.hurry(now)

    def look_for_deaf(self, unread: Callable[[Peer], int], now: float) -> None:
        """Peers for which `unread(peer)` bytes wait too long lose their slots, until they take them."""
        if self._taking.look(self._peers.values(), unread, now):
            self._choker.hurry(now)

    def run(self, now: float, *, seeding: bool) -> None:
        """Does what is due."""
        if self._look_at <= now:
            self._look(now)
        if self._choker.deadline() <= now:
            self._choke(now, seeding)

    def _look(self, now: float) -> None:
        sent = sum(p.take_served() for p in self._peers.values() if not p.wire.am_choking)
        if self._slots.look(now, sent):
            self._choker.slots = self._slots.count
            self._choker.hurry(now)
        self._choker.slots = self._slots.count
        self._look_after(2 * self._pause, now)

    def _look_after(self, pause: float, now: float) -> None:
        self._slots.begin(now)
        self._pause = min(pause, SLOWEST_LOOK)
        self._look_at = now + self._pause

    def _choke(self, now: float, seeding: bool) -> None:
        views = [
            ChokeView(
                key=peer.key,
                interested=peer.wire.peer_interested and peer.key not in self._taking.deaf,
                unchoked=not peer.wire.am_choking,
                down_rate=peer.down.value,
                up_rate=peer.up.value,
                snubbed=peer.snubbed,
                joined=peer.joined,
            )
            for peer in self._peers.values()
        ]
        chosen = self._choker.run(now, views, seeding=seeding)
        for peer in self._peers.values():
            peer.choke(peer.key not in chosen, now)
        self._unchoked = len(chosen)
        if any(view.interested and view.key not in chosen for view in views):
            self._look_after(LOOK, now)
        elif not chosen:
            self._look_at = float("inf")
