"""A node of the DHT among others, with a network that breaks what they say, for as long as one likes:

    python tests/fuzz/fuzz_dht.py [SECONDS] [FIRST_SEED]

Each seed is a small overlay in virtual time, in which datagrams are lost, doubled, cut, sent from elsewhere and
rewritten: bits flip, and values change places with others of any type. Nodes must not raise, keep to their
budgets, and find each other once it is over. A failure prints the seed, which repeats it.
"""

from __future__ import annotations

import contextlib
import random
import sys
import time
from pathlib import Path

sys.path += [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1])]

from overlay import Overlay, Place

from swarm.engine import dht_peers
from swarm.engine.dht import MOST_CHECKS
from swarm.engine.dht_calls import MOST_CALLS
from swarm.engine.dht_table import SPARES, WIDE, K
from swarm.errors import BencodeError
from swarm.proto.bencode import Value, decode, encode
from swarm.proto.krpc import Addr

ODD: list[Value] = [
    0,
    -1,
    65536,
    2**63 - 1,
    b"",
    b"n4",
    bytes(20),
    bytes(26),
    bytes(38),
    b"\xff" * 700,
    [],
]


def twist(rng: random.Random, value: Value) -> Value:
    """The same message with something in it changed."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(sorted(value))
        changed = dict(value)
        if rng.random() < 0.15:
            del changed[key]
        else:
            changed[key] = twist(rng, changed[key])
        return changed
    if isinstance(value, list) and value and rng.random() < 0.7:
        return [*value[1:], twist(rng, value[0])] * rng.choice((1, 1, 2, 50))
    if isinstance(value, bytes) and value and rng.random() < 0.7:
        at = rng.randrange(len(value))
        return value[:at] + rng.randbytes(1) + value[at + 1 :] * rng.randrange(3)
    return rng.choice(ODD)


class Broken(Overlay):
    """An overlay whose datagrams come as they like, while `broken`."""

    broken = True

    def send(self, data: bytes, source: Place, addr: Addr) -> None:
        rng, target = self.rng, self.places.get(addr)
        if self.broken and target is not None and rng.random() < 0.4:
            match rng.randrange(5):
                case 0:
                    data = data[: rng.randrange(len(data))]
                case 1:
                    at = rng.randrange(len(data))
                    data = data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
                case 2:
                    elsewhere = rng.choice([self.address(), rng.choice(sorted(self.places))])
                    self.clock.after(rng.random(), target.receive, data, elsewhere)
                case 3:
                    self.clock.after(9 * rng.random(), target.receive, data, source.addr)
                case 4:
                    with contextlib.suppress(BencodeError):
                        data = encode(twist(rng, decode(data)))
        super().send(data, source, addr)


def check(place: Place) -> None:
    """What holds at any time."""
    dht = place.dht
    nodes = list(dht.table)
    assert len(nodes) == len(dht.table) == len({node.contact.id for node in nodes})
    assert len(nodes) <= sum(WIDE) + 157 * K
    assert len(dht.table._nodes) <= sum(WIDE) + 157 * K + 160 * SPARES
    assert all(dht.table.get(node.addr) is node for node in nodes)
    assert len(dht.calls) <= MOST_CALLS
    assert len(dht._checks) <= MOST_CHECKS
    assert len(dht.peers) <= dht_peers.MOST_TORRENTS


def play(seed: int) -> int:
    """One overlay; how many datagrams there were."""
    overlay = Broken(seed, loss=0.05)
    overlay.grow(16, liars=0.1)
    infohashes = [overlay.rng.randbytes(20) for _ in range(3)]
    for _ in range(20):
        place = overlay.rng.choice(overlay.honest)
        infohash = overlay.rng.choice(infohashes)
        place.do(lambda dht, now, h=infohash: dht.announce(h, 4321, now))  # type: ignore[misc]
        overlay.run(overlay.rng.choice((0.5, 5.0, 400.0)))
        for each in overlay.honest:
            check(each)
        overlay.churn(0.1)
    overlay.broken, overlay.loss = False, 0.0
    overlay.run(1000)
    owner, seeker = overlay.rng.sample(overlay.honest, 2)
    infohash = overlay.rng.randbytes(20)
    owner.do(lambda dht, now: dht.announce(infohash, 99, now))
    overlay.run(10)
    assert (owner.addr[0], 99) in overlay.search(seeker, infohash, 10)
    return overlay.datagrams


def main(seconds: float, seed: int) -> None:
    """Plays seeds until time is up."""
    first, datagrams, end = seed, 0, time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            datagrams += play(seed)
        except BaseException:
            print(f"seed {seed}", file=sys.stderr)
            raise
        seed += 1
    print(f"{seed - first} overlays from seed {first}: {datagrams} datagrams")


if __name__ == "__main__":
    given = sys.argv[1:]
    main(
        float(given[0]) if given else 60.0,
        int(given[1]) if len(given) > 1 else random.randrange(1 << 31),
    )
