"""The tracker's side of the HTTP tracker protocol (BEP 3, 7, 23, 48)."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from swarm.errors import ProtocolError

from . import bencode
from .tracker import (
    EVENTS,
    MAX_SCRAPE,
    REFUSED_PORTS,
    AnnounceRequest,
    Counts,
    TrackerAnswer,
    pack_peers,
    packed_of,
)

MAX_FIELDS = 100


class HttpAnnounce(NamedTuple):
    """An announce that came by HTTP, and the form in which the client wants its peers."""

    request: AnnounceRequest
    compact: bool
    no_peer_id: bool


def parse_announce(query: bytes) -> HttpAnnounce:
    """Read the query of an announce; `ProtocolError` says what is wrong with it."""
    fields = _fields(query)
    infohash, peer_id = fields.get(b"info_hash", b""), fields.get(b"peer_id", b"")
    if len(infohash) != 20 or len(peer_id) != 20:
        raise ProtocolError("info_hash and peer_id must have 20 bytes each")
    port = _number(fields, b"port", 65535)
    if port in REFUSED_PORTS:
        raise ProtocolError("refused port")
    wanted = fields.get(b"numwant", b"")
    address = packed_of(fields.get(b"ip", b""))
    request = AnnounceRequest(
        infohash,
        peer_id,
        port,
        uploaded=_number(fields, b"uploaded", default=b"0"),
        downloaded=_number(fields, b"downloaded", default=b"0"),
        left=_number(fields, b"left"),
        event=next((e for e in EVENTS if e.encode() == fields.get(b"event")), ""),
        numwant=int(wanted) if wanted.isdigit() and len(wanted) < 10 else -1,
        key=_key(fields.get(b"key", b"")),
        ip=str(ip_address(address)) if address else None,
    )
    return HttpAnnounce(request, fields.get(b"compact") != b"0", fields.get(b"no_peer_id") == b"1")


def parse_scrape_query(query: bytes) -> tuple[bytes, ...]:
    """The infohashes of a scrape; `ProtocolError` for none, too many, or malformed ones."""
    pairs = query.split(b"&")[:MAX_FIELDS]
    values = (p.partition(b"=")[2] for p in pairs if p.startswith(b"info_hash="))
    hashes = tuple(map(unquote_to_bytes, values))
    if not 0 < len(hashes) <= MAX_SCRAPE or any(len(h) != 20 for h in hashes):
        raise ProtocolError(f"scrape takes 1 to {MAX_SCRAPE} infohashes of 20 bytes")
    return hashes


def encode_answer(answer: TrackerAnswer, *, compact: bool, no_peer_id: bool) -> bytes:
    """Our tracker's reply to an announce. In the compact form IPv6 peers have their own list."""
    reply: dict[bytes, object] = {
        b"interval": answer.interval,
        b"min interval": answer.min_interval,
        b"complete": answer.counts.seeds,
        b"incomplete": answer.counts.leechers,
        b"downloaded": answer.counts.completed,
    }
    if compact:
        reply[b"peers"] = pack_peers(answer.peers, 4)
        if peers6 := pack_peers(answer.peers, 16):
            reply[b"peers6"] = peers6
    else:
        reply[b"peers"] = [
            {b"ip": str(ip_address(p.address)), b"port": p.port}
            | ({} if no_peer_id else {b"peer id": p.peer_id})
            for p in answer.peers
        ]
    return bencode.encode(reply)


def encode_scrape(counts: Mapping[bytes, Counts]) -> bytes:
    """Our tracker's reply to a scrape (BEP 48)."""
    return bencode.encode(
        {
            b"files": {
                infohash: {
                    b"complete": c.seeds,
                    b"downloaded": c.completed,
                    b"incomplete": c.leechers,
                }
                for infohash, c in counts.items()
            }
        }
    )


def encode_failure(reason: str) -> bytes:
    """Our tracker's refusal."""
    return bencode.encode({b"failure reason": reason})


def _fields(query: bytes) -> dict[bytes, bytes]:
    """The query's fields, the first of each name. `+` stays `+`: these are bytes, not words."""
    fields: dict[bytes, bytes] = {}
    for pair in query.split(b"&", MAX_FIELDS)[:MAX_FIELDS]:
        name, _, value = pair.partition(b"=")
        fields.setdefault(name, unquote_to_bytes(value))
    return fields


def _number(
    fields: Mapping[bytes, bytes], name: bytes, most: int = 2**64 - 1, default: bytes = b""
) -> int:
    text = fields.get(name, default)
    if not text.isdigit() or len(text) > 20 or (value := int(text)) > most:
        raise ProtocolError(f"{name.decode()} must be a number from 0 to {most}")
    return value


def _key(text: bytes) -> int:
    try:
        return int(text[:8], 16) & 0xFFFFFFFF if text else 0
    except ValueError:
        return 0
