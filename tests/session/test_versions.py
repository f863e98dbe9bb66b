"""Torrents of all versions through the whole program: verified, seeded, downloaded."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

import swarm

KIB = 1024
PIECE = 32 * KIB
VERSIONS = ["v1", "v2", "hybrid"]
LENGTHS = {"a": 5, "b/c": 3 * PIECE, "b/d": 2 * PIECE + 17 * KIB, "e": 0, "f": 1, "g": PIECE + 1}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "here" / "tree"
    for name, length in LENGTHS.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%x" % length * length)
        with path.open("r+b") as file:
            file.truncate(length)
    return root


async def make(tree: Path, version: str) -> swarm.Metainfo:
    return await swarm.Metainfo.create(tree, version=version, piece_length=PIECE)


def content(root: Path) -> dict[str, bytes]:
    """What is in each file, and what each symlink says."""
    paths = (path for path in root.rglob("*") if path.is_symlink() or path.is_file())
    return {
        path.relative_to(root).as_posix(): (
            os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
        )
        for path in paths
    }


def damage(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))


@pytest.mark.parametrize("version", VERSIONS)
async def test_verify_finds_every_damage(version, tree):
    meta = await make(tree, version)
    assert (await swarm.verify(meta, tree.parent)).ok
    for name, length in LENGTHS.items():
        for at in {0, length // 2, length - 1} if length else ():
            damage(tree / name, at)
            report = await swarm.verify(meta, tree.parent)
            assert len(report.bad_pieces) == 1
            states = {file.path.removeprefix("tree/"): file for file in report.files}
            bad = [name for name, file in states.items() if file.state != "good"]
            if version == "v1":  # where a piece may have the bytes of several files
                assert name in bad
            else:
                assert bad == [name]
                first = at // PIECE * PIECE
                assert states[name].bad == ((first, min(first + PIECE, length)),)
            damage(tree / name, at)
    assert (await swarm.verify(meta, tree.parent)).ok


@pytest.mark.parametrize("version", VERSIONS)
async def test_verify_finds_what_is_short_and_missing(version, tree):
    meta = await make(tree, version)
    with (tree / "b/c").open("r+b") as file:
        file.truncate(PIECE)
    (tree / "f").unlink()
    report = await swarm.verify(meta, tree.parent)
    states = {file.path.removeprefix("tree/"): file.state for file in report.files}
    assert (states["b/c"], states["f"]) == ("short", "missing")
    assert set(states) == set(LENGTHS), "pad files are none of theirs"
    if version != "v1":
        assert {states[name] for name in LENGTHS.keys() - {"b/c", "f"}} == {"good"}


@pytest.mark.parametrize("version", VERSIONS)
async def test_from_peer_to_peer(version, lab, tree, tmp_path):
    """A hybrid goes by its version 1 half. Pads are hardly sent, and are nowhere on a disk."""
    if sys.platform != "win32":
        (tree / "b" / "link").symlink_to("../a")
        (tree / "folder").symlink_to("b")
    meta = await swarm.Metainfo.create(tree, version=version, piece_length=PIECE, symlinks="keep")
    assert meta.size == sum(LENGTHS.values())
    seeder, leecher = await lab.open(), await lab.open()
    await seeder.add(meta, dest=tree.parent)
    torrent = await leecher.add(meta, dest=tmp_path / "there", peers=[lab.addr(seeder)])
    async with asyncio.timeout(20):
        await torrent.wait_done()
    assert leecher.torrents[meta.infohash] is torrent
    blocks = sum(-(-length // (16 * KIB)) * 16 * KIB for length in LENGTHS.values())
    assert torrent.stats.downloaded <= (meta.length if version == "v1" else blocks)
    await leecher.aclose()
    assert content(tmp_path / "there" / "tree") == content(tree)
    assert (await swarm.verify(meta, tmp_path / "there")).ok


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX modes")
async def test_fn15_nothing_that_comes_may_be_run(lab, tree, tmp_path):
    """The torrent says which files are executable; to make them so is left to their owner."""
    (tree / "a").chmod(0o755)
    meta = await make(tree, "hybrid")
    assert "x" in next(file.attr for file in meta.files if file.path[-1] == "a")
    seeder, leecher = await lab.open(), await lab.open()
    await seeder.add(meta, dest=tree.parent)
    torrent = await leecher.add(meta, dest=tmp_path / "there", peers=[lab.addr(seeder)])
    async with asyncio.timeout(20):
        await torrent.wait_done()
    assert not (tmp_path / "there/tree/a").stat().st_mode & 0o111


@pytest.mark.skipif(sys.platform == "win32", reason="no symlinks are made on Windows")
async def test_links_go_where_the_torrent_goes(lab, tree, tmp_path):
    (tree / "b" / "link").symlink_to("../a")
    (tree / "folder").symlink_to("b")
    meta = await swarm.Metainfo.create(tree, version="hybrid", piece_length=PIECE, symlinks="keep")
    before = content(tree)
    session = await lab.open()
    torrent = await session.add(meta, dest=tree.parent)
    await lab.until(lambda: torrent.stats.state == "seeding")
    await torrent.move(tmp_path / "elsewhere")
    assert content(tmp_path / "elsewhere" / "tree") == before
    await torrent.rename("forest")
    assert content(tmp_path / "elsewhere" / "forest") == before
    (tmp_path / "elsewhere" / "forest" / "folder").unlink()
    await torrent.verify()
    await torrent.pause()
    await torrent.resume()
    await lab.until(lambda: torrent.stats.state == "seeding")
    await torrent.pause()
    assert content(tmp_path / "elsewhere" / "forest") == before
    await torrent.remove(delete_data=True)
    assert list((tmp_path / "elsewhere").iterdir()) == []
