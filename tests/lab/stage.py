"""Clients that are brought on one after the other, and judged by what they wrote."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from swarm.bench.clients import Client
from swarm.bench.network import Host
from swarm.bench.tracker import Tracker

from .sample import Payload, digests

TRACKER_PORT = 6969


class Stage:
    """The clients of one test, each on the next of `hosts`; the first host has the tracker.

    Waiting fails with AssertionError and the logs, after the given time-out in seconds, or as soon
    as a client has left without being asked to.
    """

    def __init__(self, hosts: Sequence[Host], scratch: Path) -> None:
        self._hosts = iter(hosts[1:])
        self._scratch = scratch
        self._cast: dict[Client, Payload] = {}
        self._on: set[Client] = set()
        self._unrelated: dict[Client, int] = {}
        self.tracker = Tracker(hosts[0].listen(TRACKER_PORT))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        for client in self._cast:
            client.kill()
            client.host.unlimited()
        self.tracker.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def seed(self, kind: type[Client], payload: Payload, *, rate: int | None = None) -> Client:
        """A client with a copy of all of it, known to the tracker.

        `rate` is the most bytes/s that leave its host.
        """
        client = self._enter(kind, payload)
        if rate:
            client.host.limit(rate)
        if payload.root.is_dir():
            shutil.copytree(payload.root, client.data / payload.root.name)
        else:
            shutil.copy(payload.root, client.data)
        return self.seed_again(client)

    def seed_again(self, client: Client) -> Client:
        """Starts a seeder once more, and waits until the tracker has heard of it."""
        before = sum(a.address == client.host.address for a in self.tracker.announces)
        client.seed(self._cast[client].torrent)
        self._on.add(client)
        address = client.host.address
        self.until(lambda: self.tracker.find(address, "*", nth=before + 1), 20, client)
        return client

    def leech(self, kind: type[Client], payload: Payload) -> Client:
        """A client that has nothing yet."""
        client = self._enter(kind, payload)
        client.leech(payload.torrent)
        self._on.add(client)
        return client

    def transfer(
        self, seeder: type[Client], leecher: type[Client], payloads: Sequence[Payload]
    ) -> None:
        """One client of each kind for each payload, all at once; what arrives must be the payload."""
        for payload in payloads:
            self.seed(seeder, payload)
        for client in [self.leech(leecher, payload) for payload in payloads]:
            self.finish(client)

    def die(self, client: Client) -> None:
        """Ends a client by SIGKILL."""
        self._on.discard(client)
        client.kill()

    def received(self, client: Client) -> float:
        """How much has come to it over the network, as a share of its payload."""
        return (client.host.received() - self._unrelated[client]) / self._cast[client].length

    def completed(self, client: Client) -> bool:
        """Has it said that it has everything, to the tracker or by its exit?"""
        if client.done == "exit" and client.running.exit_code == 0:
            return True
        return self.tracker.find(client.host.address, "completed") is not None

    def finish(self, client: Client, timeout: float = 60) -> None:
        """Waits until `client` is complete and lets it leave; what it wrote must be the payload."""
        self.until(lambda: self.completed(client), timeout, client)
        self._on.discard(client)
        client.stop()
        payload = self._cast[client]
        wrote, meant = digests(client.data / payload.root.name), payload.digests
        absent = meant.keys() - wrote.keys()
        if not client.makes_empty_files:
            absent -= payload.empty
        assert not absent, f"{client.name} did not make {absent}"
        assert not wrote.keys() - meant.keys(), f"{client.name} made more files than there are"
        wrong = [name for name in wrote if wrote[name] != meant[name]]
        assert not wrong, f"{client.name} has other bytes in {wrong}"

    def until(self, true: Callable[[], object], timeout: float, client: Client) -> None:
        """Looks every few milliseconds whether something became true, for the sake of `client`."""
        deadline = time.monotonic() + timeout
        while not true():
            for other in self._on:
                code = other.running.exit_code
                if other.done == "exit" and code == 0:
                    continue
                assert code is None, f"{other.name} left with {code}:\n{other.running.tail()}"
            late = time.monotonic() > deadline
            assert not late, f"{client.folder.name} took over {timeout} s.\n{self._logs()}"
            time.sleep(0.02)

    def _enter(self, kind: type[Client], payload: Payload) -> Client:
        folder = self._scratch / f"{len(self._cast)}-{kind.name}-{payload.torrent.stem}"
        client = kind(next(self._hosts), folder)
        self._cast[client] = payload
        self._unrelated[client] = client.host.received()
        return client

    def _logs(self) -> str:
        logs = [
            f"--- {client.folder.name} at {client.host.address}\n{client.running.tail()}"
            for client in self._cast
            if client.process
        ]
        return "\n".join([*map(str, self.tracker.announces), *logs])
