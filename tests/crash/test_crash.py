"""Kills and power cuts, as many as fit into a test run; `make crash` has a thousand and more."""

from __future__ import annotations

import random
import time

import pytest
from faults import FaultyDisk

from crash.harness import ENDS, MEMORY, Harness

SECONDS = 40.0
"""For all ways to end together."""
LEAST = 30
"""Kills without which this has tested nothing."""


@pytest.mark.timeout(300)
def test_pr01_pr02_nothing_is_claimed_that_is_not_there(require, tmp_path):
    """Whatever ends a download, a process or the power, at whatever moment."""
    require(FaultyDisk.missing())
    seed = random.randrange(
        1 << 30
    )  # pytest-randomly has a hand in it: its seed brings this one back
    print(f"seed {seed}")
    with Harness(tmp_path, seed) as harness:
        deadline = time.monotonic() + SECONDS
        order = list(ENDS) * 100
        kills = harness.tally.kills
        while time.monotonic() < deadline or sum(kills.values()) < LEAST or len(kills) < len(ENDS):
            harness.cycle(order.pop(), 5)
    tally = harness.tally
    assert tally.false_claims == []
    # The page cache lives on: only what was in flight is lost, and of pieces in two parts the first.
    for end in ("kill", "moment"):
        assert max(tally.again.get(end, [0])) <= 2 * MEMORY
