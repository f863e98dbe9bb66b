"""What the benchmarks of parts are made of."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import swarm
from swarm.bench.disk import Disking, batches, split
from swarm.bench.hash import Hashing
from swarm.bench.wire import WALK, Wiring

BLOCK = 16 * 1024


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 64), st.integers(1, 9), st.integers(500, 200_000), st.integers(1, 100))
def test_every_shape_of_wire_is_walked_to_its_end(
    blocks: int, pieces: int, read: int, depth: int
) -> None:
    piece = blocks * BLOCK
    wiring = Wiring(pieces * piece, piece, read, depth)
    samples = {sample.name: sample.values for sample in wiring.round()}  # it checks what arrived
    assert list(samples) == wiring.names
    assert samples[WALK]["rate"] == pytest.approx(samples[WALK]["blocks"] * BLOCK)


@given(st.integers(1, 10**7), st.integers(1, 500), st.integers(0, 5000))
def test_files_of_a_disk_hold_everything(size: int, files: int, skew: int) -> None:
    size += files + skew
    layout = split(size, files, skew)
    lengths = [length for _, length in layout]
    assert sum(lengths) == size
    assert len({tuple(path) for path, _ in layout}) == len(layout) == files + (skew > 0)
    rest = lengths[1:] if skew else lengths
    assert max(rest) - min(rest) <= 1


@given(st.integers(1, 20), st.integers(1, 20))
def test_requests_of_a_disk_ask_for_everything_once(blocks: int, pieces: int) -> None:
    piece = blocks * BLOCK
    packed = b"".join(batches(piece, pieces * piece))
    spans = [(n * piece + begin, length) for n, begin, length in struct.iter_unpack("<III", packed)]
    assert spans == [(at, BLOCK) for at in range(0, pieces * piece, BLOCK)]


def test_a_disk_without_reads(tmp_path: Path) -> None:
    disking = Disking(
        folder=tmp_path,
        size=4 * BLOCK,
        pieces=[BLOCK, 2 * BLOCK],
        ways=["always", "never"],
        files=3,
        skew=100,
        reads=False,
    )
    names = [sample.name for sample in disking.round()]
    assert names[:3] == ["16 KiB always write", "16 KiB always sync", "16 KiB never write"]
    assert len(names) == 8
    assert not list(tmp_path.iterdir())


def test_samples_of_hashes_have_the_names_that_were_promised() -> None:
    hashing = Hashing(100, 0)
    samples = list(hashing.round())
    assert [sample.name for sample in samples] == hashing.names
    assert {sample.name for sample in samples if "ratio" not in sample.values} == set(
        hashing.rivals
    )
    with pytest.raises(swarm.ConfigError):
        Hashing(0, 1)
