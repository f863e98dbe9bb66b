"""Downloads in processes that are there to be killed: `python -m crash.downloader`.

Everything is imported once; each order, a line of JSON on stdin, is a fork that runs a session of its own.
What happens in it comes out as lines of JSON: its pid, which pieces it believes to have once it has
started, how it ended.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import Any

import aiohttp  # noqa: F401  what a session imports when it is first used
import uvloop

import swarm
from swarm import Metainfo, Session, Settings, TorrentFailed


def say(**facts: Any) -> None:
    """One line, in one write."""
    os.write(1, json.dumps(facts).encode() + b"\n")


async def download(
    torrent: str, dest: str, state: str, port: int, settings: dict[str, Any]
) -> None:
    session = Session(
        listen="127.0.0.1:0", state_dir=state, settings=Settings(dht=False, **settings)
    )
    async with session:
        begun = time.monotonic()
        added = await session.add(torrent, dest=dest, peers=[("127.0.0.1", port)])
        runner = added._runner
        while runner.state == "checking":
            await runner.changed.wait()
        have = bytes(runner.have).hex()
        say(state=runner.state, have=have, seconds=time.monotonic() - begun)
        try:
            await added.wait_done()
        except TorrentFailed as error:
            say(failed=str(error))
            await asyncio.Event().wait()  # for what is to come
        else:
            say(done=True)


def main() -> None:
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            code = 1
            try:
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
                    loop.run(download(**json.loads(line)))
                code = 0
            finally:
                sys.stderr.flush()
                os._exit(code)
        say(pid=pid)
        _, status = os.waitpid(pid, 0)
        say(exit=os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    assert Metainfo is swarm.Metainfo
    main()
