"""Version 1, version 2 and hybrid torrents: the same info-hashes as libtorrent's, both ways."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from lab.sample import Payload, digests
from lab.stage import TRACKER_PORT, Stage

import swarm
from swarm import Metainfo
from swarm.bench.clients import Client, Libtorrent
from swarm.bench.network import Host
from swarm.proto.metainfo import Version

KIB = 1024
PIECE = 32 * KIB
pytestmark = [
    pytest.mark.interop,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

VERSIONS: list[Version] = ["v1", "v2", "hybrid"]
TREES: dict[str, dict[str, int | str]] = {
    "lengths": {
        **{str(n): n for n in (0, 1, 16 * KIB - 1, 16 * KIB, 16 * KIB + 1)},
        **{str(n): n for n in (PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 5 * PIECE + 7)},
    },
    "one in a folder": {"one": 3 * PIECE + 1},
    "one and an empty one": {"a": 0, "one": 3},
    "empty ones around": {"a": 0, "b": 5, "c": 0, "d": PIECE, "e": 0, "f": 9, "g": 0},
    "nested": {"z": 5, "d/e/f/g": PIECE + 5, "d/e/h": 7, "d/i/j": 20 * KIB, "d/e/a/0": 1},
    "names": {"grün/ß": 70_000, "音/楽 \U0001f41d": 99_000, "e\u0301": 1, "Z": 3, "a'b": 4},
    "same bytes": {"a": 3 * PIECE, "b": 3 * PIECE, "c/a": 5, "c/b": 5},
    "many": {f"{n % 37:02}/{n:04}": n * 31 % 5000 for n in range(1500)},
    "attributes": {"run": "x", "sub/run": "x", "plain": 5},
    "links": {"a/z": 40_000, "b": 7, "l1": "-> a/z", "a/up": "-> ../b", "d": "-> a", "q/r/s": "-> ../../l1"},
}  # fmt: skip


def write(root: Path, tree: dict[str, int | str]) -> None:
    """Files of these lengths; `x` are executable ones, `-> path` links."""
    for name, what in tree.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(what, str) and what.startswith("-> "):
            path.symlink_to(what.removeprefix("-> "))
            continue
        length = 1000 if isinstance(what, str) else what
        data = Random(length).randbytes(length) if root.name == "same bytes" else None
        path.write_bytes(data or Random(name).randbytes(length))
        path.chmod(0o755 if what == "x" else 0o644)


def created(root: Path, version: Version) -> swarm.Metainfo:
    return asyncio.run(
        swarm.Metainfo.create(root, version=version, symlinks="keep", piece_length=PIECE)
    )


def theirs(root: Path, version: Version) -> bytes:
    """What libtorrent makes of the same. Its v1 torrents come in the order of the folder: sorted."""
    import libtorrent as lt

    found, files = lt.file_storage(), lt.file_storage()
    lt.add_files(found, str(root), flags=lt.create_torrent.symlinks)
    rows = []
    for index in range(found.num_files()):
        path = found.file_path(index)
        link = found.symlink(index).removeprefix(f"{root.name}/")
        rows.append((path.split("/"), path, found.file_size(index), found.file_flags(index), link))
    for _, path, size, flags, link in sorted(rows):
        files.add_file(path, size, flags, 0, link)
    kinds = {"v1": lt.create_torrent.v1_only, "v2": lt.create_torrent.v2_only, "hybrid": 0}
    made = lt.create_torrent(files, PIECE, kinds[version] | lt.create_torrent.symlinks)
    lt.set_piece_hashes(made, str(root.parent))
    return bytes(lt.bencode(made.generate()))


def load(data: bytes) -> Any:
    import libtorrent as lt

    return lt.torrent_info(lt.bdecode(data))


def agree(meta: Metainfo, info: Any) -> None:
    """Whether libtorrent reads the same torrent, and the same files, as we do."""
    v1, v2 = info.info_hashes().v1.to_bytes(), info.info_hashes().v2.to_bytes()
    assert meta.infohash.v1 == (v1 if any(v1) else None)
    assert meta.infohash.v2 == (v2 if any(v2) else None)
    assert meta.piece_length == info.piece_length()
    files = info.files()
    read = [
        (files.file_path(i), files.file_size(i), files.symlink(i).rstrip("/") or None)
        for i in range(files.num_files())
        if not files.file_flags(i) & files.flag_pad_file
    ]
    known = [
        ("/".join(f.path), f.length, "/".join(f.symlink) if f.symlink else None)
        for f in meta.files
        if not f.pad
    ]
    if meta.version == "v2" and len(known) == 1:
        # It takes any v2 torrent of one file for a single file; we only one of the same name.
        known = [(meta.files[0].path[-1], *known[0][1:])]
    assert known == read


@pytest.fixture(autouse=True)
def _libtorrent(require: Callable[[str | None], None]) -> None:
    require(Libtorrent.missing())


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("tree", TREES)
def test_a_folder_has_the_infohash_that_libtorrent_gives_it(
    tree: str, version: Version, tmp_path: Path
) -> None:
    root = tmp_path / tree
    write(root, TREES[tree])
    made, data = created(root, version), theirs(root, version)
    read = Metainfo.parse(data)
    assert made.info_bytes == read.info_bytes
    assert made.infohash == read.infohash
    assert made.piece_layers == read.piece_layers
    agree(made, load(made.to_bytes()))
    agree(read, load(data))
    # What they made comes out of us as it came, and they read it again.
    assert load(read.to_bytes()).info_hashes() == load(data).info_hashes()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("length", [1, 16 * KIB, 16 * KIB + 1, PIECE, PIECE + 1, 9 * PIECE + 3])
def test_a_file_has_the_infohash_that_libtorrent_gives_it(
    length: int, version: Version, tmp_path: Path
) -> None:
    root = tmp_path / "single.bin"
    root.write_bytes(Random(length).randbytes(length))
    root.chmod(0o755)
    made, data = created(root, version), theirs(root, version)
    assert made.info_bytes == Metainfo.parse(data).info_bytes
    agree(made, load(made.to_bytes()))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("tree", TREES)
def test_what_create_finds_on_the_disk_is_what_libtorrent_finds(
    tree: str, version: Version, tmp_path: Path
) -> None:
    root = tmp_path / tree
    write(root, TREES[tree])
    made = swarm.Metainfo.create(root, version=version, piece_length=PIECE, symlinks="keep")
    assert asyncio.run(made).info_bytes == Metainfo.parse(theirs(root, version)).info_bytes


def test_libtorrent_reads_hybrids_that_it_could_not_make(tmp_path: Path) -> None:
    """It sorts `a b` before `a/z` in one half and after it in the other, and refuses the result."""
    root = tmp_path / "mixed"
    write(root, {"a/z": 40_000, "a b": 5, "a.b": PIECE + 1})
    with pytest.raises(RuntimeError, match="does not match"):
        load(theirs(root, "hybrid"))
    made = created(root, "hybrid")
    assert [file.path[1] for file in made.files if not file.pad] == ["a", "a b", "a.b"]
    agree(made, load(made.to_bytes()))
    assert made.infohash.v2 is not None
    assert created(root, "v2").info_bytes == Metainfo.parse(theirs(root, "v2")).info_bytes


@pytest.fixture(scope="session", params=["v2", "hybrid"])
def aligned(
    request: pytest.FixtureRequest,
    hosts: list[Host],
    hard_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Payload:
    """The hard folder as a torrent in which files start with pieces."""
    url = f"http://{hosts[0].address}:{TRACKER_PORT}/announce"
    path = tmp_path_factory.mktemp("torrent") / f"{request.param}.torrent"
    made = asyncio.run(
        Metainfo.create(hard_folder, trackers=[url], piece_length=64 * KIB, version=request.param)
    )
    path.write_bytes(made.to_bytes())
    return Payload(hard_folder, path, digests(hard_folder))


@pytest.mark.timeout(90)
@pytest.mark.parametrize("swarm_seeds", [True, False])
def test_traded_with_libtorrent(
    stage: Stage, ours: type[Client], aligned: Payload, swarm_seeds: bool
) -> None:
    seeder, leecher = (ours, Libtorrent) if swarm_seeds else (Libtorrent, ours)
    stage.seed(seeder, aligned)
    stage.finish(stage.leech(leecher, aligned))
