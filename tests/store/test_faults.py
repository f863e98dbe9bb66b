"""File systems that say no, and names that are not what they seem."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarm.errors import DiskFull, StorageError, UnsafePath
from swarm.store.disk import Disk
from swarm.store.storage import Verdict

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX names and modes")
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A small tmpfs at `folder`."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting needs root and Linux")
    folder.mkdir()
    if not run("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)):
        pytest.skip("this system does not let us mount a tmpfs")
    try:
        yield folder
    finally:
        assert run("umount", "-l", str(folder))


def run(*command: str) -> bool:
    return not subprocess.run(command, capture_output=True, check=False).returncode


def ask(piece: int) -> bytes:
    return struct.pack("<III", piece, 0, 7_777)


async def read(storage, piece):
    answer: asyncio.Future = asyncio.get_running_loop().create_future()
    storage.read(ask(piece), lambda slot, n: answer.set_result(slot))
    return await answer


async def test_fs01_a_full_disk_fails_the_piece_and_space_brings_it_back(
    make_sample, committer, tmp_path
):
    sample = make_sample({"a": 1 << 20})
    disk = Disk(threads=2, read_memory=1 << 20)
    disk.attach(asyncio.get_running_loop())
    with mounted(tmp_path / "small", "size=512k") as dest:
        ballast = dest / "ballast"
        ballast.write_bytes(bytes(300 << 10))
        storage = disk.open(sample.meta, dest, writable=True)
        verdicts = await committer.all(storage, sample)
        full = [v for v in verdicts if isinstance(v, DiskFull)]
        assert full
        assert verdicts.count(Verdict.VERIFIED) == len(verdicts) - len(full)
        assert full[0].errno == errno.ENOSPC
        assert full[0].path == str(dest / "t/a")
        assert full[0].operation == "write"
        good = await storage.check()
        for piece, verdict in enumerate(verdicts):
            # What was reported as verified is there; a partly written piece is not good.
            assert bool(good[piece // 8] & 0x80 >> piece % 8) == (verdict is Verdict.VERIFIED)
        ballast.unlink()
        again = next(piece for piece, v in enumerate(verdicts) if v is not Verdict.VERIFIED)
        assert await committer.piece(storage, sample, again) is Verdict.VERIFIED
        await storage.close()
    disk.close()


async def test_fs01_an_error_in_one_part_fails_the_parts_behind_it(
    make_sample, committer, tmp_path
):
    sample = make_sample({"a": 1 << 20}, piece_length=1 << 20)
    disk = Disk(threads=2, read_memory=1 << 20)
    disk.attach(asyncio.get_running_loop())
    with mounted(tmp_path / "small", "size=256k") as dest:
        storage = disk.open(sample.meta, dest, writable=True)
        parts = [
            committer.part(
                storage,
                0,
                at,
                sample.data[at : at + (128 << 10)],
                sample.sums[0] if at == 7 << 17 else None,
            )
            for at in range(0, 1 << 20, 128 << 10)
        ]
        verdicts = await asyncio.gather(*parts)
        assert verdicts[0] is Verdict.WRITTEN
        first = next(i for i, v in enumerate(verdicts) if isinstance(v, DiskFull))
        assert all(isinstance(verdict, DiskFull) for verdict in verdicts[first:])
        assert await committer.part(storage, 0, 0, sample.data[:100], None) is Verdict.WRITTEN
        await storage.close()
    disk.close()


@linux
def test_fs04_fs13_short_writes_are_looped_up_to_the_file_size_limit(tmp_path):
    """RLIMIT_FSIZE cuts the write that crosses it short; the rest of it is EFBIG, not a signal."""
    script = f"""
import resource, select
from hashlib import sha1
from swarm._native import Disk, Pool
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
disk = Disk(1, 1 << 20, "auto", False)
storage = disk.open({str(tmp_path)!r}, [(["a"], 1 << 18)], 1 << 16, True)
slot = Pool(1 << 20).checkout(1 << 16)
for piece in range(2):
    storage.commit(piece, piece, 0, slot, 1 << 16, sha1(slot).digest())
disk.close()
print(disk.drain())
"""
    root = Path(__file__).parents[2]
    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=root, check=True
    )
    assert eval(said.stdout) == [
        (0, "verified", 0),
        (1, "error", errno.EFBIG, 0, 1 << 16, "write"),
    ]
    assert (tmp_path / "a").stat().st_size == 100_000


async def test_fs04_signals_do_not_disturb_the_threads(make_sample, committer, disk, tmp_path):
    sample = make_sample({"a": 8 << 20}, piece_length=1 << 20)
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        storage = disk.open(sample.meta, tmp_path, writable=True)
        assert set(await committer_in_turns(committer, storage, sample)) == {Verdict.VERIFIED}
        assert await storage.check() == b"\xff"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


async def committer_in_turns(committer, storage, sample):
    return [await committer.piece(storage, sample, p) for p in range(len(sample.pieces))]


async def test_fs05_a_read_only_file_system_still_seeds(sample, committer, disk, tmp_path):
    with mounted(tmp_path / "ro", "size=1m") as dest:
        sample.write(dest)
        assert run("mount", "-o", "remount,ro", str(dest))
        storage = disk.open(sample.meta, dest, writable=True)
        assert await storage.check() == b"\xff"
        assert len(await read(storage, 0)) == 7_790
        error = await committer.piece(storage, sample, 0)
        assert isinstance(error, StorageError)
        assert error.errno == errno.EROFS
        await storage.close()


@posix
async def test_fs11_no_permission_on_one_file_concerns_that_file_only(sample, tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may read everything; see the next test")
    sample.write(tmp_path)
    (tmp_path / "t/a").chmod(0)
    disk = Disk(threads=1, read_memory=1 << 20)
    disk.attach(asyncio.get_running_loop())
    storage = disk.open(sample.meta, tmp_path, writable=False)
    error = await read(storage, 0)
    assert isinstance(error, StorageError)
    assert (error.errno, error.path) == (errno.EACCES, str(tmp_path / "t/a"))
    assert len(await read(storage, 3)) == 7_790
    disk.close()


@linux
async def test_fs11_a_write_that_is_not_permitted_concerns_that_file_only(
    sample, committer, disk, tmp_path
):
    sample.write(tmp_path)
    immutable = tmp_path / "t/dir/sub/c"
    if not run("chattr", "+i", str(immutable)):
        pytest.skip("this file system has no immutable files, or we may not make one")
    try:
        storage = disk.open(sample.meta, tmp_path, writable=True)
        verdicts = await committer.all(storage, sample)
    finally:
        assert run("chattr", "-i", str(immutable))
    assert verdicts[0] is Verdict.VERIFIED
    error = verdicts[3]
    assert isinstance(error, StorageError)
    assert (error.errno, error.path) == (errno.EPERM, str(immutable))


@posix
@pytest.mark.parametrize("kind", ["directory", "fifo", "socket", "device"])
@pytest.mark.parametrize("write", [True, False])
async def test_fs12_only_regular_files_will_do(sample, committer, disk, tmp_path, kind, write):
    sample.write(tmp_path)
    path = tmp_path / "t/a"
    path.unlink()
    match kind:
        case "directory":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(path.parent):
                server.bind("a")
        case "device":
            try:
                os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))  # /dev/zero
            except PermissionError:
                pytest.skip("making a device needs root")
    storage = disk.open(sample.meta, tmp_path, writable=True)
    job = committer.piece(storage, sample, 0) if write else read(storage, 0)
    error = await asyncio.wait_for(job, 10)
    assert isinstance(error, StorageError)
    assert (error.operation, error.path) == ("open", str(path))
    with pytest.raises(StorageError):
        await storage.check()
    await storage.close()


@posix
@pytest.mark.parametrize("name", ["t/a", "t/dir", "t"])
async def test_fn13_a_symlink_below_the_folder_is_never_followed(
    sample, committer, disk, tmp_path, name
):
    outside = tmp_path / "outside"
    sample.write(outside)
    dest = tmp_path / "dest"
    sample.write(dest)
    path = dest / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    path.symlink_to(outside / name)
    before = sample.on_disk(outside)
    storage = disk.open(sample.meta, dest, writable=True)
    touched = 0 if name != "t/dir" else 2
    for job in (committer.piece(storage, sample, touched), read(storage, touched)):
        error = await job
        assert isinstance(error, UnsafePath)
        assert error.errno == errno.ELOOP
    with pytest.raises(UnsafePath):
        await storage.check()
    assert sample.on_disk(outside) == before


@posix
async def test_fn13_the_folder_itself_may_be_a_symlink(sample, committer, disk, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    storage = disk.open(sample.meta, tmp_path / "link", writable=True)
    assert set(await committer.all(storage, sample)) == {Verdict.VERIFIED}
    assert sample.on_disk(tmp_path / "real") == sample.data


async def test_fs08_a_folder_that_vanished_is_not_made_again(sample, committer, disk, tmp_path):
    dest = tmp_path / "stick"
    dest.mkdir()
    storage = disk.open(sample.meta, dest, writable=True)
    dest.rmdir()
    error = await committer.piece(storage, sample, 0)
    assert isinstance(error, StorageError)
    assert error.errno == errno.ENOENT
    assert not dest.exists()


async def test_a_folder_that_never_was_is_made(sample, committer, disk, tmp_path):
    storage = disk.open(sample.meta, tmp_path / "new/folder", writable=True)
    assert not (tmp_path / "new").exists()
    assert set(await committer.all(storage, sample)) == {Verdict.VERIFIED}


async def test_empty_files_are_there_after_a_sync(make_sample, disk, tmp_path):
    sample = make_sample({"x": 10, "dir/empty": 0})
    storage = disk.open(sample.meta, tmp_path, writable=True)
    await storage.sync()
    assert (tmp_path / "t/dir/empty").read_bytes() == b""


async def test_empty_files_that_are_there_need_nothing(make_sample, disk, tmpfs):
    """Such as what is seeded from where nothing can be written, or by two processes."""
    sample = make_sample({"x": 10, "dir/empty": 0})
    sample.write(tmpfs)
    subprocess.run(["mount", "-o", "remount,ro", tmpfs], check=True)  # noqa: ASYNC221
    storage = disk.open(sample.meta, tmpfs, writable=True)
    await storage.sync()
    await storage.close()


@linux
async def test_fs22_many_files_need_few_descriptors(make_sample, committer, tmp_path):
    """An eighth of what the process may open, so that the peers have theirs."""
    sample = make_sample({f"d{i % 7}/f{i}": 300 for i in range(400)}, piece_length=16 << 10)
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        disk = Disk(threads=2, read_memory=1 << 20)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    disk.attach(asyncio.get_running_loop())
    before = len(os.listdir("/proc/self/fd"))
    storage = disk.open(sample.meta, tmp_path, writable=True)
    assert set(await committer.all(storage, sample)) == {Verdict.VERIFIED}
    await storage.sync()
    assert len(os.listdir("/proc/self/fd")) - before == 64
    assert sample.on_disk(tmp_path) == sample.data
    await storage.close()
    assert len(os.listdir("/proc/self/fd")) == before
    disk.close()


@linux
async def test_fs21_descriptors_do_not_leak_into_children(sample, committer, disk, tmp_path):
    storage = disk.open(sample.meta, tmp_path, writable=True)
    await committer.all(storage, sample)
    flags = [
        Path(f"/proc/self/fdinfo/{fd}").read_text().split("flags:")[1].split()[0]
        for fd in os.listdir("/proc/self/fd")
        if os.path.realpath(f"/proc/self/fd/{fd}").startswith(str(tmp_path))
    ]
    assert len(flags) == len(sample.meta.files)
    assert all(int(flag, 8) & os.O_CLOEXEC for flag in flags)
