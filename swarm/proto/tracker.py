"""What a client and a tracker say to each other, as values, and what both transports share.

BEP 3 has the exchange, BEP 7 the IPv6 part, BEP 23 the compact form, BEP 24 the external address.
`tracker_http` and `tracker_udp` turn these values into bytes and back.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Literal, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from swarm.errors import TrackerError

MAX_REPLY = 1024 * 1024
"""Bytes of one reply, before and after decompression."""
MAX_PEERS = 2000
"""Peers taken from one reply; the rest of it is never looked at."""
MAX_SCRAPE = 74
"""Torrents in one scrape; what BEP 15 says fits into a datagram."""
MAX_TEXT = 200
"""Characters kept of a tracker's message to people."""
MAX_URL = 4096
DEFAULT_INTERVAL = 1800
"""Seconds between announces where a tracker gives no usable number."""
INT_MAX = 2**31 - 1
NUMWANT = 100
REFUSED_PORTS = frozenset({0, 22, 25})
"""Nobody's BitTorrent port; a tracker that names one wants somebody else's server to be dialled."""

Event = Literal["", "started", "completed", "stopped", "paused"]
"""`paused` is what a partial seed says: it is incomplete, and downloads nothing (BEP 21)."""
EVENTS: tuple[Event, ...] = ("", "completed", "started", "stopped")
"""In the order of their numbers in BEP 15, which has none for `paused`."""

_V4_MAPPED = bytes(10) + b"\xff\xff"
_PUBLIC_PATHS = ("", "/", "/announce", "/announce.php", "/scrape")
_SECRET_LENGTH = 8


@dataclass(frozen=True, slots=True)
class AnnounceRequest:
    """One announce: who we are, how far we are (bytes), how many peers we would like (BEP 3)."""

    infohash: bytes
    peer_id: bytes
    port: int
    uploaded: int = 0
    downloaded: int = 0
    left: int = 0
    event: Event = ""
    numwant: int = NUMWANT
    """-1 leaves it to the tracker."""
    key: int = 0
    """32 random bits by which the tracker knows us behind a new address (BEP 7)."""
    ip: str | None = None
    tracker_id: bytes | None = None


@dataclass(frozen=True, slots=True)
class TrackerReply:
    """What a tracker answered. Intervals are seconds, as it said them: not clamped yet."""

    interval: int = DEFAULT_INTERVAL
    min_interval: int | None = None
    peers: tuple[tuple[str, int], ...] = ()
    seeds: int | None = None
    leechers: int | None = None
    tracker_id: bytes | None = None
    warning: str | None = None
    external_ip: str | None = None


class Counts(NamedTuple):
    """One torrent at a tracker: seeds, downloads ever finished, and leechers (BEP 48)."""

    seeds: int
    completed: int
    leechers: int


class PeerEntry(NamedTuple):
    """A peer as a tracker knows it. `address` is 4 or 16 bytes."""

    address: bytes
    port: int
    peer_id: bytes


@dataclass(frozen=True, slots=True)
class TrackerAnswer:
    """What our tracker has to say to one announce. Intervals in seconds."""

    interval: int
    min_interval: int
    counts: Counts
    peers: tuple[PeerEntry, ...]


def split_url(url: str, schemes: tuple[str, ...]) -> SplitResult:
    """A tracker's URL in parts. `TrackerError` if it is none of `schemes`, or malformed."""
    fault = None
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is no number, or above 65535
    except ValueError:
        raise TrackerError("malformed tracker URL", redact(url)) from None
    if len(url) > MAX_URL:
        fault = "tracker URL too long"
    elif any(c <= " " or c == "\x7f" for c in url):
        fault = "space or control character in tracker URL"
    elif parts.scheme not in schemes:
        fault = "tracker URL is neither http, https nor udp"
    elif not parts.hostname:
        fault = "tracker URL without a host"
    if fault:
        raise TrackerError(fault, redact(url))
    return parts


def redact(url: str) -> str:
    """A tracker's URL without what may be secret in it: user, unusual path, query. Safe to log."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "(malformed URL)"
    if not host:
        return "(malformed URL)"
    host = f"[{host}]" if ":" in host else printable(host.encode(errors="replace"))
    plain = parts.path in _PUBLIC_PATHS and not parts.query
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{parts.path if plain else '/…'}"


def scrub(text: str, url: str) -> str:
    """`text` without what may be secret in `url`: trackers like to quote a wrong passkey."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return text
    words = parts.path.split("/") + [p.partition("=")[2] for p in parts.query.split("&")]
    words += [parts.username or "", parts.password or ""]
    for word in sorted({*words, *map(unquote, words)}, key=len, reverse=True):
        if len(word) >= _SECRET_LENGTH and not word.startswith("announce"):
            text = text.replace(word, "…")
    return text


def printable(raw: bytes) -> str:
    """At most `MAX_TEXT` characters of a foreign text, with nothing that a terminal acts upon."""
    text = raw[: 4 * MAX_TEXT].decode("utf-8", "replace")[:MAX_TEXT]
    return "".join(c if c.isprintable() else "�" for c in text)


def is_local(host: str) -> bool:
    """Whether a numeric address is loopback, private, or otherwise not of the internet."""
    address: IPv4Address | IPv6Address = ip_address(host.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return not address.is_global


def packed_of(host: bytes) -> bytes | None:
    """The 4 or 16 bytes of an address given as text; None for a name, a scope, or nonsense."""
    if len(host) > 45 or b"%" in host:  # the longest text of an IPv6 address; no scopes
        return None
    try:
        return ip_address(host.decode("ascii")).packed
    except ValueError:
        return None


def host_of(packed: bytes, local: bool) -> str | None:
    """The text form of 4 or 16 address bytes, or None where no peer can be.

    Loopback and IPv4 link-local count only if `local`: the tracker that names them is itself on
    such a network. IPv6 link-local needs a scope that no reply carries.
    """
    if len(packed) == 16:
        if not packed.startswith(_V4_MAPPED):
            v6 = IPv6Address(packed)
            dead = v6.is_multicast or v6.is_unspecified or v6.is_link_local
            return None if dead or (v6.is_loopback and not local) else str(v6)
        packed = packed[12:]
    first = packed[0]
    if first == 0 or first >= 224:  # "this network", multicast, reserved, broadcast
        return None
    if not local and (first == 127 or packed[:2] == b"\xa9\xfe"):
        return None
    return ".".join(map(str, packed))


def unpack_peers(
    data: bytes, size: int, local: bool, room: int = MAX_PEERS
) -> list[tuple[str, int]]:
    """Compact peers of `size` address bytes and a port (BEP 23, BEP 7); at most `room` are read.

    A ragged end is ignored, and so is a peer that cannot be one.
    """
    step = size + 2
    peers = []
    for at in range(0, min(len(data) // step, room) * step, step):
        port = int.from_bytes(data[at + size : at + step], "big")
        if port not in REFUSED_PORTS and (host := host_of(data[at : at + size], local)):
            peers.append((host, port))
    return peers


def pack_peers(peers: tuple[PeerEntry, ...], size: int) -> bytes:
    """The compact form of those peers whose address has `size` bytes (BEP 23, BEP 7)."""
    return b"".join(p.address + p.port.to_bytes(2, "big") for p in peers if len(p.address) == size)
