"""Shapes of swarms, swarm beside libtorrent: `python bench/swarms.py [SHAPE ...]`.

Up to eight clients are as many processes, each on a host of its own on a bridge (`swarm.bench`). Where one side
is hundreds, that is one light process (`load.py`), the same for every client, and only the client in the middle
is weighed, from the moment it is dialled. Rounds are interleaved, memory is warmed, files are compared byte for
byte. The spread is how far the furthest of the leechers is from their mean; stalls are of swarm's loop
(`watched.py`). Needs root on Linux, and libtorrent.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from swarm.bench.clients import PORT, Client, Libtorrent, Swarm
from swarm.bench.clients.libtorrent import TUNED
from swarm.bench.network import Network, missing
from swarm.bench.payload import Payload, warm
from swarm.bench.process import Process
from swarm.bench.round import GIB, MIB, Failure
from swarm.bench.run import measure
from swarm.bench.tracker import Tracker
from swarm.bench.work import Work

ROOT = Path(__file__).resolve().parents[1]
LOAD = Path(__file__).with_name("load.py")
WATCHED = Path(__file__).with_name("watched.py")
COLUMNS = ["MiB/s", "down CPU", "up CPU", "down MiB", "up MiB", "spread %", "stall ms", "by CPU"]
"""CPU in seconds per GiB, memory the highest of any one, stalls by the wall and by the thread's CPU time."""


class Watched(Swarm):
    """swarm, telling how long its loop was away."""

    settings: ClassVar[dict[str, Any]] = {"max_peers": 1000, "max_peers_per_torrent": 1000}

    def command(self, role: str, torrent: Path) -> list[str]:
        python, flag, *rest = super().command(role, torrent)
        return [python, flag, str(WATCHED), *rest]


class Crowded(Libtorrent):
    """libtorrent, with as much room."""

    tuned: ClassVar[dict[str, Any]] = {
        **TUNED,
        "connections_limit": 1000,
        "listen_queue_size": 1024,
    }


CLIENTS: dict[str, type[Client]] = {"swarm": Watched, "libtorrent": Crowded}


@dataclass(frozen=True)
class Crowd:
    """One client amid `many` peers, of which `active` trade: seeds, or leechers that want `take` bytes each."""

    role: str
    many: int
    size: int
    active: int | None = None
    take: int | None = None
    depth: int = 64

    def options(self) -> list[str]:
        """For load.py."""
        options = ["--depth", str(self.depth)]
        for name in ("active", "take"):
            if (value := getattr(self, name)) is not None:
                options += [f"--{name}", str(value)]
        return options


FEW: dict[str, dict[str, Any]] = {
    "1-8": {"seeders": 1, "leechers": 8, "mesh": False, "size": 256 * MIB},
    "8-1": {"seeders": 8, "leechers": 1, "size": GIB},
    "mesh-8": {"seeders": 1, "leechers": 8, "size": 256 * MIB},
}
MANY = {
    "200-1": Crowd("seed", 200, GIB),
    "1-50": Crowd("leech", 50, 64 * MIB),
    "5-of-500-1": Crowd("seed", 500, GIB, active=5),
    "1-5-of-500": Crowd("leech", 500, 256 * MIB, active=5),
    "1-500": Crowd("leech", 500, 64 * MIB, take=8 * MIB, depth=32),
}


@dataclass(frozen=True)
class Result:
    """What one round took, in the order of `COLUMNS`."""

    client: str
    row: list[float]


def spread(values: list[float]) -> float:
    """How far the furthest is from the mean, in per cent."""
    mean = statistics.fmean(values)
    return 100 * max(max(values) - mean, mean - min(values)) / mean if mean else 0.0


def few(title: str, names: list[str], piece: int, rounds: int, folder: Path) -> Iterator[Result]:
    """Rounds of separate processes."""
    work = Work(where="namespaces", piece_length=piece, **FEW[title])
    for done in measure(work, [CLIENTS[name] for name in names], rounds, folder=folder):
        if isinstance(done, Failure):
            raise RuntimeError(f"{done.client}: {done.reason}")
        rss = [done.leechers.peak_rss / MIB, done.seeders.peak_rss / MIB]
        cpu = [done.leecher_cpu, done.seeder_cpu]
        row = [done.rate / MIB, *cpu, *rss, spread(list(done.finished)), 0.0, 0.0]
        yield Result(done.client, row)


def many(title: str, names: list[str], piece: int, rounds: int, folder: Path) -> Iterator[Result]:
    """Rounds of one client amid a crowd."""
    crowd = MANY[title]
    work = Work(where="namespaces", piece_length=piece, size=crowd.size)
    with (
        tempfile.TemporaryDirectory(prefix="swarms-", dir=folder) as scratch,
        Network(2) as network,
    ):
        listener = network.hosts[0].listen()
        address, port = listener.getsockname()
        payload = Payload.make(work, Path(scratch), f"http://{address}:{port}/announce")
        for n in range(rounds):
            for name in names:
                where = Path(scratch, f"{name}-{n}")
                where.mkdir()
                tracker = Tracker(listener.dup())
                try:
                    yield weigh(CLIENTS[name], crowd, payload, network, tracker, where)
                finally:
                    tracker.close()


def weigh(
    kind: type[Client],
    crowd: Crowd,
    payload: Payload,
    network: Network,
    tracker: Tracker,
    folder: Path,
) -> Result:
    """One round of one client. RuntimeError if it fails, or if what arrives differs."""
    around, middle = network.hosts
    seeding = crowd.role == "leech"
    payload.refresh()
    if not seeding:
        warm(folder, 2 * crowd.size)
    client = kind(middle, folder, data=payload.folder if seeding else None)
    where = [str(payload.torrent), str(payload.root), middle.address, str(PORT), str(crowd.many)]
    command = [sys.executable, str(LOAD), crowd.role, *where, *crowd.options()]
    load = Process(around.command(*command), folder / "load.log", cwd=folder)
    try:
        with client:
            _until(lambda: "ready" in load.tail(), 30, load)
            begin = client.seed if seeding else client.leech
            begin(payload.torrent)
            if not tracker.wait(middle.address, "*", 30):
                raise RuntimeError(f"{kind.name} does not start:\n{client.running.tail()}")
            time.sleep(0.3)  # what it does to start is over
            if isinstance(client, Watched):
                os.kill(client.running.pid, signal.SIGUSR1)
            before, started = client.usage(), time.monotonic()
            os.kill(load.pid, signal.SIGUSR1)
            if seeding:
                load.wait(120)
                seconds = 0.0
            else:
                done = tracker.wait(middle.address, "completed", 120)
                if not done:
                    raise RuntimeError(f"{kind.name} does not finish:\n{client.running.tail()}")
                seconds = done.at - started
            after = client.usage()
            load.stop()
            client.stop()
    finally:
        load.kill()
    found = json.loads(load.tail(200_000).splitlines()[-1])
    if "bytes" not in found:
        raise RuntimeError(f"the load has failed:\n{load.tail()}")
    if not seeding and (difference := payload.difference(client.data)):
        raise RuntimeError(f"{kind.name}: {difference}")
    size = sum(found["bytes"]) if seeding else crowd.size
    fair = spread(found["finished"]) if seeding else 0.0
    seconds = found["seconds"] if seeding else seconds
    cpu, rss = (after.cpu - before.cpu) * GIB / size, after.peak_rss / MIB
    both = [0.0, cpu, 0.0, rss] if seeding else [cpu, 0.0, rss, 0.0]
    if seeding and found["dropped"]:
        print(f"{kind.name} has hung up {found['dropped']} times")
    return Result(kind.name, [size / MIB / seconds, *both, fair, *_stalls(client.running.tail())])


def _stalls(log: str) -> list[float]:
    for text in log.splitlines():
        if text.startswith('{"stalls"'):
            stalls = json.loads(text)["stalls"]
            return [stalls["wall"][0], stalls["cpu"][0]]
    return [0.0, 0.0]


def _until(true: Callable[[], bool], timeout: float, process: Process) -> None:
    deadline = time.monotonic() + timeout
    while not true():
        if time.monotonic() > deadline or process.exit_code is not None:
            raise RuntimeError(f"the load does not start:\n{process.tail()}")
        time.sleep(0.01)


def line(title: str, values: list[float]) -> None:
    """Prints one row of the table."""
    cells = (f"{value:.1f}" if value >= 20 else f"{value:.2f}" for value in values)
    print(f"{title:24}" + "".join(f"{cell:>10}" for cell in cells), flush=True)


def main() -> int:
    """Runs what the command line asks for; its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("shapes", nargs="*", metavar="SHAPE", help=", ".join([*FEW, *MANY]))
    parser.add_argument("--piece", type=int, default=1024, help="length of a piece in KiB (1024)")
    parser.add_argument("--rounds", type=int, default=2, help="of each client (2)")
    parser.add_argument("--only", action="append", choices=CLIENTS)
    parser.add_argument("--settings", type=json.loads, default={}, help="of swarm, as JSON")
    parser.add_argument("--dir", type=Path, default=ROOT / "build" / "bench",
                        help="where the data goes: a folder on a real disk")  # fmt: skip
    options = parser.parse_args()
    if problem := missing():
        print(f"cannot run: {problem}", file=sys.stderr)
        return 2
    Watched.settings |= options.settings
    names = options.only or list(CLIENTS)
    options.dir.mkdir(parents=True, exist_ok=True)
    for title in options.shapes or [*FEW, *MANY]:
        print(f"{title:24}" + "".join(f"{column:>10}" for column in COLUMNS), flush=True)
        run = few if title in FEW else many
        results = []
        for result in run(title, names, options.piece * 1024, options.rounds, options.dir):
            results.append(result)
            line(result.client, result.row)
        for name in names if options.rounds > 1 else []:
            rows = [result.row for result in results if result.client == name]
            line(f"{name}, median", [statistics.median(each) for each in zip(*rows, strict=True)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
