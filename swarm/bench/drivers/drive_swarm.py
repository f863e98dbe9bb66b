"""swarm as a process, through its public API: seeds or fetches one torrent until SIGTERM, in one session
for each address.

usage: drive_swarm.py seed|leech TORRENT STATE-DIR uvloop|asyncio SETTINGS(JSON) ADDRESS:PORT=FOLDER...

`torrent` among the settings is what `Session.add` is to be told beside the folder.
"""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import swarm


async def main(role: str, torrent: str, state: str, settings: str, *where: str) -> None:
    """Runs until SIGTERM or SIGINT; a failure of a torrent ends it with a traceback."""
    leaving = asyncio.Event()

    def over(task: asyncio.Task[object]) -> None:
        if not task.cancelled() and task.exception():
            leaving.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, leaving.set)
    turned = json.loads(settings)
    own = turned.pop("torrent", {})
    chosen = swarm.Settings(**turned)
    verify = False if role == "seed" else None
    async with AsyncExitStack() as sessions:
        torrents: list[swarm.Torrent] = []
        waiting: list[asyncio.Task[object]] = []
        for n, each in enumerate(where):
            at, _, folder = each.partition("=")
            session = await sessions.enter_async_context(
                swarm.Session(listen=at, state_dir=Path(state, str(n)), settings=chosen)
            )
            torrents.append(await session.add(torrent, dest=folder, verify=verify, **own))
            waiting.append(asyncio.create_task(torrents[-1].wait_done()))
            waiting[-1].add_done_callback(over)
        await leaving.wait()
        for task in waiting:
            if task.done():
                task.result()
            task.cancel()
        print(*(torrent.stats for torrent in torrents), sep="\n", flush=True)


if __name__ == "__main__":
    gc.set_threshold(50_000, 20, 50)  # as swarm's command line does
    role, torrent, state, loop, settings, *where = sys.argv[1:]
    make_loop = asyncio.new_event_loop
    if loop == "uvloop":
        import uvloop

        make_loop = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(main(role, torrent, state, settings, *where))
