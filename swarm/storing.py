"""How one torrent uses the disk: pieces in, blocks out, and claims of what is durable."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection
from errno import ECANCELED, EWOULDBLOCK
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._bits import Bits
from .checking import look
from .claims import Claims, state_path
from .errors import StorageError
from .finishing import Finishing
from .moving import Moving
from .net.peer import Frames
from .report import Report, report
from .store import space
from .store.names import Where
from .store.places import Places, Survey
from .store.storage import Storage, Verdict
from .turns import through

if TYPE_CHECKING:
    from .runner import Runner


class Storing:
    """The files of one torrent, and what is claimed of them."""

    def __init__(self, runner: Runner, dest: Path) -> None:
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
        self.places = Places(runner.meta.files, dest, self._aside)
        self.claims = Claims(runner.session.state_dir, runner.meta, self.places, runner.selection)
        self.moving = Moving(self, runner)
        self.still = asyncio.Lock()
        """Held while files change their places, and while it is claimed how they are."""
        self._finishing = Finishing(runner.meta)
        self._storage: Storage | None = None
        self._claimed = -1  # pieces in the resume file
        self._commits = 0  # under way
        self._settled: asyncio.Future[None] | None = None

    def _aside(self, where: Where) -> Path:
        """The file for what is kept aside lies beside the resume file."""
        path = state_path(self._session.state_dir, self._meta.infohash.wire, where.dest)
        return path.with_suffix(".aside")

    def opened(self) -> Storage:
        """The files, open. Raises `StorageError` (ECANCELED) if they are not."""
        if self._storage is None:
            text = f"{self._meta.name} was closed"
            raise StorageError(text, errno=ECANCELED, path=str(self.places.dest))
        return self._storage

    # ------------------------------------------------------------ opening and closing

    async def open(self, verify: bool | None) -> None:
        """Locks the files and finds out which pieces are here. Raises `StorageError`.

        Claimed pieces are trusted and doubtful ones hashed; all or none are if `verify` says so.
        """
        self.known = False
        self._claimed = -1
        await self._acquire()
        found = await self._open_storage()
        self.have.zero()
        durable = Bits(self._meta.piece_count)
        unclean = await asyncio.to_thread(self.claims.is_unclean)
        if verify is True:
            await self._remember(self.claims.reset)
        await self._remember(self.claims.remember)
        assert self._storage is not None
        if verify is False:
            self.have.fill()
        elif verify is True:
            await self._check(self._storage, None, fresh=unclean)
            there = await asyncio.to_thread(look, self._meta, self.places)
            self.found = await asyncio.to_thread(report, self._meta, bytes(self.have), there)
        else:
            durable = await self._load(self._storage, found)
        self._finishing.begin(self.have)
        await self._finish(self._storage)
        self.known = True
        await self.want()
        if not self.have.full:
            # Before anything is written: from here on the last stop was not a clean one.
            now = await asyncio.to_thread(self._storage.survey)
            await self._save(durable, now, clean=False)

    async def _acquire(self) -> None:
        """Raises `StorageError` if another process has the files; without a lock file it goes on."""
        try:
            await through(asyncio.to_thread(self.claims.acquire))
        except StorageError as error:
            if error.errno == EWOULDBLOCK:
                raise
            self._runner.not_saved(error)

    async def _load(self, storage: Storage, found: Survey) -> Bits:
        """Believes what can be believed, which it returns, and hashes what cannot.

        After an unclean end the device has the last word: a write-back that failed leaves pages in
        the cache that look well, and that no later sync will ever write.
        """
        claimed = await asyncio.to_thread(self.claims.load, found)
        if claimed.reason is not None:
            self._runner.doubted(claimed.reason)
        self._adopt(claimed.trusted)
        if any(claimed.doubtful):
            await self._check(storage, claimed.doubtful, fresh=claimed.is_unclean)
        elif claimed.reason is None:
            self._claimed = self.have.count
        return Bits(self._meta.piece_count, claimed.trusted)

    async def _open_storage(self) -> Survey:
        """Opens the files where they are; what is kept aside of wanted ones is put there first."""
        self.places.unwanted = self._unwanted()
        found = await asyncio.to_thread(self.places.survey)
        self._storage = self._session.disk.open(
            self._meta,
            self.places,
            writable=True,
            make_parts=self._session.settings.part_names,
            found=found,
        )
        if await asyncio.to_thread(self.places.is_any_aside):
            await self._storage.unwant(self.places.unwanted)
            found = await asyncio.to_thread(self.places.survey)
        return found

    def _unwanted(self) -> frozenset[int]:
        priorities = enumerate(self._runner.selection.priorities)
        return frozenset(file for file, priority in priorities if not priority)

    async def want(self) -> None:
        """Follows the selection: files that are not wanted are not made. Raises `StorageError`."""
        unwanted, storage = self._unwanted(), self._storage
        if storage is not None and self.known and unwanted != self.places.unwanted:
            await storage.unwant(unwanted)
            await self._finish(storage)
            await storage.sync()  # which makes empty files

    async def _finish(self, storage: Storage) -> None:
        """Gives the files that are complete their final names, if they did not come to it."""
        parts = (await asyncio.to_thread(storage.survey)).parts
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
        await asyncio.to_thread(space.require, self._meta.files, self.places, missing)
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
            self.claims.release()

    async def forget(self) -> None:
        """Claims nothing any more, and keeps nothing aside."""
        await asyncio.to_thread(self.claims.forget)
        await asyncio.to_thread(self.places.forget)

    async def delete(self, shared: Collection[Path]) -> None:
        """Takes the files away, but none that is `shared`. Raises `StorageError`.

        Of a file that lies under both of its names, the one that was begun here is ours.
        """
        try:
            await through(asyncio.to_thread(self.claims.acquire))
            begun = await asyncio.to_thread(self.claims.begun)
            await self._open_storage()
            storage, places = self.opened(), self.places
            ours = [
                (file.index, file.index in begun and places.contested(file.index))
                for file in self._meta.files
                if not file.pad and places.path(file.index) not in shared
            ]
            await storage.release()
            await storage.remove(ours)
        finally:
            await self.close()

    # ------------------------------------------------------------ claims

    async def recall(self) -> None:
        """Selects what the last run had selected."""
        await asyncio.to_thread(self.claims.recall)

    async def remember(self) -> None:
        """Makes a changed selection durable. Raises `StorageError`."""
        await through(asyncio.to_thread(self.claims.remember))

    async def claim(self, *, clean: bool) -> bool:
        """Data first, then the claim. `clean`: nothing is written after this.

        Raises `StorageError` where the data could not be made durable. Where only the claim cannot be
        saved, the torrent runs on and that is told; it is tried again. Whether it was saved.
        """
        async with self.still:
            return await self.claim_now(clean=clean)

    async def claim_now(self, *, clean: bool) -> bool:
        """The same, by who has all files where they are."""
        storage = self._storage
        if storage is None:
            return False
        pieces = Bits(self._meta.piece_count, bytes(self.have))
        # First: the sync looks whether the files are still those.
        now = await asyncio.to_thread(storage.survey)
        await storage.sync()
        return await self._save(pieces, now, clean=clean)

    async def _save(self, pieces: Bits, now: Survey, *, clean: bool) -> bool:
        """Claims pieces that are durable. Whether it was saved."""
        downloaded, uploaded, _ = self._runner.totals
        save = partial(
            self.claims.save,
            bytes(pieces),
            now,
            clean=clean,
            uploaded=uploaded,
            downloaded=downloaded,
        )
        saved = await self._remember(save)
        if saved:
            self._claimed = pieces.count
        return saved

    async def _remember(self, change: Callable[[], None]) -> bool:
        """Changes the resume file. Whether that could be done."""
        try:
            await through(asyncio.to_thread(change))
        except StorageError as error:
            self._runner.not_saved(error)
            return False
        return True

    async def claim_regularly(self) -> None:
        """Claims what was found at the start, then what came since, until nothing is missing."""
        try:
            while True:
                if self.have.count != self._claimed:
                    await self.claim(clean=False)
                if self._claimed == self._meta.piece_count:
                    return
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._session.settings.resume_interval):
                        await self._runner.changed.wait()
        except StorageError as error:
            self._runner.fail(error)

    # ------------------------------------------------------------ data

    def align(self, slot: Any, piece: int, offset: int) -> None:
        """What a slot is going to hold."""
        if self._storage is not None:
            self._storage.align(slot, piece, offset)

    def commit(
        self, piece: int, offset: int, slot: Any, length: int, *, last: bool, patient: bool
    ) -> None:
        """Hash and write a part of a piece; the runner is told the verdict."""
        assert self._storage is not None
        digest = self._meta.piece_hash(piece) if last else None
        done = partial(self._on_commit, piece)
        self._storage.commit(piece, offset, slot, length, digest, done, patient=patient)
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
