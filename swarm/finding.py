"""How a session finds peers in the DHT: a node for each address family, for all of its public torrents.

Nothing of the DHT is imported, and no socket opened, before the first torrent that may use it runs.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Coroutine, Iterable
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from .net.listen import is_wildcard
from .proto.metainfo_nodes import nodes_of
from .settings import host_and_port

if TYPE_CHECKING:
    from .engine.dht import Dht
    from .net.dht import Datagrams
    from .runner import Runner
    from .session import Session
    from .store.nodes import Saved

Addr = tuple[str, int]
FILE = "dht.nodes"
"""In the folder of the state."""
SAVE_EVERY, LOOK_EVERY = 600.0, 30.0
"""Seconds between two times that nodes are saved, or torrents looked at that want peers."""
PATIENCE = 3.0
"""Seconds that saved nodes have before others are looked for."""


class Finding:
    """The DHT of a session. Private torrents have no part in it (BEP 27)."""

    def __init__(self, session: Session) -> None:
        self.nodes: dict[int, _Node] = {}
        """By address family: 4, 6."""
        self._session = session
        self._on = session.settings.dht and os.environ.get("SWARM_NO_DHT", "0") in ("", "0")
        self._runners: dict[bytes, Runner] = {}
        self._opening: asyncio.Task[None] | None = None
        self._helping: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._saved = self._looked = 0.0

    def serves(self, runner: Runner) -> bool:
        """Whether a torrent may find peers here, and be found."""
        return self._on and not runner.meta.private

    @property
    def port(self) -> int | None:
        """Where our node is, that of IPv4 if there are two; None until it is open."""
        return next((node.socket.port for node in self.nodes.values()), None)

    def add(self, runner: Runner) -> None:
        """Looks for peers of this torrent, and announces us, if it may be."""
        if not self.serves(runner):
            return
        self._runners[runner.infohash] = runner
        if self._opening is None:
            self._opening = self._spawn(self._open())
        for node in self.nodes.values():
            node.announce(runner, self._session.port)
        if named := nodes_of(runner.meta.extra):
            self._spawn(self._meet(named))

    def remove(self, runner: Runner) -> None:
        """This torrent has stopped."""
        if self._runners.get(runner.infohash) is runner:
            del self._runners[runner.infohash]
            for node in self.nodes.values():
                node.dht.forget(runner.infohash)

    def met(self, addr: Addr) -> None:
        """A peer says that it has a node there."""
        if addr[1]:
            self._introduce([addr])

    def found(self, infohash: bytes, peers: list[Addr]) -> None:
        """Nodes have named peers of a torrent."""
        runner = self._runners.get(infohash)
        if runner is not None and runner.engine is not None:
            runner.engine.candidates.add(peers, "dht", _now())
            runner.work()
            runner.arm()

    def ticked(self, node: _Node, now: float) -> None:
        """From time to time: help for a node that is lonely, peers for torrents that have few."""
        if self._looked + LOOK_EVERY <= now:
            self._looked = now
            for runner in self._runners.values():
                if runner.engine is not None and runner.engine.needs_peers:
                    for each in self.nodes.values():
                        each.dht.hurry(runner.infohash, now)
        if (self._helping is None or self._helping.done()) and node.dht.wants_help(now):
            hosts = [host_and_port(host) for host in self._session.settings.dht_bootstrap]
            self._helping = self._spawn(self._meet(hosts))
        if self._saved + SAVE_EVERY <= now:
            self._saved = now
            self._spawn(self._save())

    async def aclose(self) -> None:
        """Ends everything, and saves the nodes."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for node in self.nodes.values():
            node.close()
        await self._save()

    # ------------------------------------------------------------ beginning

    async def _open(self) -> None:
        from .engine.dht import Dht
        from .net.dht import Datagrams
        from .store.nodes import load

        session = self._session
        host = session.host
        saved = await asyncio.to_thread(load, session.state_dir / FILE)
        now = self._saved = _now()
        for version in _versions(host):
            known = saved[version]
            own, here = known.host, {4: "0.0.0.0", 6: "::"}[version]
            if not is_wildcard(host):
                own, here = host if ip_address(host).is_global else None, host
            dht = Dht(
                version,
                session.rng,
                secrets.token_bytes(16),
                now,
                host=own,
                read_only=session.settings.dht_read_only,
                help_after=PATIENCE if known.nodes else 0.0,
            )
            node = _Node(self, dht)
            node.socket = Datagrams(node.receive)
            try:
                await node.socket.bind(version, here, session.port)
            except OSError:
                continue  # a machine without this family
            self.nodes[version] = node
        if len(self.nodes) == 2:
            four, six = (node.dht for node in self.nodes.values())
            four.sibling, six.sibling = six, four
        for version, node in self.nodes.items():
            node.dht.meet(saved[version].nodes, _now())
            for runner in self._runners.values():
                node.announce(runner, session.port)
            node.tick()

    async def _meet(self, hosts: Iterable[Addr]) -> None:
        """Asks at all of these, by name or address."""
        from .net.dht import find

        found = await asyncio.gather(*(find(host, port) for host, port in hosts))
        if self._opening is not None:
            await self._opening
        self._introduce([addr for addrs in found for addr in addrs])

    def _introduce(self, addrs: list[Addr]) -> None:
        for node in self.nodes.values():
            node.dht.meet(addrs, _now())
            node.flush()

    async def _save(self) -> None:
        if not any(len(node.dht.table) for node in self.nodes.values()):
            return  # what was saved before is better
        from .store.nodes import Saved, save

        known: dict[int, Saved] = {}
        for version, node in self.nodes.items():
            known[version] = Saved(tuple(node.dht.known()), node.dht.own.host)
        await asyncio.to_thread(save, self._session.state_dir / FILE, known)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class _Node:
    """One node: its decisions and its socket."""

    def __init__(self, finding: Finding, dht: Dht) -> None:
        self.dht = dht
        self.socket: Datagrams
        self._finding = finding
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")
        self._closed = False

    def receive(self, data: bytes, addr: Addr) -> None:
        self.dht.receive(data, addr, _now())
        for node in self._finding.nodes.values():  # the other one may have heard of nodes, too
            node.flush()

    def announce(self, runner: Runner, port: int) -> None:
        self.dht.announce(runner.infohash, port, _now(), seed=runner.complete)
        self.flush()

    def tick(self) -> None:
        self._timer, self._timer_at = None, float("inf")
        now = _now()
        self.dht.tick(now)
        self._finding.ticked(self, now)
        self.flush()

    def flush(self) -> None:
        """Sends and tells what there is, and sets the timer."""
        if self._closed:
            return
        for data, addr in self.dht.take_output():
            self.socket.send(data, addr)
        for infohash, peers in self.dht.take_found():
            self._finding.found(infohash, peers)
        at = self.dht.deadline()
        if at < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = at
            self._timer = asyncio.get_running_loop().call_at(at, self.tick)

    def close(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self.socket.close()


def _versions(host: str) -> tuple[int, ...]:
    """The address families that listening on this host means."""
    if is_wildcard(host):
        return (4,) if host == "0.0.0.0" else (4, 6)
    return (ip_address(host).version,)


def _now() -> float:
    return asyncio.get_running_loop().time()
