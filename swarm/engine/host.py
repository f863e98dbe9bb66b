"""What the engine of one torrent asks of its owner, and what it has to know of the torrent."""

from __future__ import annotations

from typing import Protocol

from .buffers import Buffers
from .peer import Peer


class Host(Buffers, Protocol):
    """What a torrent asks of its owner."""

    def close(self, peer: Peer, reason: str) -> None:
        """End this connection. The owner calls `leave` for it before this returns."""

    def serve(self, peer: Peer) -> None:
        """The peer's wire holds requests that wait to be answered."""

    def ask(self, peer: Peer) -> None:
        """More would be requested from this peer than `down` lets through: `grant` it when there is room."""

    def unread(self, peer: Peer) -> int:
        """Bytes that wait in memory until the peer takes them."""

    def upload_only(self, only: bool) -> None:
        """All that is wanted is here, or (False) more is wanted again. The peers want to know (BEP 21)."""

    def verified(self, piece: int) -> None:
        """A piece is here, right, and on the disk."""

    def corrupt(self, piece: int, suspects: list[Peer]) -> None:
        """A piece failed its hash."""


class Geometry(Protocol):
    """The part of the metainfo that decisions need."""

    @property
    def length(self) -> int: ...
    @property
    def piece_length(self) -> int: ...
    @property
    def piece_count(self) -> int: ...
