"""What goes wrong on our own disk is nobody else's fault."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from conftest import Arena, until
from evil import Evil

import swarm

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

CHILD = """
import asyncio, sys, swarm
async def main(torrent, dest, state, host, port):
    settings = swarm.Settings(resume_interval=0.05)
    async with swarm.Session(listen="127.0.0.1:0", state_dir=state, settings=settings) as session:
        handle = await session.add(torrent, dest=dest, peers=[(host, int(port))])
        while handle.stats.progress < 0.5:
            await asyncio.sleep(0.01)
        print("half", flush=True)
        await asyncio.sleep(60)
asyncio.run(main(*sys.argv[1:]))
"""


async def test_pw26_nobody_is_blamed_after_a_kill_and_damage(arena: Arena) -> None:
    """Killed half-way, then damaged on the disk: what is bad is found here, and fetched again."""
    payload, dest = arena.payload, arena.tmp / "victim"
    dest.mkdir()
    served = 0

    async def half(evil: Evil) -> None:
        def answer(piece: int, begin: int, length: int) -> bytes | None:
            nonlocal served
            served += length
            return payload.right(piece, begin, length) if served < 3 << 20 else None

        await evil.greet(payload.infohash)
        await evil.seed(payload.pieces, answer)

    host, port = await arena.listen(half, "127.0.0.20")
    torrent = arena.tmp / "data.torrent"
    torrent.write_bytes(payload.meta.to_bytes())
    args = [str(torrent), str(dest), str(arena.tmp / "state-1"), host, str(port)]
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, *args, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    async with asyncio.timeout(20):
        assert await child.stdout.readline() == b"half\n"
    child.kill()
    await child.wait()
    with (dest / "data.part").open("r+b") as file:
        for piece in range(0, payload.pieces, 3):
            file.seek(piece * payload.piece_length + 100)
            file.write(b"damaged")
    await arena.attack()
    stats = await arena.finish(seeders=3)
    assert not arena.failed
    assert not any(left.banned for left in arena.left)
    assert stats.wasted == 0


async def test_pw26_a_half_done_piece_of_a_session_that_ended_blames_nobody(arena: Arena) -> None:
    """What an unfinished piece left on the disk is not mixed with what others send."""
    arena.share(4 << 20, 2 << 20)  # two slots to a piece: the first is written on its own
    await arena.attack()
    answered = 0

    def first_slot(piece: int, begin: int, length: int) -> bytes | None:
        nonlocal answered
        answered += 1
        return arena.payload.wrong(piece, begin, length) if begin < 1 << 20 else None

    await arena.seed(first_slot)
    await until(lambda: answered > 64)
    await arena.torrent.pause()
    await arena.torrent.resume()
    await until(lambda: isinstance(arena.torrent.stats, swarm.Stats) and arena.engine is not None)
    await arena.finish(seeders=2)
    assert not any(left.banned for left in arena.left)
