"""Runs downloads, ends them in a given way, and looks at what they leave behind."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from errno import EIO
from pathlib import Path
from typing import Any, Self

from faults import FaultyDisk

from .lines import Lines
from .oracle import Place, Source, pieces_of

TESTS = Path(__file__).resolve().parents[1]
PIECE_LENGTHS = (32 << 10, 128 << 10, 2 << 20)
"""The last has parts: what is written before the piece is whole is not verified yet."""
MEMORY = 2 << 20
"""Bytes of slots: no more than this can be in flight when the end comes."""
PATIENCE = 60.0
"""Seconds until a download that does nothing any more is a failure."""
ENDS = ("kill", "moment", "cut", "cut-moment", "hang", "error")
"""SIGKILL at a random time, or at a named request; the power goes, likewise; SIGKILL while a write or
fsync hangs; SIGKILL after one failed."""
MOMENTS = ("change", "change", "write", "fsync", "fsync", "rename", "create", "link", "unlink")
"""Requests to be ended at: any that changes the disk, or the n-th of a kind."""


@dataclass
class Tally:
    """What was seen. Sizes in bytes, times in seconds."""

    kills: dict[str, int] = field(default_factory=dict)
    restarts: int = 0
    completed: int = 0
    false_claims: list[str] = field(default_factory=list)
    again: dict[str, list[int]] = field(default_factory=dict)
    """Bytes that were fetched and not there at the next start, for each way to end."""
    rehash: list[float] = field(default_factory=list)

    @property
    def count(self) -> int:
        return sum(self.kills.values())


class Harness:
    """One seeder, one source of downloads, one faulty disk; everything by chance, from one seed."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.rng = random.Random(seed)
        self.tally = Tally()
        self.place: Place
        self._source = Source(seed, folder / "source")
        for length in PIECE_LENGTHS:
            self._source.torrent(length)
        self._disk = FaultyDisk(folder / "faulty")
        self._moments: dict[str, int] = {}  # requests of each kind that a download takes
        self._full = 0.0  # seconds of one
        self._settings: dict[str, Any] = {}
        self._armed: dict[str, Any] = {}  # what was ordered for this run
        self._dark = False  # the power is off
        self._right: set[int] = set()  # pieces on the disk when the last process had ended
        self._sent = 0  # bytes of the seeder, in all
        self._had = 0  # bytes that were believed when a process last said so
        self._fetched = 0  # bytes of the seeder since
        self._ends: list[str] = []  # how processes have ended since

    def __enter__(self) -> Self:
        torrents = self._source.torrents.values()
        self._seeder = self._start("seeder", self.folder / "seeder", self._source.folder, *torrents)
        assert self._seeder.stdout is not None
        self._port = int(self._seeder.stdout.readline())
        self._downloader = self._start("downloader")
        assert self._downloader.stdout is not None
        self._lines = Lines(self._downloader.stdout)
        self._disk.__enter__()
        self._measure()
        return self

    def __exit__(self, *exc: object) -> None:
        self._disk.__exit__()
        for process in (self._downloader, self._seeder):
            process.kill()
            process.communicate()

    @staticmethod
    def _start(module: str, *arguments: object) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", f"crash.{module}", *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": f"{TESTS}:{TESTS.parent}"},
            cwd=TESTS,
        )

    def _measure(self) -> None:
        """How long an undisturbed download takes, in seconds and in requests."""
        before = self._disk.counts()
        self.cycle("moment", 0)
        for kind, count in self._disk.counts().items():
            self._moments[kind] = count - before.get(kind, 0)
        self._moments["change"] = sum(self._moments.get(kind, 0) for kind in set(MOMENTS))

    # ------------------------------------------------------------ one download

    def cycle(self, end: str, kills: int) -> None:
        """A download from nothing to the end, which is ended `kills` times on the way."""
        if end == "kill":
            root = self.folder / "plain"
            shutil.rmtree(root, ignore_errors=True)
        else:
            root = self._disk.folder
            self._disk.wipe()
        length = self.rng.choice(PIECE_LENGTHS)
        self.place = Place(self._source, length, root / "to/data", root / "state")
        self._right, self._had, self._fetched, self._ends = set(), 0, 0, []
        self._settings = {
            "memory": MEMORY,
            "resume_interval": self.rng.choice([0.02, 0.1, 1.0]),
            "direct": self.rng.choice(["auto", "always", "never"]),
        }
        for _ in range(kills):
            if self._run(end):
                break
        if not self._run(None):
            raise RuntimeError("a download that nobody disturbed was not completed")
        if end != "kill":
            self._disk.cut()
            self._disk.boot()
            self._look("done")
        if missing := set(range(self.place.meta.piece_count)) - self._right:
            self._false(f"a complete download is not complete: {sorted(missing)[:9]}")
        self.tally.completed += 1

    def _run(self, end: str | None) -> bool:
        """One process, from its start to its end. Whether it has completed the download."""
        rule = self._arm(end)
        self._order()
        said = self._expect("pid")
        child = os.pidfd_open(said["pid"])
        self.tally.restarts += 1
        begun = time.monotonic()
        give_up = begun + PATIENCE
        due = begun + self.rng.uniform(0.0, self._full) if end in ("kill", "cut") else give_up
        watched = end in ("hang", "error")
        done = False
        while "exit" not in said:
            now = time.monotonic()
            if now >= give_up:
                raise RuntimeError(f"nothing happens any more ({end})")
            if now >= due:
                self._strike(end, child)
                due, watched = give_up, False
            elif watched and self._disk.fired(rule):
                due, watched = now + self.rng.uniform(0.0, 0.05), False
            said = self._lines.next(0.005 if watched else due - now) or {}
            if "have" in said:
                self._started(said)
            if "failed" in said and end is None:
                raise RuntimeError(said["failed"])
            if "done" in said:
                done = True
                if not self._full:
                    self._full = time.monotonic() - begun
        os.close(child)
        if end is not None and said["exit"] != 0:
            self.tally.kills[end] = self.tally.kills.get(end, 0) + 1
            self._ends.append(end)
        self._after(end)
        return done and said["exit"] == 0

    def _order(self) -> None:
        place = self.place
        order = {
            "torrent": str(self._source.torrents[place.piece_length]),
            "dest": str(place.dest),
            "state": str(place.state),
            "port": self._port,
            "settings": self._settings,
        }
        assert self._downloader.stdin is not None
        self._downloader.stdin.write(json.dumps(order).encode() + b"\n")
        self._downloader.stdin.flush()

    def _expect(self, key: str) -> dict[str, Any]:
        said = self._lines.next(PATIENCE)
        if said is None or key not in said:
            raise RuntimeError(f"expected {key}, not {said}")
        return said

    # ------------------------------------------------------------ ways to end

    def _arm(self, end: str | None) -> int:
        """Orders what is to happen at a request. The number of the rule, or -1."""
        self._armed = {}
        if end in (None, "kill", "cut"):
            return -1
        kind = self.rng.choice(("write", "fsync") if end in ("hang", "error") else MOMENTS)
        facts: dict[str, Any] = {
            "skip": self.rng.randrange(max(1, self._moments.get(kind, 1))),
            "after": self.rng.random() < 0.5,
        }
        match end:
            case "moment":
                facts["kill"] = True
            case "cut-moment":
                facts |= {"cut": True, "torn": self._torn()}
            case "hang":
                facts["hang"] = True
            case "error":
                facts |= {"errno": EIO, "lose": kind == "fsync"}
        self._armed = {"op": kind, **facts}
        return self._disk.fault(kind, **facts)

    def _torn(self) -> int | None:
        return self.rng.choice([None, self.rng.getrandbits(32)])

    def _strike(self, end: str | None, child: int) -> None:
        """Now: the power goes, and the process with it."""
        if end == "cut" or (end in ("hang", "error") and self.rng.random() < 0.5):
            self._armed["torn"] = torn = self._torn()
            self._disk.cut(torn)
            self._dark = True
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(child, signal.SIGKILL)

    def _after(self, end: str | None) -> None:
        """What the next process is going to find: without a power cut, the page cache as it was."""
        if self._dark or end == "cut-moment":
            self._disk.boot()
        elif end not in (None, "kill"):
            self._disk.heal()
        self._dark = False
        self._fetched += self._seeder_sent()
        self._look(end or "done")

    # ------------------------------------------------------------ what is left, and what is believed of it

    def _look(self, end: str) -> None:
        self._right = self.place.right()
        if false := self.place.claimed() - self._right:
            self._false(
                f"claimed after {end}: {sorted(false)[:9]} of {self.place.meta.piece_count}"
            )

    def _started(self, said: dict[str, Any]) -> None:
        """A process says what it believes to have."""
        self.tally.rehash.append(said["seconds"])
        have = pieces_of(bytes.fromhex(said["have"]))
        if false := have - self._right:
            self._false(f"believed after {self._ends[-1:]}: {sorted(false)[:9]}")
        if said["state"] == "failed":
            return
        size = self.place.size(have)
        if self._ends:
            again = self._fetched - (size - self._had)
            self.tally.again.setdefault(self._ends[-1], []).append(again)
        self._had, self._fetched, self._ends = size, 0, []

    def _seeder_sent(self) -> int:
        """Bytes that the seeder has sent since it was last asked, once nobody is connected."""
        assert self._seeder.stdin is not None
        assert self._seeder.stdout is not None
        self._seeder.stdin.write(b"\n")
        self._seeder.stdin.flush()
        sent, self._sent = self._sent, int(self._seeder.stdout.readline())
        return self._sent - sent

    def _false(self, what: str) -> None:
        settings = f"{self.place.piece_length >> 10} KiB pieces, {self._settings}, {self._armed}"
        self.tally.false_claims.append(f"kill {self.tally.count}: {what} ({settings})")
