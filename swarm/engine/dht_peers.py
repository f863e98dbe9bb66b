"""The peers that were announced to us, and that we tell of: within budgets, whoever announces."""

from __future__ import annotations

from collections import OrderedDict
from random import Random

from swarm.proto.krpc import Addr, pack_addr

from .candidates import scope

LIFE = 1800.0
"""Seconds for which an announce counts; clients announce every 15 minutes."""
MOST_TORRENTS = 2000
MOST_PEERS = 500
"""Of one torrent."""
MOST_PORTS = 4
"""Of one host in one torrent."""
MOST_OF_HOST = 200
"""Announces of one host in all; then its own oldest gives way, and nobody else's."""


class PeerStore:
    """Peers by info-hash; what was announced longest ago gives way to what is new."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._torrents: OrderedDict[bytes, OrderedDict[Addr, tuple[float, bytes]]] = OrderedDict()
        self._hosts: dict[str, OrderedDict[tuple[bytes, Addr], None]] = {}

    def __len__(self) -> int:
        """Torrents that somebody has announced."""
        return len(self._torrents)

    @property
    def size(self) -> int:
        """Announces in all."""
        return sum(map(len, self._torrents.values()))

    def add(self, infohash: bytes, addr: Addr, now: float) -> None:
        """A peer of this torrent was announced."""
        key = scope(addr[0])
        mine = self._hosts.get(key)
        if mine is not None and (infohash, addr) not in mine:
            here = [mark for mark in mine if mark[0] == infohash]
            if len(here) >= MOST_PORTS:
                self._drop(*here[0])
            elif len(mine) >= MOST_OF_HOST:
                self._drop(*next(iter(mine)))
        peers = self._torrents.get(infohash)
        if peers is None:
            if len(self._torrents) >= MOST_TORRENTS:
                oldest, gone = next(iter(self._torrents.items()))
                for other in list(gone):
                    self._drop(oldest, other)
            peers = self._torrents[infohash] = OrderedDict()
        elif addr not in peers and len(peers) >= MOST_PEERS:
            self._drop(infohash, next(iter(peers)))
        peers = self._torrents.setdefault(infohash, OrderedDict())
        peers[addr] = now, pack_addr(addr)
        peers.move_to_end(addr)
        self._torrents.move_to_end(infohash)
        marks = self._hosts.setdefault(key, OrderedDict())
        marks[infohash, addr] = None
        marks.move_to_end((infohash, addr))

    def some(self, infohash: bytes, count: int, now: float) -> list[bytes]:
        """At most `count` of its peers, at random, in compact form."""
        peers = self._torrents.get(infohash)
        if peers is None:
            return []
        while peers and next(iter(peers.values()))[0] + LIFE <= now:
            self._drop(infohash, next(iter(peers)))
        found = [packed for _, packed in peers.values()]
        return found if len(found) <= count else self._rng.sample(found, max(0, count))

    def expire(self, now: float) -> None:
        """Forgets what is too old."""
        while self._torrents:
            infohash, peers = next(iter(self._torrents.items()))
            if next(reversed(peers.values()))[0] + LIFE > now:
                break
            for addr in list(peers):
                self._drop(infohash, addr)

    def _drop(self, infohash: bytes, addr: Addr) -> None:
        peers = self._torrents[infohash]
        del peers[addr]
        if not peers:
            del self._torrents[infohash]
        key = scope(addr[0])
        del self._hosts[key][infohash, addr]
        if not self._hosts[key]:
            del self._hosts[key]
