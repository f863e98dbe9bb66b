"""The UDP tracker protocol, both sides (BEP 15), with the URL data of BEP 41.

Packets may be longer than they must be (BEP 15), so what follows the last known field is ignored.
Numbers are big endian. A transaction id ties an answer to its question; a connection id proves that
the client receives what is sent to the address it claims.
"""

from __future__ import annotations

from hashlib import blake2b
from ipaddress import IPv4Address
from struct import Struct
from typing import NamedTuple

from swarm.errors import ProtocolError

from .tracker import (
    EVENTS,
    INT_MAX,
    MAX_PEERS,
    MAX_SCRAPE,
    REFUSED_PORTS,
    AnnounceRequest,
    Counts,
    TrackerAnswer,
    TrackerReply,
    pack_peers,
    printable,
    unpack_peers,
)

MAGIC = 0x41727101980
CONNECT, ANNOUNCE, SCRAPE, ERROR = range(4)
MAX_URL_DATA = 1024
MAX_ERROR = 120
"""Bytes of an error text that we send. Ours are shorter than any request, and amplify nothing."""
COOKIE_STEP = 60.0
COOKIE_STEPS = 2
"""A connection id is good for this many further steps: at least the two minutes of BEP 15."""

_HEAD = Struct(">II")
_REQUEST = Struct(">QII")
_CONNECTED = Struct(">IIQ")
_ANNOUNCE = Struct(">QII20s20sQQQIIIiH")
_ANNOUNCED = Struct(">IIIII")
_COUNTS = Struct(">III")
_URL_DATA = 2


class UdpRequest(NamedTuple):
    """One question to a tracker. `announce` and `infohashes` belong to the actions of that name."""

    action: int
    connection: int
    transaction: int
    announce: AnnounceRequest | None = None
    infohashes: tuple[bytes, ...] = ()


# The client's side.


def connect_request(transaction: int) -> bytes:
    """Ask for a connection id."""
    return _REQUEST.pack(MAGIC, CONNECT, transaction)


def announce_request(
    connection: int, transaction: int, request: AnnounceRequest, url_data: bytes = b""
) -> bytes:
    """An announce; `url_data` is the path and query of the tracker's URL (BEP 41)."""
    ip = int(IPv4Address(request.ip)) if request.ip and ":" not in request.ip else 0
    return _ANNOUNCE.pack(
        connection,
        ANNOUNCE,
        transaction,
        request.infohash,
        request.peer_id,
        request.downloaded,
        request.left,
        request.uploaded,
        EVENTS.index(request.event) if request.event in EVENTS else 0,
        ip,
        request.key,
        request.numwant,
        request.port,
    ) + url_options(url_data)


def url_options(url_data: bytes) -> bytes:
    """BEP 41 options of up to 255 bytes each, which a tracker puts together again."""
    url_data = url_data[:MAX_URL_DATA]
    parts = (url_data[at : at + 255] for at in range(0, len(url_data), 255))
    return b"".join(bytes((_URL_DATA, len(part))) + part for part in parts)


def scrape_request(connection: int, transaction: int, infohashes: tuple[bytes, ...]) -> bytes:
    """A scrape of up to `MAX_SCRAPE` torrents."""
    return _REQUEST.pack(connection, SCRAPE, transaction) + b"".join(infohashes[:MAX_SCRAPE])


def parse_head(packet: bytes) -> tuple[int, int]:
    """(action, transaction id) of a tracker's packet; `ProtocolError` if it is too short."""
    if len(packet) < _HEAD.size:
        raise ProtocolError("packet too short")
    action, transaction = _HEAD.unpack_from(packet)
    return action, transaction


def parse_connected(packet: bytes) -> int:
    """The connection id that a tracker gave."""
    if len(packet) < _CONNECTED.size:
        raise ProtocolError("packet too short")
    action, _, connection = _CONNECTED.unpack_from(packet)
    if action != CONNECT:
        raise ProtocolError("not the answer to a connect")
    return int(connection)


def parse_announced(packet: bytes, *, v6: bool, local: bool = False) -> TrackerReply:
    """An announce's reply; `v6` is what the packet came over, `local` as in `tracker.host_of`."""
    if len(packet) < _ANNOUNCED.size:
        raise ProtocolError("packet too short")
    action, _, interval, leechers, seeds = _ANNOUNCED.unpack_from(packet)
    if action != ANNOUNCE:
        raise ProtocolError("not the answer to an announce")
    peers = unpack_peers(packet[_ANNOUNCED.size :], 16 if v6 else 4, local, MAX_PEERS)
    return TrackerReply(
        interval=min(interval, INT_MAX),
        peers=tuple(dict.fromkeys(peers)),
        seeds=min(seeds, INT_MAX),
        leechers=min(leechers, INT_MAX),
    )


def parse_scraped(packet: bytes, infohashes: tuple[bytes, ...]) -> dict[bytes, Counts]:
    """A scrape's reply: counts in the order in which they were asked for. It may be shorter."""
    if parse_head(packet)[0] != SCRAPE:
        raise ProtocolError("not the answer to a scrape")
    body = packet[_HEAD.size :]
    whole = len(body) // _COUNTS.size * _COUNTS.size
    rows = _COUNTS.iter_unpack(body[:whole])
    return {
        infohash: Counts(*(min(n, INT_MAX) for n in row))
        for infohash, row in zip(infohashes, rows, strict=False)
    }


def parse_error(packet: bytes) -> str:
    """What a tracker says is wrong, fit to be shown."""
    return printable(packet[_HEAD.size :]) or "refused without a reason"


# The tracker's side.


def parse_request(packet: bytes) -> UdpRequest:
    """A client's packet. `ProtocolError` where it is none; then it is dropped, not answered."""
    if len(packet) < _REQUEST.size:
        raise ProtocolError("packet too short")
    connection, action, transaction = _REQUEST.unpack_from(packet)
    if action == CONNECT and connection == MAGIC:
        return UdpRequest(CONNECT, 0, transaction)
    if action == ANNOUNCE and len(packet) >= _ANNOUNCE.size:
        return UdpRequest(action, connection, transaction, _parse_announce(packet))
    if action == SCRAPE:
        body = packet[_REQUEST.size :]
        hashes = tuple(body[at : at + 20] for at in range(0, len(body) // 20 * 20, 20))
        if hashes:
            return UdpRequest(action, connection, transaction, None, hashes[:MAX_SCRAPE])
    raise ProtocolError("not a request")


def _parse_announce(packet: bytes) -> AnnounceRequest:
    fields = _ANNOUNCE.unpack_from(packet)
    infohash, peer_id, downloaded, left, uploaded, event, ip, key, numwant, port = fields[3:]
    if port in REFUSED_PORTS:
        raise ProtocolError("refused port")
    return AnnounceRequest(
        infohash,
        peer_id,
        port,
        uploaded=uploaded,
        downloaded=downloaded,
        left=left,
        event=EVENTS[event] if event < len(EVENTS) else "",
        numwant=max(-1, numwant),
        key=key,
        ip=str(IPv4Address(ip)) if ip else None,
    )


def connected(transaction: int, connection: int) -> bytes:
    """Hand out a connection id."""
    return _CONNECTED.pack(CONNECT, transaction, connection)


def announced(transaction: int, answer: TrackerAnswer, *, v6: bool) -> bytes:
    """Answer an announce. BEP 15 has room for the peers of one address family only."""
    counts = answer.counts
    head = _ANNOUNCED.pack(ANNOUNCE, transaction, answer.interval, counts.leechers, counts.seeds)
    return head + pack_peers(answer.peers, 16 if v6 else 4)


def scraped(transaction: int, counts: list[Counts]) -> bytes:
    """Answer a scrape."""
    return _HEAD.pack(SCRAPE, transaction) + b"".join(_COUNTS.pack(*c) for c in counts)


def failed(transaction: int, reason: str) -> bytes:
    """Refuse a request."""
    return _HEAD.pack(ERROR, transaction) + reason.encode()[:MAX_ERROR]


def cookie(secret: bytes, address: bytes, now: float, age: int = 0) -> int:
    """The connection id of an address, `age` steps ago: a keyed hash, so none has to be kept."""
    step = int(now // COOKIE_STEP) - age
    mark = address + step.to_bytes(8, "big", signed=True)
    return int.from_bytes(blake2b(mark, digest_size=8, key=secret).digest(), "big")


def cookie_holds(secret: bytes, address: bytes, now: float, connection: int) -> bool:
    """Whether `connection` was given to this address in the last two minutes (three at most)."""
    return any(cookie(secret, address, now, age) == connection for age in range(COOKIE_STEPS + 1))
