"""One torrent, one call, no event loop of one's own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .matching import What


def download(
    src: str | os.PathLike[str] | bytes,
    dest: str | os.PathLike[str] = ".",
    *,
    select: Iterable[What] | None = None,
) -> Path:
    """Downloads a torrent, or the files of it that `select` names, and returns where it lies.

    Blocks, so inside an event loop it raises `RuntimeError`. Raises like `Session.add` and
    `Torrent.wait_done`.
    """
    from .session import Session

    if asyncio._get_running_loop() is not None:
        raise RuntimeError("inside an event loop use swarm.Session, which does not block it")

    async def run() -> Path:
        async with Session() as session:
            torrent = await session.add(src, dest=dest, select=select)
            await torrent.wait_done()
            return torrent.path

    return asyncio.run(run())
