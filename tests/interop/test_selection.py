"""Parts of a folder to and from libtorrent: what only one of us wants, and what the other gives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

import swarm
from swarm.bench.clients import Libtorrent

KIB = 1024
PIECE = 64 * KIB
SIZES = {"a.txt": 70_001, "b/film.mkv": 900_005, "b/film.srt": 40_000, "c.bin": 300_007}
A, FILM, SUBTITLES, C = range(4)
pytestmark = [
    pytest.mark.interop,
    pytest.mark.timeout(60),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def _libtorrent(require: Callable[[str | None], None]) -> None:
    require(Libtorrent.missing())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "from" / "set"
    for name, size in SIZES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(Random(name).randbytes(size))
    return root


class Theirs:
    """A libtorrent session on loopback with one torrent."""

    def __init__(self, torrent: Path, folder: Path, *, seed: bool) -> None:
        import libtorrent as lt

        self.session = lt.session(
            {
                "listen_interfaces": "127.0.0.1:0",
                "enable_incoming_utp": False,
                "enable_outgoing_utp": False,
                "enable_dht": False,
                "enable_lsd": False,
                "enable_upnp": False,
                "enable_natpmp": False,
                "allow_multiple_connections_per_ip": True,
                "alert_mask": lt.alert.category_t.all_categories,
            }
        )
        params = lt.add_torrent_params()
        params.ti = lt.torrent_info(str(torrent))
        params.save_path = str(folder)
        params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
        if seed:
            params.flags |= lt.torrent_flags.seed_mode
        self.handle = self.session.add_torrent(params)

    @property
    def addr(self) -> swarm.PeerAddr:
        return swarm.PeerAddr("127.0.0.1", self.session.listen_port())

    def want(self, *files: int) -> None:
        count = self.handle.torrent_file().num_files()
        self.handle.prioritize_files([4 * (i in files) for i in range(count)])

    async def until(self, condition: Callable[[Any], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition(self.handle.status()):  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    def close(self) -> None:
        if self.handle.is_valid():
            self.session.remove_torrent(self.handle)
        self.session.pause()


@pytest.fixture
def theirs(torrent: Path) -> Iterator[Callable[..., Theirs]]:
    opened: list[Theirs] = []

    def open_(folder: Path, *, seed: bool = False) -> Theirs:
        opened.append(Theirs(torrent, folder, seed=seed))
        return opened[-1]

    yield open_
    for one in opened:
        one.close()


@pytest.fixture(params=["v1", "hybrid"])
def torrent(request: pytest.FixtureRequest, source: Path, tmp_path: Path) -> Path:
    made = asyncio.run(swarm.Metainfo.create(source, piece_length=PIECE, version=request.param))
    path = tmp_path / "set.torrent"
    path.write_bytes(made.to_bytes())
    return path


def index(torrent: Path, number: int) -> int:
    """The number of a file, pad files counted."""
    name = list(SIZES)[number]
    files = swarm.Metainfo.load(torrent).files
    return next(file.index for file in files if "/".join(file.path[1:]) == name)


def same(source: Path, folder: Path, *numbers: int) -> bool:
    names = [list(SIZES)[number] for number in numbers]
    return all((folder / "set" / n).read_bytes() == (source / n).read_bytes() for n in names)


async def test_a_part_of_what_libtorrent_seeds(
    source: Path, torrent: Path, theirs: Callable[..., Theirs], tmp_path: Path
) -> None:
    seed = theirs(source.parent, seed=True)
    dest = tmp_path / "to"
    async with swarm.Session(listen="127.0.0.1:0", state_dir=tmp_path / "state") as session:
        async with asyncio.timeout(30):
            ours = await session.add(
                torrent, dest=dest, peers=[seed.addr], select=["*.mkv"], sequential=True
            )
            await ours.wait_done()
            assert same(source, dest, FILM)
            assert ours.stats.length == SIZES["b/film.mkv"]
            assert ours.stats.total_done < ours.stats.total_length == sum(SIZES.values())
            await ours.set_priorities({"b/": swarm.Priority.HIGH, "a.txt": swarm.Priority.LOW})
            await ours.wait_done()
        assert same(source, dest, FILM, SUBTITLES, A)
        assert ours.stats.downloaded < sum(SIZES.values())


async def test_libtorrent_takes_what_a_partial_seed_has(
    source: Path, torrent: Path, theirs: Callable[..., Theirs], tmp_path: Path
) -> None:
    """It stays with us while we have what it wants; that we only upload is no reason to leave."""
    seed = theirs(source.parent, seed=True)
    dest = tmp_path / "to"
    async with swarm.Session(listen="127.0.0.1:0", state_dir=tmp_path / "state") as session:
        async with asyncio.timeout(30):
            ours = await session.add(torrent, dest=dest, peers=[seed.addr], select=["b/"])
            await ours.wait_done()
        seed.close()
        leecher = theirs(tmp_path / "theirs")
        leecher.want(index(torrent, FILM), index(torrent, SUBTITLES))
        leecher.handle.connect_peer(("127.0.0.1", session.port))
        await leecher.until(lambda status: status.is_finished and status.total_wanted > 0)
        assert not leecher.handle.status().is_seeding
    leecher.handle.flush_cache()
    assert ours.stats.uploaded >= SIZES["b/film.mkv"]


async def test_two_partial_ones_make_a_whole(
    source: Path, torrent: Path, theirs: Callable[..., Theirs], tmp_path: Path
) -> None:
    """libtorrent has one half of us and we the other, then both want everything."""
    seed = theirs(source.parent, seed=True)
    dest = tmp_path / "to"
    peer = theirs(tmp_path / "theirs")
    peer.want(index(torrent, A), index(torrent, C))
    peer.handle.connect_peer(tuple(seed.addr))
    await peer.until(lambda status: status.is_finished and status.total_wanted > 0)
    async with swarm.Session(listen="127.0.0.1:0", state_dir=tmp_path / "state") as session:
        async with asyncio.timeout(30):
            ours = await session.add(torrent, dest=dest, peers=[seed.addr], select=["b/"])
            await ours.wait_done()
            seed.close()
            peer.want(*range(len(swarm.Metainfo.load(torrent).files)))
            await ours.select("*")
            ours.add_peer(peer.addr)
            await ours.wait_done()
        assert same(source, dest, A, FILM, SUBTITLES, C)
        await peer.until(lambda status: bool(status.is_seeding))
