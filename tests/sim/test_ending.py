"""The end of a download: nobody waits for the slow, and hardly a byte comes twice."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from swarm.testing import Node, Swarm

KIB, MIB = 1 << 10, 1 << 20


def fetch(
    rates: Sequence[float], size: int, piece: int, *, delay: float = 0.01
) -> tuple[Swarm, Node]:
    """A download from seeds of these rates; it is over."""
    swarm = Swarm(1, length=size, piece_length=piece)
    for rate in rates:
        swarm.add(complete=True, up=rate, delay=delay)
    leecher = swarm.add("leecher", down=1e9, delay=delay, start=1.0)
    swarm.run()
    return swarm, leecher


def ratio(swarm: Swarm, rates: Sequence[float], delay: float) -> float:
    """How long it took, from the first request that can have been answered, to what it takes at least."""
    begun = min(event[0] for event in swarm.events("request")) + 4 * delay
    return (swarm.clock.now - begun) * sum(rates) / swarm.content.length


def wasted(*leechers: Node) -> float:
    """The share of what came that came twice or was dropped."""
    totals = [leecher.engine.totals() for leecher in leechers]
    return sum(total[2] for total in totals) / sum(total[0] for total in totals)


@pytest.mark.parametrize("delay", [0.0005, 0.025], ids=["near", "far"])
@pytest.mark.parametrize("piece", [256 * KIB, MIB, 4 * MIB], ids=["256 KiB", "1 MiB", "4 MiB"])
@pytest.mark.parametrize("fast", [1, 7])
def test_one_at_a_hundredth_of_the_rate_costs_less_than_a_tenth(
    fast: int, piece: int, delay: float
) -> None:
    rates = [2.0 * MIB] * fast + [2.0 * MIB / 100]
    swarm, leecher = fetch(rates, 8 * fast * MIB, piece, delay=delay)
    assert ratio(swarm, rates, delay) <= 1.1
    assert wasted(leecher) <= 0.005


@pytest.mark.parametrize("piece", [256 * KIB, MIB], ids=["256 KiB", "1 MiB"])
def test_peers_of_all_speeds_end_together(piece: int) -> None:
    rates = [MIB * rate for rate in (0.25, 0.5, 1, 1, 2, 2, 4, 8)]
    swarm, leecher = fetch(rates, 64 * MIB, piece)
    assert ratio(swarm, rates, 0.01) <= 1.1
    assert wasted(leecher) <= 0.005


@pytest.mark.parametrize("seeds", [1, 2, 8, 30])
def test_equal_peers_waste_nothing(seeds: int) -> None:
    rates = [MIB] * seeds
    swarm, leecher = fetch(rates, 4 * seeds * MIB, 256 * KIB)
    assert wasted(leecher) == 0
    assert ratio(swarm, rates, 0.01) <= 1.1


@pytest.mark.parametrize("leechers", [1, 2, 8])
def test_small_swarms_waste_little(leechers: int) -> None:
    swarm = Swarm(3, length=8 * MIB, piece_length=256 * KIB)
    swarm.add("seed", complete=True, up=MIB)
    nodes = [swarm.add(up=MIB, start=0.1 * n) for n in range(leechers)]
    swarm.run()
    assert wasted(*nodes) <= 0.005


def test_a_line_of_any_length_is_filled_at_once() -> None:
    """The rate of a second and later is that of the line, though a round trip takes 0.2 s of it."""
    swarm = Swarm(1, length=48 * MIB, piece_length=MIB)
    swarm.add(complete=True, up=16 * MIB, delay=0.05)
    leecher = swarm.add("leecher", down=1e9, delay=0.05)
    swarm.run(stop=lambda: leecher.down.carried > 0)
    swarm.run(until=swarm.clock.now + 1.0, stop=lambda: False)
    before = leecher.down.carried
    swarm.run(until=swarm.clock.now + 1.0, stop=lambda: False)
    assert leecher.down.carried - before >= 0.95 * 16 * MIB
