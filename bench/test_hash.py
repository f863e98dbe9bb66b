"""Sixteen messages of 64 KiB by each kernel, and by hashlib. `swarm bench hash` has more lanes."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import pytest

from swarm._native import hash_kernels, hash_many

Benchmark = Any
MESSAGES = [os.urandom(64 << 10) for _ in range(16)]


@pytest.mark.parametrize("kernel", ["hashlib", *hash_kernels()])
@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_sixteen_messages(benchmark: Benchmark, algorithm: str, kernel: str) -> None:
    benchmark.group = f"hash {algorithm}"

    def with_hashlib() -> list[bytes]:
        return [hashlib.new(algorithm, message).digest() for message in MESSAGES]

    if kernel == "hashlib":
        found = benchmark(with_hashlib)
    else:
        found = benchmark(hash_many, algorithm, MESSAGES, kernel)
    assert found == with_hashlib()
