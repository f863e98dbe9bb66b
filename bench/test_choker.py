"""Whom to unchoke, among few and among many."""

from __future__ import annotations

import random
from itertools import count
from typing import Any

import pytest

from swarm.engine.choker import ROUND, Choker, ChokeView

Benchmark = Any


@pytest.mark.parametrize("seeding", [False, True], ids=["leeching", "seeding"])
@pytest.mark.parametrize("peers", [50, 1000])
def test_a_round(benchmark: Benchmark, peers: int, seeding: bool) -> None:
    rng = random.Random(1)
    choker = Choker(8, rng)
    views = [
        ChokeView(
            key=key,
            interested=rng.random() < 0.8,
            unchoked=False,
            down_rate=rng.random() * 1e6,
            up_rate=rng.random() * 1e6,
            snubbed=rng.random() < 0.1,
            joined=0.0,
        )
        for key in range(peers)
    ]
    rounds = count(1)

    def run() -> set[int]:
        return choker.run(next(rounds) * ROUND, views, seeding=seeding)

    assert len(benchmark(run)) == 8
