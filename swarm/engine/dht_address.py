"""Which address others see us at (BEP 42): a vote, since anybody may say anything."""

from __future__ import annotations

from collections import Counter, OrderedDict

from .dht_id import local, subnet

VOTERS = 24
"""The latest voters that count, one of each subnet."""
QUORUM = 6
"""So many have to agree, and more than half of all."""


class OwnAddress:
    """Our external address, once enough nodes of different networks say the same."""

    def __init__(self, host: str | None = None) -> None:
        self.host = host
        self._votes: OrderedDict[str, str] = OrderedDict()

    def vote(self, voter: str, host: str | None) -> bool:
        """A node at `voter` says that we are at `host`; whether we are somewhere else from now on."""
        net = subnet(voter)
        if host is None or not net or local(host) or (":" in host) != (":" in voter):
            return False
        self._votes[net] = host
        self._votes.move_to_end(net)
        if len(self._votes) > VOTERS:
            self._votes.popitem(last=False)
        if host == self.host:
            return False
        count = Counter(self._votes.values())[host]
        if count < QUORUM or count * 2 <= len(self._votes):
            return False
        self.host = host
        return True
