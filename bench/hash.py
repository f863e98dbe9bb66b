"""How fast hashing is: `hash_files` and one commit stream against hashlib, in turns.

    python bench/hash.py [--mib 1024] [--rounds 3] [--dir /tmp]

The file is read from the page cache. One line for each figure: the best round, in MiB/s.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from swarm._native import hash_files

MIB = 1 << 20


def with_hashlib(path: Path, size: int) -> None:
    """What a Python program would do: read a piece, hash it."""
    buffer = bytearray(MIB)
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            hashlib.sha1(memoryview(buffer)[:count]).digest()


def in_memory(path: Path, size: int) -> None:
    """OpenSSL alone, without reading anything."""
    piece = bytes(MIB)
    for _ in range(size // MIB):
        hashlib.sha1(piece).digest()


def native(threads: int) -> Callable[[Path, int], None]:
    return lambda path, size: void(hash_files([(str(path), size)], MIB, threads))


def void(_: object) -> None:
    pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dir", type=Path, default=None)
    args = parser.parse_args()
    rivals = {
        "hashlib, memory only": in_memory,
        "hashlib, file": with_hashlib,
        "swarm, 1 thread": native(1),
        "swarm, 2 threads": native(2),
    }
    best = dict.fromkeys(rivals, (0.0, 0.0))
    with tempfile.TemporaryDirectory(dir=args.dir) as folder:
        path = Path(folder, "data")
        with path.open("wb") as file:
            for _ in range(args.mib):
                file.write(os.urandom(MIB))
        for _ in range(args.rounds):
            for name, rival in rivals.items():
                cpu, start = time.process_time(), time.perf_counter()
                rival(path, args.mib * MIB)
                wall = time.perf_counter() - start
                rate = args.mib / wall
                best[name] = max(best[name], (rate, (time.process_time() - cpu) * 1024 / args.mib))
    for name, (rate, cpu) in best.items():
        print(f"{name:24} {rate:7.0f} MiB/s  {cpu:5.2f} CPU-s/GiB")


if __name__ == "__main__":
    main()
