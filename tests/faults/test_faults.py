"""The faulty disk itself: what it loses, what it keeps, and that its faults reach a process."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from errno import EINTR, EIO, ENOSPC, ENOTCONN
from pathlib import Path

import pytest


def sync(path: Path) -> None:
    """fsync of a file or folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def power_cycle(disk, torn=None):
    disk.cut(torn)
    disk.boot()


def change(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


@pytest.fixture
def synced(faulty) -> Path:
    """A file of 20,000 bytes that the platter has, and its name as well."""
    path = faulty.folder / "a"
    path.write_bytes(b"x" * 20_000)
    sync(path)
    sync(faulty.folder)
    return path


def test_what_was_not_synced_is_lost(faulty, synced):
    change(synced, 5_000, b"y" * 10_000)
    change(synced, 20_000, b"z" * 9_000)
    os.truncate(synced, 8_000)
    power_cycle(faulty)
    assert synced.read_bytes() == b"x" * 20_000
    change(synced, 5_000, b"y")
    sync(synced)
    power_cycle(faulty)
    assert synced.read_bytes() == b"x" * 5_000 + b"y" + b"x" * 14_999
    change(synced, 30_000, b"past a hole")
    os.truncate(synced, 1 << 20)
    sync(synced)
    os.truncate(synced, 100)
    power_cycle(faulty)
    assert synced.stat().st_size == 1 << 20
    assert synced.read_bytes()[20_000:30_011] == bytes(10_000) + b"past a hole"


def test_names_are_lost_unless_their_folder_was_synced(faulty, synced):
    folder = faulty.folder / "folder"
    folder.mkdir()
    (folder / "b").write_bytes(b"there")
    sync(folder / "b")
    sync(folder)
    power_cycle(faulty)
    assert not folder.exists()  # its own name was in nobody's sync
    folder.mkdir()
    sync(faulty.folder)
    (folder / "b").write_bytes(b"there")
    sync(folder)
    power_cycle(faulty)
    assert (folder / "b").read_bytes() == b""  # the name without what it is about
    synced.rename(folder / "moved")
    power_cycle(faulty)
    assert not (folder / "moved").exists()
    assert synced.exists()


def test_torn_a_part_of_it_is_there(faulty, synced):
    seen = set()
    for seed in range(8):
        change(synced, 0, b"y" * 20_000)
        power_cycle(faulty, seed)
        pages = [synced.read_bytes()[at : at + 4096] for at in range(0, 20_000, 4096)]
        assert all(len(set(page)) == 1 for page in pages)
        seen.add(bytes(page[0] for page in pages))
        change(synced, 0, b"x" * 20_000)
        sync(synced)
    assert len(seen) > 4


def test_a_sync_that_failed_is_not_made_good_by_the_next(faulty, synced):
    """As Linux has it: the pages count as clean, and only who writes them again saves them."""
    with synced.open("r+b") as file:
        file.write(b"y" * 8192)
        file.flush()
        faulty.fault("fsync", errno=EIO, lose=True)
        with pytest.raises(OSError, match="Input/output"):
            os.fsync(file.fileno())
        file.seek(0)
        file.write(b"z" * 4096)
        file.flush()
        os.fsync(file.fileno())
    assert synced.read_bytes() == b"z" * 4096 + b"y" * 4096 + b"x" * 11_808
    with synced.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    assert synced.read_bytes() == b"z" * 4096 + b"x" * 15_904  # that was the page cache
    power_cycle(faulty)
    assert synced.read_bytes() == b"z" * 4096 + b"x" * 15_904


def test_errors_hit_what_they_are_ordered_for(faulty):
    rule = faulty.fault("write", path="a*", skip=1, times=2, errno=EINTR)
    with (faulty.folder / "a").open("wb", buffering=0) as a:
        a.write(b"1")
        (faulty.folder / "b").write_bytes(b"never hit")
        assert a.write(b"2") == 1  # Python tries again after EINTR
        assert faulty.fired(rule) == 2
        faulty.fault("write", short=10)
        assert a.write(bytes(100)) == 10
    faulty.space(50)
    with pytest.raises(OSError, match="No space") as caught:
        (faulty.folder / "c").write_bytes(bytes(100))
    assert caught.value.errno == ENOSPC
    faulty.space(1 << 20)
    (faulty.folder / "c").write_bytes(bytes(100))
    assert faulty.used() == 12 + 9 + 100
    faulty.off()
    with pytest.raises(OSError, match="not connected") as caught:
        (faulty.folder / "c").read_bytes()
    assert caught.value.errno == ENOTCONN
    faulty.boot()
    assert (faulty.folder / "c").read_bytes() == bytes(100)


def test_slow_and_hanging_writes(faulty):
    faulty.fault("write", path="slow", delay=0.2)
    begun = time.monotonic()
    (faulty.folder / "slow").write_bytes(b"x")
    assert time.monotonic() - begun >= 0.2
    rule = faulty.fault("write", path="hangs", hang=True)
    thread = threading.Thread(target=(faulty.folder / "hangs").write_bytes, args=(b"x",))
    thread.start()
    while not faulty.fired(rule):
        (faulty.folder / "other").write_bytes(b"others go on")
    assert (faulty.folder / "hangs").stat().st_size == 0
    faulty.heal()
    thread.join(10)
    assert (faulty.folder / "hangs").read_bytes() == b"x"


WRITE = "import sys; open(sys.argv[1], 'wb').write(b'x' * 100)"


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("end", ["kill", "cut"])
def test_a_process_is_killed_at_a_named_moment(faulty, end, after):
    sync(faulty.folder)
    rule = faulty.fault("write", path="k", after=after, **{end: True})
    path = faulty.folder / "k"
    done = subprocess.run([sys.executable, "-c", WRITE, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert faulty.fired(rule) == 1
    if end == "cut":
        faulty.boot()
        assert not path.exists()
    else:
        assert path.stat().st_size == 100 * after


def test_a_process_that_hangs_in_a_write_can_be_killed(faulty):
    rule = faulty.fault("write", path="k", hang=True)
    process = subprocess.Popen([sys.executable, "-c", WRITE, str(faulty.folder / "k")])
    while not faulty.fired(rule):
        assert process.poll() is None
    process.kill()
    assert process.wait(10) == -signal.SIGKILL
    assert (faulty.folder / "k").read_bytes() == b""


def test_the_rest_of_a_file_system(faulty):
    root = faulty.folder
    (root / "d").mkdir()
    (root / "d/file").write_text("text")
    os.link(root / "d/file", root / "link")
    (root / "soft").symlink_to("d/file")
    os.mkfifo(root / "fifo")
    assert (root / "soft").read_text() == "text"
    assert (root / "link").stat().st_nlink == 2
    assert sorted(os.listdir(root)) == ["d", "fifo", "link", "soft"]
    os.utime(root / "link", ns=(5, 10**18 + 7))
    assert (root / "d/file").stat().st_mtime_ns == 10**18 + 7
    (root / "link").chmod(0o600)
    assert (root / "d/file").stat().st_mode & 0o777 == 0o600
    (root / "link").replace(root / "soft")  # two names of one file: another one
    for name in ("d/file", "soft", "fifo"):
        with contextlib.suppress(FileNotFoundError):
            (root / name).unlink()
    (root / "d").rmdir()
    assert os.listdir(root) == []
    assert faulty.used() == 0
    with (root / "new").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 100_000)
    assert (root / "new").stat().st_size == 100_000
