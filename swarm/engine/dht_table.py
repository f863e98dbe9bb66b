"""Which nodes to remember: the k-buckets of one address of ours (BEP 5), with the care of BEP 42."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

from swarm.proto.krpc import Addr, Contact, pack_addr

from .dht_id import BITS, is_bound, key_of, local, shared_bits, subnet

K = 8
"""Nodes of a bucket, and those around an info-hash that keep its peers."""
WIDE = (64, 32, 16)
"""The farthest buckets hold more: each hop that starts here then goes further."""
SPARES = 8
"""Nodes that wait for a place in a bucket."""
FRESH = 900.0
"""Seconds for which a node that answered counts as good."""
MOST_FAILURES = 3
"""Queries in a row without an answer, after which a node is forgotten even without another for it."""


@dataclass(slots=True, eq=False)
class Node:
    """A node that has answered us. `packed` is how it is named to others."""

    contact: Contact
    seen: float
    key: int
    packed: bytes
    bound: bool
    failures: int = 0
    checking: bool = False

    @property
    def addr(self) -> Addr:
        return self.contact.addr


@dataclass(slots=True)
class _Bucket:
    room: int
    nodes: list[Node] = field(default_factory=list)
    spares: list[Node] = field(default_factory=list)
    refreshed: float = float("-inf")


class Table:
    """The nodes we know, by how many leading bits their ids share with ours.

    Only those that answered get in, one of each host, and of a bucket one of each subnet: so ids cost an
    attacker addresses. Nodes whose id follows from their address take the place of those whose does not.
    """

    def __init__(self, own_id: bytes) -> None:
        self._nodes: dict[Addr, Node] = {}  # those in buckets and the spares
        self._ids: set[bytes] = set()
        self._hosts: set[str] = set()
        self._begin(own_id)

    def _begin(self, own_id: bytes) -> None:
        self.own_id = own_id
        self._own = key_of(own_id)
        self._buckets = [_Bucket(room) for room in WIDE + (K,) * (BITS - len(WIDE))]
        self._size = 0
        for index in (self._nodes, self._ids, self._hosts):
            index.clear()

    def __len__(self) -> int:
        """Nodes in buckets, spares not counted."""
        return self._size

    def __iter__(self) -> Iterator[Node]:
        for bucket in self._buckets:
            yield from bucket.nodes

    def get(self, addr: Addr) -> Node | None:
        """The node at this address, if it is known."""
        return self._nodes.get(addr)

    def wants(self, contact: Contact) -> bool:
        """Whether a node that is not known would get a place, should it answer."""
        node = self._nodes.get(contact.addr)
        if node is not None or not self._admissible(contact):
            return False
        bucket = self._bucket(key_of(contact.id))
        if not self._fits(bucket, contact):
            return False
        full = len(bucket.nodes) >= bucket.room
        return not full or len(bucket.spares) < SPARES or self._weakest(bucket, contact) is not None

    def heard(self, contact: Contact, now: float) -> None:
        """This node has answered."""
        node = self._nodes.get(contact.addr)
        if node is not None:
            if node.contact.id == contact.id:
                node.seen, node.failures, node.checking = now, 0, False
            else:  # who changes names begins anew, at its next answer
                self._forget(node)
            return
        if not self._admissible(contact):
            return
        key = key_of(contact.id)
        bucket = self._bucket(key)
        if not self._fits(bucket, contact):
            return
        bound = is_bound(*_named(contact))
        packed = contact.id + pack_addr(contact.addr)
        node = Node(contact, now, key, packed, bound)
        if len(bucket.nodes) < bucket.room:
            self._place(bucket, node)
            return
        weak = self._weakest(bucket, contact)
        if weak is not None:
            self._forget(weak, promote=False)
            self._place(bucket, node)
            return
        if len(bucket.spares) >= SPARES:
            self._forget(bucket.spares[0])
        bucket.spares.append(node)
        self._index(node)

    @property
    def alive(self) -> int:
        """Nodes in buckets that answered when they were last asked."""
        return sum(not node.failures for node in self)

    def failed(self, addr: Addr, *, forget: bool = True) -> None:
        """This node did not answer; unless it is us who hears nobody, it may be forgotten for that."""
        node = self._nodes.get(addr)
        if node is None:
            return
        node.checking = False
        node.failures += 1
        spares = self._bucket(node.key).spares
        if not forget:
            return
        if node in spares or node.failures >= MOST_FAILURES or (node.failures > 1 and spares):
            self._forget(node)

    def closest(self, target: bytes, count: int = K) -> list[Node]:
        """The nodes closest to `target` that did not fail last, closest first."""
        key = key_of(target)
        at = min(shared_bits(key, self._own), BITS - 1)
        found: list[Node] = []
        # All of one group are closer than all of the next.
        groups = [self._buckets[at : at + 1], self._buckets[at + 1 :]]
        groups += [self._buckets[n : n + 1] for n in range(at - 1, -1, -1)]
        for group in groups:
            nodes = [node for bucket in group for node in bucket.nodes if not node.failures]
            nodes.sort(key=lambda node: node.key ^ key)
            found += nodes
            if len(found) >= count:
                break
        return found[:count]

    def doubtful(self, now: float) -> Node | None:
        """Whom to ping next: the one that has not answered for longest, if that is too long."""
        silent = [node for node in self if not node.checking and node.seen + FRESH <= now]
        return min(silent, key=lambda node: node.seen, default=None)

    def stale(self, now: float, rng: Random) -> bytes | None:
        """A random id in the bucket that was not looked into for longest, if that is too long.

        Only buckets that are not full, or whose nodes may have gone, need a look.
        """
        deepest = max((at for at, b in enumerate(self._buckets) if b.nodes), default=-1)
        due = [
            (bucket.refreshed, at)
            for at, bucket in enumerate(self._buckets[: deepest + 1])
            if bucket.refreshed + FRESH <= now and len(bucket.nodes) < max(bucket.room, K)
        ]
        if not due:
            return None
        at = min(due)[1]
        self._buckets[at].refreshed = now
        free = BITS - at - 1
        key = (self._own >> free ^ 1) << free | rng.getrandbits(free) if free else self._own ^ 1
        return key.to_bytes(BITS // 8, "big")

    def rename(self, own_id: bytes) -> None:
        """We have another id; the nodes are kept, each in its new bucket, as far as they fit."""
        nodes = sorted(self, key=lambda node: node.seen)
        self._begin(own_id)
        for node in nodes:
            self.heard(node.contact, node.seen)

    # ------------------------------------------------------------ places

    def _bucket(self, key: int) -> _Bucket:
        return self._buckets[min(shared_bits(key, self._own), BITS - 1)]

    def _admissible(self, contact: Contact) -> bool:
        host = contact.addr[0]
        taken = contact.id == self.own_id or contact.id in self._ids
        return not taken and (host not in self._hosts or local(host))

    @staticmethod
    def _fits(bucket: _Bucket, contact: Contact) -> bool:
        """Whether the bucket has nobody of its subnet."""
        net = subnet(contact.addr[0])
        return not net or all(
            subnet(node.addr[0]) != net for node in (*bucket.nodes, *bucket.spares)
        )

    @staticmethod
    def _weakest(bucket: _Bucket, contact: Contact) -> Node | None:
        """Whose place a new node takes: one that fails; or, if its id is bound, one whose is not."""
        failing = max(bucket.nodes, key=lambda node: node.failures)
        if failing.failures > 1:
            return failing
        if is_bound(*_named(contact)):
            return next((node for node in bucket.nodes if not node.bound), None)
        return None

    def _place(self, bucket: _Bucket, node: Node) -> None:
        bucket.nodes.append(node)
        self._size += 1
        if node.addr not in self._nodes:
            self._index(node)

    def _index(self, node: Node) -> None:
        self._nodes[node.addr] = node
        self._ids.add(node.contact.id)
        self._hosts.add(node.addr[0])

    def _forget(self, node: Node, *, promote: bool = True) -> None:
        bucket = self._bucket(node.key)
        if node in bucket.spares:
            bucket.spares.remove(node)
        else:
            bucket.nodes.remove(node)
            self._size -= 1
            if promote and bucket.spares:
                best = max(bucket.spares, key=lambda spare: (spare.bound, spare.seen))
                bucket.spares.remove(best)
                self._place(bucket, best)
        del self._nodes[node.addr]
        self._ids.discard(node.contact.id)
        if not local(node.addr[0]):
            self._hosts.discard(node.addr[0])


def _named(contact: Contact) -> tuple[bytes, str]:
    return contact.id, contact.addr[0]
