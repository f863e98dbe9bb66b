"""Steps that must not overlap, and waits that must not be cut short."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any


class Turns:
    """Steps of which each waits for the one before, even if it is cancelled while it waits."""

    def __init__(self) -> None:
        self.last: asyncio.Task[None] | None = None
        """The step that was added last."""

    def take(self, step: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Runs `step` when its turn comes."""
        before = self.last

        async def run() -> None:
            if before is not None:
                await through(asyncio.wait([before]))
            await step()

        self.last = asyncio.get_running_loop().create_task(run())
        return self.last


async def through(work: Coroutine[Any, Any, object]) -> None:
    """Awaits what cannot be called off, such as the work of a thread: a cancel waits for its end."""
    job = asyncio.ensure_future(work)
    try:
        await asyncio.shield(job)
    except asyncio.CancelledError:
        await asyncio.wait([job])
        job.exception()  # of no interest any more, whatever it is
        raise
