"""What a piece costs on its way to a folder's disk, direct beside buffered, and a block on its way back.

Pieces are committed in random order through the engine's threads (hash, then write) and synced; blocks of
16 KiB are read as ready-to-send frames. CPU is that of this process, hashing included. What the whole
machine used meanwhile shows what the kernel's own threads write back: believe it on a quiet machine.
"""

from __future__ import annotations

import hashlib
import os
import random
import select
import shutil
import struct
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import swarm
from swarm._native import Disk, Pool, Slot, Storage

from .payload import warm
from .report import Sample
from .round import GIB, MIB

BLOCK = 16 * 1024
POOL = 32 * MIB
READ_MEMORY = 16 * MIB
PART = MIB
BATCH = 64
"""Blocks that are read at once."""
UNDER_WAY = 4
"""Batches of reads that are under way at once."""
STEPS = ("write", "sync", "read", "read again", "read again at once")


@dataclass(frozen=True, kw_only=True)
class Disking:
    """`size` bytes in pieces of each length and each way of writing. `swarm.ConfigError` for what cannot be."""

    folder: Path
    size: int
    pieces: Sequence[int]
    ways: Sequence[str]
    """Each is `auto`, `always` or `never`: when to write past the page cache."""
    files: int = 1
    skew: int = 0
    """Bytes of a small file before the others, which moves their starts off a page."""
    threads: int = 2
    reads: bool = True

    def __post_init__(self) -> None:
        for piece in self.pieces:
            if piece < BLOCK or piece % BLOCK or (piece > PART and piece % PART):
                raise swarm.ConfigError(
                    f"a piece of {piece} bytes: it takes a multiple of 16 KiB, above 1 MiB of 1 MiB"
                )
            if self.size < piece or self.size % piece:
                raise swarm.ConfigError(
                    f"{self.size} bytes are no whole number of pieces of {piece}"
                )
        if self.files < 1 or self.threads < 1 or self.size - self.skew < self.files:
            raise swarm.ConfigError(f"{self.size} bytes cannot be in {self.files} files")

    def name(self, piece: int, way: str, step: str) -> str:
        """Of a row: `1 MiB auto write`."""
        from swarm.units import format_size

        return f"{format_size(piece).replace('.0 ', ' ')} {way} {step}"

    def round(self) -> Iterator[Sample]:
        """Every length and way once, a sample for each step of it. What was written is deleted."""
        for piece in self.pieces:
            writer = _Writer(piece, self.size)
            for way in self.ways:
                folder = Path(tempfile.mkdtemp(prefix="swarm-bench-", dir=self.folder))
                try:
                    for step, values in self._way(folder, writer, way):
                        yield Sample(self.name(piece, way, step), values)
                finally:
                    shutil.rmtree(folder, ignore_errors=True)

    def _way(
        self, folder: Path, writer: _Writer, way: str
    ) -> Iterator[tuple[str, dict[str, float]]]:
        warm(folder, 2 * self.size)
        disk = Disk(self.threads, READ_MEMORY, way)
        try:
            layout = split(self.size, self.files, self.skew)
            storage = disk.open(folder, layout, writer.piece, True)
            writer.fill(storage)
            yield "write", self._weigh(lambda: writer.write(disk, storage))
            yield "sync", self._weigh(lambda: _sync(disk, storage))
            if self.reads:  # from a storage of its own, or all of it would come from the slots
                again = disk.open(folder, layout, writer.piece, False)
                requests = batches(writer.piece, self.size)
                yield "read", self._weigh(lambda: _read(disk, again, requests))
                yield "read again", self._weigh(lambda: _read(disk, again, requests))
                if again.read_cached(requests[0]) is not None:  # tmpfs cannot say
                    yield "read again at once", self._weigh(lambda: _read_cached(again, requests))
        finally:
            disk.close()

    def _weigh(self, job: Callable[[], None]) -> dict[str, float]:
        clocks = (time.perf_counter, time.process_time, _machine)
        before = [clock() for clock in clocks]
        job()
        wall, own, all_ = (clock() - then for clock, then in zip(clocks, before, strict=True))
        share = GIB / self.size
        return {"rate": self.size / wall, "cpu": own * share, "machine_cpu": all_ * share}


class _Writer:
    """Pieces of equal bytes in random order, as many at a time as the session's pool holds."""

    def __init__(self, piece: int, size: int) -> None:
        self.piece, self._part = piece, min(piece, PART)
        self._parts = piece // self._part
        pool = Pool(POOL)
        self._content = os.urandom(self._part)
        self._slots: list[Slot] = []
        while (slot := pool.checkout(self._part)) is not None:
            self._slots.append(slot)
        self._digest = hashlib.sha1(self._content * self._parts, usedforsecurity=False).digest()
        count = size // piece
        self._order = random.Random(1).sample(range(count), count)

    def fill(self, storage: Storage) -> None:
        """Fills the slots, which lie like the first large file."""
        for slot in self._slots:
            storage.align(slot, 0, 0)
            memoryview(slot)[:] = self._content

    def write(self, disk: Disk, storage: Storage) -> None:
        """Commits everything, and waits until all of it was written."""
        free, owner = list(self._slots), dict[int, Slot]()
        commits, more = self._commits(storage, free, owner), True
        while more or owner:
            while more and free:
                more = next(commits, False)
            if owner:
                for done in _drain(disk):
                    free.append(owner.pop(done[0]))

    def _commits(
        self, storage: Storage, free: list[Slot], owner: dict[int, Slot]
    ) -> Iterator[bool]:
        """Commits one part at each step; False at the end."""
        job = 0
        for piece in self._order:
            for part in range(self._parts):
                owner[job] = slot = free.pop()
                last = self._digest if part == self._parts - 1 else None
                storage.commit(job, piece, part * self._part, slot, self._part, last)
                job += 1
                yield True


def split(size: int, files: int, skew: int) -> list[tuple[list[str], int]]:
    """`files` files of about equal length; a small one before them moves their starts by `skew` bytes."""
    first = [(["skew"], skew)] if skew else []
    each, rest = divmod(size - skew, files)
    names = (["data", f"{n % 1000}", f"{n}"] for n in range(files))
    return first + [(name, each + (n < rest)) for n, name in enumerate(names)]


def batches(piece: int, size: int) -> list[bytes]:
    """Requests for everything, in order, `BATCH` blocks at a time (see `Storage.read`)."""
    where = [(at // piece, at % piece, BLOCK) for at in range(0, size, BLOCK)]
    return [
        b"".join(struct.pack("<III", *request) for request in where[at : at + BATCH])
        for at in range(0, len(where), BATCH)
    ]


def _drain(disk: Disk) -> list[tuple[Any, ...]]:
    """Waits for completions. Raises OSError for one that is an error."""
    select.select([disk], [], [])
    found = disk.drain()
    for done in found:
        if done[1] == "error":
            raise OSError(done[2], os.strerror(done[2]))
        if done[1] == "failed":
            raise swarm.StorageError("a piece has another hash than it was made with")
    return found


def _sync(disk: Disk, storage: Storage) -> None:
    storage.sync(0)
    _drain(disk)


def _read(disk: Disk, storage: Storage, requests: list[bytes]) -> None:
    """Through the threads, a few batches under way."""
    under_way = 0
    for job, batch in enumerate(requests):
        storage.read(job, batch)
        under_way += 1
        while under_way >= UNDER_WAY or (job == len(requests) - 1 and under_way):
            under_way -= len(_drain(disk))


def _read_cached(storage: Storage, requests: list[bytes]) -> None:
    for batch in requests:
        storage.read_cached(batch)


def _machine() -> float:
    """CPU-seconds that this machine has worked since it started (Linux; 0 elsewhere)."""
    try:
        with open("/proc/stat") as stat:
            user, nice, system, _, _, irq, softirq, *_ = map(int, stat.readline().split()[1:])
    except OSError:
        return 0.0
    ticks: int = user + nice + system + irq + softirq
    return ticks / os.sysconf("SC_CLK_TCK")
