"""Torrents of known bytes, and a disk attached to the test's loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from hashlib import sha1
from pathlib import Path

import pytest

from swarm._native import Pool
from swarm.errors import StorageError
from swarm.proto.metainfo import Metainfo
from swarm.store.disk import Disk
from swarm.store.storage import Storage, Verdict

PIECE = 32 << 10


class Sample:
    """A torrent with its bytes. `sizes` are (path, length) below the folder `t`, in order."""

    def __init__(self, sizes: dict[str, int], piece_length: int = PIECE, seed: int = 1) -> None:
        self.data = random.Random(seed).randbytes(sum(sizes.values()))
        self.pieces = [
            self.data[at : at + piece_length] for at in range(0, len(self.data), piece_length)
        ]
        self.sums = [sha1(piece).digest() for piece in self.pieces]
        self.meta = Metainfo.build(
            name="t",
            files=[(tuple(path.split("/")), length) for path, length in sizes.items()],
            single_file=False,
            piece_length=piece_length,
            piece_hashes=b"".join(self.sums),
        )

    def write(self, dest: Path) -> None:
        """Put all files on the disk."""
        for file in self.meta.files:
            path = dest.joinpath(*file.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.data[file.offset : file.offset + file.length])

    def on_disk(self, dest: Path) -> bytes:
        return b"".join(dest.joinpath(*file.path).read_bytes() for file in self.meta.files)


class Committer:
    """Commits and waits, the way a session would."""

    def __init__(self) -> None:
        self.pool = Pool(4 << 20)

    async def part(
        self, storage: Storage, piece: int, offset: int, data: bytes, digest: bytes | None
    ) -> Verdict | StorageError:
        verdict: asyncio.Future[Verdict | StorageError] = asyncio.get_running_loop().create_future()
        slot = self.pool.checkout(len(data))
        assert slot is not None
        storage.align(slot, piece, offset)
        memoryview(slot)[:] = data
        storage.commit(piece, offset, slot, len(data), digest, verdict.set_result)
        return await verdict

    async def piece(self, storage: Storage, sample: Sample, piece: int) -> Verdict | StorageError:
        return await self.part(storage, piece, 0, sample.pieces[piece], sample.sums[piece])

    async def all(self, storage: Storage, sample: Sample) -> list[Verdict | StorageError]:
        pieces = range(len(sample.pieces))
        return await asyncio.gather(*(self.piece(storage, sample, piece) for piece in pieces))


@pytest.fixture
def make_sample() -> Callable[..., Sample]:
    return Sample


@pytest.fixture
def sample() -> Sample:
    """Five files, one of them empty, whose ends are not those of pieces; the last piece is short."""
    return Sample({"a": 50_000, "dir/b": 10, "dir/empty": 0, "dir/sub/c": 200_000, "d": 7_777})


@pytest.fixture
def committer() -> Committer:
    return Committer()


@pytest.fixture
async def disk() -> AsyncIterator[Disk]:
    disk = Disk(threads=2, read_memory=1 << 20)
    disk.attach(asyncio.get_running_loop())
    yield disk
    disk.close()


@contextlib.contextmanager
def mounted(folder: Path, kind: str, options: str, source: str = "none") -> Iterator[Path]:
    """A file system at `folder`, which is made."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting needs root and Linux")
    folder.mkdir()
    mount = ["mount", "-t", kind, "-o", options, source, str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip(f"this system does not let us mount {kind}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "tmpfs", "tmpfs", "size=64m") as folder:
        yield folder


def image(folder: Path, kind: str, *options: str) -> Iterator[Path]:
    """A file system of 64 MiB on a file, mounted at `folder`."""
    maker = shutil.which(f"mkfs.{kind}", path=f"{os.environ.get('PATH')}:/usr/sbin:/sbin")
    if maker is None:
        pytest.skip(f"mkfs.{kind} is not installed")
    path = folder.with_suffix(".image")
    with path.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run([maker, *options, str(path)], check=True, capture_output=True)
    with mounted(folder, kind, "loop", str(path)) as dest:
        yield dest


@pytest.fixture
def ext4(tmp_path: Path) -> Iterator[Path]:
    """A file system that takes direct writes."""
    yield from image(tmp_path / "ext4", "ext4", "-q", "-F", "-b", "4096")


@pytest.fixture
def fat(tmp_path: Path) -> Iterator[Path]:
    """A file system that knows no symlinks."""
    yield from image(tmp_path / "fat", "vfat")


@pytest.fixture
def overlay(tmp_path: Path) -> Iterator[Path]:
    layers = {name: tmp_path / f"overlay.{name}" for name in ("lowerdir", "upperdir", "workdir")}
    for layer in layers.values():
        layer.mkdir()
    options = ",".join(f"{name}={layer}" for name, layer in layers.items())
    with mounted(tmp_path / "overlay", "overlay", options) as folder:
        yield folder
