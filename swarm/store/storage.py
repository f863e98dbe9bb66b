"""One torrent on the disk: commits, reads, checks, syncs and changes of its files, each a job of the `Disk`."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Collection, Sequence
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any

from swarm._native import Slot
from swarm.errors import StorageError
from swarm.proto.metainfo import Metainfo
from swarm.proto.metainfo_files import File

from .names import Where
from .places import Places, Survey

if TYPE_CHECKING:
    from .disk import Disk


Completion = tuple[Any, ...]
Handler = Callable[[Completion], None]


class Verdict(Enum):
    """How the commit of a part ended, unless it ended in a `StorageError`."""

    WRITTEN = "written"
    """Written; the piece has more parts."""
    VERIFIED = "verified"
    """That was the last part: the hash is right, and all of the piece is written."""
    FAILED = "failed"
    """That was the last part, and the hash is wrong."""


class Storage:
    """One torrent on the disk; made by `Disk.open`.

    Jobs after `close`, and commits that are out of order, raise `ValueError`.
    """

    def __init__(
        self,
        disk: Disk,
        meta: Metainfo,
        places: Places,
        found: Survey | None,
        writable: bool,
        make_parts: bool,
    ) -> None:
        self.meta = meta
        self.places = places
        self._disk = disk
        self._native = disk._native.open(
            places.dest,
            [(home[1], file.length) for home, file in zip(places.homes, meta.files, strict=True)],
            meta.piece_length,
            writable,
            make_parts=make_parts,
            links=places.links,
            v2=meta.version == "v2",
            mark=meta.infohash.hex[:16],
            **places.native(found),
        )
        if found is not None:
            for left in places.leaves(found):
                self._native.leaves(*left)
        self._reads: dict[int, Callable[[StorageError, int], None]] = {}
        self._busy = 0
        self._idle: asyncio.Future[None] | None = None

    def align(self, slot: Slot, piece: int, offset: int) -> None:
        """Say what `slot` is going to hold, before anything is put into it: the piece from `offset` on.

        So what is to be a page of a file can be one in memory, and be written from there.
        """
        self._native.align(slot, piece, offset)

    def commit(
        self,
        piece: int,
        offset: int,
        slot: Slot,
        length: int,
        digest: bytes | None,
        done: Callable[[Verdict | StorageError], None],
        *,
        patient: bool = False,
    ) -> None:
        """Hash and write the piece's next `length` bytes, which lie at the start of `slot`.

        `digest` comes with the last part. A piece of one part is written only if its hash is right; a
        `patient` one waits some milliseconds for company. After an error it starts again from offset 0.
        """

        def finish(completion: Completion) -> None:
            if completion[1] == "error":
                done(self._error(completion))
            else:
                done(Verdict(completion[1]))

        commit = self._native.commit
        self._expect(finish, lambda n: commit(n, piece, offset, slot, length, digest, patient))

    def forget(self, piece: int) -> None:
        """Drop a half-hashed piece, which starts again from offset 0.

        Parts that are still queued end with an error (ECANCELED).
        """
        self._native.forget(piece)

    def read(self, requests: bytes, done: Callable[[Slot | StorageError, int], None]) -> None:
        """Read blocks into one slot of wire frames, and call `done(slot, bytes)`.

        `requests` are packed little-endian u32 triples (piece, begin, length). What is in the page
        cache is read at once: `done` may be called before this returns.
        """
        slot = self._native.read_cached(requests)
        if slot is not None:
            done(slot, len(slot))
            return

        def finish(completion: Completion) -> None:
            if self._reads.pop(completion[0], None) is None:
                return  # the storage was closed meanwhile, and `done` was told so
            if completion[1] == "error":
                done(self._error(completion), 0)
            else:
                done(completion[2], completion[3])

        job = self._disk._expect(finish, lambda job: self._native.read(job, requests))
        self._reads[job] = done

    async def check(
        self,
        todo: bytes | None = None,
        progress: Callable[[int, int], None] | None = None,
        *,
        fresh: bool = False,
        good: bytearray | None = None,
    ) -> bytes:
        """Hash what is on the disk; a bitfield of the good pieces among `todo` (None: all).

        `progress(checked, total)` counts pieces. What is missing or short is not good; what cannot
        be read raises `StorageError`. Cancelling the caller stops the work. `fresh`: what is read
        comes from the device, because the page cache may hold what the device never took. The next
        sync covers what was found to be good, whoever wrote it. `good` is a bitfield to find them in
        after an error, too.
        """
        count = self.meta.piece_count
        if todo is None:
            todo = bytes([255]) * (count // 8) + bytes(
                [0xFF00 >> count % 8 & 0xFF] * (count % 8 > 0)
            )
        total = int.from_bytes(todo, "big").bit_count()
        good, checked = bytearray(len(todo)) if good is None else good, 0
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def step(completion: Completion) -> None:
            nonlocal checked
            if completion[1] == "checked":
                _, _, first, bits, pieces = completion
                _merge(good, first, bits)
                checked += pieces
                if progress is not None and not ended.done():
                    try:
                        progress(checked, total)
                    except Exception as error:
                        ended.set_exception(error)
            elif not ended.done():
                if completion[1] == "error":
                    ended.set_exception(self._error(completion))
                else:
                    ended.set_result(None)

        digests = self.meta.piece_hashes
        job = self._expect(step, lambda job: self._native.check(job, digests, todo, fresh))
        try:
            await ended
        finally:
            self._native.cancel(job)
        return bytes(good)

    async def sync(self) -> None:
        """Make durable what was committed before.

        Raises `StorageError`, and then each time again: what could not be flushed is uncertain
        until it has been checked through a new storage.
        """
        await self._ended(self._native.sync)

    async def finish(self, files: Sequence[int]) -> None:
        """Give files that are complete their final names.

        Raises `StorageError`: EEXIST rather than replace what has such a name.
        """
        await self._ended(lambda job: self._native.finish(job, files))

    async def allocate(self, files: Sequence[int]) -> None:
        """Reserve the space that files need, so that no write of theirs finds the disk full.

        Raises `StorageError`: `DiskFull`, or EOPNOTSUPP where the file system cannot do that.
        """
        await self._ended(lambda job: self._native.allocate(job, files))

    def finish_then(
        self, files: Sequence[int], done: Callable[[StorageError | None], None]
    ) -> None:
        """The same with a callback."""

        def finish(completion: Completion) -> None:
            done(self._error(completion) if completion[1] == "error" else None)

        self._expect(finish, lambda job: self._native.finish(job, files))

    async def unwant(self, files: Collection[int]) -> None:
        """Say which files are not to be on the disk; all others are.

        One that is there stays. Of the others, what their pieces share with wanted files is kept
        aside, and put where it belongs when they are wanted again. Raises `StorageError`.
        """
        self.places.unwanted = frozenset(files)
        await self._ended(lambda job: self._native.unwant(job, sorted(files)))

    async def prepare(self, to: Where, progress: Callable[[int, int], None]) -> None:
        """Make ready to move to other names or to another folder: check, and copy what must be.

        Files go on being used meanwhile. `progress(copied, total)` counts bytes. Raises
        `StorageError`, EEXIST where something lies there, and then everything is as before.
        """
        homes = self.places.changes(to)
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def step(completion: Completion) -> None:
            if completion[1] == "moved":
                progress(completion[2], completion[3])
            elif not ended.done():
                if completion[1] == "error":
                    ended.set_exception(self._error(completion, to))
                else:
                    ended.set_result(None)

        self._expect(step, lambda job: self._native.prepare(job, homes))
        await ended

    async def switch(self) -> None:
        """Move what was made ready: from here on, files are where they were to go.

        Raises `StorageError`, and then some are and some are not.
        """
        await self._ended(self._native.switch)

    async def release(self) -> None:
        """Take away what moved files left behind. Raises `StorageError`."""
        await self._ended(self._native.release)

    async def remove(self, files: Sequence[tuple[int, bool]]) -> None:
        """Take files away, and the folders that are empty then; symlinks are not followed.

        With True, what lies under the part name; else the file as it is found. Raises `StorageError`
        for the first that could not be removed, when all others are.
        """
        await self._ended(lambda job: self._native.remove(job, files))

    async def _ended(self, submit: Callable[[int], None]) -> None:
        """Submits a job and waits for its one completion. Raises `StorageError`."""
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def finish(completion: Completion) -> None:
            if ended.done():
                return
            if completion[1] == "error":
                ended.set_exception(self._error(completion))
            else:
                ended.set_result(None)

        self._expect(finish, submit)
        await ended

    async def close(self) -> None:
        """Let go of the files, once commits and syncs are done. Reads under way are cancelled."""
        self._native.close()
        reads, self._reads = self._reads, {}
        for done in reads.values():
            done(self._storage_error(errno.ECANCELED, 0, 0, "read"), 0)
        if self._busy:
            self._idle = self._idle or asyncio.get_running_loop().create_future()
            await asyncio.shield(self._idle)

    def survey(self) -> Survey:
        """Size and times of each file, under the name that is used here."""
        return self.places.survey(self._native.spots())

    def missing(self) -> tuple[File, ...]:
        """Files that are not there, or shorter than they should be."""
        pairs = zip(self.meta.files, self.survey().files, strict=True)
        return tuple(
            file
            for file, now in pairs
            if not file.pad and file.symlink is None and (now is None or now.size < file.length)
        )

    def _expect(self, handler: Handler, submit: Callable[[int], None]) -> int:
        job = self._disk._expect(partial(self._finish, handler), submit)
        self._busy += 1
        return job

    def _finish(self, handler: Handler, completion: Completion) -> None:
        """Pass a completion on, and see whether it was the last one to wait for."""
        try:
            handler(completion)
        finally:
            self._busy -= completion[1] not in ("checked", "moved")
            if not self._busy and self._idle is not None and not self._idle.done():
                self._idle.set_result(None)

    def _error(self, completion: Completion, to: Where | None = None) -> StorageError:
        _, _, number, index, offset, operation = completion
        return self._storage_error(number, index, offset, operation, to)

    def _storage_error(
        self, number: int, index: int, offset: int, operation: str, to: Where | None = None
    ) -> StorageError:
        places = self.places if to is None else Places(self.meta.files, to)
        path = str(places.path(index))
        facts: dict[str, Any] = {
            "errno": number,
            "path": path,
            "offset": offset,
            "operation": operation,
        }
        if number == errno.ECANCELED:
            return StorageError(f"{operation} of {self.meta.name} was cancelled", **facts)
        if number == errno.EWOULDBLOCK:
            return StorageError(f"another process writes to {path}", **facts)
        if number == errno.EOPNOTSUPP and operation == "allocate":
            text = f"the file system cannot reserve space (allocate less than all of it): {path}"
            return StorageError(text, **facts)
        return StorageError.of(number, path, offset, operation)


def _merge(good: bytearray, first: int, bits: bytes) -> None:
    """Set in `good` what is set in `bits`, whose bit 0 is bit `first`. Spare bits are zero."""
    start, shift = divmod(first, 8)
    shifted = (int.from_bytes(bits, "big") << 8 - shift).to_bytes(len(bits) + 1, "big")
    for at, byte in enumerate(shifted, start):
        if byte:
            good[at] |= byte
