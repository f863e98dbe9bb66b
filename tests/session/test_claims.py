"""Claims of one torrent in one folder: one owner at a time, and nothing left of what is forgotten."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

import swarm
from swarm.claims import Claims
from swarm.engine.selection import Selection
from swarm.store.places import Places

posix = pytest.mark.skipif(sys.platform == "win32", reason="locks of POSIX")


def claims_of(meta, folder, dest):
    return Claims(folder / "state", meta, Places(meta.files, dest), Selection(meta))


@posix
def test_one_owner_at_a_time(sample, tmp_path):
    one, two = (claims_of(sample.meta, tmp_path, tmp_path) for _ in range(2))
    one.acquire()
    with pytest.raises(swarm.StorageError, match="another") as caught:
        two.acquire()
    assert caught.value.operation == "lock"
    one.release()
    two.acquire()
    two.release()
    two.release()


@posix
def test_a_process_that_died_owns_nothing(sample, tmp_path):
    path = tmp_path / "t.torrent"
    path.write_bytes(sample.meta.to_bytes())
    code = """if True:
        import os, signal, sys
        from pathlib import Path
        import swarm
        from swarm.claims import Claims
        from swarm.engine.selection import Selection
        from swarm.store.places import Places
        meta, here = swarm.Metainfo.load(sys.argv[1]), Path(sys.argv[2])
        Claims(here / "state", meta, Places(meta.files, here), Selection(meta)).acquire()
        os.kill(os.getpid(), signal.SIGKILL)
    """
    subprocess.run([sys.executable, "-c", code, str(path), str(tmp_path)], check=False)
    claims = claims_of(sample.meta, tmp_path, tmp_path)
    claims.acquire()
    claims.release()


@posix
async def test_rs10_two_states_do_not_write_to_the_same_data(lab, sample, tmp_path):
    """Each has its own lock file, so it is the data that is locked, by whoever writes to it."""
    seeder, _ = await lab.seed(sample)
    gate = await lab.gate(seeder, 500_000)
    session = await lab.open()
    torrent = await session.add(sample.meta, dest=tmp_path / "to", peers=[gate.addr])
    await lab.until(lambda: torrent.stats.done > 200_000)
    path = tmp_path / "t.torrent"
    path.write_bytes(sample.meta.to_bytes())
    code = """if True:
        import asyncio, sys, swarm
        async def main(torrent, dest, state, port):
            async with swarm.Session(state_dir=state, listen="127.0.0.1:0") as session:
                added = await session.add(torrent, dest=dest, peers=[("127.0.0.1", int(port))])
                try:
                    await added.wait_done()
                except swarm.TorrentFailed as failed:
                    print(failed.__cause__)
        asyncio.run(main(*sys.argv[1:]))
    """
    other = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code, path, tmp_path / "to", tmp_path / "other"),
        str(seeder.port),
        stdout=subprocess.PIPE,
    )
    async with asyncio.timeout(20):
        said, _ = await other.communicate()
    assert said.decode().startswith("another process writes to ")
    gate.let(float("inf"))
    async with asyncio.timeout(10):
        await torrent.wait_done()
    assert sample.on_disk(tmp_path / "to") == sample.data


def test_folders_do_not_share_claims(sample, tmp_path):
    for place in ("one", "two"):
        sample.write(tmp_path / place)
    full = b"\xff" * 4
    assert sample.meta.piece_count == 32
    one, two = (claims_of(sample.meta, tmp_path, tmp_path / p) for p in ("one", "two"))
    one.save(full, Places(sample.meta.files, tmp_path / "one").survey(), clean=True)
    assert one.load()[:2] == (full, bytes(4))
    assert two.load()[:2] == (bytes(4), full)  # nothing to believe, all to be hashed
    one.forget()
    assert one.load()[:2] == (bytes(4), full)
    one.forget()


def test_claims_that_cannot_be_saved(sample, tmp_path):
    (tmp_path / "state").write_bytes(b"a file, not a folder")
    claims = claims_of(sample.meta, tmp_path, tmp_path)
    now = Places(sample.meta.files, tmp_path).survey()
    for act in (claims.acquire, lambda: claims.save(bytes(4), now, clean=True)):
        with pytest.raises(swarm.StorageError):
            act()
