"""What a piece costs on its way to the disk, and a block on its way from it.

    python bench/disk.py [--mib 1024] [--rounds 3] [--threads 2] [--dir .]

Commits 1 MiB pieces in random order through the engine's threads (hash, buffered write), then reads
16 KiB blocks back from the page cache as ready-to-send frames. One line for each figure, the best
round; CPU is that of the whole process, user and system.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import select
import struct
import tempfile
import time
from pathlib import Path

from swarm._native import Disk, Pool, Slot, Storage

MIB = 1 << 20
BLOCK = 16 << 10
IN_FLIGHT = 16


class Meter:
    """Wall time and CPU time of one stretch."""

    def __enter__(self) -> Meter:
        self.wall, self.times = time.perf_counter(), os.times()
        return self

    def __exit__(self, *_: object) -> None:
        after = os.times()
        self.wall = time.perf_counter() - self.wall
        self.user = after.user - self.times.user
        self.system = after.system - self.times.system

    def line(self, name: str, mib: int) -> str:
        scale = 1024 / mib
        return (
            f"{name:34} {mib / self.wall:7.0f} MiB/s  {(self.user + self.system) * scale:5.2f} "
            f"CPU-s/GiB ({self.user * scale:.2f} user, {self.system * scale:.2f} system)"
        )


def warm(folder: Path, mib: int) -> None:
    """Make the machine touch as much memory as the round needs, for every rival alike."""
    path = folder / "warm"
    with path.open("wb") as file:
        for _ in range(mib):
            file.write(bytes(MIB))
    path.unlink()


def commit(
    disk: Disk, storage: Storage, order: list[int], slots: list[Slot], sums: list[bytes]
) -> None:
    """Commit every piece; a piece's content is that of the slot it happens to get."""
    free = list(range(len(slots)))
    owner: dict[int, int] = {}
    waiting = iter(order)
    left = len(order)
    while left:
        while free and (piece := next(waiting, None)) is not None:
            owner[piece] = slot = free.pop()
            storage.commit(piece, piece, 0, slots[slot], MIB, sums[slot])
        select.select([disk], [], [])
        for done in disk.drain():
            assert done[1] == "verified", done
            free.append(owner.pop(done[2]))
            left -= 1


def batches(mib: int, blocks: int) -> list[bytes]:
    """Requests for the whole file, in order, `blocks` blocks a batch."""
    where = [(at // MIB, at % MIB, BLOCK) for at in range(0, mib * MIB, BLOCK)]
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dir", type=Path, default=Path())
    args = parser.parse_args()
    mib = args.mib
    pool = Pool(IN_FLIGHT * MIB)
    slots = [slot for _ in range(IN_FLIGHT) if (slot := pool.checkout(MIB)) is not None]
    for slot in slots:
        memoryview(slot)[:] = os.urandom(MIB)
    sums = [hashlib.sha1(slot).digest() for slot in slots]
    order = random.Random(1).sample(range(mib), mib)
    rounds: dict[str, list[Meter]] = {}

    def measure(name: str) -> Meter:
        rounds.setdefault(name, []).append(meter := Meter())
        return meter

    for _ in range(args.rounds):
        with tempfile.TemporaryDirectory(dir=args.dir) as folder:
            warm(Path(folder), 2 * mib)
            disk = Disk(args.threads, 16 * MIB)
            storage = disk.open(folder, [(["data"], mib * MIB)], MIB, True)
            with measure(f"commit, {args.threads} threads"):
                commit(disk, storage, order, slots, sums)
            with measure("sync"):
                storage.sync(0)
                select.select([disk], [], [])
                disk.drain()
            for blocks in (16, 64):
                requests = batches(mib, blocks)
                with measure(f"read, {blocks} blocks a batch"):
                    read(disk, storage, requests)
                with measure(f"read_cached, {blocks} blocks a batch"):
                    read_cached(storage, requests)
            with measure("hashlib, one stream, memory only"):
                for _ in range(mib):
                    hashlib.sha1(slots[0]).digest()
            disk.close()
    for name, meters in rounds.items():
        print(min(meters, key=lambda meter: meter.user + meter.system).line(name, mib))


if __name__ == "__main__":
    main()
