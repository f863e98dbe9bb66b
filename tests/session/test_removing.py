"""Taking torrents out of a session, with their data or without it."""

from __future__ import annotations

import asyncio
import contextlib
import sys

import pytest

import swarm

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX files")


async def test_removing_keeps_the_data(lab, sample, tmp_path):
    session = await lab.open()
    torrent = await session.add(sample.meta, dest=sample.write(tmp_path / "data"))
    await torrent.remove()
    assert sample.on_disk(tmp_path / "data") == sample.data
    assert not session.torrents
    assert not list((tmp_path / "state").rglob("*.resume"))
    await torrent.remove()


async def test_removing_goes_on_when_nobody_waits(lab, sample, tmp_path):
    """Wherever the wait is given up: nothing is left, and the torrent can be added again."""
    session = await lab.open()
    for steps in range(1, 12):
        dest = sample.write(tmp_path / str(steps))
        torrent = await session.add(sample.meta, dest=dest)
        removing = asyncio.ensure_future(torrent.remove(delete_data=True))
        for _ in range(steps):
            await asyncio.sleep(0)
        removing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await removing
        with pytest.raises(swarm.TorrentRemoved):
            await torrent.resume()
        await lab.until(lambda: not session.torrents)
        assert list(dest.iterdir()) == []
    await session.add(sample.meta, dest=sample.write(dest))


async def test_removing_twice_leaves_the_next_one_alone(lab, sample, tmp_path):
    dest = sample.write(tmp_path / "data")
    session = await lab.open()
    torrent = await session.add(sample.meta, dest=dest)
    await torrent.remove()
    again = await session.add(sample.meta, dest=dest, select=["a"])
    async with asyncio.timeout(5):
        await again.wait_done()
    await again.pause()
    await torrent.remove()
    assert list(session.torrents.values()) == [again]
    assert list((tmp_path / "state").rglob("*.resume"))


@posix
async def test_removing_the_data_removes_exactly_that(lab, sample, tmp_path):
    dest = sample.write(tmp_path / "data")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "d").write_bytes(b"precious")
    (dest / "t/dir/sub/mine").write_bytes(b"foreign")
    (dest / "t/d").unlink()
    (dest / "t/d").symlink_to(outside / "d")
    session = await lab.open()
    torrent = await session.add(sample.meta, dest=dest, paused=True)
    await torrent.remove(delete_data=True)
    left = sorted(str(p.relative_to(dest)) for p in dest.rglob("*"))
    assert left == ["t", "t/dir", "t/dir/sub", "t/dir/sub/mine"]
    assert (outside / "d").read_bytes() == b"precious"


@posix
async def test_removing_the_data_does_not_follow_a_linked_folder(lab, sample, tmp_path):
    dest = sample.write(tmp_path / "data")
    (dest / "t/dir").rename(tmp_path / "moved")
    (dest / "t/dir").symlink_to(tmp_path / "moved")
    session = await lab.open()
    torrent = await session.add(sample.meta, dest=dest, paused=True)
    await torrent.remove(delete_data=True)
    assert (tmp_path / "moved/b").exists()
    assert (tmp_path / "moved/sub/c").exists()
    assert not (dest / "t/a").exists()


async def test_removing_the_data_removes_emptied_folders(lab, sample, tmp_path):
    dest = sample.write(tmp_path / "data")
    session = await lab.open()
    torrent = await session.add(sample.meta, dest=dest)
    async with asyncio.timeout(5):
        await torrent.wait_done()
        await torrent.remove(delete_data=True)
    assert list(dest.iterdir()) == []


async def test_a_file_that_cannot_be_deleted(lab, sample, tmp_path):
    dest = sample.write(tmp_path / "data")
    (dest / "t/a").unlink()
    (dest / "t/a").mkdir()
    session = await lab.open()
    torrent = await session.add(sample.meta, dest=dest, paused=True)
    with pytest.raises(swarm.StorageError) as caught:
        await torrent.remove(delete_data=True)
    assert caught.value.operation == "delete"
    assert not (dest / "t/dir").exists()
