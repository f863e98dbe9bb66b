"""The owner of one torrent, and peers that the test plays by hand: a wire each, no links and no clock."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from swarm._bits import Bits
from swarm._fill import BLOCK_SIZE
from swarm._native import Pool
from swarm._wire import Wire
from swarm.engine.peer import Peer
from swarm.engine.torrent import Torrent
from swarm.settings import Settings

PIECE = 4 * BLOCK_SIZE
CHOKE, UNCHOKE, INTERESTED, UNINTERESTED, HAVE = range(5)
REQUEST, CANCEL, REJECT = 6, 8, 16


@dataclass
class Meta:
    length: int
    piece_length: int = PIECE

    @property
    def piece_count(self) -> int:
        return -(-self.length // self.piece_length)


@dataclass
class Rig:
    """The owner of a torrent, and both ends of its wires."""

    pieces: int = 8
    have: tuple[int, ...] = ()
    settings: Settings = field(default_factory=Settings)
    now: float = 100.0

    def __post_init__(self) -> None:
        self.meta = Meta(self.pieces * PIECE)
        self.bits = Bits(self.pieces)
        for piece in self.have:
            self.bits.set(piece)
        self.pool = Pool(self.settings.memory)
        self.dirty: list[Wire] = []
        self.committed: list[tuple[int, int, int, bool]] = []
        self.aligned: list[tuple[int, int]] = []
        self.closed: list[tuple[Peer, str]] = []
        self.served: list[Peer] = []
        self.asked: list[Peer] = []
        self.waiting: dict[int, int] = {}
        self.good: list[int] = []
        self.bad: list[tuple[int, list[Peer]]] = []
        self.told: list[bool] = []
        self.said: dict[int, list[tuple[int, int]]] = {}
        self.torrent = Torrent(
            self.meta,
            self.bits,
            self,
            tiers=[["http://tracker.test/announce"]],
            settings=self.settings,
            rng=random.Random(1),
        )
        self.torrent.start(self.now)
        self.torrent.tick(self.now)

    # Host

    def checkout(self, size: int) -> object | None:
        return self.pool.checkout(size)

    def align(self, slot: object, piece: int, offset: int) -> None:
        self.aligned.append((piece, offset))

    def commit(
        self, piece: int, offset: int, slot: object, length: int, *, last: bool, patient: bool
    ) -> None:
        self.committed.append((piece, offset, length, last))

    def forget_piece(self, piece: int) -> None:
        raise AssertionError("a piece of one part is never forgotten")

    def close(self, peer: Peer, reason: str) -> None:
        self.closed.append((peer, reason))
        self.torrent.leave(peer, self.now)

    def serve(self, peer: Peer) -> None:
        self.served.append(peer)

    def ask(self, peer: Peer) -> None:
        self.asked.append(peer)

    def unread(self, peer: Peer) -> int:
        return self.waiting.get(peer.key, 0)

    def upload_only(self, only: bool) -> None:
        self.told.append(only)

    def verified(self, piece: int) -> None:
        self.good.append(piece)

    def corrupt(self, piece: int, suspects: list[Peer]) -> None:
        self.bad.append((piece, suspects))

    # The other side

    def peer(
        self,
        has: tuple[int, ...] | None = None,
        *,
        unchokes: bool = True,
        outgoing: bool = True,
        fast: bool = False,
    ) -> Peer:
        """A peer that has these pieces (None: all), and unchokes us."""
        key = len(self.said) + 1
        wire = Wire(
            key,
            self.bits,
            self.torrent.picker.rarity,
            self.dirty,
            piece_length=PIECE,
            length=self.meta.length,
            fast=fast,
        )
        peer = Peer(
            wire,
            addr=(f"10.0.0.{key}", 6881),
            peer_id=key.to_bytes(20, "big"),
            outgoing=outgoing,
            now=self.now,
        )
        wire.owner = peer
        self.said[key] = []
        if outgoing:
            self.torrent.candidates.add([peer.addr], "tracker", self.now)
            self.torrent.candidates.take(self.now, 1)
        self.torrent.join(peer, self.now)
        bits = Bits(self.pieces)
        for piece in range(self.pieces) if has is None else has:
            bits.set(piece)
        raw = bytes(bits)[: (self.pieces + 7) // 8]
        self.tell(peer, message(5, raw) + (message(UNCHOKE) if unchokes else b""))
        return peer

    def tell(self, peer: Peer, data: bytes) -> None:
        """The peer says this."""
        self.torrent.on_wire(peer, peer.wire.receive(data), self.now)

    def send(self, peer: Peer, count: int | None = None) -> int:
        """The peer answers what it was asked (`count` blocks at most); how many blocks it sent."""
        asked = [what for kind, what in self.listen(peer) if kind == REQUEST]
        asked = asked[:count]
        for at in asked:
            piece, begin = divmod(at, PIECE)
            body = piece.to_bytes(4, "big") + begin.to_bytes(4, "big") + bytes(BLOCK_SIZE)
            self.tell(peer, message(7, body))
        return len(asked)

    def listen(self, peer: Peer) -> list[tuple[int, int]]:
        """What we said to this peer since the last time: (id, number); blocks by their offset."""
        data = peer.wire.take_output()
        said = []
        at = 0
        while at < len(data):
            length = int.from_bytes(data[at : at + 4], "big")
            if length:
                kind = data[at + 4]
                what = int.from_bytes(data[at + 5 : at + 9], "big") if length >= 5 else 0
                if kind in (REQUEST, CANCEL):
                    what = what * PIECE + int.from_bytes(data[at + 9 : at + 13], "big")
                said.append((kind, what))
            else:
                said.append((-1, 0))
            at += 4 + length
        return said

    def kinds(self, peer: Peer) -> list[int]:
        return [kind for kind, _ in self.listen(peer)]

    def fetch(self, peer: Peer, *, good: bool = True) -> int:
        """The peer delivers one whole piece, with this verdict; its number."""
        before = len(self.committed)
        while len(self.committed) == before:
            assert self.send(peer), "nothing was asked"
        piece = self.committed[before][0]
        self.torrent.on_verdict(piece, good, self.now)
        return piece

    def wait(self, seconds: float) -> None:
        """Time goes by, and the torrent does what is due."""
        until = self.now + seconds
        while (at := self.torrent.deadline()) <= until:
            self.now = max(at, self.now)
            self.torrent.tick(self.now)
        self.now = until


def message(kind: int, body: bytes = b"") -> bytes:
    return (1 + len(body)).to_bytes(4, "big") + bytes((kind,)) + body


def number(piece: int) -> bytes:
    return piece.to_bytes(4, "big")
