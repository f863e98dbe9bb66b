"""What a torrent claims to have on the disk, from one run to the next."""

from __future__ import annotations

import errno
import hashlib
import threading
from pathlib import Path
from typing import IO, NamedTuple

from .engine.selection import Selection
from .errors import StorageError
from .proto.metainfo import Metainfo
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


class Claims:
    """The resume file of one torrent in one folder, held by one process at a time.

    The same torrent in two folders has two. It also remembers the `selection`. All methods block on
    the disk, and may be called from any thread.
    """

    def __init__(
        self, state_dir: Path, meta: Metainfo, places: Places, selection: Selection
    ) -> None:
        dest = places.dest
        infohash = meta.infohash.wire
        place = hashlib.sha1(str(dest).encode("utf-8", "surrogateescape")).hexdigest()[:16]
        self._meta = meta
        self._dest = dest
        self._places = places
        self._selection = selection
        self._remembered = (bytes(selection), selection.sequential)
        self._mutex = threading.RLock()
        self._infohash = infohash
        self._file = ResumeFile(state_dir / "resume" / place, infohash)
        self._lock: IO[bytes] | None = None

    def load(self) -> Claimed:
        """What the last run has left, held against the files as they are.

        Raises `StorageError` where something came to lie under the final name of a file that was
        begun here under its part name: which of them counts is not ours to say.
        """
        resume, reason = self._load()
        if resume is not None:
            self._check_names(resume)
        good, doubtful = trusted(resume, self._meta, self._places.survey().files)
        return Claimed(good, doubtful, resume, reason)

    def _load(self) -> tuple[Resume | None, str | None]:
        resume, reason = self._file.load()
        if resume is not None and Path(resume.dest) != self._dest:
            return None, f"it is about the folder {resume.dest}"
        return resume, reason

    def _check_names(self, resume: Resume) -> None:
        parts = set(resume.parts)
        for file, before in enumerate(resume.files[: len(self._meta.files)]):
            if (before is None or file in parts) and self._places.contested(file):
                raise StorageError.of(errno.EEXIST, str(self._places.path(file)), 0, "rename")

    def save(
        self, pieces: bytes, now: Survey, *, clean: bool, uploaded: int = 0, downloaded: int = 0
    ) -> None:
        """Claims `pieces`, which must be durable, of files as they are now. Raises `StorageError`."""
        with self._mutex:
            self._save(
                Resume(
                    infohash=self._infohash,
                    dest=str(self._dest),
                    bitfield=pieces,
                    files=now.files,
                    parts=now.parts,
                    clean=clean,
                    uploaded=uploaded,
                    downloaded=downloaded,
                )
            )

    def _save(self, resume: Resume) -> None:
        """The same, with the selection as it is at this moment."""
        chosen = bytes(self._selection), self._selection.sequential
        self._file.save(resume.with_selection(*chosen))
        self._remembered = chosen

    def recall(self) -> None:
        """Selects what the last run had selected. Never raises."""
        resume, _ = self._load()
        if resume is not None and self._selection.restore(resume.priorities):
            self._selection.sequential = resume.sequential
        self._remembered = bytes(self._selection), self._selection.sequential

    def remember(self) -> None:
        """Makes a changed selection durable; what is claimed stays as it is.

        Raises `StorageError`, also when another process works with the same files.
        """
        with self._mutex:
            if self._remembered == (bytes(self._selection), self._selection.sequential):
                return
            ours = self._lock is not None
            if not ours:
                self.acquire()
            try:
                resume, _ = self._load()
                self._save(resume or self._nothing())
            finally:
                if not ours:
                    self.release()

    def _nothing(self) -> Resume:
        return Resume(
            infohash=self._infohash,
            dest=str(self._dest),
            bitfield=bytes(-(-self._meta.piece_count // 8)),
            files=(None,) * len(self._meta.files),
            clean=False,
        )

    def forget(self) -> None:
        """Claims nothing any more, and remembers nothing. Raises `StorageError`."""
        with self._mutex:
            self._file.remove()
            self._remembered = bytes(Selection(self._meta)), False

    def acquire(self) -> None:
        """Keeps other processes from writing to the same files. Raises `StorageError`."""
        with self._mutex:
            self._acquire()

    def _acquire(self) -> None:
        try:
            import fcntl
        except ImportError:
            return
        path = self._file.path.with_suffix(".lock")
        try:
            make_folder(path.parent)
            lock = path.open("wb")
        except OSError as error:
            raise StorageError.of(error.errno or 0, str(path), 0, "lock") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            text = f"another process works on {self._meta.name} in {self._dest}"
            raise StorageError(text, errno=error.errno, path=str(path), operation="lock") from error
        self._lock = lock

    def release(self) -> None:
        """Lets others have the files."""
        with self._mutex:
            if self._lock is not None:
                self._lock.close()
                self._lock = None
