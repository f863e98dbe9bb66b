"""One lookup under way: its queries, what it finds, and the announces at its end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from swarm.proto.krpc import Addr, Contact, Method, Query, Reply

from .dht_id import local
from .dht_lookup import Lookup, Step
from .dht_schedule import Wanted


class Asking(Protocol):
    """What a walk needs of its node."""

    def ask(self, addr: Addr, query: Query, asker: Walk | None, about: Step | None) -> None:
        """Sends this query; `asker` hears of the answer."""

    def contacts(self, reply: Reply, addr: Addr) -> list[Contact]:
        """Those of the contacts in a reply that its sender may name."""

    def found(self, infohash: bytes, peers: list[Addr]) -> None:
        """Peers were named."""

    def ended(self, walk: Walk) -> None:
        """The lookup is over."""


class Walk:
    """Looks for the nodes around an id, and, if it is of a torrent, for its peers; then announces us."""

    def __init__(
        self, node: Asking, target: bytes, wanted: Wanted | None, want: tuple[int, ...]
    ) -> None:
        self.wanted = wanted
        self.lookup = Lookup(target)
        self.over = False
        self._node = node
        method: Method = "find_node" if wanted is None else "get_peers"
        self._query = Query(b"", method, b"", target, want=want)

    def start(self, contacts: Iterable[Contact]) -> None:
        """Begins with what we know."""
        self.lookup.add(contacts)
        self.go()

    def go(self) -> None:
        """Asks who is next, or ends."""
        if self.over:
            return
        for step in self.lookup.next():
            self._node.ask(step.addr, self._query, self, step)
        if self.lookup.done:
            self.over = True
            if self.wanted is not None and self.wanted.port:
                self._announce(self.wanted)
            self._node.ended(self)

    def answered(self, step: Step, reply: Reply) -> None:
        """A node has replied."""
        if self.over:
            return
        contacts = self._node.contacts(reply, step.addr)
        good = self.lookup.answered(step, reply.id, contacts, reply.token)
        if good and self.wanted is not None:
            inside = local(step.addr[0])
            peers = [addr for addr in reply.values if inside or not local(addr[0])]
            if peers:
                self._node.found(self.lookup.target, peers)
        self.go()

    def slow(self, step: Step) -> None:
        """A node takes its time."""
        self.lookup.slow(step)
        self.go()

    def lost(self, step: Step) -> None:
        """A node did not answer."""
        self.lookup.lost(step)
        self.go()

    def _announce(self, wanted: Wanted) -> None:
        for step in self.lookup.closest:
            if step.token:
                query = Query(
                    b"", "announce_peer", b"", wanted.infohash, step.token, wanted.port, wanted.seed
                )
                self._node.ask(step.addr, query, None, None)
