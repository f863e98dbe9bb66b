"""Swarms in which not everything goes well."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from lab.sample import MIB, Payload
from lab.stage import Stage

from swarm.bench.clients import FOREIGN, Aria2, Client, Libtorrent

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]
RATE = 6 * MIB  # bytes/s of a seeder that is to be overtaken by events


@pytest.fixture(autouse=True)
def everyone(require: Callable[[str | None], None]) -> None:
    for kind in FOREIGN:
        require(kind.missing())


@pytest.mark.parametrize("swarm_seeds", [True, False])
def test_four_clients_start_from_one_seed(
    stage: Stage, ours: type[Client], folder: Payload, swarm_seeds: bool
) -> None:
    first = ours if swarm_seeds else Libtorrent
    seeder = stage.seed(first, folder, rate=RATE)
    leechers = [stage.leech(kind, folder) for kind in (ours, *FOREIGN) if kind is not first]
    for leecher in leechers:
        stage.finish(leecher)
    assert not stage.completed(seeder)


@pytest.mark.parametrize("swarm_seeds", [True, False])
def test_leecher_joins_late(
    stage: Stage, ours: type[Client], folder: Payload, swarm_seeds: bool
) -> None:
    """It joins in the middle; of the two it can ask, one leaves as soon as it has everything."""
    stage.seed(ours if swarm_seeds else Libtorrent, folder, rate=RATE)
    early = stage.leech(Aria2 if swarm_seeds else ours, folder)
    stage.until(lambda: stage.received(early) > 0.5, 30, early)
    assert not stage.completed(early)
    late = stage.leech(ours, folder)
    stage.finish(early)
    stage.finish(late)


@pytest.mark.parametrize("swarm_seeds", [True, False])
def test_seeder_dies_and_returns(
    stage: Stage, ours: type[Client], folder: Payload, swarm_seeds: bool
) -> None:
    seeder = stage.seed(ours if swarm_seeds else Libtorrent, folder, rate=RATE)
    leecher = stage.leech(Aria2 if swarm_seeds else ours, folder)
    stage.until(lambda: stage.received(leecher) > 0.25, 30, leecher)
    stage.die(seeder)
    assert not stage.completed(leecher)
    stage.seed_again(seeder)
    stage.finish(leecher)
