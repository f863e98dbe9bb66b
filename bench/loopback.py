"""One seeder to one leecher over a veth pair: speed, CPU and memory of swarm beside libtorrent.

Rounds are interleaved; a round runs from the leecher's `started` to its `completed` announce. Needs
root on Linux, and libtorrent. See README.md beside this file for what is counted.
"""

from __future__ import annotations

import argparse
import asyncio
import filecmp
import json
import os
import platform
import shutil
import statistics
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import swarm
from swarm.bench.clients import FOREIGN, OURS, Client, Swarm, SwarmBuffered
from swarm.bench.network import Network, missing
from swarm.bench.process import Usage
from swarm.bench.tracker import Announce, Tracker

MIB = 1024 * 1024
GIB = 1024 * MIB
ROOT = Path(__file__).resolve().parents[1]
TRACKER_PORT = 6969
CLIENTS: dict[str, type[Client]] = {
    client.name: client for client in (*OURS, SwarmBuffered, *FOREIGN)
}
UNITS = {"k": 1024, "m": MIB, "g": GIB}


@dataclass(frozen=True)
class Round:
    """What one transfer took. Memory in MiB, CPU in seconds per GiB of payload."""

    client: str
    seconds: float
    speed: float
    leecher_cpu: float
    seeder_cpu: float
    leecher_rss: float
    seeder_rss: float
    leecher_start_cpu: float
    seeder_start_cpu: float
    """CPU-seconds (not per GiB), part of the above, until the leecher announced `started`."""


COLUMNS = {
    "speed": "MiB/s",
    "leecher_cpu": "leecher CPU-s/GiB",
    "seeder_cpu": "seeder CPU-s/GiB",
    "leecher_rss": "leecher peak MiB",
    "seeder_rss": "seeder peak MiB",
    "leecher_start_cpu": "leecher start-up",
    "seeder_start_cpu": "seeder start-up",
}


def warm(folder: Path, size: int) -> None:
    """Makes the hypervisor hand out the memory that a round needs, so that no round pays for it."""
    block, path = os.urandom(MIB), folder / "warm"
    with open(path, "wb") as sink:
        for _ in range(2 * size // MIB):
            sink.write(block)
    path.unlink()


def run(kind: type[Client], network: Network, source: Path, file: Path, scratch: Path) -> Round:
    """One transfer of `source` by the torrent `file` between two clients of one kind.

    RuntimeError if it fails, or if what arrives differs.
    """
    seeding, leeching = network.hosts
    size = sum(path.stat().st_size for path in files(source))
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    tracker = Tracker(seeding.listen(TRACKER_PORT))
    seeder = kind(seeding, scratch / "seeder", data=source.parent)
    leecher = kind(leeching, scratch / "leecher")
    weighed: dict[str, tuple[Usage, Usage]] = {}

    def weigh(announce: Announce) -> None:
        if announce.address == leeching.address and announce.event:
            weighed.setdefault(announce.event, (leecher.usage(), seeder.usage()))

    try:
        with seeder, leecher:
            os.sync()
            warm(scratch, size)
            seeder.seed(file)
            if not tracker.wait(seeding.address, "*", 30):
                raise RuntimeError(f"{kind.name} does not seed:\n{seeder.running.tail()}")
            tracker.heard = weigh
            leecher.leech(file)
            done = tracker.wait(leeching.address, "completed", 60 + size / MIB)
            start = tracker.find(leeching.address, "started")
            if not done or not start:
                raise RuntimeError(f"{kind.name} does not finish:\n{leecher.running.tail()}")
            leecher.stop()
            seeder.stop()
        if not same(source, leecher.data / source.name):
            raise RuntimeError(f"{kind.name} has written something else than it was sent")
    finally:
        tracker.close()
        shutil.rmtree(scratch, ignore_errors=True)
    down, up = weighed["completed"]
    seconds, share = done.at - start.at, GIB / size
    return Round(
        kind.name,
        seconds,
        size / MIB / seconds,
        down.cpu * share,
        up.cpu * share,
        down.peak_rss / MIB,
        up.peak_rss / MIB,
        *(start_up.cpu for start_up in weighed["started"]),
    )


def files(root: Path) -> list[Path]:
    """Every file of a tree, or the file itself."""
    return [root] if root.is_file() else [path for path in root.rglob("*") if path.is_file()]


def same(source: Path, result: Path) -> bool:
    """Whether two files, or folders, have the same bytes, and no file more or less."""
    names = [path.relative_to(source) for path in files(source)]
    found = {path.relative_to(result) for path in files(result)}
    return found == set(names) and all(
        filecmp.cmp(source / name, result / name, shallow=False) for name in names
    )


def payload(folder: Path, size: int, count: int) -> Path:
    """`size` random bytes in one file, or in `count` of them, a hundred to a folder.

    They are in the page cache, and kept for the next run.
    """
    root = folder / "source" / f"payload-{size}-{count}"
    if not root.exists():
        shutil.rmtree(begun := root.with_suffix(".begun"), ignore_errors=True)
        bounds = [size * n // count for n in range(count + 1)]
        for n in range(count):
            path = begun / f"{n // 100:04}" / f"{n:06}.bin" if count > 1 else begun
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "wb") as sink:
                for left in range(bounds[n + 1] - bounds[n], 0, -MIB):
                    sink.write(os.urandom(min(left, MIB)))
        begun.rename(root)
    for path in files(root):
        with open(path, "rb") as source:
            while source.read(MIB):
                pass
    return root


def show(rounds: list[Round], names: list[str]) -> None:
    """Prints the medians of each client, and the ratios of the first one to each other."""
    width = max(len(title) for title in COLUMNS.values()) + 2
    mine: dict[str, list[Round]] = {n: [r for r in rounds if r.client == n] for n in names}
    median = {
        name: {c: statistics.median(getattr(r, c) for r in mine[name]) for c in COLUMNS}
        for name in names
    }
    print()
    for name in names:
        line(f"{name}, median of {len(mine[name])}", [median[name][c] for c in COLUMNS], width)
    first = names[0]
    for other in names[1:]:
        ratios = [median[first][c] / median[other][c] for c in COLUMNS]
        line(f"{first} / {other}, medians", ratios, width)
        for n, (a, b) in enumerate(zip(mine[first], mine[other], strict=True), 1):
            ratios = [getattr(a, c) / getattr(b, c) for c in COLUMNS]
            line(f"{first} / {other}, pair {n}", ratios, width)


def line(title: str, values: list[float], width: int) -> None:
    """Prints one row of the table."""
    cells = (f"{value:.1f}" if value >= 20 else f"{value:.2f}" for value in values)
    print(f"{title:34}" + "".join(f"{cell:>{width}}" for cell in cells), flush=True)


def size_of(text: str) -> int:
    """Bytes of "1GiB", "256m", "64KiB" or "1000"."""
    digits = text.lower().removesuffix("b").removesuffix("i")
    factor = UNITS.get(digits[-1:], 1)
    return int(float(digits[:-1] if factor > 1 else digits) * factor)


def main() -> int:
    """Runs what the command line asks for; its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", type=size_of, default=GIB, help="of the payload (1GiB)")
    parser.add_argument("--piece", type=size_of, default=MIB, help="length of a piece (1MiB)")
    parser.add_argument("--files", type=int, default=1, help="that the payload is cut into (1)")
    parser.add_argument("--rounds", type=int, default=3, help="of each client (3)")
    parser.add_argument("--only", action="append", choices=CLIENTS, metavar="CLIENT",
                        help=f"repeatable: {', '.join(CLIENTS)}")  # fmt: skip
    parser.add_argument("--direct", choices=["auto", "always", "never"], default="auto",
                        help="when swarm writes past the page cache (auto)")  # fmt: skip
    parser.add_argument("--dir", type=Path, default=ROOT / "build" / "bench",
                        help="where the data goes: a folder on a real disk")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rounds there")
    options = parser.parse_args()
    names: list[str] = options.only or ["swarm", "libtorrent"]
    Swarm.settings = {"direct": options.direct}
    for problem in (missing(), *(CLIENTS[name].missing() for name in names)):
        if problem:
            print(f"cannot run: {problem}", file=sys.stderr)
            return 2

    folder: Path = options.dir.resolve()
    source = payload(folder, options.size, options.files)
    print(
        f"{options.size / MIB:g} MiB in {options.files} file(s), "
        f"pieces of {options.piece / 1024:g} KiB, veth between two namespaces, {os.cpu_count()} cores, "
        f"Linux {platform.release()}, data in {folder}"
    )
    width = max(len(title) for title in COLUMNS.values()) + 2
    print(" " * 34 + "".join(f"{title:>{width}}" for title in COLUMNS.values()))
    rounds: list[Round] = []
    file = folder / "payload.torrent"
    with Network(2) as network:
        url = f"http://{network.hosts[0].address}:{TRACKER_PORT}/announce"
        made = swarm.Metainfo.create(source, trackers=[url], piece_length=options.piece)
        file.write_bytes(asyncio.run(made).to_bytes())
        for n in range(1, options.rounds + 1):
            for name in names:
                done = run(CLIENTS[name], network, source, file, folder / "round")
                rounds.append(done)
                line(f"{n}: {name}", [getattr(done, c) for c in COLUMNS], width)
    show(rounds, names)
    if options.json:
        options.json.write_text(json.dumps([asdict(done) for done in rounds], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
