"""Files that nobody wants: none is made, what their pieces share with others is kept aside."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys

import pytest

import swarm

# With pieces of 32 KiB: `b` lies within one piece of `a`'s end and `c`'s start.
SIZES = {"a": 50_000, "dir/b": 10, "dir/empty": 0, "dir/sub/c": 900_000, "d": 98_566}
A, B, EMPTY, C, D = range(5)


def names(folder):
    """Everything, folders too."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def aside(lab):
    return list((lab.folder / "state").rglob("*.aside"))


async def done(torrent):
    async with asyncio.timeout(10):
        await torrent.wait_done()


async def test_unwanted_files_leave_no_litter(lab, sample, tmp_path):
    seeder, _ = await lab.seed(sample)
    session = await lab.open()
    to = tmp_path / "to"
    torrent = await session.add(sample.meta, dest=to, peers=[lab.addr(seeder)], select=["a"])
    await done(torrent)
    assert names(to) == ["t", "t/a"]
    assert (to / "t/a").read_bytes() == sample.data[:50_000]
    assert len(aside(lab)) == 1
    # Others get the whole pieces from us, with what is kept aside.
    leecher = await lab.open()
    other = await leecher.add(
        sample.meta, dest=tmp_path / "other", peers=[lab.addr(session)], select=["a"]
    )
    await done(other)
    assert (tmp_path / "other/t/a").read_bytes() == sample.data[:50_000]
    await other.remove()
    # Now the rest is wanted, too: nothing comes twice, and nothing stays aside.
    await torrent.select("*")
    await done(torrent)
    assert names(to) == [
        "t",
        "t/a",
        "t/d",
        "t/dir",
        "t/dir/b",
        "t/dir/empty",
        "t/dir/sub",
        "t/dir/sub/c",
    ]
    assert sample.on_disk(to) == sample.data
    assert torrent.stats.downloaded == len(sample.data)
    assert aside(lab) == []
    assert (await torrent.verify()).ok


async def test_a_file_that_was_kept_aside_as_a_whole_is_there_when_it_is_wanted(
    lab, sample, tmp_path
):
    seeder, _ = await lab.seed(sample)
    session = await lab.open()
    torrent = await session.add(
        sample.meta, dest=tmp_path / "to", peers=[lab.addr(seeder)], select=["a"]
    )
    await done(torrent)
    downloaded = torrent.stats.downloaded
    await torrent.select("a", "dir/b", "dir/empty")  # no peer is needed for that
    await torrent.wait_done()
    assert names(tmp_path / "to") == ["t", "t/a", "t/dir", "t/dir/b", "t/dir/empty"]
    assert (tmp_path / "to/t/dir/b").read_bytes() == sample.data[50_000:50_010]
    assert torrent.stats.downloaded == downloaded


async def test_what_is_there_stays_when_it_is_not_wanted_any_more(lab, sample, tmp_path):
    seeder, _ = await lab.seed(sample)
    session = await lab.open()
    torrent = await session.add(sample.meta, dest=tmp_path / "to", peers=[lab.addr(seeder)])
    await done(torrent)
    await torrent.select("a")
    await torrent.pause()
    await torrent.resume()
    await done(torrent)
    assert sample.on_disk(tmp_path / "to") == sample.data
    assert torrent.stats.total_done == len(sample.data)
    assert aside(lab) == []


@pytest.mark.parametrize("clean", [True, False])
async def test_what_is_kept_aside_is_claimed_and_believed(lab, sample, tmp_path, clean):
    seeder, _ = await lab.seed(sample)
    async with lab.session("same") as session:
        torrent = await session.add(
            sample.meta, dest=tmp_path / "to", peers=[lab.addr(seeder)], select=["a", "d"]
        )
        await done(torrent)
        total = torrent.stats.total_done
        if not clean:
            await torrent._runner.storing.claim(clean=False)
            shutil.copytree(tmp_path / "state/same", tmp_path / "state/killed")
    session = await lab.open("same" if clean else "killed")
    torrent = await session.add(sample.meta, dest=tmp_path / "to")
    await done(torrent)
    assert torrent.stats.total_done == total
    assert torrent.priorities[C] == swarm.Priority.SKIP


async def test_a_choice_that_was_changed_while_it_was_closed(lab, sample, tmp_path):
    seeder, _ = await lab.seed(sample)
    async with lab.session("same") as session:
        torrent = await session.add(
            sample.meta, dest=tmp_path / "to", peers=[lab.addr(seeder)], select=["a"]
        )
        await done(torrent)
        first = torrent.stats.downloaded
    session = await lab.open("same")
    torrent = await session.add(
        sample.meta, dest=tmp_path / "to", peers=[lab.addr(seeder)], select=["*"]
    )
    await done(torrent)
    assert sample.on_disk(tmp_path / "to") == sample.data
    assert first + torrent.stats.downloaded == len(sample.data)
    assert aside(lab) == []


async def test_what_is_kept_aside_is_lost_with_its_file(lab, sample, tmp_path):
    seeder, _ = await lab.seed(sample)
    async with lab.session("same") as session:
        torrent = await session.add(
            sample.meta, dest=tmp_path / "to", peers=[lab.addr(seeder)], select=["a"]
        )
        await done(torrent)
    for path in aside(lab):
        path.unlink()
    session = await lab.open("same")
    torrent = await session.add(sample.meta, dest=tmp_path / "to", peers=[lab.addr(seeder)])
    await done(torrent)
    assert torrent.stats.downloaded == 32_768  # the piece that is shared
    assert (await torrent.verify()).files[A].state == "good"


async def test_a_move_takes_along_what_is_kept_aside(lab, sample, tmp_path):
    seeder, _ = await lab.seed(sample)
    async with lab.session("same") as session:
        torrent = await session.add(
            sample.meta, dest=tmp_path / "to", peers=[lab.addr(seeder)], select=["a"]
        )
        await done(torrent)
        before, total = aside(lab), torrent.stats.total_done
        await torrent.move(tmp_path / "moved")
        assert len(aside(lab)) == 1
        assert aside(lab) != before
        assert names(tmp_path / "to") == []
        assert names(tmp_path / "moved") == ["t", "t/a"]
        assert (await torrent.verify()).good_pieces * 32_768 == total
    session = await lab.open("same")
    torrent = await session.add(sample.meta, dest=tmp_path / "moved")
    await done(torrent)
    assert torrent.stats.total_done == total
    await torrent.remove()
    assert aside(lab) == []


@pytest.mark.parametrize("delete_data", [True, False])
async def test_removing_takes_away_what_is_kept_aside(lab, sample, tmp_path, delete_data):
    seeder, _ = await lab.seed(sample)
    session = await lab.open()
    torrent = await session.add(
        sample.meta, dest=tmp_path / "to", peers=[lab.addr(seeder)], select=["a"]
    )
    await done(torrent)
    await torrent.remove(delete_data=delete_data)
    assert aside(lab) == []
    assert names(tmp_path / "to") == ([] if delete_data else ["t", "t/a"])


async def test_selecting_back_and_forth_during_a_download(lab, tmp_path):
    """Whatever is under way meanwhile, every byte ends where it belongs."""
    files = {f"f{i}": 70_000 + i for i in range(60)}
    big = lab.sample(files, piece_length=128 << 10)
    seeder, _ = await lab.seed(big)
    session = await lab.open()
    torrent = await session.add(
        big.meta, dest=tmp_path / "to", peers=[lab.addr(seeder)], select=["f0"]
    )
    for step in range(30):
        await torrent.select(lambda file, step=step: (file.index * 7 + step) % 5 < 2)
        await asyncio.sleep(0)
    await torrent.select("*")
    await done(torrent)
    assert big.on_disk(tmp_path / "to") == big.data
    assert sorted(os.listdir(tmp_path / "to/t")) == sorted(files)
    assert aside(lab) == []
    await torrent.pause()
    assert (await torrent.verify()).ok


def test_a_kill_costs_nothing_that_was_kept_aside(lab_free, tmp_path):
    """Killed right after the claim: the next start believes, and finds, what is aside."""
    script, state, dest = lab_free
    said = subprocess.run(
        [sys.executable, "-c", script, str(state), str(dest), "kill"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == -signal.SIGKILL, said.stderr
    said = subprocess.run(
        [sys.executable, "-c", script, str(state), str(dest), "look"],
        capture_output=True,
        text=True,
        check=True,
    )
    downloaded, total = map(int, said.stdout.split())
    assert (downloaded, total) == (0, 65_536)


@pytest.fixture
def lab_free(sample, tmp_path):
    """A script that downloads file `a` from a seeder of its own, and then dies or looks."""
    (tmp_path / "t.torrent").write_bytes(sample.meta.to_bytes())
    sample.write(tmp_path / "seed")
    script = f"""
import asyncio, os, signal, sys
import swarm
state, dest, then = sys.argv[1:]
async def main():
    async with swarm.Session(listen="127.0.0.1:0", state_dir=state + ".seed") as seeder:
        await seeder.add({str(tmp_path / "t.torrent")!r}, dest={str(tmp_path / "seed")!r}, verify=False)
        async with swarm.Session(listen="127.0.0.1:0", state_dir=state) as session:
            torrent = await session.add({str(tmp_path / "t.torrent")!r}, dest=dest, select=["a"],
                                        peers=[("127.0.0.1", seeder.port)])
            await torrent.wait_done()
            if then == "kill":
                await torrent._runner.storing.claim(clean=False)
                os.kill(os.getpid(), signal.SIGKILL)
            print(torrent.stats.downloaded, torrent.stats.total_done)
asyncio.run(main())
"""
    return script, tmp_path / "state/killed", tmp_path / "to"
