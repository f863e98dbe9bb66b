"""What is sent: always the same, and compared byte for byte."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import swarm
from swarm.bench.payload import Payload, warm
from swarm.bench.work import Work

URL = "http://127.0.0.1:1/announce"
SIZE = 300_001


def payload(folder: Path, **options: object) -> Payload:
    folder.mkdir(exist_ok=True)
    options = {"where": "loopback", "size": SIZE, "piece_length": 32768, "files": 7} | options
    return Payload.make(Work(**options), folder, URL)


@pytest.mark.parametrize("files", [1, 7, 250])
def test_files_are_of_equal_size(tmp_path: Path, files: int) -> None:
    made = payload(tmp_path, files=files)
    sizes = [(made.folder / name).stat().st_size for name in made.files]
    assert len(sizes) == files
    assert sum(sizes) == SIZE
    assert max(sizes) - min(sizes) <= 1
    torrent = swarm.Metainfo.load(made.torrent)
    assert torrent.length == SIZE
    assert torrent.name == "payload"
    assert {"/".join(file.path) for file in torrent.files} == {str(name) for name in made.files}


def test_the_seed_decides(tmp_path: Path) -> None:
    hashes = [
        swarm.Metainfo.load(payload(tmp_path / str(n), seed=seed).torrent).infohash
        for n, seed in enumerate([1, 1, 2])
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_differences_are_found(tmp_path: Path) -> None:
    made = payload(tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(made.folder, copy)
    assert made.difference(copy) is None
    victim = copy / made.files[4]
    whole = victim.read_bytes()
    for wrong in (whole[:-1] + bytes([whole[-1] ^ 1]), whole[:-1], whole + b"x"):
        victim.write_bytes(wrong)
        assert made.difference(copy) == f"{made.files[4]} has other bytes than were sent"
    victim.unlink()
    assert made.difference(copy) == f"{made.files[4]} is missing"


def test_warming_leaves_nothing(tmp_path: Path) -> None:
    warm(tmp_path, 3 << 20)
    assert not list(tmp_path.iterdir())
