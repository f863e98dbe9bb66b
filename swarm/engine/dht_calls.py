"""Which queries of ours are on their way, and when to give them up, by what round trips take here."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from swarm.proto.krpc import Addr

TRANSACTION = 4
"""Bytes of a transaction id of ours: nobody guesses one (BEP 5 has two)."""
FIRST_PATIENCE = 1.0
LEAST_PATIENCE, MOST_PATIENCE = 0.2, 3.0
"""Seconds after which a call counts as slow, whatever was measured."""
LOST_AFTER = 4.0
"""A call is lost after so many times what made it slow, but not before and not after these seconds."""
LEAST_LOST, MOST_LOST = 2.0, 8.0
MOST_CALLS = 512


@dataclass(slots=True, eq=False)
class Call:
    """One query of ours. `asker` is whoever waits for its answer, `about` what that is to it."""

    addr: Addr
    asker: Any
    about: Any
    sent: float
    lost_at: float
    slow: bool = False


class Calls:
    """Matches answers with queries, and learns from them how long the next ones may take (RFC 6298)."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._count = 0
        self._open: dict[bytes, Call] = {}
        self._times: list[tuple[float, bytes]] = []  # outdated entries are skipped
        self._mean: float | None = None
        self._spread = 0.0

    def __len__(self) -> int:
        return len(self._open)

    @property
    def full(self) -> bool:
        """Whether no more may be on their way."""
        return len(self._open) >= MOST_CALLS

    @property
    def patience(self) -> float:
        """Seconds after which an answer is late."""
        if self._mean is None:
            return FIRST_PATIENCE
        return min(max(self._mean + 4 * self._spread, LEAST_PATIENCE), MOST_PATIENCE)

    def open(self, addr: Addr, asker: Any, about: Any, now: float) -> bytes:
        """The transaction id for a new query to `addr`."""
        self._count += 1
        mark = self._count.to_bytes(8, "big")
        transaction = blake2b(mark, digest_size=TRANSACTION, key=self._secret).digest()
        patience = self.patience
        lost_at = now + min(max(LOST_AFTER * patience, LEAST_LOST), MOST_LOST)
        self._open[transaction] = Call(addr, asker, about, now, lost_at)
        heapq.heappush(self._times, (now + patience, transaction))
        return transaction

    def match(self, transaction: bytes, addr: Addr, now: float) -> Call | None:
        """The call that this is the answer to, which is over then; None if it is to none.

        It has to come from where the query went.
        """
        call = self._open.get(transaction)
        if call is None or call.addr != addr:
            return None
        del self._open[transaction]
        took = now - call.sent
        if self._mean is None:
            self._mean, self._spread = took, took / 2
        else:
            self._spread += (abs(took - self._mean) - self._spread) / 4
            self._mean += (took - self._mean) / 8
        return call

    def due(self, now: float) -> list[tuple[Call, bool]]:
        """The calls that have become slow, and (True) those that are lost, which are over."""
        found = []
        while self._times and self._times[0][0] <= now:
            _, transaction = heapq.heappop(self._times)
            call = self._open.get(transaction)
            if call is None:
                continue
            lost = call.lost_at <= now
            if lost:
                del self._open[transaction]
            else:
                call.slow = True
                heapq.heappush(self._times, (call.lost_at, transaction))
            found.append((call, lost))
        return found

    def deadline(self) -> float:
        """When `due` may have something; infinite if nothing is on its way."""
        while self._times and self._times[0][1] not in self._open:
            heapq.heappop(self._times)
        return self._times[0][0] if self._times else float("inf")
