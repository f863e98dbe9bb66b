"""The handle of one torrent in a session: what users hold."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from .engine.selection import Priority
from .errors import TorrentFailed, TorrentRemoved
from .matching import What, by_index, matching, only
from .peering import address_of
from .proto.metainfo import InfoHash
from .proto.metainfo_files import File
from .report import Report
from .settings import check_limit

if TYPE_CHECKING:
    from .engine.announce import TrackerStatus
    from .metainfo import Metainfo
    from .runner import Runner


@dataclass(frozen=True, slots=True)
class Stats:
    """One look at a torrent. Sizes in bytes, rates in bytes per second, times in seconds."""

    state: str
    """"checking", "downloading", "seeding", "paused" or "failed"."""
    progress: float
    """0 to 1: of the wanted files, or of the check while that runs."""
    length: int
    """Of the wanted files."""
    done: int
    """Verified bytes of them."""
    total_length: int
    """Of the whole torrent, wanted or not."""
    total_done: int
    down_rate: float
    up_rate: float
    downloaded: int
    """Payload received in this session, wasted bytes left out."""
    uploaded: int
    wasted: int
    """Bytes that came twice or unasked."""
    peers: int
    seeds: int
    moving: float | None
    """0 to 1, while it moves to another place."""
    eta: float | None
    download_limit: int | None
    """Bytes/s that hold now: the torrent's limit or the session's, whichever is lower."""
    upload_limit: int | None
    ratio: float
    """Uploaded over downloaded; over the torrent's length where nothing was downloaded."""


class Torrent:
    """A torrent in a session. It stays valid, and tells the last known state, after it is removed."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def __repr__(self) -> str:
        return f"<Torrent {self.name!r} {self._runner.state}>"

    @property
    def meta(self) -> Metainfo:
        from .metainfo import Metainfo

        meta = self._runner.meta
        assert isinstance(meta, Metainfo)
        return meta

    @property
    def name(self) -> str:
        return self._runner.meta.name

    @property
    def infohash(self) -> InfoHash:
        return self._runner.meta.infohash

    @property
    def magnet(self) -> str:
        return self._runner.meta.magnet

    @property
    def files(self) -> Sequence[File]:
        return self._runner.meta.files

    @property
    def path(self) -> Path:
        """The file, or the folder of a torrent of several."""
        return self._runner.storing.places.where.root(self._runner.meta.files)

    @property
    def trackers(self) -> Sequence[TrackerStatus]:
        """Every tracker with its last answer."""
        engine = self._runner.engine
        return engine.announcer.trackers if engine is not None else ()

    @property
    def peers(self) -> Sequence[tuple[str, int]]:
        """Addresses of the connected peers."""
        engine = self._runner.engine
        return [peer.addr for peer in engine.peers.values()] if engine is not None else []

    @property
    def stats(self) -> Stats:
        """How it stands now. Never waits."""
        runner = self._runner
        engine = runner.engine
        peers = list(engine.peers.values()) if engine is not None else []
        downloaded, uploaded, wasted = runner.totals
        length, done = runner.selection.length, runner.selection.done(runner.have)
        down_rate = sum(peer.down.value for peer in peers)
        checking = runner.state == "checking"
        return Stats(
            state=runner.state,
            progress=runner.storing.checked if checking else done / length if length else 1.0,
            length=length,
            done=done,
            total_length=runner.selecting.everything.length,
            total_done=runner.selecting.everything.done(runner.have),
            down_rate=down_rate,
            up_rate=sum(peer.up.value for peer in peers),
            downloaded=downloaded,
            uploaded=uploaded,
            wasted=wasted,
            peers=len(peers),
            seeds=sum(peer.wire.bits.full for peer in peers),
            moving=runner.storing.moving.progress,
            eta=(length - done) / down_rate if down_rate and done < length else None,
            download_limit=runner.down.lowest,
            upload_limit=runner.up.lowest,
            ratio=uploaded / (downloaded or runner.selecting.everything.length or 1),
        )

    # ------------------------------------------------------------ waiting: never owns the torrent

    async def wait_done(self) -> None:
        """Returns when all that is wanted is here. Raises `TorrentFailed` or `TorrentRemoved`.

        Giving up the wait does nothing to the torrent.
        """
        while not self._finished():
            await self._runner.changed.wait()

    async def wait_ratio(self, ratio: float) -> None:
        """Returns when `stats.ratio` has reached `ratio`. Raises like `wait_done`."""
        await self.wait_done()
        while self.stats.ratio < ratio:
            await self._wait_change(1.0)
            self._finished()

    def watch(self, interval: float = 1.0) -> Watch:
        """Snapshots every `interval` seconds, the newest only, until the torrent is done."""
        return Watch(self, interval)

    def _finished(self) -> bool:
        runner = self._runner
        if runner.removed:
            raise TorrentRemoved(f"{self.name}: removed, or its session was closed")
        if runner.error is not None:
            raise TorrentFailed(self, str(runner.error)) from runner.error
        return runner.selecting.finished and runner.state != "checking"

    async def _wait_change(self, timeout: float) -> None:
        waiter = asyncio.ensure_future(self._runner.changed.wait())
        try:
            await asyncio.wait([waiter], timeout=timeout)
        finally:
            waiter.cancel()

    # ------------------------------------------------------------ which files

    @property
    def priorities(self) -> tuple[Priority, ...]:
        """Of each of `files`; SKIP for those that are not wanted, and for pad files."""
        return self._runner.selection.priorities

    @property
    def sequential(self) -> bool:
        """Whether pieces come in order, instead of the rarest first."""
        return self._runner.selection.sequential

    def file_progress(self) -> tuple[int, ...]:
        """Verified bytes of each of `files`, whether it is wanted or not."""
        selection, have = self._runner.selection, self._runner.have
        return tuple(selection.done_of(index, have) for index in range(len(self.files)))

    async def select(self, *what: What) -> None:
        """Wants these files only: each an index, a glob or path, or a function of a `File`.

        Holds at once; returns when it is remembered for the next run. What is skipped is given up in
        mid-piece, and a file that was wanted before keeps its priority. Raises `UnknownFile`,
        `TorrentRemoved`, and `StorageError` where it cannot be remembered.
        """
        await self._runner.selecting.change(only(self.files, self.priorities, what))

    async def set_priorities(self, priorities: Mapping[What, Priority]) -> None:
        """Makes some files more or less urgent, or skips them; the others stay as they are.

        Of two keys that mean one file the later one holds. Otherwise like `select`; raises
        `ConfigError` for what is no `Priority`, too.
        """
        await self._runner.selecting.change(by_index(self.files, priorities))

    async def set_sequential(self, sequential: bool = True) -> None:
        """Fetches pieces in order, the most urgent files first, or again the rarest first.

        In order, the first and last piece of each file come before the others, for players. It is
        worse for the swarm, and mostly slower. Otherwise like `select`.
        """
        await self._runner.selecting.change({}, sequential=sequential)

    # ------------------------------------------------------------ how fast

    @property
    def download_limit(self) -> int | None:
        """Payload in bytes/s that this torrent may download, below the session's limit; None is no limit.

        It may be set at any time. Raises `ConfigError` for what is no limit.
        """
        return self._runner.down.rate

    @download_limit.setter
    def download_limit(self, rate: int | None) -> None:
        check_limit(rate)
        self._runner.down.set(rate)
        self._runner.limits_changed()

    @property
    def upload_limit(self) -> int | None:
        """The same of what it uploads."""
        return self._runner.up.rate

    @upload_limit.setter
    def upload_limit(self, rate: int | None) -> None:
        check_limit(rate)
        self._runner.up.set(rate)
        self._runner.limits_changed()

    # ------------------------------------------------------------ where it lies

    def file_path(self, index: int) -> Path:
        """Where one of `files` is when it is complete; until then it may be called NAME.part."""
        return self._runner.storing.places.path(range(len(self.files))[index])

    async def move(self, dest: str | os.PathLike[str]) -> None:
        """Moves all of it into another folder, on this or on another file system.

        It goes on trading meanwhile (`stats.moving`), and giving up the wait does not call it off. When
        the process dies, or the torrent is paused, the next start goes on with it, whichever of the
        two folders it is added with. Raises `StorageError`: EEXIST rather than replace a file, `DiskFull`;
        then everything is where it was. Raises `TorrentRemoved`.
        """
        where = self._runner.storing.places.where
        to = str(Path(dest).expanduser().absolute())
        await self._runner.move(where.into(to))

    async def rename(self, name: str) -> None:
        """Gives its folder, or its only file, another name. Like `move`; raises `UnsafePath`, too."""
        where = self._runner.storing.places.where
        await self._runner.move(where.called(name))

    async def rename_file(self, index: int, path: str) -> None:
        """Gives one of `files` another path, "/" between folders, below the torrent's own folder.

        Like `move`. Raises `UnsafePath` for what could not be a path in a torrent, `StorageError`
        (EEXIST) for that of another file, and `UnknownFile`.
        """
        if self._runner.meta.single_file:
            await self.rename(path)
            return
        where = self._runner.storing.places.where
        [file] = matching(self.files, index)
        await self._runner.move(where.with_file(file, tuple(path.split("/"))))

    # ------------------------------------------------------------ doing

    def add_peer(self, addr: tuple[str, int]) -> None:
        """Try this IP address and port, too. Raises `ConfigError` if nobody can be there."""
        self._runner.add_peer(address_of(addr))

    async def pause(self) -> None:
        """Close every connection, make what is here durable, and stop.

        Giving up the wait does not call it off.
        """
        await self._runner.stop()

    async def resume(self) -> None:
        """Go on after `pause`, or try again after a failure. Raises `TorrentRemoved`."""
        self._runner.start()

    async def verify(self) -> Report:
        """Hash everything that is on the disk again and tell what was found.

        Goes on from there, unless it was paused. Raises `TorrentFailed`, `TorrentRemoved`, and
        `SwarmError` when it is paused before everything was checked.
        """
        return await self._runner.recheck()

    async def remove(self, *, delete_data: bool = False) -> None:
        """Take it out of the session. With `delete_data`, its files and emptied folders go, too: not
        those that another torrent of the session has, and nothing behind a symlink.

        Giving up the wait does not call it off. Raises `StorageError` for a file that could not be
        deleted, when all others are.
        """
        await asyncio.shield(self._runner.remove(delete_data=delete_data))


class Watch:
    """An async iterator of `Stats`. The last one has `progress` 1.0; a failure is raised."""

    def __init__(self, torrent: Torrent, interval: float) -> None:
        self._torrent = torrent
        self._interval = interval
        self._started = False
        self._ended = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._ended = True

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Stats:
        if self._ended:
            raise StopAsyncIteration
        if self._started and not self._torrent._finished():
            await self._torrent._wait_change(self._interval)
        self._started = True
        self._ended = self._torrent._finished()
        return self._torrent.stats
