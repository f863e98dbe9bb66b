"""One round of one client: everyone is started, weighed when it begins and when it is over, and ended."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from .clients import Client, Pair
from .host import Host
from .payload import Payload, warm
from .process import Usage
from .round import MIB, Phase, Progress, Round, Side, Told
from .tracker import Announce, Endpoint, Tracker
from .work import Work

TICK = 0.2
"""Seconds between two looks at what is under way."""
START = 60.0
"""Seconds that a side may take to announce itself, apart from what a check of its data takes."""
CHECK = 50 * MIB
"""Bytes/s of a seeder that checks its data first."""
SLOWEST = 1 * MIB
SLOWEST_ON_A_LINE = 32 * 1024
"""Bytes/s that all leechers together must reach in the end; of a line's rate they must have half."""
STALL = 60.0
STEP = 256 * 1024
"""Leechers that take `STALL` seconds for fewer bytes than this have stalled."""
LOG = 1500
"""Bytes of a log that a failure quotes."""


class Refused(Exception):
    """A client did not do the work; the text says why."""


class Transfer:
    """One round of `pair`, the `number`th."""

    def __init__(
        self,
        pair: Pair,
        work: Work,
        payload: Payload,
        number: int,
        on_event: Callable[[Progress], object],
    ) -> None:
        self._pair, self._work, self._payload, self._number = pair, work, payload, number
        self._on_event = on_event
        self._phase: Phase = "warming"
        self._since = time.monotonic()
        self._seeders: list[Client] = []
        self._leechers: list[Client] = []
        self._end_of: dict[Endpoint, Client] = {}
        self._came: set[Endpoint] = set()
        self._began = 0.0
        self._ended: dict[Endpoint, float] = {}
        self._start_cpu: dict[Client, float] = {}
        self._weighed: dict[Client, Usage] = {}
        self._everyone = threading.Event()
        """Set when all leechers have announced that they start."""
        self._news = threading.Condition()

    @property
    def told(self) -> Told:
        """What the clients were started with, as far as they were."""
        return Told(
            *(
                "".join(client.told for client in side[:1])
                for side in (self._seeders, self._leechers)
            )
        )

    def run(self, hosts: Sequence[Host], listener: socket.socket, folder: Path) -> Round:
        """Does it in `folder`, of which empty files are left. `Refused` if it fails or the bytes differ."""
        tracker = Tracker(listener.dup())
        watchers: list[threading.Thread] = []
        tracker.heard, tracker.introduces = self._heard, self._introduces
        try:
            self._cast(hosts, folder)
            self._enter("warming")
            os.sync()
            warm(folder, 2 * self._work.total)
            self._payload.refresh()
            self._enter("seeding")
            for seeder in self._seeders:
                self._start(seeder.seed)
            self._until(lambda: self._seeding(tracker), START + self._work.size / CHECK, "seed")
            self._enter("leeching")
            for leecher in self._leechers:
                self._start(leecher.leech)
                if leecher.done == "exit":
                    watchers.append(threading.Thread(target=self._watch, args=[leecher]))
                    watchers[-1].start()
            self._until(self._everyone.is_set, START, "start")
            self._enter("leeching")  # anew, so that the rate is that of the transfer
            self._until(
                lambda: bool(self._weighed), START + self._work.total / self._slowest, "finish"
            )
            self._enter("comparing")
            everyone = (*self._leechers, *self._seeders)
            for client in everyone:
                client.running.terminate()
            for client in everyone:
                client.stop()
            self._compare()
            return self._result()
        finally:
            self._everyone.set()
            for client in (*self._leechers, *self._seeders):
                client.kill()
            for watcher in watchers:
                watcher.join()
            tracker.close()
            _empty(folder)

    @property
    def _slowest(self) -> float:
        slowest = SLOWEST_ON_A_LINE if self._work.line else SLOWEST
        return min(slowest, self._work.rate / 2) if self._work.rate else slowest

    def _cast(self, hosts: Sequence[Host], folder: Path) -> None:
        work, pair, data = self._work, self._pair, self._payload.folder
        for kind in pair.both:
            if work.pooled and not kind.pools:
                raise Refused(f"{kind.name} cannot hold several clients in one process")
            if work.where == "loopback" and not kind.on_loopback:
                raise Refused(f"{kind.name} takes no peers on 127.0.0.1: it needs namespaces")
        sides = [work.seeders, work.leechers]
        seeding, leeching = [[side] if work.pooled else [1] * side for side in sides]
        for n, (host, count) in enumerate(zip(hosts, seeding, strict=False)):
            ports = host.ports(count)
            self._seeders.append(pair.seeder(host, folder / f"seeder-{n}", data=data, ports=ports))
        for n, (host, count) in enumerate(zip(hosts[len(seeding) :], leeching, strict=True)):
            client = pair.leecher(host, folder / f"leecher-{n}", ports=host.ports(count))
            self._leechers.append(client)
            self._end_of |= dict.fromkeys(client.endpoints, client)

    # ------------------------------------------------------------ on the tracker's threads

    def _heard(self, announce: Announce) -> None:
        """Notes when a leecher starts and is done. All wait for their answer until the last is there."""
        leecher = self._end_of.get(announce.endpoint)
        if leecher is None:
            return
        if announce.event == "completed" and leecher.done == "announced":
            self._note_end(announce.endpoint, announce.at)
        elif not self._everyone.is_set():
            with self._news:
                if leecher not in self._start_cpu:
                    self._start_cpu[leecher] = leecher.usage().cpu
                self._came.add(announce.endpoint)
                if len(self._came) == len(self._end_of):
                    for seeder in self._seeders:
                        self._start_cpu[seeder] = seeder.usage().cpu
                    self._began = announce.at
                    self._everyone.set()
                self._news.notify_all()
            self._everyone.wait()

    def _introduces(self, asking: Endpoint, other: Endpoint) -> bool:
        """Seeders have no use for each other, as trackers know."""
        leeching = (asking in self._end_of) + (other in self._end_of)
        return leeching == 1 or (leeching == 2 and self._work.mesh)

    def _note_end(self, endpoint: Endpoint, at: float) -> None:
        with self._news:
            self._ended.setdefault(endpoint, at)
            if len(self._ended) == len(self._end_of) and not self._weighed:
                for client in (*self._leechers, *self._seeders):
                    self._weighed[client] = client.usage()
            self._news.notify_all()

    # ------------------------------------------------------------ on threads of their own

    def _watch(self, leecher: Client) -> None:
        """Waits for the exit of one whose exit is its end."""
        if leecher.running.wait_exit() == 0:
            at = time.monotonic()
            for endpoint in leecher.endpoints:
                self._note_end(endpoint, at)

    # ------------------------------------------------------------ on the thread that measures

    def _enter(self, phase: Phase) -> None:
        self._phase, self._since = phase, time.monotonic()
        self._tell(0)

    def _tell(self, received: int) -> None:
        seconds = time.monotonic() - self._since
        total = self._work.total
        self._on_event(
            Progress(self._pair.name, self._number, self._phase, received, total, seconds)
        )

    def _seeding(self, tracker: Tracker) -> bool:
        return all(tracker.seeds(end) for seeder in self._seeders for end in seeder.endpoints)

    def _start(self, start: Callable[[Path], Client]) -> None:
        try:
            start(self._payload.torrent)
        except OSError as error:
            raise Refused(f"{self._pair.name} cannot be started: {error}") from error

    def _until(self, true: Callable[[], bool], timeout: float, what: str) -> None:
        """Looks a few times a second whether it is true, whether someone has left, or has stalled."""
        deadline = time.monotonic() + timeout
        moved, moved_at = 0, time.monotonic()
        with self._news:
            while not self._news.wait_for(true, TICK):
                self._expect_all()
                now = time.monotonic()
                received = self._received() if what == "finish" else 0
                self._tell(received)
                if received >= moved + STEP:
                    moved, moved_at = received, now
                if now > deadline:
                    raise Refused(self._reason(f"does not {what} within {timeout:.0f} s"))
                if what == "finish" and now > moved_at + STALL:
                    raise Refused(self._reason(f"has had nothing for {STALL:.0f} s"))

    def _received(self) -> int:
        return sum(leecher.received() for leecher in self._leechers if leecher.process)

    def _expect_all(self) -> None:
        for client in (*self._leechers, *self._seeders):
            code = client.running.exit_code if client.process else None
            if code is not None and (client.done == "announced" or code != 0):
                raise Refused(self._reason(f"has left with exit code {code}", client))

    def _compare(self) -> None:
        for leecher in self._leechers:
            for folder in leecher.folders:
                difference = self._payload.difference(folder)
                if difference:
                    raise Refused(self._reason(f"is wrong: {difference}", leecher))

    def _reason(self, problem: str, client: Client | None = None) -> str:
        started = [one for one in (*self._leechers, *self._seeders) if one.process]
        tails = [
            f"--- {one.folder.name}\n{one.running.tail(LOG).strip()}"
            for one in ([client] if client else started)
        ]
        return "\n".join([f"{self._pair.name} {problem}", *tails[:3]])

    def _result(self) -> Round:
        finished = tuple(self._ended[end] - self._began for end in self._end_of)
        return Round(
            self._pair.name,
            self._number,
            self._work.total,
            max(finished),
            finished,
            self._side(self._leechers),
            self._side(self._seeders),
            self.told,
        )

    def _side(self, clients: Sequence[Client]) -> Side:
        return Side(
            cpu=sum(self._weighed[client].cpu for client in clients),
            start_cpu=sum(self._start_cpu[client] for client in clients),
            peak_rss=max(self._weighed[client].peak_rss for client in clients),
        )


def _empty(folder: Path) -> None:
    """Takes the bytes of all files below a folder, and not their names: ext4 passes over what was deleted in
    the last minutes, one by one, whenever it makes a file, so that a round would pay for the one before it."""
    for above, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(above, name)
            if not os.path.islink(path):
                with contextlib.suppress(OSError):
                    os.truncate(path, 0)
