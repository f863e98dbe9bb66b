"""Disks that fail under real sessions. Each fault: a typed error that says where, one torrent stops, the
others run on, nothing is claimed that is not there, and `resume` goes on when the cause is gone.

The names are those of the rows of docs/reliability.md.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
from errno import (
    EACCES,
    EDQUOT,
    EFBIG,
    EINTR,
    EIO,
    ENODATA,
    ENOENT,
    ENOSPC,
    ENOTCONN,
    EROFS,
    ESTALE,
)
from pathlib import Path

import pytest

import swarm

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

ROOT = Path(__file__).parents[2]
DATA = "to/*"
"""The torrent's files on the faulty disk."""
PATIENCE = 15.0


async def failure(torrent: swarm.Torrent) -> swarm.StorageError:
    """Waits until the torrent has failed; why it did."""
    async with asyncio.timeout(PATIENCE):
        while torrent.stats.state != "failed":
            await torrent._runner.changed.wait()
    with pytest.raises(swarm.TorrentFailed) as caught:
        await torrent.wait_done()
    cause = caught.value.__cause__
    assert isinstance(cause, swarm.StorageError)
    return cause


async def done(torrent: swarm.Torrent) -> None:
    async with asyncio.timeout(PATIENCE):
        await torrent.wait_done()


async def others_run_on(lab, session: swarm.Session, tmp_path: Path) -> None:
    """Another torrent of the same session, on a good disk."""
    other = lab.sample({"y": 300_000}, name="other", seed=2)
    seeder, _ = await lab.seed(other)
    torrent = await session.add(other.meta, dest=tmp_path / "good", peers=[lab.addr(seeder)])
    await done(torrent)


def on_the_platter(faulty, sample, dest: Path) -> bytes:
    """What is there after the power was cut."""
    faulty.cut()
    faulty.boot()
    return sample.on_disk(dest)


FAULTS = {
    "fs01-no-space": ("write", {"errno": ENOSPC, "skip": 3}, "write"),
    "fs01-no-space-for-a-file": ("create", {"errno": ENOSPC, "skip": 1}, "open"),
    "fs03-write-error": ("write", {"errno": EIO, "skip": 5}, "write"),
    "fs03-sync-error": ("fsync", {"errno": EIO, "lose": True}, "sync"),
    "fs03-sync-error-of-a-folder": ("fsyncdir", {"errno": EIO}, "sync"),
    "fs05-read-only-in-flight": ("write", {"errno": EROFS, "skip": 2}, "write"),
    "fs08-stale-handle": ("write", {"errno": ESTALE, "skip": 2}, "write"),
    "fs11-no-permission": ("create", {"errno": EACCES, "skip": 1}, "open"),
    "fs13-quota": ("write", {"errno": EDQUOT, "skip": 4}, "write"),
    "fs14-file-too-big": ("write", {"errno": EFBIG, "skip": 4}, "write"),
    "rename": ("rename", {"errno": EIO}, "rename"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_stops_one_torrent_until_it_is_gone(lab, sample, faulty, tmp_path, fault):
    op, facts, operation = FAULTS[fault]
    seeder, _ = await lab.seed(sample)
    dest = faulty.folder / "to"
    path = "to*" if op == "fsyncdir" else DATA
    rule = faulty.fault(op, path=path, times=None, **facts)
    async with lab.session(resume_interval=0.02) as session:
        torrent = await session.add(sample.meta, dest=dest, peers=[lab.addr(seeder)])
        error = await failure(torrent)
        assert faulty.fired(rule)
        assert error.errno == facts["errno"]
        assert isinstance(error, swarm.DiskFull) == (error.errno in (ENOSPC, EDQUOT))
        assert error.operation == operation
        assert error.path is not None
        assert error.path.startswith(str(dest))
        assert error.offset is not None
        assert str(error.path) in str(error)
        await others_run_on(lab, session, tmp_path)
        faulty.heal()
        await torrent.resume()
        await done(torrent)
        assert sample.on_disk(dest) == sample.data
    assert on_the_platter(faulty, sample, dest) == sample.data


async def test_fs03_a_sync_that_fails_once_is_not_believed_the_second_time(lab, sample, faulty):
    """fsyncgate: the kernel has dropped what it could not write, and calls it clean."""
    seeder, _ = await lab.seed(sample)
    dest = faulty.folder / "to"
    faulty.fault("fsync", path=DATA, errno=EIO, lose=True)  # once: the next one succeeds
    async with lab.session(resume_interval=60) as session:
        torrent = await session.add(sample.meta, dest=dest, peers=[lab.addr(seeder)])
        error = await failure(torrent)
        assert error.operation == "sync"
        before = torrent.stats.downloaded
        await torrent.resume()
        await done(torrent)
        assert torrent.stats.downloaded > before  # what was lost was fetched again
    assert on_the_platter(faulty, sample, dest) == sample.data


async def test_fs03_a_read_error_stops_the_seed_until_it_is_gone(lab, sample, faulty, tmp_path):
    session = await lab.open()
    torrent = await session.add(sample.meta, dest=sample.write(faulty.folder / "to"), verify=True)
    await done(torrent)
    faulty.halt()
    faulty.boot()  # nothing is in the page cache any more
    rule = faulty.fault("read", path="to/t/dir/sub/c", errno=EIO, times=None)
    await torrent.pause()
    await torrent.resume()
    leecher = await lab.open()
    to = await leecher.add(sample.meta, dest=tmp_path / "to", peers=[lab.addr(session)])
    error = await failure(torrent)
    assert faulty.fired(rule)
    assert (error.errno, error.operation) == (EIO, "read")
    assert error.path == str(faulty.folder / "to/t/dir/sub/c")
    await others_run_on(lab, session, tmp_path)
    faulty.heal()
    await torrent.resume()
    second = await lab.open()  # the first one will not try so soon again
    await leecher.aclose()
    to = await second.add(sample.meta, dest=tmp_path / "to", peers=[lab.addr(session)])
    await done(to)


@pytest.mark.parametrize("facts", [{"short": 1000}, {"errno": EINTR}], ids=["short", "interrupted"])
async def test_fs04_short_and_interrupted_writes_are_gone_on_with(lab, sample, faulty, facts):
    seeder, _ = await lab.seed(sample)
    rule = faulty.fault("write", path=DATA, times=20, **facts)
    async with lab.session() as session:
        dest = faulty.folder / "to"
        torrent = await session.add(sample.meta, dest=dest, peers=[lab.addr(seeder)])
        await done(torrent)
        assert faulty.fired(rule) == 20
    assert on_the_platter(faulty, sample, dest) == sample.data


async def test_fs04_an_interrupted_read_is_gone_on_with(lab, sample, faulty, tmp_path):
    session = await lab.open()
    dest = sample.write(faulty.folder / "to")
    faulty.halt()
    faulty.boot()
    rule = faulty.fault("read", path=DATA, times=20, errno=EINTR)
    torrent = await session.add(sample.meta, dest=dest, verify=True)
    await done(torrent)
    assert faulty.fired(rule) == 20


async def test_fs06_a_file_cut_short_under_a_seed_is_no_crash_and_no_zeros(lab, sample, tmp_path):
    session = await lab.open()
    dest = sample.write(tmp_path / "from")
    torrent = await session.add(sample.meta, dest=dest, verify=True)
    await done(torrent)
    os.truncate(dest / "t/dir/sub/c", 400_000)
    leecher = await lab.open()
    to = await leecher.add(sample.meta, dest=tmp_path / "to", peers=[lab.addr(session)])
    error = await failure(torrent)
    assert (error.errno, error.operation) == (ENODATA, "read")
    assert error.path == str(dest / "t/dir/sub/c")
    assert error.offset is not None
    await torrent.resume()  # what is gone is no longer claimed, and is fetched again
    await lab.until(lambda: torrent.stats.state == "downloading")
    assert 400_000 < torrent.stats.done < 700_000
    third, _ = await lab.seed(sample)
    torrent.add_peer(lab.addr(third))
    to.add_peer(lab.addr(third))
    await done(torrent)
    await done(to)
    assert sample.on_disk(dest) == sample.data == sample.on_disk(tmp_path / "to")


@pytest.mark.parametrize("harm", ["removed", "replaced", "cut"])
async def test_fs07_a_file_that_changes_under_a_download(lab, sample, tmp_path, harm):
    """What is claimed is about the file that has the name, and not about one that nobody finds."""
    seeder, _ = await lab.seed(sample)
    gate = await lab.gate(seeder, 600_000)
    dest = tmp_path / "to"
    async with lab.session(resume_interval=0.05) as session:
        torrent = await session.add(sample.meta, dest=dest, peers=[gate.addr])
        await lab.until(lambda: torrent.stats.done > 400_000)
        path = next(p for p in (dest / "t/dir/sub").iterdir() if p.name.startswith("c"))
        match harm:
            case "removed":
                path.unlink()
            case "replaced":
                (tmp_path / "new").write_bytes(bytes(900_000))
                path.rename(tmp_path / "old")
                (tmp_path / "new").rename(path)
            case "cut":
                os.truncate(path, 10)
        gate.let(float("inf"))
        error = await failure(torrent)
        assert error.errno == (ENODATA if harm == "cut" else ENOENT)
        assert error.path == str(dest / "t/dir/sub/c")
        await others_run_on(lab, session, tmp_path)
        await torrent.resume()
        torrent.add_peer(lab.addr(seeder))
        await done(torrent)
        assert sample.on_disk(dest) == sample.data


async def test_fs08_a_disk_that_is_unplugged_and_comes_back(lab, sample, faulty, tmp_path):
    seeder, _ = await lab.seed(sample)
    gate = await lab.gate(seeder, 500_000)
    dest = faulty.folder / "to"
    session = await lab.open(resume_interval=0.05)
    torrent = await session.add(sample.meta, dest=dest, peers=[gate.addr])
    await lab.until(lambda: torrent.stats.done > 200_000)
    faulty.off()
    gate.let(float("inf"))
    error = await failure(torrent)
    assert error.errno in (ENOTCONN, 103)  # ECONNABORTED: it was in the middle of something
    await torrent.resume()
    await failure(torrent)  # still not there
    await others_run_on(lab, session, tmp_path)
    faulty.boot()
    await torrent.resume()
    await done(torrent)
    assert sample.on_disk(dest) == sample.data


async def test_fs08_a_mount_that_is_gone_is_not_filled_below(lab, sample, faulty):
    """Where the disk was there is an empty folder now, on another disk: nothing is put into it."""
    seeder, _ = await lab.seed(sample)
    gate = await lab.gate(seeder, 500_000)
    dest = faulty.folder / "to"
    session = await lab.open(resume_interval=0.05)
    torrent = await session.add(sample.meta, dest=dest, peers=[gate.addr])
    await lab.until(lambda: torrent.stats.done > 200_000)
    faulty.halt()
    gate.let(float("inf"))
    await failure(torrent)
    assert not list(faulty.folder.iterdir())
    faulty.boot()
    await torrent.resume()
    await done(torrent)
    assert sample.on_disk(dest) == sample.data


async def test_fs08_a_disk_that_hangs_holds_up_nobody_else(lab, sample, faulty, tmp_path):
    seeder, _ = await lab.seed(sample)
    session = await lab.open(threads=4)
    rule = faulty.fault("write", path=DATA, hang=True, times=1)
    dest = faulty.folder / "to"
    torrent = await session.add(sample.meta, dest=dest, peers=[lab.addr(seeder)])
    await lab.until(lambda: faulty.fired(rule))
    loop = asyncio.get_running_loop()
    worst, watching = 0.0, True

    async def watch() -> None:
        nonlocal worst
        while watching:
            due = loop.time() + 0.005
            await asyncio.sleep(0.005)
            worst = max(worst, loop.time() - due)

    watcher = loop.create_task(watch())
    await others_run_on(lab, session, tmp_path)
    watching = False
    await watcher
    assert torrent.stats.state == "downloading"
    assert worst < 0.5  # the loop waits for no disk
    faulty.heal()
    await done(torrent)
    assert sample.on_disk(dest) == sample.data


async def test_fs08_a_session_is_left_in_time_while_a_write_hangs(lab, sample, faulty):
    seeder, _ = await lab.seed(sample)
    rule = faulty.fault("write", path=DATA, hang=True, times=None, skip=4)
    loop = asyncio.get_running_loop()
    async with lab.session(stop_timeout=0.5) as session:
        await session.add(sample.meta, dest=faulty.folder / "to", peers=[lab.addr(seeder)])
        await lab.until(lambda: faulty.fired(rule))
        begun = loop.time()
    assert loop.time() - begun < 2.0
    faulty.heal()


async def test_fs09_a_slow_disk_slows_the_senders_and_loses_none(lab, sample, faulty):
    """Ten seconds a write, scaled down: memory stays in its bounds, and no peer is given up."""
    seeder, _ = await lab.seed(sample)
    rule = faulty.fault("write", path=DATA, delay=0.05, times=None)
    session = await lab.open(memory=4 * 32_768)
    async with session.events(swarm.PeerLeft) as left:
        dest = faulty.folder / "to"
        torrent = await session.add(sample.meta, dest=dest, peers=[lab.addr(seeder)])
        await done(torrent)
        assert faulty.fired(rule) >= 32
        assert session.pool.peak <= 4 * 32_768
        assert torrent.stats.wasted == 0
        left.close()
        assert [event async for event in left if event.banned] == []


async def test_fs10_few_descriptors_are_enough(lab, tmp_path):
    sample = lab.sample({f"d{i % 5}/f{i}": 3_000 for i in range(300)})
    seeder, _ = await lab.seed(sample)
    path = tmp_path / "t.torrent"
    path.write_bytes(sample.meta.to_bytes())
    code = """
        import asyncio, resource, sys, swarm
        async def main(torrent, dest, state, port):
            resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
            async with swarm.Session(state_dir=state, listen="127.0.0.1:0") as session:
                added = await session.add(torrent, dest=dest, peers=[("127.0.0.1", int(port))])
                await added.wait_done()
        asyncio.run(main(*sys.argv[1:]))
    """
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", textwrap.dedent(code), path, tmp_path / "to", tmp_path / "s"),
        str(seeder.port),
        cwd=ROOT,
        stderr=subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE):
        _, said = await child.communicate()
    assert child.returncode == 0, said.decode()
    assert sample.on_disk(tmp_path / "to") == sample.data


async def test_fs19_holes_are_zeros_and_no_pieces(lab, sample, tmp_path):
    for file in sample.meta.files:
        path = tmp_path.joinpath("to", *file.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.truncate(path, file.length)
    session = await lab.open()
    torrent = await session.add(sample.meta, dest=tmp_path / "to")
    await lab.until(lambda: torrent.stats.state == "downloading")
    assert torrent.stats.done == 0


# ---------------------------------------------------------------- where the state lies


@pytest.mark.parametrize("error", [ENOSPC, EROFS, EIO])
async def test_rs07_state_that_cannot_be_saved_stops_nothing(lab, sample, faulty, tmp_path, error):
    seeder, _ = await lab.seed(sample)
    gate = await lab.gate(seeder, 500_000)
    rules = [faulty.fault(op, path="state*", errno=error, times=None) for op in ("create", "mkdir")]
    settings = swarm.Settings(resume_interval=0.02)
    state = faulty.folder / "state"
    async with swarm.Session(listen="127.0.0.1:0", state_dir=state, settings=settings) as session:
        async with session.events(swarm.ResumeNotSaved) as told:
            torrent = await session.add(sample.meta, dest=tmp_path / "to", peers=[gate.addr])
            async with asyncio.timeout(PATIENCE):
                for _ in range(3):  # it is tried again and again
                    event = await anext(told)
            assert event.torrent is torrent
            assert event.error.errno == error
            assert str(state) in str(event.error)
        assert sum(map(faulty.fired, rules))
        faulty.heal()
        gate.let(float("inf"))
        await done(torrent)
    async with swarm.Session(listen="127.0.0.1:0", state_dir=state) as session:
        torrent = await session.add(sample.meta, dest=tmp_path / "to")
        await lab.until(lambda: torrent.stats.state == "seeding")
        assert torrent._runner.storing.checked == 0.0  # all of it was remembered in the end


async def test_rs07_an_old_state_outlives_a_save_that_failed(lab, sample, faulty, tmp_path):
    dest = sample.write(tmp_path / "data")
    state = faulty.folder / "state"
    async with swarm.Session(listen="127.0.0.1:0", state_dir=state) as session:
        await done(await session.add(sample.meta, dest=dest, verify=True))
    (path,) = state.rglob("*.resume")
    before = path.read_bytes()
    faulty.fault("write", path="state/*", errno=ENOSPC, times=None)
    async with swarm.Session(listen="127.0.0.1:0", state_dir=state) as session:
        torrent = await session.add(sample.meta, dest=dest)
        await lab.until(lambda: torrent.stats.state == "seeding")
    assert path.read_bytes() == before


async def test_rs09_what_a_service_manager_kills_has_been_saved(lab, sample, faulty):
    """The stop hangs and is cut off: what was claimed before is there after a power cut, too."""
    seeder, _ = await lab.seed(sample)
    gate = await lab.gate(seeder, 700_000)
    dest, state = faulty.folder / "to", faulty.folder / "state"
    settings = swarm.Settings(resume_interval=0.02, stop_timeout=0.3)
    async with swarm.Session(listen="127.0.0.1:0", state_dir=state, settings=settings) as session:
        torrent = await session.add(sample.meta, dest=dest, peers=[gate.addr])
        await lab.until(lambda: torrent._runner.storing._claimed * 32_768 > 400_000)
        claimed = torrent._runner.storing._claimed
        faulty.fault("fsync", hang=True, times=None)
    faulty.cut()
    faulty.boot()
    async with swarm.Session(listen="127.0.0.1:0", state_dir=state) as session:
        torrent = await session.add(sample.meta, dest=dest, peers=[lab.addr(seeder)])
        await lab.until(lambda: torrent.stats.state == "downloading")
        assert torrent.stats.done >= (claimed - 1) * 32_768
        await done(torrent)


async def test_rs08_a_start_that_remembers_reads_nothing(lab, tmp_path):
    """It looks at each of many files once."""
    sample = lab.sample({f"{i % 100}/{i}": 100 for i in range(2_000)})
    dest = sample.write(tmp_path / "data")
    async with lab.session("same") as session:
        torrent = await session.add(sample.meta, dest=dest, verify=True)
        await done(torrent)
        async with asyncio.timeout(60):
            while torrent._runner.storing._claimed != sample.meta.piece_count:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    loop = asyncio.get_running_loop()
    session = await lab.open("same")
    begun = loop.time()
    torrent = await session.add(sample.meta, dest=dest)
    await lab.until(lambda: torrent.stats.state == "seeding")
    assert loop.time() - begun < 2.0
    assert torrent._runner.storing.checked == 0.0


# ---------------------------------------------------------------- what others have a right to


async def test_fs17_files_that_another_torrent_has_are_not_deleted(lab, sample, tmp_path):
    sizes = {"/".join(file.path[1:]): file.length for file in sample.meta.files}
    other = lab.sample(sizes, piece_length=64 << 10)  # the same bytes under another info-hash
    dest = sample.write(tmp_path / "data")
    session = await lab.open()
    ours = await session.add(sample.meta, dest=dest, verify=True)
    theirs = await session.add(other.meta, dest=dest, verify=True)
    await done(ours)
    await done(theirs)
    await ours.remove(delete_data=True)
    assert sample.on_disk(dest) == sample.data
    assert (await theirs.verify()).ok
    await theirs.remove(delete_data=True)
    assert not (dest / "t").exists()
