"""Peers that let lie what was read for them."""

from __future__ import annotations

from rig import CHOKE, INTERESTED, PIECE, REQUEST, UNCHOKE, Rig, message

from swarm._fill import BLOCK_SIZE
from swarm.engine.peer import Peer
from swarm.engine.taking import DEAF_AFTER


def taker(rig: Rig) -> Peer:
    """A peer that was unchoked, and for which a block was read."""
    peer = rig.peer(())
    rig.tell(peer, message(INTERESTED))
    rig.wait(0.2)
    ask = (0).to_bytes(4, "big") + (0).to_bytes(4, "big") + BLOCK_SIZE.to_bytes(4, "big")
    rig.tell(peer, message(REQUEST, ask))
    peer.wire.take_requests(1)
    peer.wire.sent(BLOCK_SIZE, False)
    return peer


def seed() -> Rig:
    rig = Rig(pieces=2, have=(0, 1))
    assert rig.meta.length == 2 * PIECE
    return rig


def test_pw32_who_takes_nothing_is_choked_and_who_takes_again_is_not() -> None:
    rig = seed()
    peer = taker(rig)
    assert rig.kinds(peer).count(UNCHOKE) == 1
    rig.waiting[peer.key] = BLOCK_SIZE
    for _ in range(round(DEAF_AFTER) + 3):
        rig.wait(1.0)
    assert peer.wire.am_choking
    rig.waiting[peer.key] = BLOCK_SIZE // 2
    rig.wait(1.2)
    rig.wait(0.2)
    assert not peer.wire.am_choking
    assert CHOKE in rig.kinds(peer)


def test_who_takes_slowly_keeps_its_slot() -> None:
    rig = seed()
    peer = taker(rig)
    for second in range(30):
        rig.waiting[peer.key] = BLOCK_SIZE - second
        rig.wait(1.0)
    assert not peer.wire.am_choking


def test_who_has_taken_everything_waits_for_us() -> None:
    rig = seed()
    peer = taker(rig)
    for _ in range(30):
        rig.wait(1.0)
    assert not peer.wire.am_choking
