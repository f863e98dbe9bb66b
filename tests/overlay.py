"""A DHT of many real nodes in virtual time: with loss, delay, churn, and liars that work together."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address

from swarm.engine.dht import Dht
from swarm.engine.dht_id import key_of
from swarm.errors import ProtocolError
from swarm.proto.krpc import ID, Addr, Query, encode_reply, pack_addr, parse
from swarm.testing import Clock, Timer

PORT = 6881


class Place:
    """A node, where it is."""

    def __init__(self, overlay: Overlay, dht: Dht, addr: Addr) -> None:
        self.overlay = overlay
        self.dht = dht
        self.addr = addr
        self.alive = True
        self.found: dict[bytes, set[Addr]] = {}
        self.spot = overlay.rng.random(), overlay.rng.random()
        self._timer: Timer | None = None
        self.flush()

    def receive(self, data: bytes, source: Addr) -> None:
        if self.alive:
            self.dht.receive(data, source, self.overlay.clock.now)
            self.flush()

    def do(self, what: Callable[[Dht, float], object]) -> None:
        """Tells the node something."""
        what(self.dht, self.overlay.clock.now)
        self.flush()

    def die(self) -> None:
        self.alive = False
        self.overlay.places.pop(self.addr, None)

    def flush(self) -> None:
        for data, addr in self.dht.take_output():
            self.overlay.send(data, self, addr)
        for infohash, peers in self.dht.take_found():
            self.found.setdefault(infohash, set()).update(peers)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.overlay.clock.at(self.dht.deadline(), self._tick)

    def _tick(self) -> None:
        if self.alive:
            now = self.overlay.clock.now
            self.dht.tick(now)
            if self.dht.wants_help(now):
                self.dht.meet(self.overlay.hosts(), now)
            self.flush()


class Liar(Place):
    """Joins like everybody, and answers lookups with its friends, under ids right beside the target.

    Those friends answer to these ids. Some of whom it names are not there at all, and the peers are made up.
    """

    def receive(self, data: bytes, source: Addr) -> None:
        try:
            message = parse(data)
        except ProtocolError:
            return
        if not isinstance(message, Query) or message.method not in ("find_node", "get_peers"):
            super().receive(data, source)
            return
        overlay, target = self.overlay, message.target
        friends = overlay.rng.sample(overlay.liars, min(6, len(overlay.liars)))
        ghosts = [overlay.address() for _ in range(2)]
        named = [(overlay.beside(target, addr), addr) for addr in friends + ghosts]
        answer = encode_reply(
            message.transaction,
            overlay.beside(target, self.addr),
            asker=pack_addr(source),
            nodes=b"".join(node_id + pack_addr(addr) for node_id, addr in named),
            values=[pack_addr(overlay.address()) for _ in range(8)],
            token=b"nonsense",
        )
        self.overlay.send(answer, self, source)


class Overlay:
    """The network: every datagram that is sent comes after a while, or never."""

    def __init__(self, seed: int, *, loss: float = 0.0, version: int = 4) -> None:
        self.rng = random.Random(seed)
        self.clock = Clock()
        self.loss = loss
        self.version = version
        self.places: dict[Addr, Place] = {}
        self.liars: list[Addr] = []
        self.datagrams = 0
        self.bytes = 0

    def address(self) -> Addr:
        """A fresh global address."""
        if self.version == 6:
            return str(IPv6Address(0x2A << 120 | self.rng.getrandbits(120))), PORT
        return str(IPv4Address(self.rng.randrange(11 << 24, 100 << 24))), PORT

    def beside(self, target: bytes, addr: Addr) -> bytes:
        """The id under which the liar at this address is found near the target."""
        mark = random.Random(repr((target, addr))).getrandbits(8 * ID - 40)
        return (key_of(target) ^ mark).to_bytes(ID, "big")

    def add(self, *, liar: bool = False, starts: int = 2, read_only: bool = False) -> Place:
        """One more node, which knows a few others to begin with."""
        addr = self.address()
        rng = random.Random(self.rng.random())
        known = self.rng.sample(sorted(self.places), min(starts, len(self.places)))
        dht = Dht(
            self.version, rng, rng.randbytes(16), self.clock.now, host=addr[0], read_only=read_only
        )
        place = (Liar if liar else Place)(self, dht, addr)
        self.places[addr] = place
        if liar:
            self.liars.append(addr)
        place.do(lambda dht, now: dht.meet(known, now))
        return place

    def grow(self, count: int, *, liars: float = 0.0, every: float = 0.1) -> None:
        """Adds so many, one after the other."""
        for number in range(count):
            self.add(liar=number > 8 and self.rng.random() < liars)
            self.clock.run(self.clock.now + every)

    def hosts(self) -> list[Addr]:
        """A few nodes that anybody may begin with, liars among them."""
        return self.rng.sample(sorted(self.places), min(3, len(self.places)))

    def churn(self, part: float) -> None:
        """This part of the honest nodes leaves without a word, and as many new ones come."""
        leaving = self.rng.sample(self.honest, int(part * len(self.honest)))
        for place in leaving:
            place.die()
            self.add()

    @property
    def honest(self) -> list[Place]:
        return [place for place in self.places.values() if not isinstance(place, Liar)]

    def send(self, data: bytes, source: Place, addr: Addr) -> None:
        self.datagrams += 1
        self.bytes += len(data)
        if self.rng.random() < self.loss:
            return
        target = self.places.get(addr)
        if target is None:
            return
        far = abs(complex(*source.spot) - complex(*target.spot))
        delay = 0.01 + 0.12 * far + self.rng.expovariate(1 / 0.01)
        self.clock.after(delay, target.receive, data, source.addr)

    def run(self, seconds: float) -> None:
        self.clock.run(self.clock.now + seconds)

    def search(self, place: Place, infohash: bytes, seconds: float) -> set[Addr]:
        """What a node finds of a torrent in so many seconds, without announcing itself."""
        place.do(lambda dht, now: dht.announce(infohash, 0, now))
        self.run(seconds)
        place.do(lambda dht, now: dht.forget(infohash))
        return place.found.pop(infohash, set())


def hosts(addrs: Iterable[Addr]) -> set[str]:
    return {host for host, _ in addrs}
