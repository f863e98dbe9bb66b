"""Our node in the DHT of one address family (BEP 5, 32, 42, 43): datagrams in, datagrams and peers out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from random import Random

from swarm.errors import ProtocolError
from swarm.proto.krpc import (
    PROTOCOL,
    UNKNOWN_METHOD,
    Addr,
    Contact,
    Failure,
    Query,
    Reply,
    encode_reply,
    pack_addr,
    parse,
)
from swarm.proto.tracker import REFUSED_PORTS

from .candidates import scope
from .dht_address import OwnAddress
from .dht_calls import Call, Calls
from .dht_id import bound_id, is_bound, local, random_id
from .dht_lookup import ANY_ID, Step
from .dht_peers import PeerStore
from .dht_schedule import Loneliness, Schedule, Wanted
from .dht_table import FRESH, K, Table
from .dht_throttle import Throttle, room
from .dht_tokens import SIZE as TOKEN
from .dht_tokens import Tokens
from .dht_walk import Walk

UPKEEP, BUSY_UPKEEP = 30.0, 5.0
"""Seconds between two looks at the table; the shorter while it has gaps."""
PINGS = 12
"""Doubtful nodes pinged at one look."""
MOST_CHECKS = 16
"""Nodes on their way into the table, pinged at once."""
MOST_STARTS = 64
"""Addresses to begin with, of one lookup."""
MOST_VALUES = 64
"""Peers in one reply of ours."""
PING = len(Query(bytes(4), "ping", bytes(20)).encode())
_FRAME = 90
"""Bytes of a reply without its transaction id, contacts, peers and token, and a few more."""


@dataclass(slots=True)
class Counters:
    """What happened since the node began; bytes are of datagrams, without headers."""

    queries: int = 0
    answers: int = 0
    refused: int = 0
    """Queries above what one source, or all together, may ask for."""
    nonsense: int = 0
    strays: int = 0
    """Answers that nobody waits for."""
    asked: int = 0
    lost: int = 0
    bytes_in: int = 0
    bytes_out: int = 0


class Dht:
    """One node of ours. Times are seconds; addresses are of its family, `version` 4 or 6.

    Feed it with datagrams (`receive`) and time (`tick`, not later than `deadline`), send what
    `take_output` has, and dial what `take_found` has. `secret` is of 16 random bytes or more: what is derived
    from it no one can guess. `host` is our external address, if it is known.
    """

    def __init__(
        self,
        version: int,
        rng: Random,
        secret: bytes,
        now: float,
        *,
        host: str | None = None,
        read_only: bool = False,
        help_after: float = 0.0,
    ) -> None:
        self.version = version
        self.read_only = read_only
        self.sibling: Dht | None = None
        """Our node in the other family, which knows its contacts (BEP 32)."""
        self.counters = Counters()
        self.own = OwnAddress(host)
        self.table = Table(bound_id(host, rng) if host else random_id(rng))
        self.peers = PeerStore(rng)
        self.schedule = Schedule(rng)
        self.loneliness = Loneliness(now + help_after)
        self.calls = Calls(secret)
        self._tokens = Tokens(secret)
        self._throttle = Throttle(now)
        self._rng = rng
        self._now = now
        self._heard = float("-inf")
        self._upkeep = now + BUSY_UPKEEP
        self._checks: set[Addr] = set()
        self._joining: Walk | None = None
        self._refreshing: Walk | None = None
        self._output: list[tuple[bytes, Addr]] = []
        self._peers_found: list[tuple[bytes, list[Addr]]] = []

    @property
    def id(self) -> bytes:
        """Our node id."""
        return self.table.own_id

    @property
    def lonely(self) -> bool:
        """Whether we know too few nodes to do without help."""
        return self.table.alive < K

    # ------------------------------------------------------------ what the owner says

    def meet(self, addrs: Iterable[Addr], now: float) -> None:
        """There may be nodes at these addresses: saved ones, a torrent's, a peer's, those of a host."""
        self._now = now
        fresh = [addr for addr in addrs if (":" in addr[0]) == (self.version == 6)]
        fresh = [addr for addr in fresh if self.table.get(addr) is None][:MOST_STARTS]
        if not self.lonely:
            for addr in fresh:
                self._check(addr)
            return
        contacts = [Contact(ANY_ID, addr) for addr in fresh]
        if self._joining is not None:
            self._joining.start(contacts)
        elif contacts:
            self._join(contacts)

    def announce(self, infohash: bytes, port: int, now: float, *, seed: bool = False) -> None:
        """Looks for peers of this torrent from now on, and tells that we are one, at `port` (0: does not)."""
        self.schedule.add(infohash, port, now, seed=seed)
        self.tick(now)

    def forget(self, infohash: bytes) -> None:
        """No more of that torrent."""
        self.schedule.remove(infohash)

    def hurry(self, infohash: bytes, now: float) -> None:
        """This torrent has too few peers."""
        self.schedule.hurry(infohash, now)

    def wants_help(self, now: float) -> bool:
        """Whether somebody should `meet` us with addresses from elsewhere."""
        return self.loneliness.poll(now, self.lonely)

    # ------------------------------------------------------------ what goes out

    def take_output(self) -> list[tuple[bytes, Addr]]:
        """The datagrams to send now."""
        output, self._output = self._output, []
        return output

    def take_found(self) -> list[tuple[bytes, list[Addr]]]:
        """Peers that were found since the last time, by info-hash."""
        found, self._peers_found = self._peers_found, []
        return found

    def known(self) -> list[Addr]:
        """The nodes that answered, the latest first: what is to be saved."""
        nodes = sorted(self.table, key=lambda node: -node.seen)
        return [node.addr for node in nodes if not node.failures]

    # ------------------------------------------------------------ time

    def tick(self, now: float) -> None:
        """Does what is due."""
        self._now = now
        for call, gone in self.calls.due(now):
            if gone:
                self._lost(call)
            elif call.asker is not None:
                call.asker.slow(call.about)
        if len(self.table):
            for wanted in self.schedule.poll(now):
                self._walk(wanted.infohash, wanted)
        if self._upkeep <= now:
            self._upkeep = now + (BUSY_UPKEEP if self._maintain(now) else UPKEEP)

    def deadline(self) -> float:
        """When `tick` has something to do next."""
        torrents = self.schedule.deadline() if len(self.table) else float("inf")
        return min(self.calls.deadline(), torrents, self._upkeep)

    def _maintain(self, now: float) -> bool:
        """Looks after the table; whether there is more to do soon."""
        self.peers.expire(now)
        for _ in range(PINGS):
            node = self.table.doubtful(now)
            if node is None:
                break
            node.checking = True
            self.ask(node.addr, Query(b"", "ping", b""), None, None)
        if self._refreshing is not None or self._joining is not None:
            return True
        target = self.table.stale(now, self._rng)
        if target is not None:
            self._refreshing = self._walk(target, None)
        return target is not None or self.lonely

    # ------------------------------------------------------------ lookups (dht_walk.Asking)

    def _join(self, contacts: list[Contact]) -> None:
        """Looks for our own neighbours, and for nodes of the other family if it has too few."""
        both = self.sibling is not None and self.sibling.lonely
        walk = self._joining = Walk(self, self.id, None, (4, 6) if both else ())
        walk.start([node.contact for node in self.table.closest(self.id)] + contacts)

    def _walk(self, target: bytes, wanted: Wanted | None) -> Walk | None:
        walk = Walk(self, target, wanted, ())
        walk.start([node.contact for node in self.table.closest(target, 2 * K)])
        return None if walk.over else walk

    def ask(self, addr: Addr, query: Query, asker: Walk | None, about: Step | None) -> None:
        transaction = self.calls.open(addr, asker, about, self._now)
        query = replace(query, transaction=transaction, id=self.id, read_only=self.read_only)
        self.counters.asked += 1
        self._send(query.encode(), addr)

    def contacts(self, reply: Reply, addr: Addr) -> list[Contact]:
        ours, others = reply.nodes, reply.nodes6
        if self.version == 6:
            ours, others = others, ours
        inside = local(addr[0])
        if others and self.sibling is not None and self.sibling.lonely:
            named = [c.addr for c in others if inside or not local(c.addr[0])]
            self.sibling.meet(named[:K], self._now)
        return [c for c in ours if c.id != self.id and (inside or not local(c.addr[0]))]

    def found(self, infohash: bytes, peers: list[Addr]) -> None:
        self._peers_found.append((infohash, peers))

    def ended(self, walk: Walk) -> None:
        if walk is self._joining:
            self._joining = None
        elif walk is self._refreshing:
            self._refreshing = None
        if walk.wanted is not None:
            self.schedule.finished(walk.wanted, self._now, good=bool(walk.lookup.closest))

    def _check(self, addr: Addr) -> None:
        """Pings a node that may get into the table."""
        if len(self._checks) < MOST_CHECKS and not self.calls.full and addr not in self._checks:
            self._checks.add(addr)
            self.ask(addr, Query(b"", "ping", b""), None, None)

    # ------------------------------------------------------------ what comes in

    def receive(self, data: bytes, addr: Addr, now: float) -> None:
        """A datagram has come. What is malformed, or an answer to nothing, is dropped."""
        self._now = now
        self.counters.bytes_in += len(data)
        try:
            message = parse(data, local=local(addr[0]))
        except ProtocolError:
            self.counters.nonsense += 1
            return
        if isinstance(message, Query):
            self._on_query(message, len(data), addr)
            return
        call = self.calls.match(message.transaction, addr, now)
        if call is None:
            self.counters.strays += 1
            return
        self._heard = now
        self._checks.discard(addr)
        if isinstance(message, Failure) or message.id == self.id:
            if call.asker is not None:
                call.asker.lost(call.about)
            return
        self.table.heard(Contact(message.id, addr), now)
        if self.own.vote(addr[0], message.your_ip):
            self._renamed()
        if call.asker is not None:
            call.asker.answered(call.about, message)
        if self.schedule.deadline() <= now:
            self.tick(now)

    def _lost(self, call: Call) -> None:
        self.counters.lost += 1
        self._checks.discard(call.addr)
        self.table.failed(call.addr, forget=self._heard > call.sent)  # or is our own line dead?
        if call.asker is not None:
            call.asker.lost(call.about)

    def _renamed(self) -> None:
        """We are at another address than we thought: our id follows, and so do our neighbours."""
        host = self.own.host
        if host is not None and not is_bound(self.id, host):
            self.table.rename(bound_id(host, self._rng))
            if self._joining is None:
                self._join([])

    # ------------------------------------------------------------ answers

    def _on_query(self, query: Query, size: int, addr: Addr) -> None:
        self.counters.queries += 1
        now = self._now
        if self.read_only or query.id == self.id:
            return
        if not self._throttle.admits(scope(addr[0]), now):
            self.counters.refused += 1
            return
        node = self.table.get(addr)
        proven = node is not None and node.contact.id == query.id and node.seen + FRESH > now
        contact = Contact(query.id, addr)
        checking = not proven and not query.read_only and self.table.wants(contact)
        answer = self._answer(query, addr, room(addr[0], size, PING * checking, proven=proven))
        if not self._throttle.pays(len(answer), now):
            self.counters.refused += 1
            return
        self.counters.answers += 1
        self._send(answer, addr)
        if checking:
            self._check(addr)

    def _answer(self, query: Query, addr: Addr, most: int) -> bytes:
        now, asker = self._now, pack_addr(addr)
        if query.method == "":
            return Failure(query.transaction, UNKNOWN_METHOD, "Method Unknown").encode()
        if query.method == "ping":
            return encode_reply(query.transaction, self.id, asker=asker)
        if query.method == "announce_peer":
            port = query.port or addr[1]
            if not self._tokens.holds(query.token, addr[0], now) or port in REFUSED_PORTS:
                return Failure(query.transaction, PROTOCOL, "Bad token").encode()
            self.peers.add(query.target, (addr[0], port), now)
            return encode_reply(query.transaction, self.id, asker=asker)
        token, values = b"", []
        left = most - _FRAME - len(query.transaction) - len(asker)
        if query.method == "get_peers":
            token = self._tokens.make(addr[0], now)
            left -= TOKEN + 10
            each = len(asker) + 3
            values = self.peers.some(query.target, min(MOST_VALUES, left // 2 // each), now)
            left -= each * len(values) + 10 * bool(values)
        packed = {4: b"", 6: b""}
        for version in query.want or (self.version,):
            table = self if version == self.version else self.sibling
            if table is not None:
                each = 26 if version == 4 else 38
                nodes = table.table.closest(query.target, max(0, min(K, left // each)))
                packed[version] = b"".join(n.packed for n in nodes if n.addr != addr)
                left -= len(packed[version])
        return encode_reply(
            query.transaction,
            self.id,
            asker=asker,
            nodes=packed[4],
            nodes6=packed[6],
            values=values,
            token=token,
        )

    def _send(self, data: bytes, addr: Addr) -> None:
        self.counters.bytes_out += len(data)
        self._output.append((data, addr))
