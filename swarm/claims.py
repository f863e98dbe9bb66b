"""What a torrent claims to have on the disk, from one run to the next."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path
from typing import IO, NamedTuple

from .errors import StorageError
from .proto.metainfo import Metainfo
from .store.places import Places, Survey
from .store.resume import Resume, ResumeFile, trusted


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

    The same torrent in two folders has two. All methods block on the disk.
    """

    def __init__(self, state_dir: Path, meta: Metainfo, places: Places) -> None:
        dest = places.dest
        infohash = meta.infohash.wire
        place = hashlib.sha1(str(dest).encode("utf-8", "surrogateescape")).hexdigest()[:16]
        self._meta = meta
        self._dest = dest
        self._places = places
        self._infohash = infohash
        self._file = ResumeFile(state_dir / "resume" / place, infohash)
        self._lock: IO[bytes] | None = None

    def load(self) -> Claimed:
        """What the last run has left, held against the files as they are.

        Raises `StorageError` where something came to lie under the final name of a file that was
        begun here under its part name: which of them counts is not ours to say.
        """
        resume, reason = self._file.load()
        if resume is not None and Path(resume.dest) != self._dest:
            reason = f"it is about the folder {resume.dest}"
            resume = None
        if resume is not None:
            self._check_names(resume)
        good, doubtful = trusted(resume, self._meta, self._places.survey().files)
        return Claimed(good, doubtful, resume, reason)

    def _check_names(self, resume: Resume) -> None:
        parts = set(resume.parts)
        for file, before in enumerate(resume.files[: len(self._meta.files)]):
            if (before is None or file in parts) and self._places.contested(file):
                raise StorageError.of(errno.EEXIST, str(self._places.path(file)), 0, "rename")

    def save(
        self, pieces: bytes, now: Survey, *, clean: bool, uploaded: int = 0, downloaded: int = 0
    ) -> None:
        """Claims `pieces`, which must be durable, of files as they are now. Raises `StorageError`."""
        self._file.save(
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

    def forget(self) -> None:
        """Claims nothing any more."""
        self._file.remove()

    def acquire(self) -> None:
        """Keeps other processes from writing to the same files. Raises `StorageError`."""
        try:
            import fcntl
        except ImportError:
            return
        path = self._file.path.with_suffix(".lock")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
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
        if self._lock is not None:
            self._lock.close()
            self._lock = None
