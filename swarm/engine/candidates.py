"""Addresses that might be dialled, and when (an address is an IP address as text, and a port)."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

Addr = tuple[str, int]

FIRST_RETRY = 5.0
"""Seconds before the second dial; each further failure doubles it."""
LONGEST_RETRY = 3600.0
MOST_FAILURES = 10
"""Failures in a row after which an address is forgotten."""
REDIAL = 2.0
"""Seconds before a peer that was useful is dialled again."""
MOST_BANS = 10_000
LONGEST_HOST = 64
"""Characters of an IPv6 address with a zone, and more than enough."""
TRUSTED = frozenset({"user", "tracker", "resume"})
"""Sources that may fill the book. Any peer can say anything by the others (PEX, DHT, LSD)."""
SHARE = 0.5
"""Part of the book that one untrusted source may take."""
PORTS_PER_HOST = 32
"""Ports on one host that untrusted sources may name: a list of peers must not become a weapon."""


class State(Enum):
    """What is happening with an address."""

    READY = auto()
    WAITING = auto()  # backing off
    DIALLING = auto()
    CONNECTED = auto()


@dataclass(slots=True, eq=False)
class Candidate:
    """One address. `failures` is -1 until the first dial; `place` is its index among its equals."""

    addr: Addr
    source: str
    state: State = State.READY
    failures: int = -1
    retry_at: float = 0.0
    place: int = 0


class Candidates:
    """The address book of one torrent: at most `limit` addresses that are not connected.

    Only addresses in state READY are ever returned. They lie in one list for each number of
    failures, so that taking one by chance costs nothing; those that wait lie in a heap.
    """

    def __init__(self, *, limit: int = 3000, rng: random.Random | None = None) -> None:
        self._limit = limit
        self._rng = rng if rng is not None else random.Random()
        self._book: dict[Addr, Candidate] = {}
        self._hosts: dict[str, set[Addr]] = {}
        self._sources: dict[str, int] = {}
        self._ready: list[list[Candidate]] = [[] for _ in range(MOST_FAILURES + 1)]
        self._waiting: list[tuple[float, Addr]] = []  # outdated entries are skipped
        self._bans: dict[str, None] = {}
        self._refused: dict[Addr, None] = {}
        self._busy = 0  # connected

    def __len__(self) -> int:
        """Addresses that are known and not connected."""
        return len(self._book) - self._busy

    def add(self, addrs: Iterable[Addr], source: str, now: float) -> int:
        """Takes addresses in; how many of them were new and are kept.

        Nonsense (port 0, no IP address, unspecified, multicast or reserved), what is banned or
        refused, and what exceeds a budget is dropped. `source` is "user", "tracker", "resume",
        "pex", "dht" or "lsd"; any other counts as untrusted too.
        """
        return sum(self._add(addr, source) for addr in addrs)

    def _add(self, addr: Addr, source: str) -> bool:
        normal = normalise(addr)
        if normal is None or normal in self._refused or self.is_banned(normal[0]):
            return False
        known = self._book.get(normal)
        if known is not None:
            if not known.source:  # it dialled us; now somebody says that it can be dialled
                self._label(known, source)
            return False
        if source not in TRUSTED:
            host = self._hosts.get(scope(normal[0]), ())
            if len(host) >= PORTS_PER_HOST or len(self) >= self._limit:
                return False
            if self._sources.get(source, 0) >= self._limit * SHARE:
                return False
        elif len(self) >= self._limit and not self._evict():
            return False
        self._enlist(self._enter(normal, source))
        return True

    def take(self, now: float, room: int) -> list[Addr]:
        """At most `room` addresses to dial now: untried ones first, then those that failed least.

        Each of them has to be reported back by `connected` or `failed`.
        """
        self._wake(now)
        taken: list[Addr] = []
        for rank in self._ready:
            while rank and len(taken) < room:
                candidate = rank[self._rng.randrange(len(rank))]
                self._leave(candidate, State.DIALLING)
                taken.append(candidate.addr)
        return taken

    def deadline(self) -> float | None:
        """When `take` will have something: minus infinity for now, None for never."""
        if any(self._ready):
            return float("-inf")
        while self._waiting and not self._is_current(self._waiting[0]):
            heapq.heappop(self._waiting)
        return self._waiting[0][0] if self._waiting else None

    def connected(self, addr: Addr, now: float) -> None:
        """There is a connection with this address, whoever dialled."""
        addr = normalise(addr) or addr
        candidate = self._book.get(addr) or self._enter(addr, "")
        if candidate.state is not State.CONNECTED:
            self._leave(candidate, State.CONNECTED)
            self._busy += 1

    def failed(self, addr: Addr, now: float) -> None:
        """A dial did not lead to a handshake."""
        candidate = self._book.get(normalise(addr) or addr)
        if candidate is not None and candidate.state is State.DIALLING:
            self._fail(candidate, now)

    def closed(self, addr: Addr, now: float, *, useful: bool) -> None:
        """A connection has ended. If it was `useful` the address may be dialled again soon."""
        candidate = self._book.get(normalise(addr) or addr)
        if candidate is None or candidate.state is State.READY or candidate.state is State.WAITING:
            return
        if candidate.state is State.CONNECTED:
            self._busy -= 1
            candidate.state = State.DIALLING  # no longer counted as connected, in no list
        if not candidate.source or self.is_banned(candidate.addr[0]):
            self._forget(candidate)  # a port that somebody dialled from is not one to dial
        elif useful:
            candidate.failures = 0
            self._postpone(candidate, now + REDIAL)
        else:
            self._fail(candidate, now)

    def retry(self) -> None:
        """There is a reason to try again whoever waits: they may be dialled at once."""
        waiting, self._waiting = self._waiting, []
        for entry in waiting:
            if self._is_current(entry):
                self._enlist(self._book[entry[1]])

    def ban(self, host: str) -> None:
        """Never dials this host again. An IPv6 host goes with its /64, which is one customer."""
        key = scope(host)
        self._bans[key] = None
        if len(self._bans) > MOST_BANS:
            del self._bans[next(iter(self._bans))]
        for addr in list(self._hosts.get(key, ())):
            candidate = self._book[addr]
            if candidate.state is not State.CONNECTED:  # that one goes when it is closed
                self._forget(candidate)

    def is_banned(self, host: str) -> bool:
        """Whether nothing is to be dialled at, or accepted from, this host."""
        return bool(self._bans) and scope(host) in self._bans

    def refuse(self, addr: Addr) -> None:
        """Never dials this address again: it is ourselves, or a peer that we have under another."""
        addr = normalise(addr) or addr
        self._refused[addr] = None
        if len(self._refused) > self._limit:
            del self._refused[next(iter(self._refused))]
        candidate = self._book.get(addr)
        if candidate is not None:
            self._forget(candidate)

    # ------------------------------------------------------------ the lists

    def _enter(self, addr: Addr, source: str) -> Candidate:
        """A new candidate, in the book and in no list yet."""
        candidate = self._book[addr] = Candidate(addr, source, State.DIALLING)
        self._hosts.setdefault(scope(addr[0]), set()).add(addr)
        self._sources[source] = self._sources.get(source, 0) + 1
        return candidate

    def _label(self, candidate: Candidate, source: str) -> None:
        self._sources[candidate.source] -= 1
        self._sources[source] = self._sources.get(source, 0) + 1
        candidate.source = source

    def _forget(self, candidate: Candidate) -> None:
        self._busy -= candidate.state is State.CONNECTED
        self._leave(candidate, State.DIALLING)
        del self._book[candidate.addr]
        self._sources[candidate.source] -= 1
        if not self._sources[candidate.source]:
            del self._sources[candidate.source]
        key = scope(candidate.addr[0])
        self._hosts[key].discard(candidate.addr)
        if not self._hosts[key]:
            del self._hosts[key]

    def _enlist(self, candidate: Candidate) -> None:
        rank = self._ready[candidate.failures + 1]
        candidate.state, candidate.place = State.READY, len(rank)
        rank.append(candidate)

    def _leave(self, candidate: Candidate, state: State) -> None:
        """Out of the ready ones, if it is there: the last of its rank takes its place."""
        if candidate.state is State.READY:
            rank = self._ready[candidate.failures + 1]
            last = rank.pop()
            if last is not candidate:
                rank[candidate.place], last.place = last, candidate.place
        candidate.state = state

    def _fail(self, candidate: Candidate, now: float) -> None:
        candidate.failures = max(candidate.failures, 0) + 1
        if candidate.failures >= MOST_FAILURES:
            self._forget(candidate)
            return
        wait = min(FIRST_RETRY * 2 ** (candidate.failures - 1), LONGEST_RETRY)
        self._postpone(candidate, now + wait)

    def _postpone(self, candidate: Candidate, until: float) -> None:
        candidate.state, candidate.retry_at = State.WAITING, until
        heapq.heappush(self._waiting, (until, candidate.addr))
        if len(self._waiting) > 2 * len(self._book) + 64:  # mostly outdated
            self._waiting = [entry for entry in self._waiting if self._is_current(entry)]
            heapq.heapify(self._waiting)

    def _is_current(self, entry: tuple[float, Addr]) -> bool:
        candidate = self._book.get(entry[1])
        return (
            candidate is not None
            and candidate.state is State.WAITING
            and candidate.retry_at == entry[0]
        )

    def _wake(self, now: float) -> None:
        while self._waiting and self._waiting[0][0] <= now:
            entry = heapq.heappop(self._waiting)
            if self._is_current(entry):
                self._enlist(self._book[entry[1]])

    def _evict(self) -> bool:
        """Makes room by forgetting an address that has failed, if there is one."""
        while self._waiting:
            entry = self._waiting.pop()  # the last of a heap is a leaf, and waits long
            if self._is_current(entry):
                self._forget(self._book[entry[1]])
                return True
        for rank in reversed(self._ready[1:]):
            if rank:
                self._forget(rank[-1])
                return True
        return False


def normalise(addr: Addr) -> Addr | None:
    """The one way to write this address; None if nobody can be reached there."""
    host, port = addr
    if not 0 < port < 65536 or len(host) > LONGEST_HOST:
        return None
    try:
        ip = ip_address(host)
    except ValueError:
        return None
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if ip.is_unspecified or ip.is_multicast:
        return None
    if isinstance(ip, IPv4Address) and (ip.is_reserved or ip.packed[0] == 0):
        return None
    return str(ip), port


@lru_cache(maxsize=4096)
def scope(host: str) -> str:
    """What a ban covers: an IPv4 address, the /64 of a global IPv6 address, or the text itself."""
    try:
        ip = ip_address(host)
    except ValueError:
        return host
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        if ip.is_global:
            return f"{ip.packed[:8].hex()}/64"
    return str(ip)
