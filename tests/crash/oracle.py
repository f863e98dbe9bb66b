"""Knows what is right: the bytes of the torrents, and which claims about them are false."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field
from pathlib import Path

import swarm
from swarm.store.resume import Resume, ResumeFile

MIB = 1 << 20
SIZES = {
    "a": 4 * MIB + 4321,
    "b/one": 3 * MIB,
    "b/two": 9,
    "b/c/three": 3 * MIB + 77_777,
    "b/c/empty": 0,
    "z": 2 * MIB - 4321,
}
"""Bytes of each file: ends that are not those of pieces, folders in folders, one file that is empty."""


@dataclass
class Source:
    """The bytes, and a torrent of them for each piece length."""

    seed: int
    folder: Path
    data: bytes = field(init=False, repr=False)
    torrents: dict[int, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.data = random.Random(self.seed).randbytes(sum(SIZES.values()))
        at = 0
        for name, size in SIZES.items():
            path = self.folder / "t" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.data[at : at + size])
            at += size

    def torrent(self, piece_length: int) -> Path:
        """A torrent file. Each piece length makes another torrent of the same bytes."""
        cuts = range(0, len(self.data), piece_length)
        hashes = [hashlib.sha1(self.data[at : at + piece_length]).digest() for at in cuts]
        meta = swarm.Metainfo.build(
            name="t",
            files=[(tuple(name.split("/")), size) for name, size in SIZES.items()],
            single_file=False,
            piece_length=piece_length,
            piece_hashes=b"".join(hashes),
        )
        path = self.folder / f"{piece_length}.torrent"
        path.write_bytes(meta.to_bytes())
        self.torrents[piece_length] = path
        return path


@dataclass
class Place:
    """One download's folders, and what can be told of them from outside."""

    source: Source
    piece_length: int
    dest: Path
    state: Path

    def __post_init__(self) -> None:
        self.meta = swarm.Metainfo.load(self.source.torrents[self.piece_length])

    def right(self) -> set[int]:
        """Pieces whose bytes are on the disk, under whatever name a file has until it is complete."""
        view = memoryview(self.source.data)
        length = self.piece_length
        good = bytearray(b"\1" * self.meta.piece_count)
        for file in self.meta.files:
            path = self.dest.joinpath(*file.path)
            if not path.exists():
                path = path.with_name(path.name + ".part")
            here = path.read_bytes() if path.exists() else b""
            wanted = view[file.offset : file.offset + file.length]
            if here == wanted:
                continue
            first = file.offset // length
            for piece in range(first, -(-(file.offset + file.length) // length)):
                start = max(piece * length - file.offset, 0)
                end = min((piece + 1) * length - file.offset, file.length)
                if here[start:end] != wanted[start:end]:
                    good[piece] = 0
        return {piece for piece, right in enumerate(good) if right}

    def resume(self) -> Resume | None:
        """The resume file as the next start would find it."""
        infohash = self.meta.infohash.v1
        assert infohash is not None
        for path in self.state.rglob("*.resume"):
            return ResumeFile(path.parent, infohash).load().resume
        return None

    def claimed(self) -> set[int]:
        """Pieces that the resume file says are on the disk."""
        resume = self.resume()
        return pieces_of(resume.bitfield) if resume is not None else set()

    def misnamed(self) -> list[str]:
        """Files with their final name, which says that they are complete, that are not."""
        wrong = []
        for file in self.meta.files:
            path = self.dest.joinpath(*file.path)
            end = file.offset + file.length
            if path.exists() and path.read_bytes() != self.source.data[file.offset : end]:
                wrong.append("/".join(file.path))
        return wrong

    def size(self, pieces: set[int]) -> int:
        """Their bytes."""
        return sum(self.meta.piece_size(piece) for piece in pieces)


def pieces_of(bitfield: bytes) -> set[int]:
    """The pieces of a bitfield in wire order."""
    return {
        at * 8 + bit for at, byte in enumerate(bitfield) for bit in range(8) if byte & 0x80 >> bit
    }
