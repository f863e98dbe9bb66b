"""Whom to take in: one connection for each peer, and no host may crowd out the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import NamedTuple

from .blame import peers_at
from .candidates import scope
from .peer import Peer


class Place(NamedTuple):
    """Where a new connection goes. Without `closes`, a `reason` is why it is refused."""

    reason: str = ""
    closes: Peer | None = None
    """Who has to leave for it, for that reason."""


def place_for(
    peers: Collection[Peer],
    peer_id: bytes,
    addr: tuple[str, int],
    outgoing: bool,
    our_id: bytes,
    most: int,
) -> Place:
    """Decides on a connection with `peer_id` at `addr`, where there are `peers`, `most` at most."""
    twin = next((peer for peer in peers if peer.peer_id == peer_id), None)
    if twin is not None:
        # Both ends must keep the same one: that which the larger peer id has opened.
        # One that has traded is no such twin: somebody else gives its name.
        traded = twin.wire.downloaded + twin.wire.uploaded > 0
        if traded or twin.outgoing == outgoing or twin.outgoing == (our_id > peer_id):
            return Place("connected twice")
        return Place("connected twice", twin)
    if len(peers) >= most:
        rival = _rival(peers, addr[0])
        if rival is None:
            return Place("enough peers")
        return Place("too many of this host", rival)
    return Place()


def _rival(peers: Collection[Peer], host: str) -> Peer | None:
    """Whose place a peer of `host` may take: of the most crowded host, who has done the least."""
    crowd = Counter(scope(peer.addr[0]) for peer in peers)
    crowded, count = max(crowd.items(), key=lambda entry: entry[1])
    if count <= crowd[scope(host)] + 1:
        return None
    return min(peers_at(crowded, peers), key=lambda peer: peer.wire.downloaded + peer.wire.uploaded)
