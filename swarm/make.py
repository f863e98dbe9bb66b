"""Making torrents: the length of their pieces, and their hashes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable

from ._native import Hashes, Progress, hash_files
from .errors import ConfigError, SourceError
from .proto.metainfo_build import Entry, Version, arrange
from .proto.metainfo_fields import DEFAULT_BUDGET
from .tree import Tree

KIB, MIB = 2**10, 2**20
SMALLEST_PIECE = 16 * KIB
LARGEST_PIECE = 512 * MIB
AUTO_PIECES = ((MIB, 128), (16 * MIB, 2048), (LARGEST_PIECE, DEFAULT_BUDGET.pieces))
"""Pieces stay shorter than the first number while they are not more than the second."""
ALIGNED_PIECES = 2**16
"""The most pieces, beside one for each file, that are worth it to have less padding."""
PROGRESS_INTERVAL = 0.1


def auto_piece_length(length: int) -> int:
    """How long the pieces of `length` bytes best are: a power of two, mostly 1 to 16 MiB.

    Up to 128 MiB there are 64 to 128 pieces, enough for many peers to trade. Then they are of 1 MiB,
    which is what disks and hashes like, up to 2,048 of them; then longer, so that the torrent file
    stays small; from 16 GiB on 16 MiB, as long as no more than the budget of pieces come of it.
    """
    size = SMALLEST_PIECE
    for largest, most in AUTO_PIECES:
        while size < largest and length > size * most:
            size *= 2
    return size


def aligned_piece_length(lengths: Iterable[int], size: int) -> int:
    """At most `size`, and less where files that begin with a piece would mostly be padding.

    In a hybrid each file does (BEP 52). Those who know no pad files (BEP 47) fetch and store them, and
    everybody hashes them. So they should be no more than a quarter of the content, unless that takes
    more than `ALIGNED_PIECES` and one for each file.
    """
    lengths = [length for length in lengths if length]
    content = sum(lengths)
    most = ALIGNED_PIECES + len(lengths)
    while (
        size > SMALLEST_PIECE
        and 4 * sum(-length % size for length in lengths) > content
        and sum(-(-length // (size // 2)) for length in lengths) <= most
    ):
        size //= 2
    return size


class Making:
    """A tree on its way to become a torrent. Raises `SourceError` and `ConfigError`."""

    def __init__(self, tree: Tree, piece_length: int | None, version: Version) -> None:
        self.tree = tree
        self.version = version
        self.length = tree.length
        if not self.length:
            raise SourceError(f"{tree.root}: there is nothing in it to share", str(tree.root))
        if piece_length is None:
            piece_length = auto_piece_length(self.length)
            if version == "hybrid" and len(tree.leaves) > 1:
                lengths = (leaf.length for leaf in tree.leaves)
                piece_length = aligned_piece_length(lengths, piece_length)
        if not SMALLEST_PIECE <= piece_length <= LARGEST_PIECE:
            raise ConfigError("a piece is between 16 KiB and 512 MiB long")
        if piece_length & (piece_length - 1):
            raise ConfigError("a piece length is a power of two")
        self.piece_length = piece_length
        entries = (Entry(leaf.path, leaf.length, leaf.attr, leaf.target) for leaf in tree.leaves)
        self.entries = arrange(entries, piece_length, version)
        count = -(-sum(entry.length for entry in self.entries) // piece_length)
        if count > DEFAULT_BUDGET.pieces:
            raise ConfigError(
                f"{count:,} pieces are more than {DEFAULT_BUDGET.pieces:,}: make them longer"
            )

    async def hash(self, progress: Callable[[int, int], object] | None) -> Hashes:
        """The hashes of everything, on all cores. `progress` counts bytes."""
        where = {leaf.path: leaf.where for leaf in self.tree.leaves if leaf.target is None}
        files = [
            ("" if "p" in entry.attr else where.get(entry.path, ""), entry.length)
            for entry in self.entries
        ]
        state = Progress()
        job = asyncio.ensure_future(asyncio.to_thread(self._hash, files, state))
        try:
            while not job.done():
                await asyncio.wait([job], timeout=PROGRESS_INTERVAL)
                if progress is not None:
                    progress(state.done, self.length)
            return job.result()
        finally:
            state.cancel()
            await asyncio.wait([job])  # the thread reads no file after we have returned
            if not job.cancelled():
                job.exception()

    def _hash(self, files: list[tuple[str, int]], state: Progress) -> Hashes:
        v1, v2 = self.version != "v2", self.version != "v1"
        threads = os.cpu_count() or 1
        try:
            hashes = hash_files(files, self.piece_length, threads, state, v1=v1, v2=v2)
        except OSError as error:
            name = error.filename or str(self.tree.root)
            raise SourceError(f"{name}: {error.strerror or error}", str(name)) from error
        self.tree.check_unchanged()
        return hashes
