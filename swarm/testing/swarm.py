"""A swarm of engines in virtual time, and everything that they share."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable, Mapping, Sequence

from swarm.engine.registry import Registry
from swarm.engine.selection import Priority
from swarm.proto.tracker import AnnounceRequest, TrackerReply
from swarm.settings import Settings

from .clock import Clock
from .node import Node
from .store import Content
from .trace import Event, trace_digest

MIB = 1 << 20
LONGEST = 3600.0


class Swarm:
    """Nodes, a tracker, and the trace of what they do.

    `length` and `piece_length` are bytes, rates bytes/s, times seconds; `files` are the lengths of
    the content's files, instead of one of `length`. `settings` are those of every node that is not
    given its own. While `tracker` is None, announces are not answered.
    """

    tracker_url = "http://tracker.test/announce"

    def __init__(
        self,
        seed: int = 0,
        *,
        length: int = 8 * MIB,
        files: Sequence[int] | None = None,
        piece_length: int = MIB // 8,
        settings: Settings | None = None,
    ) -> None:
        self.rng = random.Random(seed)
        self.clock = Clock()
        self.content = Content(files or [length], piece_length, self.rng)
        self.settings = settings or Settings()
        self.tracker: Registry | None = Registry(
            random.Random(self.rng.getrandbits(64)), interval=120
        )
        self.nodes: dict[str, Node] = {}
        self.nodes_by_host: dict[str, Node] = {}
        self.trace: list[Event] = []
        self._ports = 40_000

    def add(
        self,
        name: str | None = None,
        *,
        complete: bool = False,
        start: float = 0.0,
        up: float = MIB,
        down: float = 4 * MIB,
        delay: float = 0.01,
        disk_delay: float = 0.0,
        settings: Settings | None = None,
        fast: bool = True,
        lie: Callable[[int, int], bool] | None = None,
        priorities: Mapping[int, Priority] | None = None,
        sequential: bool = False,
    ) -> Node:
        """A new node, which comes at `start`. `delay` is the one-way delay of its access line.

        `priorities` are of files, by index; the others are NORMAL.
        """
        number = len(self.nodes) + 1
        name = name or f"node{number}"
        if name in self.nodes:
            raise ValueError(f"there is a node named {name}")
        host = str(ipaddress.IPv4Address("10.0.0.0") + number * 257)
        node = Node(
            self,
            name,
            host,
            complete=complete,
            up=up,
            down=down,
            delay=delay,
            disk_delay=disk_delay,
            settings=settings or self.settings,
            fast=fast,
            lie=lie,
            priorities=priorities or {},
            sequential=sequential,
            rng=random.Random(self.rng.getrandbits(64)),
        )
        self.nodes[name] = self.nodes_by_host[host] = node
        self.clock.at(start, node.start)
        return node

    def run(self, *, until: float = LONGEST, stop: Callable[[], bool] | None = None) -> float:
        """Runs until `stop()`, by default until every node has what it wants; returns the time.

        Raises `TimeoutError` if that has not come about at `until`; with `stop` given as
        `lambda: False` it simply runs to that time.
        """
        stopped = self.clock.run(until, stop=stop or self._all_finished)
        if not stopped and stop is None:
            late = sorted(node.name for node in self.nodes.values() if not node.finished)
            raise TimeoutError(f"not finished after {until} s: {', '.join(late)}")
        return self.clock.now

    def _all_finished(self) -> bool:
        return all(node.finished for node in self.nodes.values())

    def events(self, what: str, node: str | None = None) -> list[Event]:
        """The trace of one kind of event, and of one node if it is named."""
        return [e for e in self.trace if e[2] == what and node in (None, e[1])]

    def digest(self) -> str:
        """One word for all that has happened."""
        return trace_digest(self.trace)

    # What nodes call.

    def announce(self, request: AnnounceRequest, host: str) -> TrackerReply | None:
        """The tracker's answer; None if there is no tracker."""
        if self.tracker is None:
            return None
        answer = self.tracker.announce(request, host, self.clock.now)
        return TrackerReply(
            interval=answer.interval,
            min_interval=answer.min_interval,
            peers=tuple(
                (str(ipaddress.ip_address(entry.address)), entry.port) for entry in answer.peers
            ),
            seeds=answer.counts.seeds,
            leechers=answer.counts.leechers,
        )

    def ephemeral_port(self) -> int:
        """The port that a connection comes from."""
        self._ports += 1
        return self._ports
