"""Loading and making torrents."""

from __future__ import annotations

import asyncio
import os
from errno import EIO
from hashlib import sha1
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import swarm
import swarm.make
from swarm.make import aligned_piece_length, auto_piece_length

KIB, MIB = 1 << 10, 1 << 20


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with what is easily got wrong."""
    root = tmp_path / "tree"
    deep = root.joinpath(*(f"level{i}" for i in range(12)))
    deep.mkdir(parents=True)
    (deep / "bottom").write_bytes(os.urandom(70_000))
    (root / "empty").write_bytes(b"")
    (root / "one").write_bytes(b"1")
    (root / "grün ☃ 音").write_bytes(os.urandom(33_333))
    (root / "a.b").write_bytes(os.urandom(16_384))
    (root / "a").mkdir()
    (root / "a" / "z").write_bytes(os.urandom(5))
    return root


async def test_a_tree_makes_the_round_trip(tree):
    seen = []
    meta = await swarm.Metainfo.create(
        tree,
        trackers=["http://t.example/announce", "udp://t.example:1/announce"],
        web_seeds=["http://w.example/"],
        private=True,
        source="here",
        comment="of ours",
        piece_length=16 * KIB,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert meta.name == "tree"
    assert not meta.single_file
    paths = ["/".join(file.path) for file in meta.files]
    assert "tree/empty" in paths
    assert "tree/grün ☃ 音" in paths
    data = b""
    for file in meta.files:
        content = tree.parent.joinpath(*file.path).read_bytes()
        assert (len(content), len(data)) == (file.length, file.offset)
        data += content
    assert meta.length == len(data)
    cut = range(0, len(data), 16 * KIB)
    assert meta.piece_hashes == b"".join(sha1(data[at : at + 16 * KIB]).digest() for at in cut)
    assert meta.trackers == (("http://t.example/announce",), ("udp://t.example:1/announce",))
    assert (meta.private, meta.source, meta.comment) == (True, "here", "of ours")
    assert seen[-1] == (len(data), len(data))
    assert seen == sorted(seen)
    again = swarm.Metainfo.load(meta.to_bytes())
    assert again.infohash == meta.infohash
    assert again.files == meta.files
    assert (await swarm.verify(meta, tree.parent)).ok


async def test_a_single_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100_000)
    meta = await swarm.Metainfo.create(path)
    assert meta.single_file
    assert [file.path for file in meta.files] == [("file",)]
    assert meta.piece_length == 16 * KIB
    assert len(meta.piece_hashes) == 7 * 20


async def test_the_order_does_not_depend_on_the_file_system(tree, tmp_path):
    other = tmp_path / "other" / "tree"
    for path in sorted(tree.rglob("*"), reverse=True):
        if path.is_file():
            copy = other / path.relative_to(tree)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    one, two = await swarm.Metainfo.create(tree), await swarm.Metainfo.create(other)
    assert one.infohash == two.infohash


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_the_same_infohash_as_libtorrent(tree, require):
    try:
        import libtorrent
    except ImportError:
        require("libtorrent is not installed")
    meta = await swarm.Metainfo.create(tree, piece_length=32 * KIB)
    storage = libtorrent.file_storage()
    for file in meta.files:
        storage.add_file("/".join(file.path), file.length)
    made = libtorrent.create_torrent(storage, 32 * KIB, libtorrent.create_torrent.v1_only)
    libtorrent.set_piece_hashes(made, str(tree.parent))
    theirs = libtorrent.torrent_info(libtorrent.bdecode(libtorrent.bencode(made.generate())))
    assert theirs.info_hashes().v1.to_bytes() == meta.infohash.v1


@pytest.mark.parametrize(
    ("length", "piece_length"),
    [
        (1, 16 * KIB),
        (2 * MIB, 16 * KIB),
        (2 * MIB + 1, 32 * KIB),
        (10 * MIB, 128 * KIB),
        (64 * MIB, 512 * KIB),
        (64 * MIB + 1, MIB),
        (2048 * MIB, MIB),
        (2048 * MIB + 1, 2 * MIB),
        (16 << 30, 8 * MIB),
        (10 << 40, 16 * MIB),
        (1 << 45, 16 * MIB),
        ((1 << 45) + 1, 32 * MIB),
    ],
)
def test_automatic_piece_length(length, piece_length):
    assert auto_piece_length(length) == piece_length


@given(st.integers(1, 1 << 50))
def test_automatic_pieces_are_neither_many_nor_few(length):
    size = auto_piece_length(length)
    assert size & (size - 1) == 0
    count = -(-length // size)
    assert count <= 2**21
    if length >= 2 * MIB:
        assert count >= 64
    if length <= 32 << 30:
        assert count <= 2048


def test_files_of_a_hybrid_are_not_mostly_padding():
    films = [700 * MIB + 1] * 20
    assert aligned_piece_length(films, 8 * MIB) == 8 * MIB
    songs = [5 * MIB + 1] * 1000
    assert aligned_piece_length(songs, 4 * MIB) == 2 * MIB
    notes = [2 * KIB] * 100_000
    assert aligned_piece_length(notes, MIB) == 16 * KIB
    # Shorter pieces do not help against so many small files, and would be many for the large one.
    assert aligned_piece_length([*notes, 500 << 30], 16 * MIB) == 8 * MIB


@pytest.mark.parametrize("version", ["v1", "v2", "hybrid"])
@pytest.mark.parametrize("name", ["folder", "folder/empty"])
async def test_what_has_no_bytes_is_nothing_to_share(tmp_path, version, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "empty").touch()
    with pytest.raises(swarm.SourceError, match="there is nothing in it to share"):
        await swarm.Metainfo.create(tmp_path / name, version=version)


@pytest.mark.parametrize("version", ["v1", "v2", "hybrid"])
async def test_every_version_makes_the_round_trip(tree, version):
    (tree / "one").chmod(0o755)
    (tree / "link").symlink_to("a/z")
    meta = await swarm.Metainfo.create(tree, version=version, symlinks="keep")
    assert meta.version == version
    found = {file.path[1:]: file for file in meta.files if not file.pad}
    assert found["one",].attr == "x"
    assert found["link",].symlink == ("tree", "a", "z")
    again = swarm.Metainfo.load(meta.to_bytes())
    assert again.infohash == meta.infohash
    assert again.files == meta.files
    report = await swarm.verify(again, tree.parent)
    assert report.ok
    assert sum(file.good_bytes for file in report.files) == again.size
    (tree / "a.b").write_bytes(bytes(16_384))
    report = await swarm.verify(again, tree.parent)
    bad = {file.path: file.bad for file in report.files if file.bad}
    assert "tree/a.b" in bad
    if version != "v1":  # where no piece has bytes of two files
        assert bad == {"tree/a.b": ((0, 16_384),)}


@pytest.mark.parametrize("length", [1, 8 * KIB, 16 * KIB + 1, 48 * KIB, 1 << 30, -16 * KIB])
async def test_piece_lengths_that_are_refused(tree, length):
    with pytest.raises(swarm.ConfigError):
        await swarm.Metainfo.create(tree, piece_length=length)


async def test_a_piece_length_of_zero_is_no_choice(tree):
    with pytest.raises(swarm.ConfigError):
        await swarm.Metainfo.create(tree, piece_length=0)


async def test_what_cannot_be_shared_is_named(tmp_path):
    for guilty in (tmp_path / "missing", tmp_path):
        with pytest.raises(swarm.SourceError) as caught:
            await swarm.Metainfo.create(guilty)
        assert caught.value.source == str(guilty)
        assert str(guilty) in str(caught.value)
        assert isinstance(caught.value, OSError)


async def test_links_and_patterns(tree):
    (tree / "link").symlink_to("one")
    with pytest.raises(swarm.SourceError, match="symbolic link"):
        await swarm.Metainfo.create(tree)
    meta = await swarm.Metainfo.create(tree, symlinks="follow", exclude=["level0", "a.*"])
    assert ["/".join(file.path[1:]) for file in meta.files] == [
        "a/z", "empty", "grün ☃ 音", "link", "one"
    ]  # fmt: skip


@pytest.mark.parametrize("what", ["vanishes", "shrinks", "grows", "written", "replaced"])
async def test_a_file_that_changes_meanwhile_is_named(tmp_path, monkeypatch, what):
    """Measured, and then changed before it is read: by whoever is between the two."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "a").write_bytes(bytes(100_000))
    victim = root / "b"
    victim.write_bytes(bytes(100_000))

    class Interrupted(swarm.make.Making):
        def __init__(self, tree, piece_length, version):
            super().__init__(tree, piece_length, version)
            match what:
                case "vanishes":
                    victim.unlink()
                case "shrinks":
                    os.truncate(victim, 10)
                case "grows":
                    os.truncate(victim, 100_001)
                case "written":
                    victim.write_bytes(bytes(99_999) + b"x")
                case "replaced":
                    (root / "c").write_bytes(bytes(100_000))
                    (root / "c").replace(victim)

    monkeypatch.setattr(swarm.make, "Making", Interrupted)
    with pytest.raises(swarm.SourceError) as caught:
        await swarm.Metainfo.create(root)
    assert caught.value.source == str(victim)


@pytest.mark.parametrize("what", ["touched", "replaced", "removed"])
async def test_a_file_that_changes_after_it_was_read_is_named(tmp_path, monkeypatch, what):
    """A torrent tells of one moment: the first file changes while half a GiB of others are read."""
    monkeypatch.setattr(swarm.make, "PROGRESS_INTERVAL", 0.001)
    root = tmp_path / "root"
    root.mkdir()
    victim = root / "a"
    victim.write_bytes(b"a" * 1000)
    (root / "b").write_bytes(b"x" * 16 * MIB)
    for at in range(31):
        os.link(root / "b", root / f"b{at}")

    def progress(done: int, total: int) -> None:
        if done and victim.exists() and victim.stat().st_mtime:
            match what:
                case "touched":
                    os.utime(victim, (0, 0))
                case "replaced":
                    (tmp_path / "other").write_bytes(b"a" * 1000)
                    os.utime(tmp_path / "other", (0, 0))
                    (tmp_path / "other").replace(victim)
                case "removed":
                    victim.unlink()

    with pytest.raises(swarm.SourceError, match="changed while it was read") as caught:
        await swarm.Metainfo.create(root, progress=progress)
    assert caught.value.source == str(victim)


async def test_fs03_a_file_that_the_disk_cannot_read_is_named(faulty):
    root = faulty.folder / "root"
    root.mkdir()
    for path in (root / "a", root / "b"):
        path.write_bytes(b"x" * 100_000)
        for synced in (path, root, faulty.folder):
            descriptor = os.open(synced, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
    faulty.off()
    faulty.boot()  # nothing is in the page cache now
    faulty.fault("read", path="root/b", times=None, errno=EIO)
    with pytest.raises(swarm.SourceError, match=os.strerror(EIO)) as caught:
        await swarm.Metainfo.create(root)
    assert caught.value.source == str(root / "b")


@pytest.mark.parametrize("kind", [ZeroDivisionError, BrokenPipeError])
async def test_pr08_an_exception_in_progress_ends_the_making(tmp_path, kind):
    path = tmp_path / "big"  # of 16 GiB: many names of one file
    path.mkdir()
    (path / "0").write_bytes(b"x" * 16 * MIB)
    for at in range(1, 1 << 10):
        os.link(path / "0", path / str(at))

    def progress(done, total):
        raise kind

    with pytest.raises(kind):
        await swarm.Metainfo.create(path, progress=progress)

    making = asyncio.ensure_future(swarm.Metainfo.create(path))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await making


async def test_loading(tmp_path, sample, monkeypatch):
    path = tmp_path / "t.torrent"
    path.write_bytes(sample.meta.to_bytes())
    monkeypatch.setenv("HOME", str(tmp_path))
    for src in (path, str(path), path.read_bytes(), "~/t.torrent"):
        assert swarm.Metainfo.load(src) == sample.meta
    for src in (tmp_path / "none", tmp_path, "nul\0"):
        with pytest.raises(swarm.SourceError):
            swarm.Metainfo.load(src)


def test_download_is_not_for_event_loops(sample):
    async def careless():
        swarm.download(sample.meta.to_bytes())

    with pytest.raises(RuntimeError, match="event loop"):
        asyncio.run(careless())


def test_download_blocks_until_it_is_there(tmp_path, sample, monkeypatch):
    monkeypatch.setenv("SWARM_STATE_DIR", str(tmp_path / "state"))
    sample.write(tmp_path / "data")
    there = swarm.download(sample.meta.to_bytes(), tmp_path / "data")
    assert there == tmp_path / "data/t"


def test_download_of_some_files(tmp_path, sample, monkeypatch):
    monkeypatch.setenv("SWARM_STATE_DIR", str(tmp_path / "state"))
    aligned = type(sample)({"a": 65_536, "b": 65_536})
    aligned.write(tmp_path / "data")
    (tmp_path / "data/t/b").unlink()
    there = swarm.download(aligned.meta.to_bytes(), tmp_path / "data", select=["a"])
    assert there == tmp_path / "data/t"
    with pytest.raises(swarm.UnknownFile):
        swarm.download(aligned.meta.to_bytes(), tmp_path / "data", select=["z"])
