"""Follows a torrent: shows it until it is complete, then for as long as it is to be seeded."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import swarm

from .output import Display, note, step_of

INTERVAL = 0.25
"""Seconds between two looks at a torrent."""


@contextlib.asynccontextmanager
async def warning(session: swarm.Session) -> AsyncIterator[None]:
    """Says, once each, what was remembered and is of no use, and what cannot be remembered."""

    async def warn() -> None:
        said = set()
        async for event in events:
            if isinstance(event, swarm.ResumeDoubted):
                text = f"{event.torrent.name}: checking what is there ({event.reason})"
            else:
                text = f"progress cannot be saved, going on without: {event.error}"
            if text not in said:
                said.add(text)
                note(text)

    kinds: Any = (swarm.ResumeDoubted, swarm.ResumeNotSaved)
    async with session.events(*kinds) as events:
        task = asyncio.get_running_loop().create_task(warn())
        try:
            yield
        finally:
            events.close()
            await task


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
