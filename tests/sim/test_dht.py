"""Some hundred nodes of the real engine in virtual time: who is announced is found, whatever goes on."""

from __future__ import annotations

import pytest
from overlay import Overlay, hosts

SEARCHES = 60


@pytest.mark.parametrize(
    ("version", "size", "liars", "loss", "seed"),
    [(4, 200, 0.1, 0.05, 1), (6, 120, 0.1, 0.05, 2), (4, 120, 0.3, 0.1, 3)],
)
def test_what_is_announced_is_found(
    version: int, size: int, liars: float, loss: float, seed: int
) -> None:
    overlay = Overlay(seed, loss=loss, version=version)
    overlay.grow(size, liars=liars)
    overlay.run(30)
    start, before = overlay.clock.now, overlay.bytes
    found = 0
    for number in range(SEARCHES):
        if number % 10 == 5:
            overlay.churn(0.02)
        owner, seeker = overlay.rng.sample(overlay.honest, 2)
        infohash = overlay.rng.randbytes(20)
        owner.do(lambda dht, now, h=infohash: dht.announce(h, 4321, now))
        overlay.run(6)
        found += (owner.addr[0], 4321) in overlay.search(seeker, infohash, 4)
        owner.do(lambda dht, now, h=infohash: dht.forget(h))
    seconds = overlay.clock.now - start
    each = (overlay.bytes - before) / seconds / size
    print(f"{found} of {SEARCHES} found; {each:.0f} bytes/s a node; {len(overlay.liars)} liars")
    assert found >= 0.99 * SEARCHES
    assert each < 8000


def test_dh22_half_of_the_nodes_replaced_within_six_hours() -> None:
    overlay = Overlay(7, loss=0.02)
    overlay.grow(40, liars=0.1)
    for _ in range(12):
        overlay.churn(1 / 18)
        overlay.run(1800)
    found = 0
    for _ in range(20):
        owner, seeker = overlay.rng.sample(overlay.honest, 2)
        infohash = overlay.rng.randbytes(20)
        owner.do(lambda dht, now, h=infohash: dht.announce(h, 4321, now))
        overlay.run(6)
        found += (owner.addr[0], 4321) in overlay.search(seeker, infohash, 4)
    assert found == 20
    alive = set(overlay.places)
    dead = [
        node.addr for place in overlay.honest for node in place.dht.table if node.addr not in alive
    ]
    assert len(dead) < 0.1 * sum(len(place.dht.table) for place in overlay.honest)


def test_the_same_seed_gives_the_same_network() -> None:
    def run() -> tuple[int, int, list[int]]:
        overlay = Overlay(9, loss=0.05)
        overlay.grow(40, liars=0.1)
        overlay.run(100)
        return overlay.datagrams, overlay.bytes, [len(place.dht.table) for place in overlay.honest]

    assert run() == run()


def test_dh12_one_honest_helper_among_liars_is_enough() -> None:
    overlay = Overlay(11)
    overlay.grow(80, liars=0.3)
    overlay.run(30)
    late = overlay.add(starts=0)
    helper = overlay.honest[0].addr
    late.do(lambda dht, now: dht.meet([*overlay.liars[:5], helper], now))
    overlay.run(10)
    known = hosts(node.addr for node in late.dht.table)
    assert len(known - hosts(overlay.liars)) >= 8
