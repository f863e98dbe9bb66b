"""From one session to the next: what is remembered, what is doubted, and what a kill costs."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import swarm

ROOT = Path(__file__).parents[2]
posix = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")


async def complete(lab, sample, dest, name="same"):
    """A finished torrent that was stopped in order."""
    async with lab.session(name) as session:
        torrent = await session.add(sample.meta, dest=sample.write(dest), verify=True)
        async with asyncio.timeout(5):
            await torrent.wait_done()


async def reopened(lab, sample, dest, name="same", **kwargs):
    session = await lab.open(name)
    torrent = await session.add(sample.meta, dest=dest, **kwargs)
    await lab.until(lambda: torrent.stats.state in ("downloading", "seeding", "failed"))
    return torrent


def resume_file(tmp_path: Path) -> Path:
    (path,) = (tmp_path / "state").rglob("*.resume")
    return path


async def test_a_finished_torrent_is_not_read_again(lab, sample, tmp_path):
    await complete(lab, sample, tmp_path / "data")
    torrent = await reopened(lab, sample, tmp_path / "data")
    assert torrent.stats.progress == 1.0
    assert torrent._runner.storing.checked == 0.0


async def test_rs04_wrong_bytes_under_the_old_size_and_time_are_found(lab, sample, tmp_path):
    """Nobody can set back the time of the last change of any kind, so that it gives them away."""
    await complete(lab, sample, tmp_path / "data")
    path = tmp_path / "data/t/dir/sub/c"
    times = path.stat()
    await lab.until(lambda: later(tmp_path / "probe", times.st_ctime_ns))
    path.write_bytes(bytes(times.st_size))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    torrent = await reopened(lab, sample, tmp_path / "data")
    assert torrent.stats.done < len(sample.data) - times.st_size + 2 * 32_768


def later(probe: Path, time_ns: int) -> bool:
    """Whether the clock of the file system, which goes in steps, is past that time."""
    probe.touch()
    return probe.stat().st_ctime_ns > time_ns


async def test_a_file_changed_behind_our_back_is_checked(lab, sample, tmp_path):
    await complete(lab, sample, tmp_path / "data")
    path = tmp_path / "data/t/dir/sub/c"
    data = bytearray(path.read_bytes())
    data[500_000] ^= 1
    path.write_bytes(data)
    times = path.stat()
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns + 1_000_000))
    torrent = await reopened(lab, sample, tmp_path / "data")
    assert torrent.stats.done == len(sample.data) - 32_768


async def test_a_clean_stop_in_mid_download_fetches_nothing_twice(lab, sample, tmp_path):
    seeder, _ = await lab.seed(sample)
    gate = await lab.gate(seeder, 500_000)
    async with lab.session("same") as session, session.events(swarm.PieceVerified) as pieces:
        first = await session.add(sample.meta, dest=tmp_path / "to", peers=[gate.addr])
        async with asyncio.timeout(5):
            for _ in range(5):
                await anext(pieces)
    here = first.stats.done
    assert 5 * 32_768 <= here < len(sample.data)
    torrent = await reopened(lab, sample, tmp_path / "to")
    assert torrent.stats.done == here
    torrent.add_peer(lab.addr(seeder))
    async with asyncio.timeout(5):
        await torrent.wait_done()
    assert torrent.stats.downloaded == len(sample.data) - here
    assert sample.on_disk(tmp_path / "to") == sample.data


@pytest.mark.parametrize("harm", ["torn", "foreign", "newer", "empty", "gone", "folder"])
async def test_a_bad_resume_file_costs_a_check_only(lab, sample, tmp_path, harm):
    await complete(lab, sample, tmp_path / "data")
    path = resume_file(tmp_path)
    data = path.read_bytes()
    match harm:
        case "torn":
            path.write_bytes(data[: len(data) // 2])
        case "foreign":
            path.write_bytes(os.urandom(len(data)))
        case "newer":
            path.write_bytes(data[:8] + b"\x63" + data[9:])
        case "empty":
            path.write_bytes(b"")
        case _:
            path.unlink()
    if harm == "folder":
        path.mkdir()
    session = await lab.open("same")
    async with session.events(swarm.ResumeDoubted, swarm.ResumeNotSaved) as told:
        torrent = await session.add(sample.meta, dest=tmp_path / "data")
        await lab.until(lambda: torrent.stats.state == "seeding")
        if harm == "gone" and not path.with_suffix(".previous").exists():
            return  # saved only once: there never was one, as far as anybody can tell
        async with asyncio.timeout(10):
            event = await anext(told)
        if harm == "folder":  # nothing can be remembered, which is told and stops nothing
            assert isinstance(event, swarm.ResumeDoubted)
            async with asyncio.timeout(10):
                event = await anext(told)
            assert isinstance(event, swarm.ResumeNotSaved)
            assert event.error.operation == "save"
        else:
            assert isinstance(event, swarm.ResumeDoubted)
            assert event.reason
    assert torrent.stats.progress == 1.0
    assert torrent.stats.downloaded == 0


async def test_the_same_torrent_in_two_folders_has_two_claims(lab, sample, tmp_path):
    await complete(lab, sample, tmp_path / "one")
    torrent = await reopened(lab, sample, tmp_path / "two")
    assert torrent.stats.done == 0


async def test_files_that_went_are_not_claimed(lab, sample, tmp_path):
    await complete(lab, sample, tmp_path / "data")
    (tmp_path / "data/t/dir/sub/c").unlink()
    torrent = await reopened(lab, sample, tmp_path / "data")
    assert 0 < torrent.stats.done < len(sample.data) - 900_000 + 2 * 32_768


# ---------------------------------------------------------------- kill -9

CHILD = """
    import asyncio, sys, swarm

    async def main(torrent, dest, state, port):
        settings = swarm.Settings(resume_interval=0.05, memory=1 << 18)
        async with swarm.Session(listen="127.0.0.1:0", state_dir=state, settings=settings) as s:
            async with s.events(swarm.PieceVerified) as pieces:
                await s.add(torrent, dest=dest, peers=[("127.0.0.1", int(port))])
                async for event in pieces:
                    print(event.piece, flush=True)

    asyncio.run(main(*sys.argv[1:]))
"""


async def killed(torrent: Path, dest: Path, state: Path, port: int, after: int) -> set[int]:
    """Downloads in a process that is killed after so many pieces; what it said it had."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        textwrap.dedent(CHILD),
        *map(str, (torrent, dest, state, port)),
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    said = []
    try:
        while len(said) < after and (line := await child.stdout.readline()):
            said.append(int(line))
    finally:
        child.kill()
        await child.wait()
    rest = (await child.stdout.read()).split()
    child._transport.close()  # type: ignore[attr-defined]
    return {*said, *map(int, rest)}


@posix
@pytest.mark.parametrize("seed", [1, 2])
async def test_pr01_kill_at_a_random_moment(lab, tmp_path, seed):
    """What was verified is on the disk: nothing of it is fetched again, however often it is killed."""
    sample = lab.sample({"a": 3_000_000, "b": 1_100_000}, seed=seed)
    path = tmp_path / "t.torrent"
    path.write_bytes(sample.meta.to_bytes())
    seeder, seeding = await lab.seed(sample)
    rng = random.Random(seed)
    had: set[int] = set()
    dest, state = tmp_path / "to", tmp_path / "state/same"
    for _ in range(2):
        gate = await lab.gate(seeder, 1_300_000)
        async with asyncio.timeout(8):
            said = await killed(path, dest, state, gate.addr.port, rng.randint(1, 25))
        assert said
        assert not said & had  # nothing twice
        had |= said
    await lab.until(lambda: seeding.stats.peers == 0)
    sent = seeding.stats.uploaded
    torrent = await reopened(lab, sample, dest)
    assert torrent.stats.done >= len(had) * 32_768 - 32_768
    before = torrent.stats.done
    torrent.add_peer(lab.addr(seeder))
    async with asyncio.timeout(8):
        await torrent.wait_done()
    assert sample.on_disk(dest) == sample.data
    assert torrent.stats.downloaded == len(sample.data) - before
    # A kill costs what was in flight: nothing is asked for without a slot, and there were 256 KiB.
    assert sent - before <= 2 * (256 << 10)
    assert seeding.stats.uploaded - sent == len(sample.data) - before
