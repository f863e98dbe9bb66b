"""BEP 6: which pieces a peer may fetch while it is choked, from its address and the info-hash."""

from __future__ import annotations

import hashlib
import ipaddress

SET_SIZE = 10


def allowed_fast_set(infohash: bytes, host: str, pieces: int, size: int = SET_SIZE) -> list[int]:
    """The canonical set for an IPv4 peer, so that reconnecting gains nothing. Empty for IPv6.

    A set is only worth sending where the torrent has more pieces than the set.
    """
    address = ipaddress.ip_address(host)
    if address.version != 4 or pieces <= size:
        return []
    state = (int(address) & 0xFFFFFF00).to_bytes(4, "big") + infohash
    chosen: list[int] = []
    while len(chosen) < size:
        state = hashlib.sha1(state).digest()
        for i in range(0, 20, 4):
            piece = int.from_bytes(state[i : i + 4], "big") % pieces
            if piece not in chosen and len(chosen) < size:
                chosen.append(piece)
    return chosen
