"""Who sent bad bytes. Kept by host: leaving, or coming back under another name, forgives nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from .candidates import scope
from .peer import Peer

STRIKES = 2
"""Bad pieces before a host is banned: its own ones, or one of its own after a shared one."""
MOST_HOSTS = 10_000
"""Hosts, and peers that are gone, that are remembered."""
LONGEST_PAROLE = 1024
UNKNOWN = ""
"""The host of a peer that left long ago."""

K = TypeVar("K")
V = TypeVar("V")


class Blame:
    """Traces bad pieces: a lone sender is struck, several fetch alone until one is found out.

    Each time that a host is among the suspects again, twice as many good pieces of its own are due.
    """

    def __init__(self) -> None:
        self._strikes: dict[str, int] = {}
        self._suspected: dict[str, int] = {}
        """How often it was among the senders of a bad piece."""
        self._owed: dict[str, int] = {}
        """Good pieces that end its parole."""
        self._gone: dict[int, str] = {}
        """Hosts of peers that have left, by key: they may have a hand in a piece under way."""

    def join(self, peer: Peer) -> None:
        """A peer of a suspected host is on parole from the start."""
        host = scope(peer.addr[0])
        peer.parole = host in self._owed
        peer.strikes = self._strikes.get(host, 0)

    def leave(self, peer: Peer) -> None:
        """The peer is gone, what it sent may still be judged."""
        if peer.wire.received:
            _remember(self._gone, peer.key, scope(peer.addr[0]))

    def good(self, keys: set[int], peers: Mapping[int, Peer]) -> None:
        """A piece was right. Clears who sent all of it, once nothing more is owed."""
        if len(keys) != 1:
            return
        for key in keys & peers.keys():
            peers[key].proven = True
        (host,) = self._hosts(keys, peers)
        owed = self._owed.get(host, 0)
        if owed > 1:
            self._owed[host] = owed - 1
        elif owed:
            del self._owed[host]
            for peer in peers_at(host, peers.values()):
                peer.parole = False

    def bad(self, keys: set[int], peers: Mapping[int, Peer]) -> str | None:
        """A piece was wrong. The host to ban, if that settles it."""
        hosts = self._hosts(keys, peers) - {UNKNOWN}
        banned = None
        if len(keys) == 1:
            for host in hosts:
                strikes = self._strikes.get(host, 0) + 1 + (host in self._owed)
                _remember(self._strikes, host, strikes)
                for peer in peers_at(host, peers.values()):
                    peer.strikes, peer.proven = strikes, False
                banned = host if strikes >= STRIKES else None
        if len(keys) > 1 or banned is not None:  # others behind that address may be honest
            for host in hosts:
                self._suspect(host, peers)
        return banned

    def keys(self, host: str, peers: Mapping[int, Peer]) -> set[int]:
        """Everybody who is or was at `host`."""
        gone = {key for key, place in self._gone.items() if place == host}
        return gone.union(peer.key for peer in peers_at(host, peers.values()))

    def _suspect(self, host: str, peers: Mapping[int, Peer]) -> None:
        times = self._suspected.get(host, 0) + 1
        _remember(self._suspected, host, times)
        _remember(self._owed, host, min(2 ** (times - 1), LONGEST_PAROLE))
        for peer in peers_at(host, peers.values()):
            peer.parole = True
            peer.proven = False

    def _hosts(self, keys: set[int], peers: Mapping[int, Peer]) -> set[str]:
        return {
            scope(peers[key].addr[0]) if key in peers else self._gone.get(key, UNKNOWN)
            for key in keys
        }


def peers_at(host: str, peers: Iterable[Peer]) -> list[Peer]:
    """Those of `peers` that are at `host`, as `scope` has it."""
    return [peer for peer in peers if scope(peer.addr[0]) == host]


def _remember(book: dict[K, V], key: K, value: V) -> None:
    book.pop(key, None)
    book[key] = value
    if len(book) > MOST_HOSTS:
        del book[next(iter(book))]
