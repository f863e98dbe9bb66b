"""Many leechers of equal lines in virtual time: nobody is served much better than the others."""

from __future__ import annotations

from statistics import fmean

from swarm.settings import Settings
from swarm.testing import Swarm

KIB, MIB = 1 << 10, 1 << 20


def spread(values: list[float]) -> float:
    """How far the furthest of them is from their mean, as a share of that."""
    mean = fmean(values)
    return max(abs(value - mean) for value in values) / mean


def test_a_mesh_of_eight_is_done_together() -> None:
    swarm = Swarm(21, length=32 * MIB, piece_length=256 * KIB)
    swarm.add("seed", complete=True, up=4 * MIB)
    for n in range(8):
        swarm.add(f"leecher{n}", up=4 * MIB, down=16 * MIB)
    swarm.run(until=120)
    done = [event[0] for event in swarm.events("complete")]
    assert len(done) == 8
    assert spread(done) < 0.1
    assert max(done) < 2 * 32 / 4, "together they give on what the seed sends once"


def test_five_hundred_leechers_of_a_fast_seed_get_the_same() -> None:
    """Eight slots would serve eight of them; as the line has no trouble with those, all are unchoked."""
    room = Settings(max_peers_per_torrent=600, slot_rate=16 * KIB)
    swarm = Swarm(22, length=16 * MIB, piece_length=256 * KIB)
    swarm.tracker = None
    seed = swarm.add("seed", complete=True, up=16 * MIB, settings=room)
    leechers = [swarm.add(f"leecher{n}", up=KIB) for n in range(500)]
    swarm.run(until=0.0, stop=lambda: False)
    for node in leechers:
        node.engine.candidates.add([seed.addr], "user", 0.0)
    swarm.run(until=5.0, stop=lambda: False)
    before = [node.engine.totals()[0] for node in leechers]
    swarm.run(until=35.0, stop=lambda: False)
    got = [node.engine.totals()[0] - early for node, early in zip(leechers, before, strict=True)]
    assert sum(got) > 0.9 * 30 * 16 * MIB
    assert spread([float(each) for each in got]) < 0.2
