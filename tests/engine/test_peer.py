"""What is held of one peer: pace, depth of the pipeline, snubs."""

from __future__ import annotations

import pytest

from swarm._bits import Bits, Rarity
from swarm._fill import BLOCK_SIZE, Fill
from swarm._wire import Wire
from swarm.engine.peer import FRESH_DEPTH, HEAD_ROOM, MOST_ABREAST, Peer

PIECES = 4096
PIECE = 64 * BLOCK_SIZE


class Line:
    """A peer that has everything, unchokes us, and sends what the test wants."""

    def __init__(self) -> None:
        self.now = 50.0
        self.wire = Wire(
            1, Bits(PIECES), Rarity(PIECES), [], piece_length=PIECE, length=PIECES * PIECE
        )
        self.peer = Peer(
            self.wire, addr=("10.0.0.1", 1), peer_id=bytes(20), outgoing=True, now=self.now
        )
        self.fills: list[Fill] = []
        full = Bits(PIECES)
        full.fill()
        raw = bytes(full)
        self.wire.receive((1 + len(raw)).to_bytes(4, "big") + b"\x05" + raw + b"\0\0\0\1\1")
        self.wire.interested(True)
        self.sent = 0
        self.wire.at(self.now)
        self.ask()

    def ask(self) -> None:
        while self.wire.hungry:
            fill = Fill(len(self.fills), PIECE, PIECE)
            fill.attach(bytearray(PIECE))
            self.fills.append(fill)
            self.wire.assign(fill)
            self.wire.refill()

    def send(self, blocks: int) -> None:
        for _ in range(blocks):
            piece, block = divmod(self.sent, PIECE // BLOCK_SIZE)
            head = (9 + BLOCK_SIZE).to_bytes(4, "big") + b"\x07" + piece.to_bytes(4, "big")
            self.wire.receive(head + (block * BLOCK_SIZE).to_bytes(4, "big") + bytes(BLOCK_SIZE))
            self.sent += 1
            self.ask()

    def second(self, blocks: int) -> None:
        """A second in which it sends this many blocks."""
        self.send(blocks)
        self.now += 1.0
        self.peer.sample(self.now)
        self.peer.set_depth(10_000)
        self.ask()

    def idle(self, seconds: int) -> None:
        self.wire.release()
        self.wire.interested(False)
        for _ in range(seconds):
            self.second(0)


def test_a_fresh_peer_is_asked_a_little() -> None:
    line = Line()
    line.peer.set_depth(10_000)
    assert line.wire.outstanding == FRESH_DEPTH
    assert not line.peer.slow_for(1 << 40)


def test_a_pace_is_found_at_once() -> None:
    line = Line()
    line.second(50)
    assert line.peer.pace == pytest.approx(50 * BLOCK_SIZE, rel=0.01)
    for _ in range(10):
        line.second(100)
    assert line.peer.pace == pytest.approx(100 * BLOCK_SIZE, rel=0.05)


def test_depth_has_bounds() -> None:
    line = Line()
    line.peer.request_queue = 10_000
    line.second(40)
    assert line.wire.ceiling == HEAD_ROOM + int(
        2 * line.peer.pace * line.wire.round_trip / BLOCK_SIZE
    )
    line.peer.pace = 1e12
    line.peer.set_depth(10_000)
    assert line.wire.ceiling == 10_000
    line.peer.set_depth(100)
    assert line.wire.ceiling == 100
    line.peer.request_queue = 2
    line.peer.set_depth(100)
    assert line.wire.ceiling == line.wire.depth == 2


def test_an_idle_peer_keeps_its_pace() -> None:
    line = Line()
    for _ in range(10):
        line.second(20)
    before = line.peer.pace
    line.idle(60)
    assert line.peer.down.value < before / 100
    assert line.peer.pace == before
    assert line.peer.eta(int(before)) == pytest.approx(1.0, rel=0.01)


def test_one_who_is_asked_and_does_not_send_loses_it() -> None:
    line = Line()
    for _ in range(10):
        line.second(20)
    before = line.peer.pace
    for _ in range(20):
        line.second(0)
    assert line.peer.pace < before / 20
    assert line.peer.slow_for(PIECE)


def test_unknown_speed_has_the_benefit_of_the_doubt_but_not_for_long() -> None:
    line = Line()
    assert line.peer.eta(1 << 30) == 0.0
    for seconds in range(1, 5):
        line.second(0)
        assert line.peer.eta(10 * BLOCK_SIZE) == 10 * seconds, "no block can have come faster"


def test_a_snubbed_peer_is_asked_one_block_until_it_sends() -> None:
    line = Line()
    line.peer.snubbed = True
    line.peer.set_depth(10_000)
    assert line.wire.ceiling == line.wire.depth == 1
    assert line.peer.due == float("inf")
    line.second(1)
    assert not line.peer.snubbed
    assert line.wire.ceiling >= FRESH_DEPTH


def test_progress_is_a_block_and_life_is_a_byte() -> None:
    line = Line()
    line.second(1)
    progress = line.peer.progress_at
    line.wire.receive(bytes(4))
    line.second(0)
    assert line.peer.heard_at == line.now
    assert line.peer.progress_at == progress
    line.idle(1)
    assert line.peer.progress_at == line.now


def test_a_seed_has_everything_or_wants_nothing() -> None:
    line = Line()
    assert line.peer.is_seed
    wire = Wire(2, Bits(8), Rarity(8), [], piece_length=PIECE, length=8 * PIECE)
    peer = Peer(wire, addr=("10.0.0.2", 1), peer_id=bytes(20), outgoing=False, now=0.0)
    assert peer.announced is None
    assert not peer.is_seed
    peer.upload_only = True
    assert peer.is_seed


def test_pieces_side_by_side_are_a_moment_of_its_rate() -> None:
    line = Line()
    assert line.peer.abreast(PIECE) == 0
    line.second(2000)
    line.send(128)
    line.peer.landed(line.now + 0.001)  # too short a time to tell
    assert line.peer.abreast(PIECE) == 0
    line.peer.landed(line.now + 0.125)  # 1,024 blocks/s
    assert line.peer.abreast(PIECE) == 4
    assert line.peer.abreast(8 * PIECE) == 0
    assert line.peer.abreast(BLOCK_SIZE) == MOST_ABREAST
