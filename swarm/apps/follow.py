"""Follows a torrent: shows it until it is complete, then for as long as it is to be seeded."""

from __future__ import annotations

import asyncio
import time

import swarm

from .output import Display, step_of

INTERVAL = 0.25
"""Seconds between two looks at a torrent."""


async def until_done(torrent: swarm.Torrent, display: Display) -> None:
    """Shows the torrent until all of it is verified. Raises what failed it."""
    with display:
        async for stats in torrent.watch(INTERVAL):
            display.show(step_of(torrent.name, stats))


async def until_seeded(
    torrent: swarm.Torrent, display: Display, *, ratio: float | None, seconds: float | None
) -> None:
    """Shows a complete torrent until its ratio or its time is reached; for ever without either."""
    begun = time.monotonic()
    with display:
        while True:
            stats = torrent.stats
            display.show(step_of(torrent.name, stats))
            if stats.state == "failed":
                await torrent.wait_done()  # raises what failed it
            if ratio is not None and stats.ratio >= ratio:
                return
            left = INTERVAL if seconds is None else begun + seconds - time.monotonic()
            if left <= 0:
                return
            await asyncio.sleep(min(left, INTERVAL))
