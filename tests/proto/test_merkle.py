"""Merkle trees of version 2 (BEP 52), against a slow oracle."""

import time
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import merkle as oracle

from swarm.proto import merkle

KIB = 1024


@pytest.mark.parametrize("pieces", [2, 3, 4, 7, 512, 513, 1024])
def test_mi27_layers_of_any_number_of_pieces(pieces):
    """One more than a power of two is where others went wrong."""
    data = bytes(range(256)) * 64 * pieces
    assert merkle.root_of_layer(oracle.layer(data, 16 * KIB), 16 * KIB) == oracle.root(data)


@given(st.integers(1, 12 * 16 * KIB), st.sampled_from([16, 32, 64]))
def test_layers_lead_to_the_root(length, kib):
    data = bytes(length - 1) + b"x"
    if length > kib * KIB:
        layer = oracle.layer(data, kib * KIB)
        assert merkle.root_of_layer(layer, kib * KIB) == oracle.root(data)


def test_a_megabyte_of_layers_is_checked_in_a_moment():
    count = 2**20 // 32
    layer = b"".join(sha256(b"%d" % at).digest() for at in range(count))
    began = time.process_time()
    merkle.root_of_layer(layer, 2**20)
    assert time.process_time() - began < 0.5  # about 0.02, where nothing else runs
