"""Swarms in which something goes wrong: liars, snubs, deaths, small memory, bad disks."""

from __future__ import annotations

from collections import Counter

import pytest

from swarm._fill import BLOCK_SIZE
from swarm.settings import Settings
from swarm.testing import Node, Swarm

KIB, MIB = 1 << 10, 1 << 20


def leechers(swarm: Swarm, count: int, **how: float) -> list[Node]:
    return [swarm.add(f"leecher{i}", **how) for i in range(count)]  # type: ignore[arg-type]


def done_at(swarm: Swarm, node: Node) -> float:
    return swarm.events("complete", node.name)[0][0]


# ---------------------------------------------------------------- liars


def banned(swarm: Swarm) -> set[object]:
    return {event[3][0] for event in swarm.events("ban")}


@pytest.mark.parametrize("seed", [1, 2])
def test_pw23_a_liar_is_banned_after_two_pieces(seed: int) -> None:
    swarm = Swarm(seed, length=8 * MIB, piece_length=256 * KIB)
    swarm.add("seed", complete=True)
    swarm.add("liar", complete=True, up=4 * MIB, lie=lambda piece, begin: True)
    honest = leechers(swarm, 6, up=512 * KIB)
    swarm.run(until=300)
    assert banned(swarm) == {"liar"}
    assert {event[1] for event in swarm.events("ban")} == {node.name for node in honest}
    assert max(Counter(event[1] for event in swarm.events("corrupt")).values()) <= 2
    assert all(node.store.data() == swarm.content.data for node in honest)


def test_pw24_colluding_liars_in_one_block_of_64() -> None:
    swarm = Swarm(3, length=32 * MIB, piece_length=MIB)
    swarm.add("seed", complete=True, up=4 * MIB)
    for i in range(3):
        swarm.add(
            f"liar{i}",
            complete=True,
            up=4 * MIB,
            lie=lambda piece, begin: begin == piece * 7 % 64 * BLOCK_SIZE,
        )
    honest = leechers(swarm, 4, up=2 * MIB, down=8 * MIB)
    swarm.run(until=300)
    assert banned(swarm) == {"liar0", "liar1", "liar2"}
    alone = Counter((e[1], e[3][1]) for e in swarm.events("corrupt") if len(e[3][1]) == 1)  # type: ignore[arg-type]
    assert max(alone.values()) <= 2
    assert all(node.store.data() == swarm.content.data for node in honest)


def test_pw24_slow_liars_share_pieces_and_honest_peers_go_free() -> None:
    """A slow peer shares its pieces, so a bad one has several suspects; each is tried alone."""
    swarm = Swarm(4, length=8 * MIB, piece_length=MIB)
    swarm.add("seed", complete=True, up=256 * KIB)
    swarm.add("liar", complete=True, up=64 * KIB, lie=lambda piece, begin: begin % MIB == 0)
    honest = leechers(swarm, 4, up=32 * KIB)
    swarm.run(until=2000)
    suspects = [event[3][1] for event in swarm.events("corrupt")]
    assert any(len(names) > 1 for names in suspects)  # type: ignore[arg-type]
    assert banned(swarm) <= {"liar"}
    assert all(node.store.data() == swarm.content.data for node in honest)


# ---------------------------------------------------------------- those who do not give


def test_pw27_who_announces_and_never_sends_holds_nobody_up() -> None:
    times = []
    for mutes in 0, 3:
        swarm = Swarm(5, length=8 * MIB, piece_length=128 * KIB)
        swarm.add("seed", complete=True)
        for i in range(mutes):
            swarm.add(f"mute{i}", complete=True).mute = True
        leechers(swarm, 6, up=256 * KIB)
        swarm.run(until=300)
        times.append(swarm.clock.now)
    assert times[1] < 1.3 * times[0]


def test_pw28_a_trickle_within_a_block_is_snubbed() -> None:
    swarm = Swarm(6, length=8 * MIB, piece_length=128 * KIB)
    seed = swarm.add("seed", complete=True, up=128 * KIB)
    swarm.add("trickle", complete=True, up=10)
    (leecher,) = leechers(swarm, 1)
    swarm.run(until=40, stop=lambda: False)
    (trickle,) = [p for p in leecher.engine.peers.values() if p.peer_id != seed.peer_id]
    assert trickle.snubbed
    assert trickle.wire.outstanding <= 1
    swarm.run(until=300)
    assert swarm.clock.now < 1.2 * swarm.content.length / seed.up.rate


def test_the_last_piece_is_not_held_up_by_a_slow_peer() -> None:
    """At 2 KiB/s the slow one alone would need a minute for its part of the last piece."""
    swarm = Swarm(7, length=4 * MIB, piece_length=128 * KIB)
    swarm.add("seed", complete=True, up=256 * KIB)
    swarm.add("slow", complete=True, up=2 * KIB)
    leechers(swarm, 1)
    swarm.run(until=300)
    assert swarm.clock.now < 1.3 * 16 + 2


def test_a_newcomer_takes_the_last_piece_over() -> None:
    """A peer of unknown speed is asked beside the slow one."""
    swarm = Swarm(8, length=128 * KIB, piece_length=128 * KIB)
    swarm.add("slow", complete=True, up=KIB)
    leechers(swarm, 1)
    swarm.add("seed", complete=True, start=20.0)
    swarm.run(until=300)
    assert swarm.clock.now < 30


# ---------------------------------------------------------------- those who come and go


def test_a_seeder_that_dies_and_returns() -> None:
    swarm = Swarm(9, length=8 * MIB, piece_length=256 * KIB)
    seed = swarm.add("seed", complete=True)
    nodes = leechers(swarm, 4, up=512 * KIB)
    swarm.clock.at(3.0, lambda: seed.stop(crash=True))
    swarm.clock.at(40.0, seed.start)
    swarm.run(until=40, stop=lambda: False)
    assert not any(node.complete for node in nodes)
    had = [node.store.have.count for node in nodes]
    assert min(had) > 0
    swarm.run(until=200)
    assert all(len(swarm.events("verified", n.name)) == swarm.content.piece_count for n in nodes)


def test_a_leecher_that_restarts_fetches_nothing_twice() -> None:
    swarm = Swarm(10, length=4 * MIB, piece_length=128 * KIB)
    swarm.add("seed", complete=True, up=512 * KIB)
    (node,) = leechers(swarm, 1)
    swarm.clock.at(4.0, node.stop)
    swarm.clock.at(6.0, node.start)
    swarm.run(until=100)
    verified = Counter(event[3][0] for event in swarm.events("verified", node.name))
    assert set(verified.values()) == {1}
    assert len(verified) == swarm.content.piece_count
    assert node.pool.in_use == 0


def test_without_a_tracker_nobody_meets() -> None:
    swarm = Swarm(11, length=MIB, piece_length=128 * KIB)
    tracker, swarm.tracker = swarm.tracker, None
    swarm.add("seed", complete=True)
    (node,) = leechers(swarm, 1)
    with pytest.raises(TimeoutError, match="leecher0"):
        swarm.run(until=10)
    assert not node.engine.peers
    swarm.tracker = tracker
    swarm.run(until=120)


# ---------------------------------------------------------------- memory


def test_the_high_water_mark_holds_and_the_starved_go_on() -> None:
    limit = 512 * KIB
    swarm = Swarm(12, length=8 * MIB, piece_length=256 * KIB, settings=Settings(memory=limit))
    swarm.add("seed", complete=True, up=2 * MIB)
    nodes = leechers(swarm, 5, disk_delay=0.02)
    swarm.run(until=200)
    assert max(node.pool.peak for node in nodes) == limit
    assert all(node.pool.in_use == 0 for node in nodes)


def test_large_pieces_in_a_pool_of_one_slot() -> None:
    """Pieces of 4 MiB go through memory in parts of 1 MiB, and here only one at a time."""
    swarm = Swarm(13, length=9 * MIB, piece_length=4 * MIB, settings=Settings(memory=MIB))
    swarm.add("seed", complete=True, up=4 * MIB)
    nodes = leechers(swarm, 3, up=2 * MIB, disk_delay=0.01)
    swarm.run(until=200)
    assert [node.pool.peak for node in nodes] == [MIB] * 3
    assert all(node.store.data() == swarm.content.data for node in nodes)


def test_a_piece_that_nobody_has_any_more_gives_its_memory_back() -> None:
    """The one slot is half full of a piece whose only owner has died; other pieces need it."""
    swarm = Swarm(14, length=16 * MIB, piece_length=MIB)
    dead = swarm.add("dead")
    other = swarm.add("other", start=5.0)
    for piece in range(16):
        (dead if piece % 2 else other).store.have.set(piece)
    node = swarm.add("small", settings=Settings(memory=MIB))
    swarm.clock.at(2.5, lambda: dead.stop(crash=True))
    swarm.run(until=60, stop=lambda: node.store.have.count >= 8)
    assert node.store.have.count >= 8


# ---------------------------------------------------------------- disks


@pytest.mark.parametrize(("piece_length", "memory"), [(256 * KIB, 32 * MIB), (2 * MIB, 4 * MIB)])
def test_disk_errors_put_the_piece_back(piece_length: int, memory: int) -> None:
    swarm = Swarm(15, length=8 * MIB, piece_length=piece_length, settings=Settings(memory=memory))
    swarm.add("seed", complete=True)
    (node,) = leechers(swarm, 1, disk_delay=0.05)
    node.store.faults = {0, 1, 3}
    swarm.run(until=100)
    assert {event[3][0] for event in swarm.events("error")} >= {0, 1, 3}
    assert node.store.data() == swarm.content.data
    assert not banned(swarm)
    assert node.pool.in_use == 0


# ---------------------------------------------------------------- plain peers


def test_a_swarm_without_the_fast_extension() -> None:
    swarm = Swarm(16, length=4 * MIB, piece_length=128 * KIB)
    swarm.add("seed", complete=True, fast=False, up=512 * KIB)
    for i in range(6):
        swarm.add(f"leecher{i}", fast=i % 2 == 0, up=256 * KIB, settings=Settings(upload_slots=2))
    swarm.run(until=300)
    assert swarm.events("choke")
