"""FS-17: what goes with a torrent, and what does not."""

from __future__ import annotations

import asyncio

import pytest

import swarm


def names(folder):
    """Everything, folders too."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


async def half_done(lab, sample, session, dest):
    seeder, _ = await lab.seed(sample)
    gate = await lab.gate(seeder, 500_000)
    async with session.events(swarm.PieceVerified) as pieces:
        torrent = await session.add(sample.meta, dest=dest, peers=[gate.addr])
        async with asyncio.timeout(5):
            for _ in range(4):
                await anext(pieces)
    return torrent, gate


async def test_fs17_files_of_another_torrent_stay(lab, sample, tmp_path):
    """Two torrents of the same folder: one knows two files more, the other has one of its own."""
    fewer = lab.sample({"a": 50_000, "dir/b": 10, "own": 77_000}, seed=1)
    dest = sample.write(tmp_path / "data")
    fewer.write(dest)
    session = await lab.open()
    one = await session.add(sample.meta, dest=dest, verify=False)
    two = await session.add(fewer.meta, dest=dest, paused=True)
    await one.wait_done()
    await one.remove(delete_data=True)
    assert names(dest) == ["t", "t/a", "t/dir", "t/dir/b", "t/own"]
    await two.remove(delete_data=True)
    assert names(dest) == []


async def test_fs17_two_torrents_in_folders_that_lie_in_each_other(lab, sample, tmp_path):
    outer = lab.sample({"t/a": 50_000, "x": 1000}, name="data")
    dest = sample.write(tmp_path / "data")
    (dest / "x").write_bytes(bytes(1000))
    session = await lab.open()
    inner = await session.add(sample.meta, dest=dest, paused=True)
    await session.add(outer.meta, dest=tmp_path, paused=True)
    await inner.remove(delete_data=True)
    assert names(dest) == ["t", "t/a", "x"]


async def test_a_half_done_download_goes_with_its_part_names(lab, sample, tmp_path):
    session = await lab.open()
    torrent, _ = await half_done(lab, sample, session, tmp_path / "to")
    (tmp_path / "to/t/mine.part").write_bytes(b"foreign")
    await torrent.remove(delete_data=True)
    assert names(tmp_path / "to") == ["t", "t/mine.part"]
    assert not list((tmp_path / "state/session1").rglob("*.resume"))


async def test_of_two_names_only_ours_goes(lab, sample, tmp_path):
    """Somebody put a file where ours was to go; the torrent stopped, and is given up."""
    session = await lab.open()
    torrent, gate = await half_done(lab, sample, session, tmp_path / "to")
    taken = tmp_path / "to/t/dir/sub/c"
    taken.write_bytes(b"somebody else's")
    gate.let(float("inf"))
    async with asyncio.timeout(5):
        with pytest.raises(swarm.TorrentFailed):
            await torrent.wait_done()
    await torrent.remove(delete_data=True)
    assert names(tmp_path / "to") == ["t", "t/dir", "t/dir/sub", "t/dir/sub/c"]
    assert taken.read_bytes() == b"somebody else's"


async def test_removing_in_the_middle_of_a_move(lab, sample, tmp_path):
    _, seeding = await lab.seed(sample)
    old = seeding.path.parent
    moving = asyncio.ensure_future(seeding.move(tmp_path / "to"))
    await asyncio.sleep(0)
    await seeding.remove(delete_data=True)
    await asyncio.wait([moving])
    moving.exception()
    assert names(old) == []
    assert not (tmp_path / "to").exists() or names(tmp_path / "to") == []


async def test_what_was_moved_goes_from_where_it_is(lab, sample, tmp_path):
    _, seeding = await lab.seed(sample)
    await seeding.move(tmp_path / "to")
    await seeding.rename("other")
    await seeding.remove(delete_data=True)
    assert names(tmp_path / "to") == []
    assert not list((tmp_path / "state").rglob("*.resume"))
