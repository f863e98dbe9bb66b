"""Seeds torrents for as long as stdin is open: `python -m crash.seeder STATE-DIR FOLDER TORRENT...`.

Prints its port. Each line on stdin asks how many bytes it has sent; it answers once nobody is connected.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop

import swarm


async def main(state: str, folder: str, *torrents: str) -> None:
    settings = swarm.Settings(dht=False)
    async with swarm.Session(listen="127.0.0.1:0", state_dir=state, settings=settings) as session:
        seeding = [await session.add(path, dest=folder, verify=False) for path in torrents]
        for torrent in seeding:
            await torrent.wait_done()
        print(session.port, flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            while session.connections:  # noqa: ASYNC110  nothing tells when they are gone
                await asyncio.sleep(0.002)
            print(sum(torrent.stats.uploaded for torrent in seeding), flush=True)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        loop.run(main(*sys.argv[1:]))
