"""The data that is sent: made, kept in the page cache, and compared with what has arrived."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

import swarm

from .round import MIB
from .work import Work


@dataclass(frozen=True)
class Payload:
    """A torrent and its data: `root`, a file or a folder, in a folder of its own."""

    root: Path
    torrent: Path
    files: tuple[Path, ...]
    """Their paths below the folder that `root` is in."""

    @classmethod
    def make(cls, work: Work, folder: Path, *trackers: str) -> Payload:
        """Writes random bytes and a v1 torrent of them into `folder`; the same for the same seed."""
        root = folder / "source" / "payload"
        names = ["payload"]
        if work.files > 1:
            names = [f"payload/{n // 100:04}/{n:06}.bin" for n in range(work.files)]
        rng = random.Random(work.seed)
        left = work.size
        for n, name in enumerate(names):
            path = folder / "source" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            length = left // (len(names) - n)
            left -= length
            with open(path, "wb") as sink:
                for rest in range(length, 0, -MIB):
                    sink.write(rng.randbytes(min(rest, MIB)))
        made = swarm.Metainfo.create(root, trackers=trackers, piece_length=work.piece_length)
        torrent = folder / "payload.torrent"
        torrent.write_bytes(asyncio.run(made).to_bytes())
        return cls(root, torrent, tuple(Path(name) for name in names))

    @property
    def folder(self) -> Path:
        """What a seeder is told that the data is in."""
        return self.root.parent

    def refresh(self) -> None:
        """Brings all of it into the page cache."""
        for name in self.files:
            with open(self.folder / name, "rb") as source:
                while source.read(MIB):
                    pass

    def difference(self, folder: Path) -> str | None:
        """In one sentence what is not the same in `folder`, compared byte for byte, or None."""
        for name in self.files:
            try:
                if not _same(self.folder / name, folder / name):
                    return f"{name} has other bytes than were sent"
            except FileNotFoundError:
                return f"{name} is missing"
        return None


def warm(folder: Path, size: int) -> None:
    """Makes the hypervisor hand out the memory that a round needs, so that no round pays for it.

    Memory that a virtual machine has not touched lately comes page by page, at the cost of whoever is
    first. `size` bytes are written and deleted, as far as memory and disk have them.
    """
    size = min(size, _free_memory() // 2, shutil.disk_usage(folder).free // 2)
    block, path = os.urandom(MIB), folder / "warm"
    with open(path, "wb") as sink:
        for _ in range(size // MIB):
            sink.write(block)
    path.unlink()


def _free_memory() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if "MemAvailable" in line)


def _same(one: Path, other: Path) -> bool:
    if one.stat().st_size != other.stat().st_size:
        return False
    with open(one, "rb", buffering=0) as a, open(other, "rb", buffering=0) as b:
        while block := a.read(MIB):
            if block != b.read(MIB):
                return False
    return True
