"""One torrent, one call, no event loop of one's own."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path


def download(src: str | os.PathLike[str] | bytes, dest: str | os.PathLike[str] = ".") -> Path:
    """Downloads a torrent and returns where it lies. Blocks; not for use inside an event loop."""
    from .session import Session

    async def run() -> Path:
        async with Session() as session:
            torrent = await session.add(src, dest=dest)
            await torrent.wait_done()
            return torrent.path

    return asyncio.run(run())
