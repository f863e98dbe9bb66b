"""swarm as a process, through its public API: seeds or fetches one torrent until SIGTERM.

usage: drive_swarm.py seed|leech TORRENT FOLDER ADDRESS PORT STATE-DIR auto|always|never uvloop|asyncio
"""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from typing import Any

import uvloop

import swarm


async def main(
    role: str, torrent: str, folder: str, address: str, port: str, state: str, direct: Any
) -> None:
    """Runs until SIGTERM or SIGINT; a failure of the torrent ends it with a traceback."""
    leaving = asyncio.Event()

    def over(task: asyncio.Task[object]) -> None:
        if not task.cancelled() and task.exception():
            leaving.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, leaving.set)
    settings = swarm.Settings(direct=direct)
    at = f"{address}:{port}"
    async with swarm.Session(listen=at, state_dir=state, settings=settings) as session:
        verify = False if role == "seed" else None
        added = await session.add(torrent, dest=folder, verify=verify)
        done = asyncio.create_task(added.wait_done())
        done.add_done_callback(over)
        await leaving.wait()
        if done.done():
            done.result()
        done.cancel()
        print(added.stats, flush=True)


if __name__ == "__main__":
    gc.set_threshold(50_000, 20, 50)  # as swarm's command line does
    *arguments, loop = sys.argv[1:]
    make_loop = uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(main(*arguments))
