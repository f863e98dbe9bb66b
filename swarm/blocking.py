"""One torrent, one call, no event loop of one's own."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path


def download(src: str | os.PathLike[str] | bytes, dest: str | os.PathLike[str] = ".") -> Path:
    """Downloads a torrent and returns where it lies. Blocks, so inside an event loop it raises
    `RuntimeError`. Raises like `Session.add` and `Torrent.wait_done`."""
    from .session import Session

    if asyncio._get_running_loop() is not None:
        raise RuntimeError("inside an event loop use swarm.Session, which does not block it")

    async def run() -> Path:
        async with Session() as session:
            torrent = await session.add(src, dest=dest)
            await torrent.wait_done()
            return torrent.path

    return asyncio.run(run())
