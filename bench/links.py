"""Links with delay, loss or a rate, and peers that are slow: swarm and libtorrent beside what is possible.

What one TCP stream reaches is measured on the same link, in the same round, by a sender and a receiver
that do nothing else, with the buffers that the system gives everybody. A rate is the mean from `SETTLED`
seconds after the first block until all but the tail is here; the ramp is over when `RAMP_WINDOW` seconds
went at 90 % of that.

Where there are several seeders, each with a rate of its own, the whole time is compared with that in which
all of them could send the payload. What was wasted is what swarm says itself. Needs root on Linux, and
libtorrent.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import re
import shutil
import statistics
import sys
import threading
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from swarm.bench import link
from swarm.bench.clients import Client, every
from swarm.bench.network import Namespace, Network, missing
from swarm.bench.payload import Payload
from swarm.bench.tracker import Tracker
from swarm.bench.work import Work

MIB = 1024 * 1024
ROOT = Path(__file__).resolve().parents[1]
LINKS: dict[str, dict[str, float]] = {
    "delay": {"delay": 0.05},
    "loss": {"delay": 0.05, "loss": 0.01},
    "gbit": {"rate": 125e6},
}
SEEDERS: dict[str, list[int]] = {
    "equal": [8 * MIB] * 8,
    "two": [8 * MIB] * 2,
    "mixed": [MIB, MIB, 2 * MIB, 2 * MIB, 4 * MIB, 8 * MIB, 16 * MIB, 32 * MIB],
    "slow": [8 * MIB] * 7 + [8 * MIB // 100],
    "crawl": [32 * MIB, 32 * MIB // 100],
}
"""Bytes/s of each."""
TRACKER_PORT, STREAM_PORT = 6969, 7000
INTERVAL = 0.02
"""Seconds between two readings of the leecher's interface."""
FIRST_BLOCK = 16 * 1024
SETTLED = 2.0
RAMP_WINDOW = 0.2
TAIL = 0.97
"""The share of all bytes up to which the rate counts: the end of a download is another matter."""


@dataclass(frozen=True)
class Round:
    """One transfer: MiB/s of the wire once it had settled, seconds until it was at 90 % of that."""

    link: str
    who: str
    rate: float
    ramp: float
    seconds: float
    """From the first block to the last."""
    wasted: float
    """The share of the payload that came twice or was dropped; only swarm says it."""


class Meter:
    """Follows what comes in through a host's interface."""

    def __init__(self, host: Namespace) -> None:
        self._source = host.inside(lambda: open("/proc/thread-self/net/dev"))  # noqa: SIM115
        self._before = self._received()
        self._seen: list[tuple[float, int]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()

    def _received(self) -> int:
        self._source.seek(0)
        line = next(line for line in self._source if line.strip().startswith("eth0:"))
        return int(line.split(":")[1].split()[0])

    def _follow(self) -> None:
        while not self._over.wait(INTERVAL):
            self._seen.append((time.monotonic(), self._received() - self._before))

    def stop(self, on: str, who: str) -> Round:
        """What has been seen."""
        self._over.set()
        self._thread.join()
        self._source.close()
        seen = [(at, count) for at, count in self._seen if count >= FIRST_BLOCK]
        start, total = seen[0][0], seen[-1][1]
        end = next(at for at, count in seen if count >= total * TAIL)
        steady = [(at, count) for at, count in seen if start + SETTLED <= at <= end]
        rate = (steady[-1][1] - steady[0][1]) / (steady[-1][0] - steady[0][0])
        step = round(RAMP_WINDOW / INTERVAL)
        ramp = next(
            now[0] - start
            for now, then in zip(seen[step:], seen, strict=False)
            if now[1] - then[1] >= 0.9 * rate * (now[0] - then[0])
        )
        return Round(on, who, rate / MIB, ramp, self._seen[-1][0] - start, 0.0)


def stream(on: str, network: Network, seconds: float) -> Round:
    """One TCP connection of this process from the first host to the second."""
    sending, receiving = network.hosts[0], network.hosts[-1]
    listener = sending.listen(STREAM_PORT)

    def send() -> None:
        connection, _ = listener.accept()
        with connection:
            block, end = bytes(256 * 1024), time.monotonic() + seconds
            while time.monotonic() < end:
                connection.sendall(block)

    sender = threading.Thread(target=send)
    sender.start()
    meter = Meter(receiving)
    into = bytearray(MIB)
    with listener, receiving.connect((sending.address, STREAM_PORT)) as connection:
        while connection.recv_into(into):
            pass
    sender.join()
    return meter.stop(on, "tcp")


def transfer(
    on: str, kind: type[Client], network: Network, payload: Payload, scratch: Path
) -> Round:
    """One torrent from all hosts but the last to the last. RuntimeError if it fails."""
    *seeding, leeching = network.hosts
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    with contextlib.ExitStack() as everybody:
        tracker = Tracker(seeding[0].listen(TRACKER_PORT))
        everybody.callback(tracker.close)
        for host in seeding:
            seeder = kind(host, scratch / f"seeder-{host.address}", data=payload.folder)
            everybody.enter_context(seeder).seed(payload.torrent)
            if not tracker.wait(host.address, "*", 30):
                raise RuntimeError(f"{kind.name} does not seed:\n{seeder.running.tail()}")
        leecher = everybody.enter_context(kind(leeching, scratch / "leecher"))
        meter = Meter(leeching)
        leecher.leech(payload.torrent)
        done = tracker.wait(leeching.address, "completed", 120)
        measured = meter.stop(on, kind.name)
        leecher.stop()
        if not done:
            raise RuntimeError(f"{kind.name} does not finish:\n{leecher.running.tail()}")
        said = re.findall(r"wasted=(\d+)", leecher.running.tail())
        size = payload.root.stat().st_size
        return replace(measured, wasted=int(said[-1]) / size if said else math.nan)


def note(rounds: list[Round], done: Round) -> None:
    """Keeps a round and prints it."""
    rounds.append(done)
    print(
        f"{done.link:6} {done.who:12} {done.rate:8.1f} MiB/s  ramp {done.ramp:5.2f} s  "
        f"{done.seconds:6.2f} s in all  wasted {done.wasted:7.3%}",
        flush=True,
    )


def show(rounds: list[Round], sizes: dict[str, int]) -> None:
    """Prints the medians: of plain TCP in the same round, or of the time that was needed at least."""
    print()
    for on, who in dict.fromkeys((done.link, done.who) for done in rounds):
        mine = [done for done in rounds if (done.link, done.who) == (on, who)]
        rate, ramp, seconds, wasted = (
            statistics.median(getattr(done, column) for done in mine)
            for column in ("rate", "ramp", "seconds", "wasted")
        )
        if on in SEEDERS:
            least = sizes[on] / sum(SEEDERS[on])
            rest = f"{seconds:6.2f} s, {seconds / least:6.1%} of the least  wasted {wasted:7.3%}"
        else:
            plain = [done.rate for done in rounds if (done.link, done.who) == (on, "tcp")]
            ratio = statistics.median(a.rate / b for a, b in zip(mine, plain, strict=True))
            rest = f"{rate:8.1f} MiB/s, {ratio:6.1%} of TCP  ramp {ramp:5.2f} s"
        print(f"{on:6} {who:12} {rest}")


def main() -> int:
    """Runs what the command line asks for; its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("shape", nargs="*", help=f"of {', '.join([*LINKS, *SEEDERS])} (all links)")
    parser.add_argument("--only", action="append", choices=every(), help="repeatable")
    parser.add_argument("--seconds", type=float, default=8.0, help="of one transfer, about (8)")
    parser.add_argument("--rounds", type=int, default=2, help="of each (2)")
    parser.add_argument("--dir", type=Path, default=ROOT / "build" / "bench",
                        help="where the data goes: a folder on a real disk")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rounds there")
    options = parser.parse_args()
    kinds = [every()[name] for name in options.only or ["swarm", "libtorrent"]]
    problems = [missing(), link.missing(), *(kind.missing() for kind in kinds)]
    problems += [f"no shape {shape}" for shape in options.shape if shape not in LINKS | SEEDERS]
    for problem in problems:
        if problem:
            print(f"cannot run: {problem}", file=sys.stderr)
            return 2
    folder: Path = options.dir.resolve() / "links"
    rounds: list[Round] = []
    sizes: dict[str, int] = {}
    for on in options.shape or LINKS:
        for n in range(options.rounds):
            seeders = SEEDERS.get(on, [])
            with Network(max(len(seeders), 1) + 1, **LINKS.get(on, {}), seed=n) as network:
                if seeders:
                    speed = float(sum(seeders))
                    for host, rate in zip(network.hosts, seeders, strict=False):
                        host.limit(rate)
                else:
                    note(rounds, stream(on, network, options.seconds))
                    speed = rounds[-1].rate * MIB
                size = (int(speed * options.seconds / MIB) // 32 + 1) * 32 * MIB
                url = f"http://{network.hosts[0].address}:{TRACKER_PORT}/announce"
                work = Work(where="namespaces", size=sizes.setdefault(on, size))
                payload = Payload.make(work, folder, url)
                for kind in kinds:
                    note(rounds, transfer(on, kind, network, payload, folder / "round"))
    show(rounds, sizes)
    shutil.rmtree(folder)
    if options.json:
        options.json.write_text(json.dumps([asdict(done) for done in rounds], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
