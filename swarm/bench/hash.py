"""The hash kernels on one core, beside hashlib in the same rounds. Nothing is read from a disk."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import swarm

from .report import Sample

ALGORITHMS = ("sha1", "sha256")
LANES = {"avx512": (8, 9, 12, 16), "sha-ni": (1, 2, 3, 4, 8), "crate": (1,)}
"""How many messages each kernel is given at once."""
MOST_LANES = 16


@dataclass(frozen=True)
class Hashing:
    """Each kernel, with as many messages of `message` bytes as it is tried with, for `seconds` of CPU each."""

    message: int
    seconds: float

    def __post_init__(self) -> None:
        if not 1 <= self.message <= 64 << 20:
            raise swarm.ConfigError("a message has from 1 byte to 64 MiB")

    @property
    def names(self) -> list[str]:
        """In the order in which a round has them."""
        return [
            name(algorithm, *row)
            for algorithm in ALGORITHMS
            for row in [("hashlib", 1), *self._rows()]
        ]

    @property
    def rivals(self) -> list[str]:
        return [name(algorithm, "hashlib", 1) for algorithm in ALGORITHMS]

    def round(self) -> Iterator[Sample]:
        """One sample for each of `names`: bytes/s of one core, and how many times hashlib's that is."""
        from swarm._native import hash_many

        pool = [os.urandom(self.message) for _ in range(MOST_LANES)]
        for algorithm in ALGORITHMS:
            base = self._rate(lambda: _hashlib(algorithm, pool[0]), 1)  # noqa: B023
            yield Sample(name(algorithm, "hashlib", 1), {"rate": base})
            for kernel, lanes in self._rows():
                rate = self._rate(
                    lambda: hash_many(algorithm, pool[:lanes], kernel),  # noqa: B023
                    lanes,
                )
                yield Sample(name(algorithm, kernel, lanes), {"rate": rate, "ratio": rate / base})

    def _rows(self) -> list[tuple[str, int]]:
        from swarm._native import hash_kernels

        return [(kernel, lanes) for kernel in hash_kernels() for lanes in LANES[kernel]]

    def _rate(self, job: Callable[[], object], lanes: int) -> float:
        times, start = 0, time.thread_time()
        while (spent := time.thread_time() - start) < self.seconds or not times:
            job()
            times += 1
        return times * lanes * self.message / spent


def name(algorithm: str, kernel: str, lanes: int) -> str:
    """Of a row: `sha1 avx512 x16`."""
    return f"{algorithm} {kernel} x{lanes}"


def _hashlib(algorithm: str, message: bytes) -> None:
    hashlib.new(algorithm, message, usedforsecurity=False).digest()
