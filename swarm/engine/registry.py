"""What our tracker knows: who is in which swarm, and whom to name to whom (BEP 3, 7, 48)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address
from random import Random

from swarm.errors import ConfigError, ProtocolError
from swarm.proto.tracker import (
    DEFAULT_INTERVAL,
    AnnounceRequest,
    Counts,
    PeerEntry,
    TrackerAnswer,
    is_local,
)

MAX_SWARMS = 20_000
MAX_SWARM_PEERS = 5_000
MAX_PEERS = 200_000
"""Peers of all swarms together: about 100 MiB."""
MAX_NUMWANT = 200
DEFAULT_NUMWANT = 50
EXPIRY_INTERVALS = 2
"""A peer that did not announce for this many intervals is gone."""

OnAnnounce = Callable[[AnnounceRequest, str], object]


@dataclass(slots=True)
class _Peer:
    entry: PeerEntry
    seed: bool
    seen: float


@dataclass(slots=True)
class _Swarm:
    peers: dict[tuple[bytes, int], _Peer] = field(default_factory=dict)
    """By address and port; whoever announced last is last."""
    seeds: int = 0
    completed: int = 0
    seen: float = 0.0

    @property
    def counts(self) -> Counts:
        return Counts(self.seeds, self.completed, len(self.peers) - self.seeds)

    def drop(self, key: tuple[bytes, int]) -> _Peer | None:
        peer = self.peers.pop(key, None)
        if peer is not None:
            self.seeds -= peer.seed
        return peer

    def expire(self, before: float) -> int:
        stale = []
        for key, peer in self.peers.items():
            if peer.seen >= before:
                break
            stale.append(key)
        for key in stale:
            self.drop(key)
        return len(stale)


class Registry:
    """The swarms of one tracker. Clients are told `interval` and `min_interval`, in seconds.

    `allow` lists the networks that may announce; empty means everybody. `on_announce` sees each
    accepted announce together with the address that it came from.
    """

    def __init__(
        self,
        rng: Random,
        *,
        interval: int = DEFAULT_INTERVAL,
        min_interval: int | None = None,
        allow: Iterable[IPv4Network | IPv6Network] = (),
        on_announce: OnAnnounce | None = None,
    ) -> None:
        if interval < 1 or not 0 <= (min_interval or 0) <= interval:
            raise ConfigError("interval must be above zero, and min_interval at most interval")
        self.interval = interval
        self.min_interval = interval // 2 if min_interval is None else min_interval
        self.allow = tuple(allow)
        self.on_announce = on_announce
        self.announces = 0
        self.completed = 0
        self._rng = rng
        self._swarms: dict[bytes, _Swarm] = {}  # whichever was announced last is last
        self._peers = 0

    def announce(self, request: AnnounceRequest, host: str, now: float) -> TrackerAnswer:
        """Enter an announce that came from `host`, and choose peers for it.

        `ProtocolError` where it is refused: an address outside of `allow`, or too many swarms.
        """
        if self.allow and not any(ip_address(host) in network for network in self.allow):
            raise ProtocolError("your address is not allowed here")
        self._forget(now)
        swarm = self._swarms.pop(request.infohash, None)
        if swarm is None:
            if len(self._swarms) >= MAX_SWARMS:
                raise ProtocolError("this tracker is full")
            swarm = _Swarm()
        self._swarms[request.infohash] = swarm
        swarm.seen = now
        self.announces += 1
        key = self._enter(swarm, request, host, now)
        if self.on_announce is not None:
            self.on_announce(request, host)
        peers = () if request.event == "stopped" else self._choose(swarm, request, key)
        return TrackerAnswer(self.interval, self.min_interval, swarm.counts, peers)

    def counts(self, infohash: bytes) -> Counts:
        """The counts of one torrent as of its last announce."""
        swarm = self._swarms.get(infohash)
        return swarm.counts if swarm is not None else Counts(0, 0, 0)

    def scrape(self, infohash: bytes, now: float) -> Counts:
        """The counts of one torrent; all zero if nobody has announced it lately."""
        self._forget(now)
        if infohash in self._swarms:
            self._peers -= self._swarms[infohash].expire(self._horizon(now))
        return self.counts(infohash)

    def _horizon(self, now: float) -> float:
        return now - EXPIRY_INTERVALS * self.interval

    def _forget(self, now: float) -> None:
        """Drop the swarms in which nobody can be left."""
        before = self._horizon(now)
        while self._swarms:
            infohash, swarm = next(iter(self._swarms.items()))
            if swarm.seen >= before:
                return
            del self._swarms[infohash]
            self._peers -= len(swarm.peers)

    def _enter(
        self, swarm: _Swarm, request: AnnounceRequest, host: str, now: float
    ) -> tuple[bytes, int]:
        self._peers -= swarm.expire(self._horizon(now))
        # Only a neighbour may speak of another address: anybody else could aim a swarm at a victim.
        claimed = request.ip if request.ip and is_local(host) else host
        key = (ip_address(claimed).packed, request.port)
        known = swarm.drop(key)
        self._peers -= known is not None
        seed = request.left == 0
        if request.event == "completed" and not (known is not None and known.seed):
            swarm.completed += 1
            self.completed += 1
        room = len(swarm.peers) < MAX_SWARM_PEERS and self._peers < MAX_PEERS
        if request.event != "stopped" and room:
            swarm.peers[key] = _Peer(PeerEntry(*key, request.peer_id), seed, now)
            swarm.seeds += seed
            self._peers += 1
        return key

    def _choose(
        self, swarm: _Swarm, request: AnnounceRequest, key: tuple[bytes, int]
    ) -> tuple[PeerEntry, ...]:
        """A random choice of the others; seeds have no use for seeds."""
        wanted = DEFAULT_NUMWANT if request.numwant < 0 else min(request.numwant, MAX_NUMWANT)
        seeding = request.left == 0
        others = [
            peer.entry
            for other, peer in swarm.peers.items()
            if other != key and not (seeding and peer.seed)
        ]
        if len(others) > wanted:
            others = self._rng.sample(others, wanted)
        return tuple(others)
