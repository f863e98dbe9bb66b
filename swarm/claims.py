"""What a torrent claims to have on the disk, from one run to the next."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import threading
from pathlib import Path
from typing import IO, NamedTuple

from ._bits import Bits
from .engine.selection import Selection
from .errors import StorageError
from .proto.metainfo import Metainfo
from .store.files import FileNow
from .store.names import Where
from .store.places import Places, Survey
from .store.resume import Resume, ResumeFile, make_folder, trusted


class Claimed(NamedTuple):
    """What was claimed, and what of it holds: bitfields of pieces in wire order."""

    trusted: bytes
    doubtful: bytes
    """Worth a check: there is data, and no claim that can be believed."""
    resume: Resume | None
    """What the last run has left."""
    reason: str | None
    """What is wrong with it, if something is."""

    @property
    def is_unclean(self) -> bool:
        """Whether the last run has ended without having its say."""
        return self.resume is not None and not self.resume.clean


class Claims:
    """The resume file of one torrent in one folder, held by one process at a time.

    The same torrent in two folders has two. It also remembers the `selection`, and where a move comes
    from and goes to: then both folders have one, which say the same. All methods block on the disk,
    and may be called from any thread.
    """

    def __init__(
        self, state_dir: Path, meta: Metainfo, places: Places, selection: Selection
    ) -> None:
        self._state_dir = state_dir
        self._meta = meta
        self._places = places
        self._selection = selection
        self._infohash = meta.infohash.wire
        self._remembered = self._chosen()
        self._forward = ""
        self._mutex = threading.RLock()
        self._files: dict[str, ResumeFile] = {}
        self._locks: dict[str, IO[bytes]] = {}
        self._last: Resume | None = None  # as it was loaded, or saved

    def _chosen(self) -> tuple[object, ...]:
        """What users choose, and what is remembered of it."""
        places, selection = self._places, self._selection
        return bytes(selection), selection.sequential, places.where, places.going, places.before

    def _file(self, dest: str) -> ResumeFile:
        if dest not in self._files:
            path = state_path(self._state_dir, self._infohash, dest)
            self._files[dest] = ResumeFile(path.parent, self._infohash)
        return self._files[dest]

    def _ends(self) -> tuple[Where, Where | None]:
        """Where the torrent is or comes from, and where it goes to."""
        places = self._places
        if places.before is not None:
            return places.before, places.where
        return places.where, places.going

    def _folders(self) -> list[str]:
        """The folders whose resume files tell of the torrent; the one that it goes to first."""
        now, to = self._ends()
        return list(dict.fromkeys([to.dest, now.dest] if to else [now.dest]))

    def load(self, found: Survey | None = None) -> Claimed:
        """What the last run has left, held against the files as they are (or were `found`).

        Raises `StorageError` where something came to lie under the final name of a file that was
        begun here under its part name: which of them counts is not ours to say.
        """
        now = found or self._places.survey()
        resume, reason = self._load(self._places.where.dest)
        if resume is not None:
            self._check_names(resume)
        self._last = resume if reason is None and self._places.before is None else None
        files = self._unmoved(resume, now)
        good, doubtful = trusted(resume, self._meta, files, now.aside)
        return Claimed(good, doubtful, resume, reason)

    def is_unclean(self) -> bool:
        """Whether the last run has ended without having its say."""
        resume, _ = self._load(self._places.where.dest)
        return resume is not None and not resume.clean

    def _load(self, dest: str) -> tuple[Resume | None, str | None]:
        resume, reason = self._file(dest).load()
        if resume is not None and dest not in (
            resume.where.dest,
            (resume.next or resume.where).dest,
        ):
            return None, f"it is about the folder {resume.where.dest}"
        return resume, reason

    def _check_names(self, resume: Resume) -> None:
        for file in self.begun(resume):
            if self._places.contested(file):
                raise StorageError.of(errno.EEXIST, str(self._places.path(file)), 0, "rename")

    def begun(self, resume: Resume | None = None) -> set[int]:
        """The files that had no final name when the claim was made."""
        resume = resume or self._load(self._places.where.dest)[0]
        files = resume.files[: len(self._meta.files)] if resume is not None else ()
        parts = resume.parts if resume is not None else ()
        return {file for file, before in enumerate(files) if before is None} | set(parts)

    def _unmoved(self, resume: Resume | None, now: Survey) -> list[FileNow | None]:
        """The files, with the ctime that they had before they were moved: that did the move."""
        files = list(now.files)
        if resume is not None and self._places.before is not None:
            for file, before in enumerate(resume.files[: len(files)]):
                current = files[file]
                if current is not None and before is not None and file not in now.behind:
                    files[file] = current.with_ctime(before.ctime_ns)
        return files

    def save(
        self, pieces: bytes, now: Survey, *, clean: bool, uploaded: int = 0, downloaded: int = 0
    ) -> None:
        """Claims `pieces`, which must be durable. Raises `StorageError`.

        `now` is how the files were before the sync, which has held those that were written against
        their names. Files that got no piece since the last time are described as they were then: if
        they have changed, it was not by us.
        """
        with self._mutex:
            resume = Resume(
                infohash=self._infohash,
                where=self._places.where,
                bitfield=pieces,
                files=self._described(pieces, now),
                parts=now.parts,
                clean=clean,
                uploaded=uploaded,
                downloaded=downloaded,
            )
            self._save(resume)
            self._last = resume

    def _described(self, pieces: bytes, now: Survey) -> tuple[FileNow | None, ...]:
        last = self._last
        moved = now.behind or now.left
        if last is None or last.where != self._places.where or moved:
            return now.files
        if len(last.bitfield) != len(pieces):
            return now.files
        renamed = set(last.parts) ^ set(now.parts) | now.aside
        count, length = self._meta.piece_count, self._meta.piece_length
        spare = -count % 8  # bits at the end, which mean nothing in a file that is wrong
        changed = (int.from_bytes(pieces) ^ int.from_bytes(last.bitfield)) >> spare << spare
        news = Bits(count, changed.to_bytes(len(pieces)))
        files = list(now.files)
        for at, (file, before) in enumerate(zip(self._meta.files, last.files, strict=False)):
            if before is None or at in renamed or not file.length:
                continue
            first, end = file.offset // length, (file.offset + file.length - 1) // length + 1
            if not news.count_in(first, end):
                files[at] = before
        return tuple(files)

    def _save(self, resume: Resume) -> None:
        """The same, with what was chosen as it is at this moment.

        The folder that a torrent has left keeps its resume file, which tells where it went, until
        somebody had the chance to remember that: until a clean stop.
        """
        chosen = self._chosen()
        now, to = self._ends()
        forward = "" if resume.clean else self._forward
        selection = bytes(self._selection), self._selection.sequential
        resume = resume.with_choice(now, to, forward, *selection)
        for dest in self._folders():
            self._file(dest).save(resume)
        if resume.clean and self._forward:
            self.drop(self._forward)
        self._remembered = chosen

    def moved(self, before: Where) -> None:
        """A move is over, from `before`."""
        if before.dest != self._places.where.dest:
            self._forward = before.dest

    def drop(self, dest: str) -> None:
        """Claims nothing of another folder any more. Raises `StorageError`."""
        with self._mutex:
            self._file(dest).remove()
            if dest == self._forward:
                self._forward = ""
            lock = self._locks.pop(dest, None)
            if lock is not None:
                lock.close()

    def recall(self) -> None:
        """Selects what the last run had selected, and finds out where it has put it. Never raises."""
        resume, _ = self._load(self._places.where.dest)
        if resume is not None and resume.next is not None:
            resume = self._load(resume.next.dest)[0] or resume
        if resume is not None:
            if self._places.recall(resume.where, resume.next):
                self._forward = resume.forward
            if self._selection.restore(resume.priorities):
                self._selection.sequential = resume.sequential
        self._remembered = self._chosen()

    def remember(self) -> None:
        """Makes a changed selection durable; what is claimed stays as it is.

        Raises `StorageError`, also when another process works with the same files.
        """
        with self._mutex:
            if self._remembered == self._chosen():
                return
            ours = bool(self._locks)
            if not ours:
                self.acquire()
            try:
                resume, _ = self._load(self._places.where.dest)
                self._save(resume or self._nothing())
            finally:
                if not ours:
                    self.release()

    def _nothing(self) -> Resume:
        return Resume(
            infohash=self._infohash,
            where=self._places.where,
            bitfield=bytes(-(-self._meta.piece_count // 8)),
            files=(None,) * len(self._meta.files),
            clean=False,
        )

    def reset(self) -> None:
        """Claims nothing, but goes on to remember what was chosen. Raises `StorageError`."""
        with self._mutex:
            self._last = None
            try:
                self._save(self._nothing())
            except StorageError:
                self.forget()  # at least that

    def forget(self) -> None:
        """Claims nothing any more, and remembers nothing. Raises `StorageError`."""
        with self._mutex:
            for dest in {*self._folders(), self._forward} - {""}:
                self._file(dest).remove()
            self._last = None
            self._remembered = ()

    def acquire(self) -> None:
        """Keeps other processes from writing to the same files. Raises `StorageError`."""
        with self._mutex:
            for dest in self._folders():
                if dest not in self._locks:
                    self._acquire(dest)

    def _acquire(self, dest: str) -> None:
        try:
            import fcntl
        except ImportError:
            return
        path = self._file(dest).path.with_suffix(".lock")
        try:
            make_folder(path.parent)
            lock = path.open("wb")
        except OSError as error:
            raise StorageError.of(error.errno or 0, str(path), 0, "lock") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            text = f"another process works on {self._meta.name} in {dest}"
            raise StorageError(text, errno=error.errno, path=str(path), operation="lock") from error
        self._locks[dest] = lock

    def release(self) -> None:
        """Lets others have the files."""
        with self._mutex:
            for lock in self._locks.values():
                with contextlib.suppress(OSError):  # a disk that is gone takes its locks along
                    lock.close()
            self._locks.clear()


def state_path(state_dir: Path, infohash: bytes, dest: str) -> Path:
    """What is remembered of a torrent in the folder `dest` lies here, with suffixes."""
    place = hashlib.sha1(dest.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return state_dir / "resume" / place / infohash.hex()
