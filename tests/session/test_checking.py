"""Checking data against a torrent, without a session."""

from __future__ import annotations

import asyncio
import os
import pickle
import sys
from errno import EIO
from hashlib import sha1
from pathlib import Path

import pytest

import swarm
import swarm.checking
from swarm.checking import look
from swarm.proto.bencode import encode
from swarm.report import worth_reading
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


@pytest.fixture
async def cold(lab, faulty):
    """Four files of 10 pieces each, on a disk whose page cache is empty."""
    sample = lab.sample(dict.fromkeys("abcd", 10 * 32_768))
    sample.write(faulty.folder)
    for path in (*(faulty.folder / "t").iterdir(), faulty.folder / "t", faulty.folder):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    faulty.off()
    faulty.boot()
    return sample


async def test_fs03_a_file_that_breaks_while_it_is_read_is_told_of(cold, faulty):
    """The other files are checked all the same, and nothing of them twice."""
    rule = faulty.fault("read", path="t/b", times=None, errno=EIO)
    seen: list[tuple[int, int]] = []
    report = await swarm.verify(cold.meta, faulty.folder, progress=lambda *step: seen.append(step))
    assert faulty.fired(rule)
    good = {"t/a": "good", "t/c": "good", "t/d": "good"}
    assert states(report) == {**good, "t/b": "unreadable"}
    (broken,) = [file for file in report.files if file.error]
    assert (broken.path, broken.good_bytes, broken.bad) == ("t/b", 0, ((0, 327_680),))
    assert os.strerror(EIO) in broken.error
    assert str(faulty.folder / "t/b") in broken.error
    assert report.bad_pieces == tuple(range(10, 20))
    assert seen == sorted(seen)
    assert seen[-1] == (40, 40)


async def test_fs03_a_bad_place_in_a_file_costs_its_piece(cold, faulty):
    """What can be read of the file is judged as well."""
    faulty.fault("read", path="t/c", times=6, errno=EIO)  # reading ahead meets some of them
    report = await swarm.verify(cold.meta, faulty.folder)
    (broken,) = [file for file in report.files if file.state != "good"]
    assert (broken.path, broken.state) == ("t/c", "unreadable")
    assert 327_680 - 6 * 32_768 <= broken.good_bytes < 327_680
    assert sum(end - start for start, end in broken.bad) == 327_680 - broken.good_bytes
    assert broken.error


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX files")
async def test_what_lies_behind_a_link_is_not_read(sample, tmp_path):
    """A folder that is a link may lead anywhere: nothing that is in it is the torrent's."""
    sample.write(tmp_path)
    (tmp_path / "t/dir").rename(tmp_path / "elsewhere")
    (tmp_path / "t/dir").symlink_to(tmp_path / "elsewhere")
    report = await swarm.verify(sample.meta, tmp_path)
    behind = {"t/dir/b", "t/dir/empty", "t/dir/sub/c"}
    assert {path for path, state in states(report).items() if state == "unreadable"} == behind
    errors = {file.path: file.error for file in report.files if file.error}
    assert errors.keys() == behind
    assert all("a symlink on the way" in error for error in errors.values())
    assert states(report)["t/a"] == "damaged"  # its last piece has bytes of b


async def test_a_disk_that_reads_nothing_ends_the_check(lab, faulty, monkeypatch):
    """Not after trying each of its files."""
    monkeypatch.setattr(swarm.checking, "ALL_ERRORS", 10)
    sample = lab.sample({f"{at:04}": 32_768 for at in range(40)})
    sample.write(faulty.folder)
    rule = faulty.fault("open", path="t/*", times=None, errno=EIO)
    with pytest.raises(swarm.StorageError, match=os.strerror(EIO)):
        await swarm.verify(sample.meta, faulty.folder)
    assert faulty.fired(rule) >= 11


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


async def test_a_file_that_is_too_long_is_told_of_and_seeded_all_the_same(lab, sample, tmp_path):
    session, torrent = await lab.seed(sample)
    path = torrent.path / "d"
    with path.open("ab") as file:
        file.write(b"more")
    report = await torrent.verify()
    assert not report.ok
    assert report.bad_pieces == ()
    assert [f.path for f in report.files if f.state == "long"] == ["t/d"]
    assert torrent.stats.state == "seeding"
    leecher = await lab.open()
    got = await leecher.add(sample.meta, dest=tmp_path / "to", peers=[lab.addr(session)])
    async with asyncio.timeout(5):
        await got.wait_done()
    assert sample.on_disk(tmp_path / "to") == sample.data
