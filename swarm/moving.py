"""How one torrent moves: to another folder or file system, or to other names."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import DiskFull, StorageError
from .store.names import Where
from .store.places import Places, final, part
from .turns import Turns, through

if TYPE_CHECKING:
    from .runner import Runner
    from .storing import Storing


class Moving:
    """One move at a time, written down before anything is changed, so that the next start ends it."""

    def __init__(self, storing: Storing, runner: Runner) -> None:
        self.progress: float | None = None
        """How much of what must be copied is, 0 to 1, while a move is under way."""
        self._storing = storing
        self._runner = runner
        self._one = asyncio.Lock()

    @property
    def under_way(self) -> bool:
        """Whether the last run, or a pause, has left a move that is to be ended."""
        places = self._storing.places
        return places.before is not None or places.going is not None

    def begin(self, to: Where, turns: Turns) -> asyncio.Future[None]:
        """Moves all files, whether they are in use or not; then they are opened for this alone."""
        moving: asyncio.Future[None]
        if self._storing.known:
            moving = asyncio.get_running_loop().create_task(self._move_open(to))
        else:
            moving = asyncio.get_running_loop().create_future()
            turns.take(partial(self._move_closed, to, moving))
        moving.add_done_callback(lambda done: done.cancelled() or done.exception())
        return moving

    async def go_on(self) -> None:
        """Ends what an earlier run has begun."""
        places = self._storing.places
        try:
            await self._move_open(places.going or places.where)
        except StorageError as error:
            if error.errno != errno.ECANCELED:
                self._runner.not_moved(error)

    async def _move_closed(self, to: Where, moving: asyncio.Future[None]) -> None:
        try:
            await self._storing.open(None)
            await self._move_open(to)
            await self._storing.claim(clean=True)
        except StorageError as error:
            if not moving.done():
                moving.set_exception(error)
        finally:
            await self._storing.close()
            if not moving.done():
                moving.set_result(None)

    async def _move_open(self, to: Where) -> None:
        try:
            await self.move(to)
        except StorageError as error:
            if self._storing.places.before is not None and error.errno != errno.ECANCELED:
                self._runner.fail(error)  # some files are here, some are there: to be opened again
            raise
        self._runner.moved()

    async def move(self, to: Where) -> None:
        """Moves all files, while they are used. Raises `StorageError`.

        Until every file is ready to move, a failure leaves all where it was. One after that leaves
        some there and some here, and the torrent has to be opened again. Where it is closed meanwhile
        (ECANCELED), the move goes on when it is opened again.
        """
        async with self._one:
            self.progress = 0.0
            try:
                await self._move(to)
            finally:
                self.progress = None

    async def _move(self, to: Where) -> None:
        storing, places = self._storing, self._storing.places
        storage = storing.opened()
        if places.before is None:
            if to == places.where and places.going is None:
                return
            await through(asyncio.to_thread(check, places, to))
            await self._make_ready(to)
        else:
            await storage.prepare(places.where, self._on_progress)
        async with storing.still:
            before = places.begin_move(to)
            await storage.switch()
            await storage.sync()
            await storage.release()
            places.before = None
            storing.claims.moved(before)
            await storing.claim_now(clean=False)

    async def _make_ready(self, to: Where) -> None:
        storing, places = self._storing, self._storing.places
        places.going = to
        try:
            await through(asyncio.to_thread(storing.claims.acquire))
            if not await storing.claim(clean=False):
                raise StorageError("the move cannot be written down", errno=errno.EIO)
            await storing.opened().prepare(to, self._on_progress)
        except StorageError as error:
            if error.errno != errno.ECANCELED:
                places.going = None
                await storing.claim(clean=False)
                if to.dest != places.where.dest:
                    await through(asyncio.to_thread(storing.claims.drop, to.dest))
            raise

    def _on_progress(self, done: int, total: int) -> None:
        self.progress = done / total if total else 1.0


def check(places: Places, to: Where) -> None:
    """Looks whether a move can be: that nothing lies there, and that there is space.

    Raises `StorageError` (EEXIST, or `DiskFull`) before anything is touched.
    """
    to.check(places.files)
    homes = places.changes(to)
    for file, home in homes.items():
        for path in (final(home), part(home)):
            if path is not None and file < len(places.files) and os.path.lexists(path):
                raise StorageError.of(errno.EEXIST, str(path), 0, "move")
    device, free = _free(Path(to.dest))
    needed = 0
    for file in homes:
        try:
            now = os.lstat(places.now(file) if file < len(places.files) else places.path(file))
        except OSError:
            continue
        needed += getattr(now, "st_blocks", 0) * 512 if now.st_dev != device else 0
    if needed > free:
        text = f"no space to move: {needed} bytes are needed in {to.dest}, and {free} are free"
        raise DiskFull(text, errno=errno.ENOSPC, path=to.dest, offset=0, operation="move")


def _free(folder: Path) -> tuple[int, int]:
    """The device that a folder is on, or will be, and the bytes that are free there."""
    for path in (folder, *folder.parents):
        try:
            return os.stat(path).st_dev, shutil.disk_usage(path).free
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StorageError.of(error.errno or 0, str(path), 0, "move") from error
    raise StorageError.of(errno.ENOENT, str(folder), 0, "move")
