"""Where files are: part names until they are complete, final names then, and never over another file."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys

import pytest

from swarm.errors import StorageError
from swarm.store.names import part_name, part_suffix
from swarm.store.places import Places
from swarm.store.storage import Verdict

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX names")


def tree(folder):
    """All files below a folder."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir())


@pytest.fixture
def parts(disk, sample, tmp_path):
    return disk.open(sample.meta, tmp_path, writable=True, make_parts=True)


async def test_files_have_part_names_until_they_are_finished(parts, sample, committer, tmp_path):
    assert set(await committer.all(parts, sample)) == {Verdict.VERIFIED}
    assert tree(tmp_path) == [
        "t/a.part",
        "t/d.part",
        "t/dir/b.part",
        "t/dir/empty",  # is complete from the start
        "t/dir/sub/c.part",
    ]
    assert await parts.check() == b"\xff"
    await parts.sync()
    await parts.finish([0, 3])
    assert tree(tmp_path) == [
        "t/a",
        "t/d.part",
        "t/dir/b.part",
        "t/dir/empty",
        "t/dir/sub/c",
    ]
    assert await parts.check() == b"\xff"  # through descriptors from before and after
    await parts.finish(range(5))
    await parts.finish(range(5))  # which changes nothing
    await parts.sync()
    assert sample.on_disk(tmp_path) == sample.data
    await parts.close()


async def test_what_lies_under_either_name_is_used_where_it_is(disk, sample, committer, tmp_path):
    sample.write(tmp_path)
    (tmp_path / "t/a").rename(tmp_path / "t/a.part")
    for make_parts in (True, False):
        storage = disk.open(sample.meta, tmp_path, writable=True, make_parts=make_parts)
        assert await storage.check() == b"\xff"
        assert set(await committer.all(storage, sample)) == {Verdict.VERIFIED}
        assert storage.survey().parts == (0,)
        assert storage.missing() == ()
        await storage.close()
    assert tree(tmp_path) == ["t/a.part", "t/d", "t/dir/b", "t/dir/empty", "t/dir/sub/c"]


async def test_without_part_names_files_are_made_under_the_final_ones(
    disk, sample, committer, tmp_path
):
    storage = disk.open(sample.meta, tmp_path, writable=True)
    await committer.all(storage, sample)
    assert sample.on_disk(tmp_path) == sample.data


@posix
@pytest.mark.parametrize("kind", ["file", "directory", "fifo", "symlink"])
async def test_fs12_finishing_replaces_nothing_that_has_the_name(
    parts, sample, committer, tmp_path, kind
):
    await committer.all(parts, sample)
    path = tmp_path / "t/a"
    match kind:
        case "file":
            path.write_bytes(b"somebody else's")
        case "directory":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "symlink":
            path.symlink_to("/nowhere")
    before = os.lstat(path)
    with pytest.raises(StorageError) as caught:
        await parts.finish([0, 4])
    assert (caught.value.errno, caught.value.path) == (errno.EEXIST, str(path))
    assert os.lstat(path) == before
    assert (tmp_path / "t/a.part").read_bytes() == sample.data[:50_000]
    assert (tmp_path / "t/d").exists()  # the others got theirs
    path.rmdir() if kind == "directory" else path.unlink()
    await parts.finish([0])
    assert path.read_bytes() == sample.data[:50_000]


async def test_fs07_a_file_that_was_renamed_under_us_is_found_by_its_final_name(
    parts, sample, committer, tmp_path
):
    await committer.all(parts, sample)
    (tmp_path / "t/a.part").rename(tmp_path / "t/a")
    assert await parts.check() == b"\xff"
    await parts.finish([0])
    assert (tmp_path / "t/a").exists()


async def test_fs07_a_file_that_vanished_cannot_be_finished(parts, sample, committer, tmp_path):
    await committer.all(parts, sample)
    (tmp_path / "t/a.part").unlink()
    with pytest.raises(StorageError) as caught:
        await parts.finish([0])
    assert (caught.value.errno, caught.value.operation) == (errno.ENOENT, "rename")
    assert not (tmp_path / "t/a").exists()


async def test_the_longest_names_have_no_part_name(disk, make_sample, committer, tmp_path):
    longest = "n" * 250
    sample = make_sample({longest: 100, longest + "nnnnn": 100, "é" * 127: 100})
    storage = disk.open(sample.meta, tmp_path, writable=True, make_parts=True)
    await committer.all(storage, sample)
    assert tree(tmp_path / "t") == sorted(["n" * 250 + ".part", "n" * 255, "é" * 127])
    await storage.finish(range(3))
    assert sample.on_disk(tmp_path) == sample.data


@pytest.mark.parametrize(
    ("names", "suffix"),
    [
        (["a", "b"], ".part"),
        (["a", "a.part"], ".part2"),
        (["a", "A.PART"], ".part2"),
        (["a", "a.part/x"], ".part2"),
        (["a.part", "b.part2", "c.part4"], ".part3"),
        (["a.part.gz", "partial"], ".part"),
    ],
)
async def test_names_that_look_like_part_names(
    disk, make_sample, committer, tmp_path, names, suffix
):
    sample = make_sample(dict.fromkeys(names, 40_000))
    storage = disk.open(sample.meta, tmp_path, writable=True, make_parts=True)
    await committer.all(storage, sample)
    assert tree(tmp_path / "t") == sorted(name + suffix for name in names)
    await storage.finish(range(len(names)))
    assert sample.on_disk(tmp_path) == sample.data
    assert part_suffix([name.split("/") for name in names]) == suffix


def test_part_names_fit():
    assert part_name("x", ".part") == "x.part"
    assert part_name("é" * 125, ".part") == "é" * 125 + ".part"
    assert part_name("é" * 126, ".part") is None


def test_a_file_with_two_names_is_contested_unless_they_are_one(sample, tmp_path):
    sample.write(tmp_path)
    places = Places(sample.meta.files, tmp_path)
    assert not places.contested(0)
    os.link(tmp_path / "t/a", tmp_path / "t/a.part")
    assert not places.contested(0)
    (tmp_path / "t/a.part").unlink()
    shutil.copy(tmp_path / "t/a", tmp_path / "t/a.part")
    assert places.contested(0)
    assert places.now(0) == tmp_path / "t/a"


@pytest.mark.skipif(sys.platform != "linux", reason="needs strace and Linux")
def test_the_new_name_is_made_durable(tmp_path):
    """The folder is synced after the rename, and the file before it: the order of the system calls."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    script = f"""
from hashlib import sha1
from swarm._native import Disk, Pool
disk = Disk(0, 1 << 20)
storage = disk.open({str(tmp_path)!r}, [(["f", "a"], 100)], 100, True, part_names=["a.part"], make_parts=True)
slot = Pool(1 << 20).checkout(100)
storage.commit(1, 0, 0, slot, 100, sha1(slot).digest())
done = disk.drain()
storage.finish(2, [0])
storage.sync(3)
print([name for _, name, *_ in done + disk.drain()])
"""
    calls = ["strace", "-f", "-e", "trace=renameat2,fsync,fdatasync,linkat", sys.executable]
    said = subprocess.run([*calls, "-c", script], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "['verified', 'changed', 'synced']"
    names = [line.split("(")[0].split()[-1] for line in said.stderr.splitlines() if "(" in line]
    assert names[0] == "renameat2"
    assert names.count("fdatasync") == 1
    # Of `f`, of the folder that holds it, and once of those above: somebody may have just made them.
    assert names.count("fsync") == 2 + len(tmp_path.parents)
