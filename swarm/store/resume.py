"""What was claimed of a torrent on the disk, so that a restart need not read all of it again.

A claim is made only after the data it is about was synced. The file is replaced as a whole, the
copy before it is kept, and whatever is wrong with it is told as a reason: bad resume data costs a
check, never the torrent.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Collection, Sequence
from hashlib import sha1
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec

from swarm.errors import StorageError
from swarm.proto.metainfo import Metainfo

from .files import FileNow
from .names import Where

MAGIC = b"swarmres"
VERSION = 2
"""Raised when a field changes what the others mean. One that may be ignored is just added, with a default."""
MAX_SIZE = 64 << 20
"""Bytes of the largest resume file we read; that of a million files and pieces is below it."""
_HEADER = struct.Struct("<8sI20s")  # magic, version, SHA-1 of the rest

Count = Annotated[int, msgspec.Meta(ge=0)]


class Resume(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One torrent's state. Totals in bytes.

    It is written as a map: a program that does not know a field ignores it, and what a file lacks
    has its default. So a field may be added without a new `VERSION` where both are harmless.
    """

    infohash: bytes
    """The v1 info-hash, or the v2 one where there is none."""
    where: Where
    """The folder that holds the data, and its names: a wish, to be held against the rules like any other."""
    next: Where | None = None
    """Where it was being moved to: some files may be there."""
    forward: str = ""
    """The folder that it was moved from since the last clean stop, whose resume file points here."""
    bitfield: bytes
    """Pieces that are verified and durable, in wire order."""
    files: tuple[FileNow | None, ...]
    """Each file when this was saved, after the sync; None where it was not."""
    parts: tuple[Count, ...] = ()
    """The files that lay under their part names then."""
    clean: bool
    """Nothing was written to the files after this was saved."""
    priorities: bytes = b""
    """One byte for each file, as the user chose; empty where nothing was chosen."""
    sequential: bool = False
    uploaded: Count = 0
    downloaded: Count = 0

    def with_choice(
        self, where: Where, to: Where | None, forward: str, priorities: bytes, sequential: bool
    ) -> Resume:
        """The same, of other places and with another choice of files."""
        return msgspec.structs.replace(
            self,
            where=where,
            next=to,
            forward=forward,
            priorities=priorities,
            sequential=sequential,
        )


class Loaded(NamedTuple):
    """What a resume file says. Without `resume` and `reason` there never was one.

    With both, only the copy before could be read: it claims no piece, so that all are checked.
    """

    resume: Resume | None
    reason: str | None


class ResumeFile:
    """The resume file of one torrent, named after its info-hash, in the folder `state_dir`."""

    def __init__(self, state_dir: Path, infohash: bytes) -> None:
        self.path = state_dir / f"{infohash.hex()}.resume"
        self._previous = self.path.with_suffix(".previous")
        self._infohash = infohash
        self._foreign_version: int | None = None

    def load(self) -> Loaded:
        """What was saved last. Never raises: `reason` tells what is wrong with it."""
        resume, reason = self._read(self.path)
        if resume is not None:
            return Loaded(resume, None)
        older, _ = self._read(self._previous)
        if older is None:
            return Loaded(None, reason)
        unsure = msgspec.structs.replace(older, bitfield=bytes(len(older.bitfield)), clean=False)
        return Loaded(unsure, reason or f"{self.path.name} is gone, its previous copy is there")

    def save(self, resume: Resume) -> None:
        """Replace the file: what a crash leaves is the old state or the new one, whole.

        Blocks for three syncs. Raises `StorageError`, and then the old state is intact.
        """
        if resume.infohash != self._infohash:
            raise ValueError("resume data of another torrent")
        body = msgspec.msgpack.encode(resume)
        fresh = self.path.with_suffix(".new")
        try:
            make_folder(self.path.parent)
            self._write(fresh, _HEADER.pack(MAGIC, VERSION, sha1(body).digest()) + body)
            if self._foreign_version is not None:
                kept = self.path.with_suffix(f".version{self._foreign_version}")
                os.replace(self.path, kept)
                self._foreign_version = None
            else:
                self._keep_previous()
            os.replace(fresh, self.path)
            sync_folder(self.path.parent)
        except OSError as error:
            with contextlib.suppress(OSError):
                fresh.unlink()
            number = error.errno or 0
            raise StorageError.of(number, str(self.path), 0, "save") from error

    def _keep_previous(self) -> None:
        """Give the present file a second name. Where that cannot be, there is no previous copy."""
        with contextlib.suppress(OSError):
            self._previous.unlink(missing_ok=True)
            os.link(self.path, self._previous)

    def remove(self) -> None:
        """Forget the torrent. Raises `StorageError`."""
        for path in (self.path, self._previous, self.path.with_suffix(".new")):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise StorageError.of(error.errno or 0, str(path), 0, "delete") from error

    @staticmethod
    def _write(path: Path, data: bytes) -> None:
        with path.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def _read(self, path: Path) -> Loaded:
        try:
            with path.open("rb") as file:
                data = file.read(MAX_SIZE + 1)
        except FileNotFoundError:
            return Loaded(None, None)
        except OSError as error:
            return Loaded(None, f"{path.name} cannot be read: {error.strerror}")
        try:
            return Loaded(self._decode(data, path), None)
        except _Unusable as error:
            return Loaded(None, f"{path.name} {error}")

    def _decode(self, data: bytes, path: Path) -> Resume:
        if len(data) > MAX_SIZE:
            raise _Unusable("is too large")
        if len(data) < _HEADER.size:
            raise _Unusable("is torn")
        magic, version, digest = _HEADER.unpack_from(data)
        if magic != MAGIC:
            raise _Unusable("is no resume file")
        if version != VERSION:
            if path == self.path:
                self._foreign_version = version
            raise _Unusable(f"has version {version}, and this program knows {VERSION}")
        body = data[_HEADER.size :]
        if sha1(body).digest() != digest:
            raise _Unusable("is torn or damaged")
        try:
            resume = msgspec.msgpack.decode(body, type=Resume)
        except msgspec.DecodeError as error:
            raise _Unusable(f"makes no sense: {error}") from error
        if resume.infohash != self._infohash:
            raise _Unusable("belongs to another torrent")
        for where in (resume.where, resume.next or resume.where):
            if not os.path.isabs(where.dest) or "\0" in where.dest:
                raise _Unusable("names no absolute folder")
        return resume


class _Unusable(Exception):
    """Why a file cannot be used."""


def make_folder(folder: Path) -> None:
    """Makes it, and those above it, durably."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make names durable, where the system can."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_TRUST, _CHECK, _LOST = 0, 1, 2


def trusted(
    resume: Resume | None,
    meta: Metainfo,
    now: Sequence[FileNow | None],
    aside: Collection[int] = (),
) -> tuple[bytes, bytes]:
    """Which pieces may be believed, and which others are worth a check: two bitfields.

    `now` is the state of each file (`survey`). A file that nobody was to write to any more (all of
    them, after a clean stop; the finished ones, after any other) is believed if its size and times
    are as they were, and checked if not. A file that was being written when the end came has
    changed since the claim: its claimed pieces stay believed unless it shrank, grew older or is another
    one. After
    such an end pieces without a claim are checked where there is data, so that nothing written is
    fetched twice. What is not on the disk at all is in neither, nor are unclaimed pieces that lie
    all in files which are kept `aside`: of those, what is there is what pieces share with others.
    """
    count = meta.piece_count
    claims = _claims(resume, count)
    if resume is None or len(resume.files) != len(meta.files):
        saved: Sequence[FileNow | None] = [None] * len(meta.files)
        clean = False
    else:
        saved, clean = resume.files, resume.clean
    claimed = [bool(claims[piece // 8] & 0x80 >> piece % 8) for piece in range(count)]
    state, apart = bytearray(count), bytearray(b"\1" * count)
    lost: list[tuple[int, int]] = []
    for file, before, current in zip(meta.files, saved, now, strict=True):
        if file.pad or not file.length:
            continue
        first = file.offset // meta.piece_length
        end = (file.offset + file.length - 1) // meta.piece_length + 1
        if file.index not in aside:
            apart[first:end] = bytes(end - first)
        size = current.size if current is not None else 0
        if size < file.length:
            lost.append(((file.offset + size) // meta.piece_length, end))
        if not _unchanged(before, current, clean or all(claimed[first:end])):
            state[first:end] = bytes([_CHECK]) * (end - first)
    for first, end in lost:  # last, because one file that lacks its bytes decides for the piece
        state[first:end] = bytes([_LOST]) * (end - first)
    believed, doubted = bytearray(len(claims)), bytearray(len(claims))
    for piece, verdict in enumerate(state):
        bit = 0x80 >> piece % 8
        if verdict == _TRUST and claimed[piece]:
            believed[piece // 8] |= bit
        elif apart[piece] and not claimed[piece]:
            continue
        elif verdict == _CHECK or (verdict == _TRUST and not clean):
            doubted[piece // 8] |= bit
    return bytes(believed), bytes(doubted)


def _unchanged(before: FileNow | None, now: FileNow | None, finished: bool) -> bool:
    if before is None or now is None:
        return False
    if finished:
        return now.state == before.state
    grown = all(new >= old for new, old in zip(now.state, before.state, strict=True))
    return grown and now.inode == before.inode


def _claims(resume: Resume | None, count: int) -> bytes:
    """The claimed pieces; none where the bitfield does not fit the torrent."""
    length = -(-count // 8)
    if resume is not None and len(resume.bitfield) == length:
        spare = (1 << -count % 8) - 1
        if not resume.bitfield[-1] & spare:
            return resume.bitfield
    return bytes(length)
