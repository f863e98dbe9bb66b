"""The hash kernels on one core, against hashlib in the same rounds.

    python bench/hash.py [--rounds 5] [--seconds 0.3] [--size 64KiB] [--json FILE]

Each figure is the median of the rounds, in MiB/s of one thread, with the lowest and the highest; the
ratio is the median of the ratios within a round. Nothing is read from a disk: each lane has a message
of `--size` of its own in memory. `lanes` says how many messages were given at once.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from swarm._native import hash_kernels, hash_many
from swarm.units import parse_size

MIB = 1 << 20
LANES = {"avx512": (8, 9, 12, 16), "sha-ni": (1, 2, 3, 4, 8), "crate": (1,)}
"""How many messages each kernel is tried with; the best for any number is also measured with all."""


def with_hashlib(algorithm: str, messages: list[bytes]) -> None:
    for message in messages:
        hashlib.new(algorithm, message, usedforsecurity=False).digest()


def rate(job: Callable[[], object], size: int, seconds: float) -> float:
    """MiB/s of `job`, which hashes `size` bytes, over about `seconds`."""
    times, start = 0, time.thread_time()
    while (spent := time.thread_time() - start) < seconds:
        job()
        times += 1
    return times * size / spent / MIB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--size", type=parse_size, default=64 << 10)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    pool = [os.urandom(args.size) for _ in range(16)]
    rates: dict[str, dict[str, list[float]]] = {"sha1": {}, "sha256": {}}
    for _ in range(args.rounds):
        for algorithm, rows in rates.items():

            def measure(row: str, job: Callable[[], object], size: int) -> None:
                rows.setdefault(row, []).append(rate(job, size, args.seconds))  # noqa: B023

            measure("hashlib", lambda: with_hashlib(algorithm, pool[:1]), args.size)  # noqa: B023
            for kernel in hash_kernels():
                for lanes in LANES[kernel]:
                    messages = pool[:lanes]
                    measure(
                        f"{kernel}, lanes: {lanes}",
                        lambda: hash_many(algorithm, messages, kernel),  # noqa: B023
                        lanes * args.size,
                    )
    for algorithm, rows in rates.items():
        for row, found in rows.items():
            ratios = [mine / theirs for mine, theirs in zip(found, rows["hashlib"], strict=True)]
            print(
                f"{algorithm:7} {row:20} {statistics.median(found):6.0f} MiB/s"
                f" ({min(found):.0f}-{max(found):.0f}) {statistics.median(ratios):5.2f}x"
            )
    if args.json:
        args.json.write_text(json.dumps(rates, indent=1))


if __name__ == "__main__":
    main()
