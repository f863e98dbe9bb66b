"""What is sent in tests: trees of files that clients are known to get wrong, and how to compare."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from pathlib import Path

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True)
class Payload:
    """A torrent and the data it describes: `root`, a file or a folder, in a folder of its own."""

    root: Path
    torrent: Path
    digests: dict[str, str]

    @property
    def length(self) -> int:
        """Bytes of all files together."""
        return sum(path.stat().st_size for path in files(self.root))

    @property
    def empty(self) -> set[str]:
        """The names of the files without a byte."""
        return {name for name, digest in self.digests.items() if digest == EMPTY}


EMPTY = hashlib.sha256().hexdigest()


def hard_folder(parent: Path, *, piece_length: int = 256 * KIB, size: int = 16 * MIB) -> Path:
    """A folder of about `size` bytes; always the same bytes. Its last piece is one byte long.

    It has an empty file, a file of one byte, several files in one piece, a file over many pieces, a
    name in decomposed Unicode, one that is not ASCII at all, and a deep path.
    """
    lengths = {
        "one byte": 1,
        "empty": 0,
        "shared/a": 5_000,
        "shared/b": 70_000,
        "shared/c.txt": 9_999,
        "cafe\u0301/re\u0301sume\u0301.txt": 3_000,
        "\u30c7\u30fc\u30bf \U0001f41d.bin": 4_097,
        "/".join(f"level {n}" for n in range(12)) + "/deep": 300_000,
        "long.bin": size,
    }
    lengths["zz last"] = (1 - sum(lengths.values())) % piece_length
    return _write(parent / "hard folder", lengths)


def single_file(parent: Path, *, size: int = 6 * MIB + 1) -> Path:
    """A file of `size` bytes, always the same ones, by itself in `parent`."""
    _write(parent, {"single.bin": size})
    return parent / "single.bin"


def _write(root: Path, lengths: dict[str, int]) -> Path:
    rng = random.Random(20)
    for name, length in lengths.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rng.randbytes(length))
    return root


def files(root: Path) -> list[Path]:
    """Every file of a tree, or the file itself."""
    return [root] if root.is_file() else [path for path in root.rglob("*") if path.is_file()]


def digests(root: Path) -> dict[str, str]:
    """SHA-256 of every file, by its path from the parent of `root`."""
    found = {}
    for path in files(root):
        with open(path, "rb") as source:
            digest = hashlib.file_digest(source, "sha256").hexdigest()
        found[path.relative_to(root.parent).as_posix()] = digest
    return found
