"""Checking data against a torrent, without a session."""

from __future__ import annotations

import asyncio
import os
import pickle
import sys

import pytest

import swarm


def states(report: swarm.Report) -> dict[str, str]:
    return {file.path: file.state for file in report.files}


async def test_all_is_well(sample, tmp_path):
    seen = []
    report = await swarm.verify(
        sample.meta, sample.write(tmp_path), progress=lambda *step: seen.append(step)
    )
    assert report.ok
    assert report.good_pieces == sample.meta.piece_count
    assert report.bad_pieces == ()
    assert set(states(report).values()) == {"good"}
    assert sum(file.good_bytes for file in report.files) == sample.meta.length
    assert seen[-1] == (sample.meta.piece_count, sample.meta.piece_count)
    assert pickle.loads(pickle.dumps(report)) == report


async def test_what_is_wrong_is_told_by_file(lab, tmp_path):
    sizes = {"good": 65_536, "damaged": 65_536, "short": 65_536, "missing": 65_536, "empty": 0}
    sample = lab.sample(sizes)
    sample.write(tmp_path)
    with (tmp_path / "t/damaged").open("r+b") as file:
        file.write(b"x")
    os.truncate(tmp_path / "t/short", 40_000)
    (tmp_path / "t/missing").unlink()
    report = await swarm.verify(sample.meta, tmp_path)
    assert states(report) == {
        "t/good": "good",
        "t/damaged": "damaged",
        "t/short": "short",
        "t/missing": "missing",
        "t/empty": "good",
    }
    assert not report.ok
    assert report.bad_pieces == (2, 5, 6, 7)
    assert report.good_pieces == 4
    assert [file.good_bytes for file in report.files] == [65_536, 32_768, 32_768, 0, 0]


async def test_an_empty_file_that_is_missing(sample, tmp_path):
    sample.write(tmp_path)
    (tmp_path / "t/dir/empty").unlink()
    report = await swarm.verify(sample.meta, tmp_path)
    assert states(report)["t/dir/empty"] == "missing"
    assert not report.ok
    assert report.bad_pieces == ()


async def test_nothing_is_there_and_nothing_is_made(sample, tmp_path):
    report = await swarm.verify(sample.meta, tmp_path / "nowhere")
    assert set(states(report).values()) == {"missing"}
    assert not (tmp_path / "nowhere").exists()


async def test_pad_files_are_no_files(tmp_path):
    from swarm.proto.bencode import encode

    files = [
        {b"length": 10, b"path": [b"a"]},
        {b"length": 16_374, b"path": [b".pad", b"16374"], b"attr": b"p"},
        {b"length": 10, b"path": [b"b"]},
    ]
    from hashlib import sha1

    data = bytes(16_384) + bytes(10)
    pieces = sha1(data[:16_384]).digest() + sha1(data[16_384:]).digest()
    info = {b"files": files, b"name": b"t", b"piece length": 16_384, b"pieces": pieces}
    meta = swarm.Metainfo.load(encode({b"info": info}))
    (tmp_path / "t").mkdir()
    (tmp_path / "t/a").write_bytes(bytes(10))
    (tmp_path / "t/b").write_bytes(bytes(10))
    report = await swarm.verify(meta, tmp_path)
    assert states(report) == {"t/a": "good", "t/b": "good"}
    assert report.ok


async def test_pr08_an_exception_in_progress_is_the_callers(sample, tmp_path):
    def progress(done, total):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await swarm.verify(sample.meta, sample.write(tmp_path), progress=progress)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_a_cancelled_check_leaves_nothing(lab, tmp_path):
    big = lab.sample({"x": 16 << 20})
    big.write(tmp_path)
    await swarm.verify(big.meta, tmp_path)  # the loop's executor is there now
    before, tasks = len(os.listdir("/proc/self/fd")), asyncio.all_tasks()
    for step in range(1, 6):
        checking = asyncio.ensure_future(swarm.verify(big.meta, tmp_path))
        for _ in range(step):
            await asyncio.sleep(0)
        checking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await checking
    await lab.until(lambda: len(os.listdir("/proc/self/fd")) <= before)
    assert asyncio.all_tasks() == tasks
