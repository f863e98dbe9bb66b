"""Checking data against a torrent, without a session."""

from __future__ import annotations

import asyncio
import os
import pickle
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import swarm
from swarm.proto.bencode import encode
from swarm.report import look, report, worth_reading
from swarm.store.places import Places


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
    names = ("good", "damaged", "short", "missing", "long")
    sample = lab.sample({**dict.fromkeys(names, 65_536), "empty": 0})
    sample.write(tmp_path)
    with (tmp_path / "t/damaged").open("r+b") as file:
        file.write(b"x")
    os.truncate(tmp_path / "t/short", 40_000)
    (tmp_path / "t/missing").unlink()
    with (tmp_path / "t/long").open("ab") as file:
        file.write(b"more")
    report = await swarm.verify(sample.meta, tmp_path)
    half = 32_768
    assert [(file.path[2:], file.state, file.size, file.bad) for file in report.files] == [
        ("good", "good", 65_536, ()),
        ("damaged", "damaged", 65_536, ((0, half),)),
        ("short", "short", 40_000, ((half, 65_536),)),
        ("missing", "missing", None, ((0, 65_536),)),
        ("long", "long", 65_540, ()),
        ("empty", "good", 0, ()),
    ]
    assert not report.ok
    assert report.bad_pieces == (2, 5, 6, 7)
    assert report.good_pieces == 6
    assert [file.good_bytes for file in report.files] == [65_536, half, half, 0, 65_536, 0]


async def test_a_file_that_is_only_too_long_is_damage(sample, tmp_path):
    with (sample.write(tmp_path) / "t/d").open("ab") as file:
        file.write(b"x")
    report = await swarm.verify(sample.meta, tmp_path)
    assert not report.ok
    assert report.bad_pieces == ()
    assert sum(file.good_bytes for file in report.files) == sample.meta.length


async def test_what_is_not_there_is_not_read(lab, tmp_path):
    """Pieces that cannot be right are not hashed, and no missing file is opened for each of them."""
    sample = lab.sample({"a": 100_000, "b": 300_000, "c": 100_000})
    sample.write(tmp_path)
    (tmp_path / "t/b").unlink()
    found = look(sample.meta, Places(sample.meta.files, tmp_path))
    assert found == [100_000, "missing", 100_000]
    assert worth_reading(sample.meta, found) == bytes([0b11100000, 0b00000111])  # of 16 pieces
    seen = []
    await swarm.verify(sample.meta, tmp_path, progress=lambda *step: seen.append(step))
    assert seen[0] == (10, 16)
    assert seen[-1] == (16, 16)


async def test_what_is_not_complete_is_looked_for_under_its_part_name(sample, tmp_path):
    path = sample.write(tmp_path) / "t/dir/sub/c"
    os.truncate(path, 500_000)
    path.rename(path.with_name("c.part"))
    report = await swarm.verify(sample.meta, tmp_path)
    (file,) = [file for file in report.files if file.state != "good" and file.path == "t/dir/sub/c"]
    assert (file.state, file.size) == ("short", 500_000)
    assert 400_000 < file.good_bytes <= 500_000


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX files")
@pytest.mark.parametrize("kind", ["folder", "fifo", "link", "broken"])
async def test_what_is_no_file_is_missing(sample, tmp_path, kind):
    path = sample.write(tmp_path) / "t/dir/b"
    path.unlink()
    match kind:
        case "folder":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)  # to open it would block
        case "link":
            path.symlink_to("../a")
        case "broken":
            path.symlink_to("nowhere")
    report = await swarm.verify(sample.meta, tmp_path)
    assert states(report)["t/dir/b"] == "missing"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX files")
async def test_links_are_held_against_where_they_should_lead(tmp_path):
    (tmp_path / "t/sub").mkdir(parents=True)
    (tmp_path / "t/a").write_bytes(b"a")
    link = tmp_path / "t/sub/link"
    link.symlink_to("../a")
    meta = await swarm.Metainfo.create(tmp_path / "t", symlinks="keep")

    async def state() -> str:
        report = await swarm.verify(meta, tmp_path)
        assert report.ok == (states(report)["t/sub/link"] == "good")
        return states(report)["t/sub/link"]

    assert await state() == "good"
    for target, found in ((tmp_path / "t/a", "good"), ("../b", "damaged"), ("/etc", "damaged")):
        link.unlink()
        link.symlink_to(target)
        assert await state() == found
    link.unlink()
    assert await state() == "missing"
    link.write_bytes(b"")
    assert await state() == "missing"


async def test_nothing_is_written(sample, tmp_path):
    """Sizes and times stay as they are, damage or not."""
    sample.write(tmp_path)
    os.truncate(tmp_path / "t/a", 10)
    (tmp_path / "t/d").write_bytes(b"x" * 200_000)

    def now() -> dict[Path, tuple[int, int, int]]:
        stats = {path: path.lstat() for path in (tmp_path, *tmp_path.rglob("*"))}
        return {p: (s.st_size, s.st_mtime_ns, s.st_ctime_ns) for p, s in stats.items()}

    before = now()
    assert not (await swarm.verify(sample.meta, tmp_path)).ok
    assert now() == before


@st.composite
def torrents(draw: st.DrawFn) -> swarm.Metainfo:
    """Small files and pad files, which are shorter than a piece."""
    piece_length = draw(st.integers(1, 9))
    real = st.tuples(st.integers(0, 40), st.just(False))
    pads = st.tuples(st.integers(0, piece_length - 1), st.just(True))
    sizes = st.lists(st.one_of(real, real, pads), min_size=1, max_size=12)
    return of_sizes(draw(sizes.filter(lambda sizes: any(n for n, _ in sizes))), piece_length)


def of_sizes(sizes: list[tuple[int, bool]], piece_length: int) -> swarm.Metainfo:
    """A torrent of files and pad files of these lengths, whose pieces have no hash to speak of."""
    files = [
        {b"length": length, b"path": [b"%d" % at], **({b"attr": b"p"} if pad else {})}
        for at, (length, pad) in enumerate(sizes)
    ]
    count = -(-sum(length for length, _ in sizes) // piece_length)
    info = {b"files": files, b"name": b"t", b"piece length": piece_length}
    return swarm.Metainfo.load(encode({b"info": {**info, b"pieces": bytes(20 * count)}}))


@given(st.data())
def test_ranges_against_a_slow_model(data):
    """Byte by byte: bad is what lies in a bad piece, and a range is never longer than it must be."""
    meta = data.draw(torrents())
    pieces = data.draw(
        st.lists(st.booleans(), min_size=meta.piece_count, max_size=meta.piece_count)
    )
    raw = "".join("01"[good] for good in pieces).ljust(-(-len(pieces) // 8) * 8, "0")
    good = int(raw, 2).to_bytes(len(raw) // 8, "big")
    kinds = st.sampled_from([0, 0, 0, -1, 1, "missing", "unreadable"])
    drawn = [data.draw(kinds) for _ in meta.files]
    found = [
        max(file.length + kind, 0) if isinstance(kind, int) else kind
        for file, kind in zip(meta.files, drawn, strict=True)
    ]
    made = report(meta, good, found)
    real = [pair for pair in zip(meta.files, found, strict=True) if not pair[0].pad]
    assert len(made.files) == len(real)
    for one, (file, now) in zip(made.files, real, strict=True):
        wrong = [
            at for at in range(file.length) if not pieces[(file.offset + at) // meta.piece_length]
        ]
        assert [at for start, end in one.bad for at in range(start, end)] == wrong
        assert all(end < start for (_, end), (start, _) in zip(one.bad, one.bad[1:], strict=False))
        assert one.good_bytes == file.length - len(wrong)
        assert one.size == (now if isinstance(now, int) else None)
        if isinstance(now, str):
            assert one.state == now
        elif now == file.length:
            assert one.state == ("damaged" if wrong else "good")
        else:
            assert one.state == ("short" if now < file.length else "long")
    assert made.bad_pieces == tuple(at for at, good in enumerate(pieces) if not good)
    assert made.good_pieces == sum(pieces)
    assert made.ok == (all(pieces) and all(file.state == "good" for file in made.files))


@given(st.data())
def test_what_is_worth_reading_against_a_slow_model(data):
    meta = data.draw(torrents())
    found = [data.draw(st.one_of(st.integers(0, 45), st.just("missing"))) for _ in meta.files]
    there = [
        file.pad or (isinstance(now, int) and at < now)
        for file, now in zip(meta.files, found, strict=True)
        for at in range(file.length)
    ]
    cut = range(0, meta.length, meta.piece_length)
    model = ["01"[all(there[at : at + meta.piece_length])] for at in cut]
    bits = worth_reading(meta, found)
    assert f"{int.from_bytes(bits, 'big'):0{8 * len(bits)}b}" == "".join(model).ljust(
        8 * len(bits), "0"
    )


def test_a_million_pieces_are_reported_in_a_moment():
    """100,000 files, half of the pieces bad, in turns: the time grows with files and ranges."""
    meta = of_sizes([(160, False)] * 100_000, 16)
    begun = time.process_time()
    made = report(meta, b"\xaa" * 125_000, [160] * 100_000)
    assert time.process_time() - begun < 10  # about one, on a small machine
    assert len(made.bad_pieces) == 500_000
    assert made.files[-1].bad[-1] == (144, 160)


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
