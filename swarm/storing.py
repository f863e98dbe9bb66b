"""How one torrent uses the disk: pieces in, blocks out, and claims of what is durable."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from errno import ECANCELED, EWOULDBLOCK
from functools import partial
from typing import TYPE_CHECKING, Any

from ._bits import Bits
from .checking import look
from .claims import Claims
from .errors import StorageError
from .finishing import Finishing
from .net.peer import Frames
from .report import Report, report
from .store import space
from .store.disk import Storage, Verdict
from .store.places import Places
from .turns import through

if TYPE_CHECKING:
    from .runner import Runner


class Storing:
    """The files of one torrent, and what is claimed of them."""

    def __init__(self, runner: Runner) -> None:
        self.have = Bits(runner.meta.piece_count)
        self.known = False
        """Whether `have` tells what is on the disk."""
        self.checked = 0.0
        """How much of a check is done, 0 to 1."""
        self.found: Report | None = None
        """What the last full check found."""
        self._runner = runner
        self._session = runner.session
        self._meta = runner.meta
        self._places = Places(runner.meta.files, runner.dest)
        self._claims = Claims(runner.session.state_dir, runner.meta, self._places, runner.selection)
        self._finishing = Finishing(runner.meta)
        self._storage: Storage | None = None
        self._claimed = -1  # pieces in the resume file
        self._commits = 0  # under way
        self._settled: asyncio.Future[None] | None = None

    # ------------------------------------------------------------ opening and closing

    async def open(self, verify: bool | None) -> None:
        """Locks the files and finds out which pieces are here. Raises `StorageError`.

        Claimed pieces are trusted and doubtful ones hashed; all or none are if `verify` says so.
        """
        self.known = False
        self._claimed = -1
        await self._acquire()
        self._storage = self._session.disk.open(
            self._meta,
            self._places,
            writable=True,
            make_parts=self._session.settings.part_names,
        )
        self.have.zero()
        if verify is True:
            await through(asyncio.to_thread(self._claims.forget))
        await self.remember()
        if verify is False:
            self.have.fill()
        elif verify is True:
            await self._check(self._storage, None, fresh=True)
            found = await asyncio.to_thread(look, self._meta, self._places)
            self.found = await asyncio.to_thread(report, self._meta, bytes(self.have), found)
        else:
            await self._load(self._storage)
        await self._finish(self._storage)
        self.known = True
        if not self.have.full or self._claimed != self.have.count:
            # Before anything is written: from here on the last stop was not a clean one.
            await self.claim(clean=False)

    async def _acquire(self) -> None:
        """Raises `StorageError` if another process has the files; without a lock file it goes on."""
        try:
            await through(asyncio.to_thread(self._claims.acquire))
        except StorageError as error:
            if error.errno == EWOULDBLOCK:
                raise
            self._runner.not_saved(error)

    async def _load(self, storage: Storage) -> None:
        """Believes what can be believed and hashes what cannot.

        After an unclean end the device has the last word: a write-back that failed leaves pages in
        the cache that look well, and that no later sync will ever write.
        """
        claimed = await asyncio.to_thread(self._claims.load)
        if claimed.reason is not None:
            self._runner.doubted(claimed.reason)
        self._adopt(claimed.trusted)
        if any(claimed.doubtful):
            fresh = claimed.resume is not None and not claimed.resume.clean
            await self._check(storage, claimed.doubtful, fresh=fresh)
        elif claimed.reason is None:
            self._claimed = self.have.count

    async def _finish(self, storage: Storage) -> None:
        """Gives the files that are complete their final names, if the last run did not come to it."""
        self._finishing.begin(self.have)
        parts = (await asyncio.to_thread(self._places.survey)).parts
        if complete := self._finishing.complete(parts):
            await storage.finish(complete)

    async def _check(self, storage: Storage, todo: bytes | None, *, fresh: bool) -> None:
        def progress(done: int, total: int) -> None:
            self.checked = done / total if total else 1.0

        self.checked = 0.0
        self._adopt(await storage.check(todo, progress, fresh=fresh))

    def _adopt(self, good: bytes) -> None:
        found = Bits(self._meta.piece_count, good)
        for piece in range(self._meta.piece_count):
            if found[piece]:
                self.have.set(piece)

    async def make_room(self) -> None:
        """Sees that what is wanted and not here fits on the disk. Raises `StorageError`."""
        storage, selection, missing = self._storage, self._runner.selection, dict[int, int]()
        if storage is None:
            return
        for file, priority in zip(self._meta.files, selection.priorities, strict=True):
            lacking = file.length - selection.done_of(file.index, self.have) if priority else 0
            if lacking:
                missing[file.index] = lacking
        await asyncio.to_thread(space.require, self._meta.files, self._places, missing)
        if storage is self._storage and self._session.settings.allocation == "full":
            await storage.allocate(list(missing))

    async def settle(self) -> None:
        """Waits for the pieces that are being written: after a claim they would make it worthless."""
        if self._commits:
            self._settled = asyncio.get_running_loop().create_future()
            await self._settled

    async def close(self) -> None:
        """Lets go of the files: others may have them."""
        storage, self._storage, self.known = self._storage, None, False
        try:
            if storage is not None:
                await storage.close()
        finally:
            self._claims.release()

    async def forget(self) -> None:
        """Claims nothing any more."""
        await asyncio.to_thread(self._claims.forget)

    # ------------------------------------------------------------ claims

    async def recall(self) -> None:
        """Selects what the last run had selected."""
        await asyncio.to_thread(self._claims.recall)

    async def remember(self) -> None:
        """Makes a changed selection durable. Raises `StorageError`."""
        await through(asyncio.to_thread(self._claims.remember))

    async def claim(self, *, clean: bool) -> None:
        """Data first, then the claim. `clean`: nothing is written after this.

        Raises `StorageError` where the data could not be made durable. Where only the claim cannot be
        saved, the torrent runs on and that is told; it is tried again.
        """
        storage = self._storage
        if storage is None:
            return
        pieces, count = bytes(self.have), self.have.count
        await storage.sync()
        downloaded, uploaded, _ = self._runner.totals

        def save() -> None:
            now = storage.survey()
            self._claims.save(pieces, now, clean=clean, uploaded=uploaded, downloaded=downloaded)

        if await self._remember(save):
            self._claimed = count

    async def _remember(self, change: Callable[[], None]) -> bool:
        """Changes the resume file. Whether that could be done."""
        try:
            await through(asyncio.to_thread(change))
        except StorageError as error:
            self._runner.not_saved(error)
            return False
        return True

    async def claim_regularly(self) -> None:
        """Claims what came since the last time, until nothing is missing."""
        try:
            while self._claimed != self._meta.piece_count:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._session.settings.resume_interval):
                        await self._runner.changed.wait()
                if self.have.count != self._claimed:
                    await self.claim(clean=False)
        except StorageError as error:
            self._runner.fail(error)

    # ------------------------------------------------------------ data

    def align(self, slot: Any, piece: int, offset: int) -> None:
        """What a slot is going to hold."""
        if self._storage is not None:
            self._storage.align(slot, piece, offset)

    def commit(self, piece: int, offset: int, slot: Any, length: int, last: bool) -> None:
        """Hash and write a part of a piece; the runner is told the verdict."""
        assert self._storage is not None
        digest = self._meta.piece_hash(piece) if last else None
        self._storage.commit(piece, offset, slot, length, digest, partial(self._on_commit, piece))
        self._commits += 1

    def _on_commit(self, piece: int, verdict: Verdict | StorageError) -> None:
        """A piece counts once the files that it completes have their final names."""
        complete = self._finishing.verified(piece) if verdict is Verdict.VERIFIED else []
        if complete and self._storage is not None:
            self._storage.finish_then(complete, partial(self._on_finished, piece))
        else:
            self._on_verdict(piece, verdict)

    def _on_finished(self, piece: int, error: StorageError | None) -> None:
        self._on_verdict(piece, error or Verdict.VERIFIED)

    def _on_verdict(self, piece: int, verdict: Verdict | StorageError) -> None:
        self._commits -= 1
        if not self._commits and self._settled is not None and not self._settled.done():
            self._settled.set_result(None)
        if isinstance(verdict, StorageError) and verdict.errno == ECANCELED:
            verdict = Verdict.WRITTEN  # the piece was given up meanwhile: its slot is free
        self._runner.on_commit(piece, verdict)

    def forget_piece(self, piece: int) -> None:
        """Nobody goes on with a piece of which parts are committed."""
        if self._storage is not None:
            self._storage.forget(piece)

    def read(self, requests: bytes, done: Frames) -> None:
        """Reads blocks for a peer. A disk that cannot give what we claim stops the torrent."""

        def finish(frames: Any, size: int) -> None:
            done(frames, size)
            if isinstance(frames, StorageError) and frames.errno != ECANCELED:
                self._runner.fail(frames)

        assert self._storage is not None
        self._storage.read(requests, finish)
