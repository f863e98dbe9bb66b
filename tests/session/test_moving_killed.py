"""FS-16: a process that is killed while it moves a torrent, at many points, again and again."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import subprocess
import sys
import time

import pytest

from swarm.claims import state_path

from .test_moving import mounted, names

SCRIPT = """
import asyncio, sys
import swarm
torrent_file, state, now, to = sys.argv[1:]
async def main():
    async with swarm.Session(listen="127.0.0.1:0", state_dir=state) as session:
        torrent = await session.add(torrent_file, dest=now)
        await torrent.wait_done()
        print("ready", flush=True)
        await torrent.move(to)
        print("moved", flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""


def move(torrent_file, state, now, to, delay):
    """Moves from `now`, and is killed `delay` seconds after it began to. What it said."""
    command = [sys.executable, "-c", SCRIPT, *map(str, (torrent_file, state, now, to))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        return process.stdout.read()


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize("other_system", [False, True])
async def test_fs16_killed_while_it_moves(lab, tmp_path, other_system):
    """Whichever folder the next start is given: it finds all files, and nothing has to be fetched."""
    sizes = {f"dir{i % 3}/f{i}": 40_000 + 9_000 * i for i in range(40)}
    sample = lab.sample(sizes, piece_length=32 << 10)
    torrent_file = tmp_path / "t.torrent"
    torrent_file.write_bytes(sample.meta.to_bytes())
    state, infohash = tmp_path / "state/killed", sample.meta.infohash.v1
    rng = random.Random(16)
    begun = time.monotonic()
    cut_short = 0
    with mounted(tmp_path / "mount") if other_system else contextlib.nullcontext():
        folders = [tmp_path / "old", tmp_path / ("mount/new" if other_system else "new")]
        sample.write(folders[0])
        rounds = 0
        while rounds < 40 and time.monotonic() - begun < 10:
            rounds += 1
            said = move(torrent_file, state, *folders, delay=rng.uniform(0, 0.06))
            cut_short += said == "" and any(map(names, folders[1:]))
            for folder in folders:  # no file is half of one, under any name that counts
                for name in names(folder):
                    if not name.endswith(".moving"):
                        original = next(f for f in sample.meta.files if "/".join(f.path) == name)
                        data = sample.data[original.offset : original.offset + original.length]
                        assert (folder / name).read_bytes() == data, name
            async with lab.session("killed") as session:
                # Whoever began the move knows the old folder; the new one does once that is written down.
                begun_there = state_path(state, infohash, str(folders[1])).with_suffix(".resume")
                dest = folders[1] if begun_there.exists() and rng.random() < 0.5 else folders[0]
                torrent = await session.add(torrent_file, dest=dest)
                async with asyncio.timeout(20):
                    await torrent.wait_done()
                    place = torrent.path.parent
                    moving = torrent._runner.storing.moving
                    await lab.until(lambda moving=moving: not moving.under_way)
                assert torrent.stats.total_done == len(sample.data)
                assert (await torrent.verify()).ok
            assert place in folders
            other = folders[0] if place == folders[1] else folders[1]
            assert names(place) == sorted(f"t/{name}" for name in sizes)
            assert names(other) == [], "nothing is left behind"
            folders = [place, other]
    assert rounds > 2
    assert cut_short, "no kill came in the middle of a move"
