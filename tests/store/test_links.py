"""Symlinks of a torrent (BEP 47) on the disk: made where they belong, and never followed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from reference import torrent

from swarm import _native
from swarm.errors import UnsafePath
from swarm.proto.metainfo import Entry

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no symlinks are made on Windows")

LINKS = {
    "beside": ("a", "a"),
    "d/up": ("a", "../a"),
    "d/e/far": ("x/y/z", "../../x/y/z"),
    "d/e/folder": ("x/y", "../../x/y"),
    "x/down": ("x/y/z", "y/z"),
    "x/y/again": ("d/up", "../../d/up"),
}
"""Path, what it leads to, and what it says."""


@pytest.fixture
def meta():
    entries = [
        Entry(tuple(path.split("/")), 0, "l", tuple(target.split("/")))
        for path, (target, _) in LINKS.items()
    ]
    files = [Entry(("a",), 5), Entry(("x", "y", "z"), 7), Entry(("empty",), 0)]
    return torrent.make(files + entries, "hybrid", piece_length=32 * 1024, name="t")


def links(folder: Path) -> dict[str, str]:
    found = (path for path in folder.rglob("*") if path.is_symlink())
    return {path.relative_to(folder).as_posix(): os.readlink(path) for path in found}


async def test_they_are_made_with_the_empty_files(disk, meta, tmp_path):
    storage = disk.open(meta, tmp_path, writable=True)
    assert not list(tmp_path.iterdir())
    await storage.sync()
    assert links(tmp_path / "t") == {path: says for path, (_, says) in LINKS.items()}
    assert (tmp_path / "t/empty").is_file()
    await storage.sync()
    await storage.close()


async def test_none_is_made_to_look(disk, meta, tmp_path):
    storage = disk.open(meta, tmp_path, writable=False)
    await storage.check()
    await storage.close()
    assert not list(tmp_path.iterdir())


async def test_fn13_what_is_there_stays(disk, meta, tmp_path):
    root = tmp_path / "t"
    (root / "d/e").mkdir(parents=True)
    (root / "beside").write_text("mine")
    (root / "d/up").symlink_to("/nowhere")
    (root / "d/e/far").mkdir()
    await disk.open(meta, tmp_path, writable=True).sync()
    assert (root / "beside").read_text() == "mine"
    assert os.readlink(root / "d/up") == "/nowhere"
    assert list((root / "d/e/far").iterdir()) == []
    assert os.readlink(root / "d/e/folder") == "../../x/y"


async def test_fn13_they_are_not_made_through_a_symlink(disk, meta, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "t").mkdir()
    (tmp_path / "t/d").symlink_to(outside)
    with pytest.raises(UnsafePath):
        await disk.open(meta, tmp_path, writable=True).sync()
    assert not list(outside.iterdir())


async def test_fn12_nothing_is_read_or_written_through_them(disk, meta, tmp_path):
    """Where a link took the place of a file, the file is not there."""
    storage = disk.open(meta, tmp_path, writable=True)
    await storage.sync()
    victim = tmp_path / "victim"
    victim.write_bytes(torrent.content(Entry((), 5)))
    (tmp_path / "t/a").symlink_to(victim)
    with pytest.raises(UnsafePath):
        await storage.check()
    await storage.close()


async def test_a_file_system_without_symlinks_has_none(disk, meta, fat):
    storage = disk.open(meta, fat, writable=True)
    await storage.sync()
    await storage.close()
    assert (fat / "t/empty").is_file()
    assert links(fat) == {}


@pytest.mark.parametrize("target", [[], [".."], ["t", ".."], ["/etc"], ["a/b"], [""], ["t"], ["."]])
def test_fn12_the_disk_makes_no_link_that_leaves_its_folder(target, tmp_path):
    """Whatever metainfo said: it is not asked twice."""
    disk = _native.Disk(0, 1 << 20)
    with pytest.raises(ValueError, match="symlink"):
        disk.open(tmp_path, [(["t", "link"], 0)], 16384, True, links={0: target})
    disk.close()
