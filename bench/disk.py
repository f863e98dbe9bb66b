"""What a piece costs on its way to the disk, direct beside buffered, and a block on its way from it.

    python bench/disk.py [--dir FOLDER]... [--piece KIB]... [--mib 1024] [--rounds 3] [--threads 2]
                         [--files 1] [--skew 0] [--no-reads]

Commits pieces in random order through the engine's threads (hash, then write), syncs them, and reads
16 KiB blocks back as ready-to-send frames. For each folder and piece length the ways of writing take
turns within a round, each after the machine was made to hand out the memory that a round needs. One
line for each figure, the median of the rounds. CPU is that of this process, hashing included;
"machine" is all that was busy meanwhile, which is where the kernel's own threads show what they
write back: believe it on a quiet machine.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import select
import shutil
import statistics
import struct
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from swarm._native import Disk, Pool, Slot, Storage

KIB = 1 << 10
MIB = 1 << 20
BLOCK = 16 * KIB
POOL = 32 * MIB
PART = MIB
WAYS = ("never", "auto")


def machine() -> float:
    """CPU-seconds that this machine has worked since it started."""
    with open("/proc/stat") as stat:
        user, nice, system, _, _, irq, softirq, *_ = map(int, stat.readline().split()[1:])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


@dataclass
class Figure:
    """Rounds of one stretch of work: wall time, CPU of this process, CPU of the machine."""

    rounds: list[tuple[float, float, float]] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._start = time.perf_counter(), time.process_time(), machine()
        return self

    def __exit__(self, *_: object) -> None:
        now = time.perf_counter(), time.process_time(), machine()
        wall, own, all_ = (after - before for after, before in zip(now, self._start, strict=True))
        self.rounds.append((wall, own, all_))

    def line(self, name: str, mib: int) -> str:
        wall, own, all_ = (statistics.median(column) for column in zip(*self.rounds, strict=True))
        scale = 1024 / mib
        return (
            f"{name:48} {mib / wall:7.0f} MiB/s {own * scale:6.2f} CPU-s/GiB"
            f" {all_ * scale:6.2f} machine"
        )


def warm(folder: Path, mib: int) -> None:
    """Make the machine touch as much memory as the round needs, for every rival alike."""
    path = folder / "warm"
    with path.open("wb") as file:
        for _ in range(mib):
            file.write(bytes(MIB))
    path.unlink()


class Writer:
    """Pieces of equal bytes in random order, as many at a time as the session's pool holds."""

    def __init__(self, piece: int, total: int) -> None:
        self.piece, self.part = piece, min(piece, PART)
        self.parts = piece // self.part
        self.count = total // piece
        pool = Pool(POOL)
        content = os.urandom(self.part)
        self.slots: list[Slot] = []
        while (slot := pool.checkout(self.part)) is not None:
            self.slots.append(slot)
        self.content = content
        self.digest = hashlib.sha1(content * self.parts).digest()
        self.order = random.Random(1).sample(range(self.count), self.count)

    def commits(self, storage: Storage, free: list[Slot], owner: dict[int, Slot]) -> Iterator[None]:
        """Commits one part at each step. The parts of a few pieces come side by side."""
        job = 0
        for piece in self.order:
            for part in range(self.parts):
                owner[job] = slot = free.pop()
                last = self.digest if part == self.parts - 1 else None
                storage.commit(job, piece, part * self.part, slot, self.part, last)
                job += 1
                yield

    def fill(self, storage: Storage) -> None:
        """Fills the slots, which lie like the first large file."""
        for slot in self.slots:
            storage.align(slot, 0, 0)
            memoryview(slot)[:] = self.content

    def write(self, disk: Disk, storage: Storage) -> None:
        free, owner = list(self.slots), dict[int, Slot]()
        steps, more = self.commits(storage, free, owner), True
        while more or owner:
            while more and free:
                more = next(steps, self) is not self
            if owner:
                select.select([disk], [], [])
                for done in disk.drain():
                    assert done[1] in ("verified", "written"), done
                    free.append(owner.pop(done[0]))


def sync(disk: Disk, storage: Storage) -> None:
    storage.sync(0)
    select.select([disk], [], [])
    (done,) = disk.drain()
    assert done[1] == "synced", done


def batches(piece: int, total: int, blocks: int) -> list[bytes]:
    """Requests for everything, in order, `blocks` blocks a batch."""
    where = [(at // piece, at % piece, BLOCK) for at in range(0, total, BLOCK)]
    return [
        b"".join(struct.pack("<III", *request) for request in where[at : at + blocks])
        for at in range(0, len(where), blocks)
    ]


def read(disk: Disk, storage: Storage, requests: list[bytes]) -> None:
    """Read through the threads, a few batches in flight."""
    under_way = 0
    for job, batch in enumerate(requests):
        storage.read(job, batch)
        under_way += 1
        while under_way >= 4 or (job == len(requests) - 1 and under_way):
            select.select([disk], [], [])
            under_way -= len(disk.drain())


def read_cached(storage: Storage, requests: list[bytes]) -> None:
    for batch in requests:
        assert storage.read_cached(batch) is not None


def split(total: int, files: int, skew: int) -> list[tuple[list[str], int]]:
    """`files` files of equal length; a small one before them moves their starts by `skew` bytes."""
    first = [(["skew"], skew)] if skew else []
    each, rest = divmod(total - skew, files)
    names = (["data", f"{n % 1000}", f"{n}"] for n in range(files))
    return first + [(name, each + (n < rest)) for n, name in enumerate(names)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--mib", type=int, default=1024, help="written in a round (1024)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--dir", type=Path, action="append", help="repeatable: on which file systems"
    )
    parser.add_argument("--piece", type=int, action="append", metavar="KIB",
                        help="repeatable (16, 256, 1024, 16384)")  # fmt: skip
    parser.add_argument("--direct", action="append", choices=["auto", "always", "never"],
                        help=f"repeatable ({', '.join(WAYS)})")  # fmt: skip
    parser.add_argument("--files", type=int, action="append", help="repeatable: over how many (1)")
    parser.add_argument("--skew", type=int, default=0, help="bytes by which files start off a page")
    parser.add_argument("--no-reads", action="store_true")
    args = parser.parse_args()
    figures: dict[str, Figure] = {}
    total = args.mib * MIB

    def figure(*words: object) -> Figure:
        return figures.setdefault(", ".join(map(str, words)), Figure())

    for _ in range(args.rounds):
        for where in args.dir or [Path()]:
            for kib in args.piece or [16, 256, 1024, 16384]:
                writer = Writer(kib * KIB, total)
                for files in args.files or [1]:
                    for direct in args.direct or WAYS:
                        folder = Path(tempfile.mkdtemp(dir=where.absolute()))
                        words = (where, f"{kib} KiB", f"{files} files", direct)
                        warm(folder, 2 * args.mib)
                        disk = Disk(args.threads, 16 * MIB, direct)
                        layout = split(total, files, args.skew)
                        storage = disk.open(folder, layout, kib * KIB, True)
                        writer.fill(storage)
                        with figure(*words, "write"):
                            writer.write(disk, storage)
                        with figure(*words, "sync"):
                            sync(disk, storage)
                        if not args.no_reads:
                            # Afresh, or all of it would come from the slots.
                            storage = disk.open(folder, layout, kib * KIB, False)
                            requests = batches(kib * KIB, total, 64)
                            with figure(*words, "read"):
                                read(disk, storage, requests)
                            with figure(*words, "read again"):
                                read(disk, storage, requests)
                            if storage.read_cached(requests[0]) is not None:  # tmpfs cannot say
                                with figure(*words, "read again, on this thread"):
                                    read_cached(storage, requests)
                        disk.close()
                        shutil.rmtree(folder)
    for name, rounds in figures.items():
        print(rounds.line(name, args.mib))


if __name__ == "__main__":
    main()
