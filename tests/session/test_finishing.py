"""Files get their final names when they are complete, in a session, and after any kind of stop."""

from __future__ import annotations

import asyncio
import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

import swarm
from swarm._bits import Bits
from swarm.finishing import Finishing


def names(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir())


FINAL = ["t/a", "t/d", "t/dir/b", "t/dir/empty", "t/dir/sub/c"]


@given(st.data())
def test_every_file_is_finished_once_by_its_last_piece(data):
    sizes = data.draw(st.lists(st.integers(0, 40), min_size=1, max_size=12))
    piece_length = data.draw(st.integers(1, 50))
    total = sum(sizes) or 1
    sizes = sizes if sum(sizes) else [1, *sizes]
    count = -(-total // piece_length)
    meta = swarm.Metainfo.build(
        name="t",
        files=[((str(i),), size) for i, size in enumerate(sizes)],
        single_file=False,
        piece_length=piece_length,
        piece_hashes=bytes(20 * count),
    )
    have = Bits(count)
    for piece in data.draw(st.sets(st.integers(0, count - 1))):
        have.set(piece)
    finishing = Finishing(meta)
    finishing.begin(have)

    def lacking(file):
        first, end = file.offset // piece_length, -(-(file.offset + file.length) // piece_length)
        return [p for p in range(first, end) if not have[p]] if file.length else []

    def complete():
        return [file.index for file in meta.files if not lacking(file)]

    assert finishing.complete(range(len(sizes))) == complete()
    for piece in data.draw(st.permutations([p for p in range(count) if not have[p]])):
        before = complete()
        have.set(piece)
        assert finishing.verified(piece) == [i for i in complete() if i not in before]
    assert finishing.complete(range(len(sizes))) == list(range(len(sizes)))


async def test_a_download_has_part_names_and_a_finished_one_has_none(lab, sample, tmp_path):
    seeder, _ = await lab.seed(sample)
    gate = await lab.gate(seeder, 500_000)
    session = await lab.open()
    async with session.events(swarm.PieceVerified) as pieces:
        torrent = await session.add(sample.meta, dest=tmp_path / "to", peers=[gate.addr])
        async with asyncio.timeout(5):
            for _ in range(4):
                await anext(pieces)
        assert "t/dir/sub/c.part" in names(tmp_path / "to")
        assert "t/dir/sub/c" not in names(tmp_path / "to")
        gate.let(float("inf"))
        async with asyncio.timeout(5):
            await torrent.wait_done()
    assert names(tmp_path / "to") == FINAL
    assert sample.on_disk(tmp_path / "to") == sample.data


async def test_part_names_can_be_turned_off(lab, sample, tmp_path):
    seeder, _ = await lab.seed(sample)
    gate = await lab.gate(seeder, 500_000)
    session = await lab.open(part_names=False)
    async with session.events(swarm.PieceVerified) as pieces:
        torrent = await session.add(sample.meta, dest=tmp_path / "to", peers=[gate.addr])
        async with asyncio.timeout(5):
            for _ in range(4):
                await anext(pieces)
        assert not [name for name in names(tmp_path / "to") if name.endswith(".part")]
        gate.let(float("inf"))
        async with asyncio.timeout(5):
            await torrent.wait_done()
    assert names(tmp_path / "to") == FINAL


@pytest.mark.parametrize("verify", [None, True, False])
async def test_complete_files_under_part_names_are_finished_at_the_start(
    lab, sample, tmp_path, verify
):
    """As a kill between the last piece and the new name leaves them."""
    sample.write(tmp_path / "to")
    for name in ("a", "dir/sub/c"):
        (tmp_path / "to/t" / name).rename(tmp_path / f"to/t/{name}.part")
    session = await lab.open()
    torrent = await session.add(sample.meta, dest=tmp_path / "to", verify=verify)
    async with asyncio.timeout(5):
        await torrent.wait_done()
    assert names(tmp_path / "to") == FINAL
    assert (await torrent.verify()).ok


async def test_what_was_begun_under_a_part_name_goes_on_there(lab, sample, tmp_path):
    seeder, _ = await lab.seed(sample)
    gate = await lab.gate(seeder, 500_000)
    async with lab.session("same") as session:
        async with session.events(swarm.PieceVerified) as pieces:
            torrent = await session.add(sample.meta, dest=tmp_path / "to", peers=[gate.addr])
            async with asyncio.timeout(5):
                for _ in range(4):
                    await anext(pieces)
        await torrent.pause()
        done = torrent.stats.done
        assert {f.state for f in (await torrent.verify()).files} <= {
            "good",
            "short",
            "damaged",
            "missing",
        }
        assert torrent.stats.done == done
    async with lab.session("same") as session:
        torrent = await session.add(sample.meta, dest=tmp_path / "to", peers=[lab.addr(seeder)])
        async with asyncio.timeout(5):
            await torrent.wait_done()
        assert torrent.stats.downloaded == len(sample.data) - done
    assert names(tmp_path / "to") == FINAL


async def test_a_final_name_that_was_taken_meanwhile_stops_the_torrent(lab, sample, tmp_path):
    """Neither file is harmed, not by trying again either, until the user has put one away."""
    seeder, _ = await lab.seed(sample)
    gate = await lab.gate(seeder, 500_000)
    session = await lab.open()
    async with session.events(swarm.PieceVerified, swarm.TorrentStopped) as events:
        torrent = await session.add(sample.meta, dest=tmp_path / "to", peers=[gate.addr])
        async with asyncio.timeout(5):
            for _ in range(4):
                await anext(events)
            taken = tmp_path / "to/t/dir/sub/c"
            taken.write_bytes(b"somebody else's")
            gate.let(float("inf"))
            with pytest.raises(swarm.TorrentFailed) as caught:
                await torrent.wait_done()
    for _ in range(2):
        error = caught.value.__cause__
        assert isinstance(error, swarm.StorageError)
        assert (error.errno, error.path) == (errno.EEXIST, str(taken))
        assert taken.read_bytes() == b"somebody else's"
        await torrent.resume()
        async with asyncio.timeout(5):
            with pytest.raises(swarm.TorrentFailed) as caught:
                await torrent.wait_done()
    taken.unlink()
    await torrent.resume()
    async with asyncio.timeout(5):
        await torrent.wait_done()
    assert names(tmp_path / "to") == FINAL
    assert sample.on_disk(tmp_path / "to") == sample.data
