"""Slots, hashing and files, in Rust: threads of their own, which never hold the GIL.

Completions are tuples, each beginning with the job's number and what happened:

    (job, "written", piece, offset)             a part was written; more parts follow
    (job, "verified", piece)                    last part: the hash is right and all of it is written
    (job, "failed", piece)                      last part: the hash is wrong
    (job, "read", slot, length)                 wire frames, back to back
    (job, "checked", first, ok_bits, count)     progress of a check: pieces first..first+count
    (job, "check-done",)
    (job, "synced",)
    (job, "moved", bytes, total)                progress of `prepare`
    (job, "changed",)
    (job, "error", errno, file_index, offset, operation)

Each commit, read, sync and change ends with exactly one of them; a check with "check-done" or "error". The
errno is ECANCELED for what was cancelled or forgotten, ENODATA for a file that ends too early,
ELOOP for a symlink below the folder, EISDIR or EOPNOTSUPP for what is not a regular file.
"""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, final

__all__ = [
    "Disk",
    "Hashes",
    "Pool",
    "Progress",
    "Slot",
    "Storage",
    "hash_files",
    "hash_kernels",
    "hash_many",
]

_Home = tuple[str | PathLike[str], Sequence[str], str | None]
"""A folder, a path below it, and the part name."""

@final
class Slot:
    """A writable buffer of page-aligned memory, from a pool.

    It returns to its pool when the last reference and the last view of it are gone. It has one
    writer at a time: nobody writes to it once it was committed.
    """

    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

@final
class Pool:
    """Slots up to a high-water mark; their memory is recycled by size, as late as possible.

    Until then a storage serves from it what it wrote.
    """

    def __new__(cls, capacity: int) -> Pool: ...
    def checkout(self, size: int) -> Slot | None:
        """A slot, or None when more than `capacity` bytes would be in use. An empty pool grants any size."""

    @property
    def capacity(self) -> int: ...
    @property
    def in_use(self) -> int: ...
    @property
    def peak(self) -> int: ...

@final
class Disk:
    """Threads that hash, read and write. With `threads=0` the jobs run inside `drain`.

    `direct` says when whole pages are written past the page cache: "auto" where the file system offers
    it and the stretch is 192 KiB or more, "always" wherever it works, "never". `sparse` files get their
    full length when they are first written.
    """

    def __new__(
        cls, threads: int, read_memory: int, direct: str = "auto", sparse: bool = True
    ) -> Disk: ...
    def hurry(self) -> None:
        """What waits for others to be hashed with goes now."""

    def fileno(self) -> int:
        """A descriptor that is readable while completions wait."""

    def drain(self) -> list[tuple[Any, ...]]:
        """All completions so far; clears the wake-up."""

    def open(
        self,
        root: str | PathLike[str],
        files: Sequence[tuple[Sequence[str], int]],
        piece_length: int,
        writable: bool,
        *,
        part_names: Sequence[str | None] | None = None,
        make_parts: bool = False,
        aside: tuple[str | PathLike[str], Sequence[str]] | None = None,
        unwanted: Sequence[int] | None = None,
        links: Mapping[int, Sequence[str]] | None = None,
        v2: bool = False,
        elsewhere: Mapping[int, _Home] | None = None,
        mark: str | None = None,
    ) -> Storage:
        """The files (path below `root`, length) of one torrent. Touches nothing yet.

        A file is looked for under its final name, then under its part name, and made, at the first
        write, under the latter with `make_parts`. The bytes of files that are `unwanted` (ascending)
        and not there are kept in the file `aside` (folder, path below it), each at its offset in the
        torrent; without `aside` every file is wanted. `elsewhere` has files that are not below `root`;
        `mark` becomes part of the names of files that are being copied.

        An empty path makes a pad file (BEP 47): zeros that are never on the disk. `links` are the files
        that are symlinks: what each leads to, a path below `root`. They are never followed. Files and
        folders are made at the first write, files without bytes and symlinks at the first write or sync.

        With `v2` pieces have digests of version 2 (BEP 52), which needs the layout that `hash_files` needs.
        """

    def close(self) -> None:
        """Finish queued jobs and join the threads. Checks, and reads that wait for memory, are cancelled."""

@final
class Storage:
    """One torrent on the disk. Wrong arguments, and jobs after `close`, raise ValueError."""

    def commit(
        self,
        job: int,
        piece: int,
        offset: int,
        slot: Slot,
        length: int,
        digest: bytes | None,
        patient: bool = False,
    ) -> None:
        """The piece's next `length` bytes, which lie at the start of `slot`. `digest` comes with the last part.

        A piece given in one part is written only if its hash is right, and waits a little for others to
        be hashed with if it is `patient`. After an error the parts that
        are still queued fail with it, and the piece starts again from offset 0.
        """

    def align(self, slot: Slot, piece: int, offset: int) -> None:
        """Say which bytes of a piece `slot` is going to hold, before anything is put into it.

        What is a page of a file is then a page in memory, which direct writes need.
        """

    def forget(self, piece: int) -> None:
        """Drop a half-hashed piece (it starts again from offset 0)."""

    def read(self, job: int, requests: bytes) -> None:
        """Read blocks; `requests` are packed little-endian u32 triples (piece, begin, length).

        The answer is one slot of frames (`>IBII`: 9 + n, 7, piece, begin; then n bytes), in order.
        """

    def read_cached(self, requests: bytes) -> Slot | None:
        """The same at once; None unless all of it is in the page cache and there is memory for it."""

    def check(self, job: int, digests: bytes, todo: bytes, fresh: bool = False) -> None:
        """Hash what is on disk of the pieces in `todo` (a bitfield, MSB first). What is missing is not good.

        `digests` are 20 bytes a piece (version 1), or 32: version 2, the roots of the pieces' Merkle
        trees. That is a file's piece layer, or its root where it is no longer than a piece. It needs
        the layout that `hash_files` needs; padding is not looked at. With `fresh`, what is read comes
        from the device and not from the page cache.
        """

    def cancel(self, job: int) -> None:
        """Stop a check; it ends with the error ECANCELED."""

    def sync(self, job: int) -> None:
        """Make durable what was written since the last sync. A file that failed once keeps failing."""

    def unwant(self, job: int, files: Sequence[int]) -> None:
        """Say which files (ascending) are not to be on the disk. What is kept aside of others goes to
        places of their own, and the file for it goes when nothing is.
        """

    def prepare(self, job: int, to: Mapping[int, _Home]) -> None:
        """Make ready to move files to other homes; what must be copied is, by a thread of its own.

        Progress is ("moved", bytes, total). EEXIST where something lies there. After an error it is
        as if nothing had been asked.
        """

    def switch(self, job: int) -> None:
        """Move what was made ready."""

    def leaves(self, file: int, home: _Home, part: bool) -> None:
        """Say what a move that was cut short has left of a file, under its part name or not."""

    def release(self, job: int) -> None:
        """Take away what moved files left behind."""

    def remove(self, job: int, files: Sequence[tuple[int, bool]]) -> None:
        """Take files away, under their part names where it says so, and the folders that they leave empty."""

    def spots(self) -> bytes:
        """Where each file was last seen, a letter each: under its final name (f), its part name (p), kept
        aside (a), or not at all (space). Waits for changes under way.
        """

    def finish(self, job: int, files: Sequence[int]) -> None:
        """Give files that are complete their final names. EEXIST where something else has such a name."""

    def allocate(self, job: int, files: Sequence[int]) -> None:
        """Reserve the space that files need. EOPNOTSUPP where the file system cannot."""

    def close(self) -> None:
        """Let go of the files. Queued jobs still finish."""

@final
class Progress:
    """How far `hash_files` is, for another thread to look at."""

    def __new__(cls) -> Progress: ...
    @property
    def done(self) -> int:
        """Bytes hashed so far."""

    def cancel(self) -> None:
        """Make `hash_files` stop with an OSError (ECANCELED)."""

@final
class Hashes:
    """What `hash_files` found; what was not asked for is empty."""

    @property
    def pieces(self) -> bytes:
        """Version 1: the SHA-1 of each piece, back to back."""

    @property
    def roots(self) -> list[bytes]:
        """Version 2: the root of each file's Merkle tree; empty for files without bytes, and for pads."""

    @property
    def layers(self) -> list[bytes]:
        """Version 2: each file's piece layer, back to back; empty for files no longer than a piece."""

def hash_files(
    files: Sequence[tuple[str | PathLike[str], int]],
    piece_length: int,
    threads: int,
    progress: Progress | None = None,
    *,
    v1: bool = True,
    v2: bool = False,
) -> Hashes:
    """The hashes of files (path, length), in one pass for both versions (BEP 3, BEP 52).

    A file with an empty path is a pad (BEP 47): zeros that are not read. Version 2 needs them, even
    alone: each file has to start with a piece, and pieces are a power of two, 16 KiB or more
    (ValueError otherwise). Padding counts in version 1 only.

    Releases the GIL. Raises an OSError that names the file: one that cannot be read, or is not as
    long as given. A change that leaves the length alone is not noticed.
    """

def hash_many(algorithm: str, messages: Sequence[bytes], kernel: str | None = None) -> list[bytes]:
    """The hash of each message, many side by side; `algorithm` is "sha1" or "sha256".

    For tests and benchmarks. `kernel` is one of `hash_kernels()`; None takes the best for as many
    lanes as there are, or what the environment variable SWARM_HASH_KERNEL names (a name that this
    machine does not have is an ImportError of this module). Releases the GIL.
    """

def hash_kernels() -> list[str]:
    """The kernels that this machine can run: "avx512", "sha-ni", and "crate" everywhere."""
