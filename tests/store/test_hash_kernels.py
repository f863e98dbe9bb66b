"""Every hash kernel against hashlib, bit by bit. A kernel that this machine lacks skips by name."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm._native import hash_kernels, hash_many

ALGORITHMS = ["sha1", "sha256"]
KERNELS = ["avx512", "sha-ni", "crate", None]


def expected(algorithm: str, messages: list[bytes]) -> list[bytes]:
    return [hashlib.new(algorithm, message).digest() for message in messages]


@pytest.fixture(params=KERNELS, ids=str)
def kernel(request):
    if request.param is not None and request.param not in hash_kernels():
        pytest.skip(f"this machine has no {request.param}")
    return request.param


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_length_to_300_in_every_number_of_lanes(algorithm, kernel):
    noise = random.Random(1)
    for length in range(301):
        messages = [noise.randbytes(length) for _ in range(17)]
        sums = expected(algorithm, messages)
        for lanes in {1, 2, 3, 4, 8, 9, 16, 17, 1 + length % 17}:
            assert hash_many(algorithm, messages[:lanes], kernel) == sums[:lanes]


@settings(deadline=None)
@given(
    algorithm=st.sampled_from(ALGORITHMS),
    kernel=st.sampled_from([*hash_kernels(), None]),
    lengths=st.lists(
        st.one_of(st.integers(0, 300), st.integers(0, 20_000)), min_size=0, max_size=40
    ),
    seed=st.integers(0, 1 << 32),
)
def test_any_lengths_in_one_batch(algorithm, kernel, lengths, seed):
    noise = random.Random(seed)
    messages = [noise.randbytes(length) for length in lengths]
    assert hash_many(algorithm, messages, kernel) == expected(algorithm, messages)


@settings(max_examples=30, deadline=None)
@given(
    algorithm=st.sampled_from(ALGORITHMS),
    kernel=st.sampled_from([*hash_kernels(), None]),
    lanes=st.integers(1, 20),
    length=st.integers(0, 70_000),
)
def test_equal_lengths_in_one_batch(algorithm, kernel, lanes, length):
    messages = [os.urandom(length) for _ in range(lanes)]
    assert hash_many(algorithm, messages, kernel) == expected(algorithm, messages)


def test_what_is_not_there_is_refused():
    with pytest.raises(ValueError, match="kernel"):
        hash_many("sha1", [b""], "abacus")
    with pytest.raises(ValueError, match="algorithm"):
        hash_many("md5", [b""])
    assert hash_kernels()[-1] == "crate"


def imported(kernel: str) -> subprocess.CompletedProcess[str]:
    """Hash in a process whose environment names a kernel."""
    code = "from swarm._native import hash_many; print(hash_many('sha1', [b'abc'] * 16)[9].hex())"
    env = {**os.environ, "SWARM_HASH_KERNEL": kernel}
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)


def test_the_environment_names_a_kernel():
    for kernel in (*hash_kernels(), ""):
        assert imported(kernel).stdout.strip() == hashlib.sha1(b"abc").hexdigest()
    refused = imported("abacus")
    assert refused.returncode == 1
    assert "SWARM_HASH_KERNEL=abacus: this machine has" in refused.stderr
