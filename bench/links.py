"""One seeder to one leecher over links with delay, loss and a rate: swarm and libtorrent beside plain TCP.

What one TCP stream reaches is measured on the same link, in the same round, by a sender and a receiver
that do nothing else, with the buffers that the system gives everybody. A rate is the mean from `SETTLED`
seconds after the first block until all but the tail is here; the ramp is over when `RAMP_WINDOW` seconds
went at 90 % of that. Needs root on Linux, and libtorrent.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from swarm.bench import link
from swarm.bench.clients import Client, every
from swarm.bench.host import Host
from swarm.bench.network import Network, missing
from swarm.bench.payload import Payload
from swarm.bench.round import MIB
from swarm.bench.tracker import Tracker
from swarm.bench.work import Work

ROOT = Path(__file__).resolve().parents[1]
LINKS: dict[str, dict[str, float]] = {
    "delay": {"delay": 0.05},
    "loss": {"delay": 0.05, "loss": 0.01},
    "gbit": {"rate": 125e6},
}
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


class Meter:
    """Follows what comes in through a host's interface."""

    def __init__(self, host: Host) -> None:
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
        last = next(at for at, count in seen if count >= total * 0.999)
        return Round(on, who, rate / MIB, ramp, last - start)


def stream(on: str, network: Network, seconds: float) -> Round:
    """One TCP connection of this process from the first host to the second."""
    sending, receiving = network.hosts
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
    """One torrent from the first host to the second. RuntimeError if it fails."""
    seeding, leeching = network.hosts
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    tracker = Tracker(seeding.listen(TRACKER_PORT))
    seeder = kind(seeding, scratch / "seeder", data=payload.folder)
    leecher = kind(leeching, scratch / "leecher")
    try:
        with seeder, leecher:
            seeder.seed(payload.torrent)
            if not tracker.wait(seeding.address, "*", 30):
                raise RuntimeError(f"{kind.name} does not seed:\n{seeder.running.tail()}")
            meter = Meter(leeching)
            leecher.leech(payload.torrent)
            done = tracker.wait(leeching.address, "completed", 180)
            measured = meter.stop(on, kind.name)
            leecher.stop()
            seeder.stop()
            if not done:
                raise RuntimeError(f"{kind.name} does not finish:\n{leecher.running.tail()}")
    finally:
        tracker.close()
        shutil.rmtree(scratch, ignore_errors=True)
    return measured


def note(rounds: list[Round], done: Round) -> None:
    """Keeps a round and prints it."""
    rounds.append(done)
    print(
        f"{done.link:6} {done.who:12} {done.rate:8.1f} MiB/s  "
        f"ramp {done.ramp:5.2f} s  {done.seconds:6.2f} s in all",
        flush=True,
    )


def show(rounds: list[Round]) -> None:
    """Prints the medians of each link, and what they are of plain TCP in the same round."""
    print()
    for on in dict.fromkeys(done.link for done in rounds):
        plain = [done.rate for done in rounds if (done.link, done.who) == (on, "tcp")]
        for who in dict.fromkeys(done.who for done in rounds if done.link == on):
            mine = [done for done in rounds if (done.link, done.who) == (on, who)]
            rate = statistics.median(done.rate for done in mine)
            ratio = statistics.median(a.rate / b for a, b in zip(mine, plain, strict=True))
            ramp = statistics.median(done.ramp for done in mine)
            print(f"{on:6} {who:12} {rate:8.1f} MiB/s {ratio:7.1%} of TCP  ramp {ramp:5.2f} s")


def main() -> int:
    """Runs what the command line asks for; its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--link", action="append", choices=LINKS, help="repeatable (all)")
    parser.add_argument("--only", action="append", choices=every(), help="repeatable")
    parser.add_argument("--seconds", type=float, default=8.0, help="of one transfer, about (8)")
    parser.add_argument("--rounds", type=int, default=2, help="of each (2)")
    parser.add_argument("--dir", type=Path, default=ROOT / "build" / "bench",
                        help="where the data goes: a folder on a real disk")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rounds there")
    options = parser.parse_args()
    kinds = [every()[name] for name in options.only or ["swarm", "libtorrent"]]
    for problem in (missing(), link.missing(), *(kind.missing() for kind in kinds)):
        if problem:
            print(f"cannot run: {problem}", file=sys.stderr)
            return 2
    folder: Path = options.dir.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    rounds: list[Round] = []
    for on in options.link or LINKS:
        for n in range(options.rounds):
            with Network(2, **LINKS[on], seed=n) as network:
                plain = stream(on, network, options.seconds)
                note(rounds, plain)
                size = (int(plain.rate * options.seconds) // 32 + 1) * 32 * MIB
                url = f"http://{network.hosts[0].address}:{TRACKER_PORT}/announce"
                with tempfile.TemporaryDirectory(dir=folder) as scratch:
                    work = Work(where="namespaces", size=size)
                    payload = Payload.make(work, Path(scratch), url)
                    for kind in kinds:
                        note(rounds, transfer(on, kind, network, payload, Path(scratch, "round")))
    show(rounds)
    if options.json:
        options.json.write_text(json.dumps([asdict(done) for done in rounds], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
