"""What happened in a swarm, as plain tuples, taken from the bytes that its nodes sent."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

Event = tuple[float, str, str, tuple[object, ...]]
"""(time, node, what, details). `what` and its details:

- "start", "stop": the node comes and goes. "complete": it has all that it wants. "prioritise"
  ((file, priority), ...): it was told to want something else. "reopen": so it downloads again.
- "join" (peer), "leave" (peer, reason): a connection. "ban" (peer): after a "leave".
- "choke", "unchoke", "interested", "uninterested" (peer): the messages that it sent.
- "request" (peer, piece, availability, rarer): its first request for a piece that it has not asked
  anybody for since the piece was last unknown to it; how many of its peers have the piece, seeds
  left out, and the least availability among the pieces of the same urgency that it could have
  asked this peer for instead.
- "share" (peer, piece): its first request to this peer for a piece that it asks others for, too.
- "cancel" (peer, piece, begin): the message that it sent.
- "verified" (piece), "corrupt" (piece, suspects), "error" (piece).
"""

CHOKE, UNCHOKE, INTERESTED, UNINTERESTED = range(4)
REQUEST = 6
CANCEL = 8
FLAGS = {
    CHOKE: "choke",
    UNCHOKE: "unchoke",
    INTERESTED: "interested",
    UNINTERESTED: "uninterested",
}


def messages(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(id, first number, second number) of whole messages; zeros where a message has fewer."""
    at = 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if length:
            first = int.from_bytes(data[at + 5 : at + 9], "big") if length >= 5 else 0
            second = int.from_bytes(data[at + 9 : at + 13], "big") if length >= 9 else 0
            yield data[at + 4], first, second
        at += 4 + length


def trace_digest(trace: Iterable[Event]) -> str:
    """One short word for a whole trace: equal traces have equal digests."""
    digest = hashlib.sha256()
    for event in trace:
        digest.update(repr(event).encode())
    return digest.hexdigest()[:16]
