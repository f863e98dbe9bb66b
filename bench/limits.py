"""How exact rate limits are, and what they cost: swarm beside libtorrent, a seeder and a leecher over veth.

The leecher's download or the seeder's upload is limited, for the session or the torrent. What is measured
is what comes in through the leecher's interface, headers included (about 0.5 % here), from `SETTLED`
seconds after it began: over all of it, in the worst of all seconds, and the CPU of the limited process.
Needs root on Linux, and libtorrent.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import swarm
from swarm.bench.clients import Client
from swarm.bench.clients.libtorrent import TUNED, Libtorrent
from swarm.bench.clients.swarm import Swarm
from swarm.bench.host import Host
from swarm.bench.network import Network, missing
from swarm.bench.tracker import Tracker
from swarm.units import format_size, parse_rate

MIB = 1024 * 1024
ROOT = Path(__file__).resolve().parents[1]
RATES = ["100KiB", "5MiB", "100MiB"]
INTERVAL = 0.02
"""Seconds between two readings of the leecher's interface."""
SETTLED = 3.0


class LimitedSwarm(Swarm):
    """swarm with what `turn` was told."""

    @classmethod
    def turn(cls, direction: str, scope: str, rate: int | None) -> None:
        limit = {} if rate is None else {f"{direction}load_limit": rate}
        cls.settings = {"torrent": limit} if scope == "torrent" else limit


class LimitedLibtorrent(Libtorrent):
    """libtorrent with what `turn` was told."""

    limit: ClassVar[dict[str, object]] = {}

    @classmethod
    def turn(cls, direction: str, scope: str, rate: int | None) -> None:
        limit = {} if rate is None else {f"{direction}load_limit": rate}
        whole = {f"{direction}load_rate_limit": rate or 0}
        cls.limit = {"torrent": limit} if scope == "torrent" else dict(whole)

    def command(self, role: str, torrent: Path) -> list[str]:
        tuned, limited = json.dumps(TUNED), json.dumps(TUNED | self.limit)
        return [limited if part == tuned else part for part in super().command(role, torrent)]


Limited = type[LimitedSwarm] | type[LimitedLibtorrent]
CLIENTS: dict[str, Limited] = {"swarm": LimitedSwarm, "libtorrent": LimitedLibtorrent}


@dataclass(frozen=True)
class Round:
    """One transfer under a limit. Rates are shares of the limit; CPU in seconds a second."""

    client: str
    direction: str
    scope: str
    limit: int
    mean: float
    lowest: float
    highest: float
    cpu: float

    def __str__(self) -> str:
        what = f"{self.client:11} {self.direction:5} {self.scope:8} {format_size(self.limit):>10}/s"
        worst = f"a second {self.lowest:7.1%} to {self.highest:7.1%}"
        return f"{what}  mean {self.mean:7.2%}  {worst}  CPU {self.cpu:6.2%}"


class Meter:
    """Follows what comes in through a host's interface."""

    def __init__(self, host: Host) -> None:
        self._source = host.inside(lambda: open("/proc/thread-self/net/dev"))  # noqa: SIM115
        self.seen: list[tuple[float, int]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()

    def _follow(self) -> None:
        while not self._over.wait(INTERVAL):
            self._source.seek(0)
            line = next(line for line in self._source if line.strip().startswith("eth0:"))
            self.seen.append((time.monotonic(), int(line.split(":")[1].split()[0])))

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self._source.close()

    def rates(self, since: float, until: float, width: float) -> list[float]:
        """Bytes/s of each stretch of `width` seconds."""
        seen = [(at, count) for at, count in self.seen if since <= at <= until]
        rates, last = [], 0
        for at, count in seen:
            while last < len(seen) and seen[last][0] < at + width:
                last += 1
            if last == len(seen):
                return rates
            rates.append((seen[last][1] - count) / (seen[last][0] - at))
        return rates


def measure(
    kind: Limited, direction: str, scope: str, rate: int, seconds: float, data: Path, scratch: Path,
    network: Network, file: Path,
) -> Round:  # fmt: skip
    """One transfer, cut off when it was measured. RuntimeError if nothing comes."""
    seeding, leeching = network.hosts
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    tracker = Tracker(seeding.listen(6969))
    meter = Meter(leeching)
    kind.turn(direction, scope, rate if direction == "up" else None)
    seeder: Client = kind(seeding, scratch / "seeder", data=data)
    leecher: Client = kind(leeching, scratch / "leecher")
    try:
        with seeder, leecher:
            seeder.seed(file)
            if not tracker.wait(seeding.address, "*", 30):
                raise RuntimeError(f"{kind.name} does not seed:\n{seeder.running.tail()}")
            kind.turn(direction, scope, rate if direction == "down" else None)
            leecher.leech(file)
            if not tracker.wait(leeching.address, "*", 30):
                raise RuntimeError(f"{kind.name} does not leech:\n{leecher.running.tail()}")
            limited = seeder if direction == "up" else leecher
            time.sleep(SETTLED)
            since, before = time.monotonic(), limited.usage().cpu
            time.sleep(seconds + 0.2)
            cpu, until = limited.usage().cpu - before, time.monotonic()
    finally:
        tracker.close()
        meter.close()
        shutil.rmtree(scratch, ignore_errors=True)
    mean = meter.rates(since, until, seconds)[0]
    each = meter.rates(since, until, 1.0)
    low, high = min(each) / rate, max(each) / rate
    return Round(kind.name, direction, scope, rate, mean / rate, low, high, cpu / (seconds + 0.2))


def payload(folder: Path, size: int) -> Path:
    """A file of random bytes that is kept for the next run."""
    path = folder / "source" / f"limits-{size}"
    if not path.exists() or path.stat().st_size != size:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as sink:
            for _ in range(0, size, MIB):
                sink.write(os.urandom(MIB))
    return path


def main() -> int:
    """Runs what the command line asks for; its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rate", action="append", help=f"repeatable ({' '.join(RATES)})")
    parser.add_argument("--direction", action="append", choices=["down", "up"])
    parser.add_argument("--scope", action="append", choices=["session", "torrent"])
    parser.add_argument("--only", action="append", choices=CLIENTS, help="repeatable")
    parser.add_argument("--seconds", type=float, default=10.0, help="of one measurement (10)")
    parser.add_argument("--dir", type=Path, default=ROOT / "build" / "bench",
                        help="where the data goes: a folder on a real disk")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rounds there")
    options = parser.parse_args()
    kinds = [CLIENTS[name] for name in options.only or CLIENTS]
    for problem in (missing(), *(kind.missing() for kind in kinds)):
        if problem:
            print(f"cannot run: {problem}", file=sys.stderr)
            return 2
    rates = [parse_rate(text) for text in options.rate or RATES]
    folder: Path = options.dir.resolve()
    size = int(max(rates) * (SETTLED + options.seconds + 2) // MIB + 1) * MIB
    source = payload(folder, size)
    rounds: list[Round] = []
    with Network(2) as network:
        url = f"http://{network.hosts[0].address}:6969/announce"
        made = swarm.Metainfo.create(source, trackers=[url], piece_length=MIB)
        file = folder / "limits.torrent"
        file.write_bytes(asyncio.run(made).to_bytes())
        for rate in rates:
            for direction in options.direction or ["down", "up"]:
                for scope in options.scope or ["session", "torrent"]:
                    for kind in kinds:
                        where = source.parent, folder / "round"
                        done = measure(
                            kind, direction, scope, rate, options.seconds, *where, network, file
                        )
                        rounds.append(done)
                        print(done, flush=True)
    if options.json:
        options.json.write_text(json.dumps([asdict(done) for done in rounds], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
