"""Moving and renaming a torrent while it is used, on one file system and onto another."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import swarm

FINAL = ["t/a", "t/d", "t/dir/b", "t/dir/empty", "t/dir/sub/c"]


def names(folder):
    """Everything but folders, hidden files too."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir())


@contextlib.contextmanager
def mounted(folder: Path, options: str = "size=64m") -> Iterator[Path]:
    """A tmpfs at `folder`: another file system."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting needs root and Linux")
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this system does not let us mount a tmpfs")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(params=["here", "elsewhere"])
def target(request, tmp_path):
    """A folder that does not exist yet, on this file system or on another one."""
    if request.param == "here":
        yield tmp_path / "new/folder"
    else:
        with mounted(tmp_path / "mount") as mount:
            yield mount / "folder"


async def half_done(lab, sample, session, dest, **how):
    """A download that has some pieces and waits at the gate, and the seeder behind that."""
    seeder, _ = await lab.seed(sample)
    gate = await lab.gate(seeder, 500_000)
    async with session.events(swarm.PieceVerified) as pieces:
        torrent = await session.add(sample.meta, dest=dest, peers=[gate.addr], **how)
        async with asyncio.timeout(5):
            for _ in range(4):
                await anext(pieces)
    return torrent, gate, seeder


async def test_a_seeding_torrent_moves_and_is_served_on(lab, sample, target):
    seeder, seeding = await lab.seed(sample)
    old = seeding.path.parent
    async with seeder.events(swarm.TorrentMoved) as moves:
        await seeding.move(target)
        assert (await anext(moves)).path == target / "t"
    assert seeding.path == target / "t"
    assert seeding.file_path(3) == target / "t/dir/sub/c"
    assert seeding.stats.moving is None
    assert names(target) == FINAL
    assert list(old.iterdir()) == []
    assert sample.on_disk(target) == sample.data
    leecher = await lab.open()
    torrent = await leecher.add(sample.meta, dest=lab.folder / "to", peers=[lab.addr(seeder)])
    async with asyncio.timeout(5):
        await torrent.wait_done()
    assert (await seeding.verify()).ok


async def test_a_download_moves_and_goes_on(lab, sample, target, tmp_path):
    session = await lab.open("same")
    torrent, gate, _ = await half_done(lab, sample, session, tmp_path / "old")
    assert "t/dir/sub/c.part" in names(tmp_path / "old")
    await torrent.move(target)
    assert names(tmp_path / "old") == []
    assert "t/dir/sub/c.part" in names(target)
    gate.let(float("inf"))
    async with asyncio.timeout(5):
        await torrent.wait_done()
    assert names(target) == FINAL
    assert sample.on_disk(target) == sample.data
    assert torrent.stats.downloaded == len(sample.data)
    await session.aclose()
    again = await lab.open("same")
    torrent = await again.add(sample.meta, dest=target)
    async with asyncio.timeout(5):
        await torrent.wait_done()
    assert torrent.stats.state == "seeding"


async def test_what_comes_in_while_a_file_is_copied_is_there_afterwards(lab, tmp_path):
    big = lab.sample({"x": 24 << 20, "y": 3 << 20}, piece_length=256 << 10)
    session = await lab.open()
    seeder, _ = await lab.seed(big)
    gate = await lab.gate(seeder, 1 << 20)
    with mounted(tmp_path / "mount", "size=80m") as mount:
        torrent = await session.add(big.meta, dest=tmp_path / "old", peers=[gate.addr])
        await lab.until(lambda: torrent.stats.done)
        folders = [mount, tmp_path / "old", mount / "deeper", tmp_path / "other"]
        for step in range(8):
            before = torrent.stats.done
            gate.let((step + 2) * (3 << 20))
            await torrent.move(folders[step % 4])
            await lab.until(lambda before=before: torrent.stats.done > before)
        gate.let(float("inf"))
        await torrent.move(mount)
        async with asyncio.timeout(10):
            await torrent.wait_done()
        assert big.on_disk(mount) == big.data
        assert names(tmp_path / "old") == names(tmp_path / "other") == []
        assert names(mount) == ["t/x", "t/y"]
        await torrent.pause()
        assert (await torrent.verify()).ok
        assert torrent.stats.downloaded == len(big.data)


async def test_a_paused_torrent_moves(lab, sample, target, tmp_path):
    session = await lab.open("same")
    torrent, gate, _ = await half_done(lab, sample, session, tmp_path / "old")
    await torrent.pause()
    before = torrent.stats
    await torrent.move(target)
    assert torrent.stats.state == "paused"
    assert names(tmp_path / "old") == []
    gate.let(float("inf"))
    await torrent.resume()
    async with asyncio.timeout(5):
        await torrent.wait_done()
    assert torrent.stats.downloaded - before.downloaded == len(sample.data) - before.done > 0
    assert names(target) == FINAL


async def test_fs16_nothing_that_lies_there_is_replaced(lab, sample, target):
    _, seeding = await lab.seed(sample)
    old = seeding.path.parent
    for name in ("t/dir/sub/c", "t/d.part"):
        taken = target / name
        taken.parent.mkdir(parents=True)
        taken.write_bytes(b"somebody else's")
        with pytest.raises(swarm.StorageError) as caught:
            await seeding.move(target)
        assert (caught.value.errno, caught.value.path) == (errno.EEXIST, str(taken))
        assert taken.read_bytes() == b"somebody else's"
        assert names(target) == [name]
        assert seeding.path == old / "t"
        assert seeding.stats.state == "seeding"
        assert sample.on_disk(old) == sample.data
        taken.unlink()
        (target / "t/dir/sub").exists() and (target / "t/dir/sub").rmdir()
        (target / "t/dir").exists() and (target / "t/dir").rmdir()
        (target / "t").rmdir()
    await seeding.move(target)
    assert sample.on_disk(target) == sample.data


async def test_fs16_no_space_there_leaves_everything_here(lab, tmp_path):
    big = lab.sample({"x": 3 << 20, "y": 3 << 20})
    seeder, seeding = await lab.seed(big)
    old = seeding.path.parent
    with mounted(tmp_path / "small", "size=4m") as small:
        with pytest.raises(swarm.DiskFull) as caught:
            await seeding.move(small)
        assert caught.value.operation == "move"
        assert names(small) == []
        assert seeding.stats.state == "seeding"
        leecher = await lab.open()
        torrent = await leecher.add(big.meta, dest=tmp_path / "to", peers=[lab.addr(seeder)])
        async with asyncio.timeout(5):
            await torrent.wait_done()
    assert big.on_disk(old) == big.data


async def test_fs16_space_that_runs_out_on_the_way_leaves_everything_here(
    lab, tmp_path, monkeypatch
):
    """The first look at the space that is free is but a look."""
    monkeypatch.setattr("swarm.moving._free", lambda folder: (os.stat(folder).st_dev, 1 << 40))
    big = lab.sample({"x": 3 << 20, "y": 3 << 20})
    _, seeding = await lab.seed(big)
    old = seeding.path.parent
    with mounted(tmp_path / "small", "size=4m") as small:
        with pytest.raises(swarm.DiskFull) as caught:
            await seeding.move(small)
        assert (caught.value.errno, caught.value.path) == (errno.ENOSPC, str(small / "t/y"))
        assert list(small.iterdir()) == []
    assert seeding.path == old / "t"
    assert seeding.stats.state == "seeding"
    assert seeding.stats.moving is None
    assert big.on_disk(old) == big.data
    assert (await seeding.verify()).ok


async def test_folders_that_are_not_ours_stay(lab, sample, tmp_path):
    _, seeding = await lab.seed(sample)
    mine = seeding.path / "dir/mine"
    mine.write_bytes(b"foreign")
    await seeding.move(tmp_path / "to")
    assert mine.read_bytes() == b"foreign"
    assert names(tmp_path / "to") == FINAL


async def test_files_and_folders_are_renamed(lab, sample, tmp_path):
    session = await lab.open("same")
    torrent, _, seeder = await half_done(lab, sample, session, tmp_path / "to")
    await torrent.rename_file(3, "other/C")
    await torrent.rename("T")
    assert torrent.path == tmp_path / "to/T"
    assert torrent.file_path(3) == tmp_path / "to/T/other/C"
    assert not (tmp_path / "to/t").exists()
    assert "T/other/C.part" in names(tmp_path / "to")
    await session.aclose()
    session = await lab.open("same")
    torrent = await session.add(sample.meta, dest=tmp_path / "to", peers=[lab.addr(seeder)])
    assert torrent.path == tmp_path / "to/T"
    async with asyncio.timeout(5):
        await torrent.wait_done()
    final = ["T/a", "T/d", "T/dir/b", "T/dir/empty", "T/other/C"]
    assert names(tmp_path / "to") == final
    assert (await torrent.verify()).ok
    await torrent.remove(delete_data=True)
    assert list((tmp_path / "to").iterdir()) == []


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("", swarm.UnsafePath),
        ("..", swarm.UnsafePath),
        ("../x", swarm.UnsafePath),
        ("/etc/x", swarm.UnsafePath),
        ("x//y", swarm.UnsafePath),
        ("nul\0", swarm.UnsafePath),
        ("con", swarm.UnsafePath),
        ("x" * 256, swarm.UnsafePath),
        ("x.part", swarm.UnsafePath),
        ("dir/b", swarm.StorageError),
        ("DIR/B", swarm.StorageError),
        ("dir/b/x", swarm.StorageError),
        ("dir", swarm.StorageError),
    ],
)
async def test_fn18_names_that_no_torrent_could_have(lab, sample, path, kind):
    _, seeding = await lab.seed(sample)
    with pytest.raises(kind) as caught:
        await seeding.rename_file(0, path)
    assert type(caught.value) is kind
    if kind is swarm.StorageError:
        assert caught.value.errno == errno.EEXIST
    assert seeding.stats.state == "seeding"
    assert sample.on_disk(seeding.path.parent) == sample.data
    with pytest.raises(swarm.UnsafePath):
        await seeding.rename("a/b")
    with pytest.raises(swarm.UnknownFile):
        await seeding.rename_file(5, "x")


async def test_a_single_file_is_renamed(lab, tmp_path):
    data = b"x" * 100_000
    (tmp_path / "one").write_bytes(data)
    meta = await swarm.Metainfo.create(tmp_path / "one", piece_length=32 << 10)
    session = await lab.open()
    torrent = await session.add(meta, dest=tmp_path)
    async with asyncio.timeout(5):
        await torrent.wait_done()
    await torrent.rename_file(0, "two")
    assert torrent.path == tmp_path / "two"
    assert (tmp_path / "two").read_bytes() == data
    assert not (tmp_path / "one").exists()


async def test_giving_up_the_wait_does_not_call_a_move_off(lab, sample, target):
    _, seeding = await lab.seed(sample)
    moving = asyncio.ensure_future(seeding.move(target))
    await asyncio.sleep(0)
    moving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await moving
    await lab.until(lambda: names(target) == FINAL if target.exists() else False)
    await lab.until(lambda: seeding.stats.moving is None)
    assert seeding.path == target / "t"


async def test_moving_there_and_back_and_nowhere(lab, sample, target):
    _, seeding = await lab.seed(sample)
    old = seeding.path.parent
    await seeding.move(old)
    await asyncio.gather(seeding.move(target), seeding.move(target))
    await seeding.move(old)
    assert sample.on_disk(old) == sample.data
    assert names(target) == []


async def test_a_torrent_that_was_removed_does_not_move(lab, sample, tmp_path):
    _, seeding = await lab.seed(sample)
    await seeding.remove()
    with pytest.raises(swarm.TorrentRemoved):
        await seeding.move(tmp_path / "x")
