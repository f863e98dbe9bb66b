"""Who takes what it asked for: a peer that reads nothing holds no upload slot that others could use."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .peer import Peer

DEAF_AFTER = 10.0
"""Seconds in which a peer takes nothing of what waits for it before its upload slot goes to others."""


class Taking:
    """Finds the peers that let lie what was read for them."""

    def __init__(self) -> None:
        self.deaf: set[int] = set()
        """Their keys. Who takes something again is none of them."""
        self._seen: dict[int, tuple[int, float]] = {}  # what each had taken, and since when

    def look(self, peers: Iterable[Peer], unread: Callable[[Peer], int], now: float) -> bool:
        """`unread(peer)` bytes wait in our memory for it. Whether others are deaf than before."""
        seen, deaf = {}, set()
        for peer in peers:
            waiting = unread(peer) if peer.wire.uploaded else 0
            if not waiting:
                continue
            taken = peer.wire.uploaded - waiting
            before, since = self._seen.get(peer.key, (-1, now))
            since = now if taken > before else since
            seen[peer.key] = taken, since
            if now - since >= DEAF_AFTER:
                deaf.add(peer.key)
        self._seen, changed, self.deaf = seen, deaf != self.deaf, deaf
        return changed
