"""The client's side of the HTTP tracker protocol (BEP 3, 7, 23, 24, 31, 48)."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from urllib.parse import quote

from swarm.errors import BencodeError, ProtocolError, TrackerError

from . import bencode
from .tracker import (
    DEFAULT_INTERVAL,
    INT_MAX,
    MAX_PEERS,
    MAX_REPLY,
    MAX_SCRAPE,
    REFUSED_PORTS,
    AnnounceRequest,
    Counts,
    TrackerReply,
    host_of,
    packed_of,
    printable,
    redact,
    scrub,
    split_url,
    unpack_peers,
)

MAX_TOKENS = 200_000
MAX_DEPTH = 8
MAX_TRACKER_ID = 256


def announce_url(url: str, request: AnnounceRequest) -> str:
    """The URL to fetch. The tracker's own query comes first, as it is; hashes go byte by byte.

    It must reach the wire as it is: a library that "normalises" it breaks some trackers.
    Raises `TrackerError` for a URL that is not one.
    """
    split_url(url, ("http", "https"))
    fields = [
        f"info_hash={quote(request.infohash, safe='')}",
        f"peer_id={quote(request.peer_id, safe='')}",
        f"port={request.port}",
        f"uploaded={request.uploaded}",
        f"downloaded={request.downloaded}",
        f"left={request.left}",
        "compact=1",
        "no_peer_id=1",
        f"key={request.key:08X}",
    ]
    if request.numwant >= 0:
        fields.append(f"numwant={request.numwant}")
    if request.event:
        fields.append(f"event={request.event}")
    if request.ip:
        fields.append(f"ip={quote(request.ip, safe='')}")
    if request.tracker_id:
        fields.append(f"trackerid={quote(request.tracker_id, safe='')}")
    return _extend(url, fields)


def scrape_url(url: str, infohashes: tuple[bytes, ...]) -> str | None:
    """The scrape URL that belongs to an announce URL, or None if the tracker has none (BEP 48)."""
    base, mark, query = url.partition("#")[0].partition("?")
    head, slash, last = base.rpartition("/")
    if not last.startswith("announce"):
        return None
    fields = [f"info_hash={quote(h, safe='')}" for h in infohashes[:MAX_SCRAPE]]
    return _extend(f"{head}{slash}scrape{last[len('announce') :]}{mark}{query}", fields)


def _extend(url: str, fields: list[str]) -> str:
    base = url.partition("#")[0]
    glue = "" if base.endswith(("?", "&")) else "&" if "?" in base else "?"
    return base + glue + "&".join(fields)


def inflate(data: bytes) -> bytes:
    """The content of a gzip body. `ProtocolError` where it is corrupt or above `MAX_REPLY`."""
    stream = zlib.decompressobj(wbits=31)
    try:
        content = stream.decompress(data, MAX_REPLY + 1)
    except zlib.error:
        raise ProtocolError("corrupt gzip") from None
    if len(content) > MAX_REPLY:
        raise ProtocolError("reply too large")
    if not stream.eof:
        raise ProtocolError("truncated gzip")
    return content


def parse_reply(body: bytes, url: str, *, local: bool = False) -> TrackerReply:
    """An announce's reply. A part of the wrong type is as good as missing.

    `local` says that the tracker is on loopback or a private network, where peers on loopback make
    sense. Raises `TrackerError`, with `retry_in` in seconds, if the tracker refused (BEP 3, BEP 31)
    or if this is no reply.
    """
    reply = _decode(body, url)
    peers: dict[tuple[str, int], None] = {}
    listed = reply.get(b"peers")
    if isinstance(listed, bytes):
        peers.update(dict.fromkeys(unpack_peers(listed, 4, local)))
    elif isinstance(listed, list):
        peers.update(dict.fromkeys(filter(None, (_peer(p, local) for p in listed[:MAX_PEERS]))))
    listed = reply.get(b"peers6")
    if isinstance(listed, bytes):
        peers.update(dict.fromkeys(unpack_peers(listed, 16, local, MAX_PEERS - len(peers))))
    warning = reply.get(b"warning message")
    interval = _count(reply, b"interval")
    return TrackerReply(
        interval=DEFAULT_INTERVAL if interval is None else interval,
        min_interval=_count(reply, b"min interval"),
        peers=tuple(peers),
        seeds=_count(reply, b"complete"),
        leechers=_count(reply, b"incomplete"),
        tracker_id=_tracker_id(reply.get(b"tracker id")),
        warning=scrub(printable(warning), url) if isinstance(warning, bytes) else None,
        external_ip=_external(reply.get(b"external ip")),
    )


def parse_scrape(body: bytes, url: str, infohashes: tuple[bytes, ...]) -> dict[bytes, Counts]:
    """A scrape's reply, for those of `infohashes` it knows (BEP 48); raises `TrackerError`."""
    files = _decode(body, url).get(b"files")
    counts: dict[bytes, Counts] = {}
    if not isinstance(files, dict):
        return counts
    for infohash in infohashes:
        entry = files.get(infohash)
        if isinstance(entry, dict):
            keys = (b"complete", b"downloaded", b"incomplete")
            counts[infohash] = Counts(*(_count(entry, key) or 0 for key in keys))
    return counts


def _decode(body: bytes, url: str) -> dict[bytes, bencode.Value]:
    """The dictionary of a reply, unless it is a refusal."""
    if len(body) > MAX_REPLY:
        raise TrackerError("reply too large", redact(url))
    try:
        reply = bencode.decode(body, depth=MAX_DEPTH, tokens=MAX_TOKENS)
    except BencodeError as error:
        raise TrackerError(f"the reply is not bencode: {error}", redact(url)) from None
    if not isinstance(reply, dict):
        raise TrackerError("the reply is not a dictionary", redact(url))
    reason = reply.get(b"failure reason", reply.get(b"failure_reason"))
    if reason is not None:
        text = scrub(printable(reason), url) if isinstance(reason, bytes) else ""
        retry_in = _retry(reply.get(b"retry in"))
        raise TrackerError(text or "refused without a reason", redact(url), retry_in)
    return reply


def _count(reply: Mapping[bytes, bencode.Value], key: bytes) -> int | None:
    value = reply.get(key)
    return max(0, min(value, INT_MAX)) if isinstance(value, int) else None


def _retry(value: object) -> float | None:
    """BEP 31: minutes, or "never", in seconds. Digits in a string are seen in the wild."""
    if value == b"never":
        return float("inf")
    if isinstance(value, bytes):
        value = int(value) if value.isdigit() and len(value) < 10 else None
    return max(0, min(value, INT_MAX)) * 60.0 if isinstance(value, int) else None


def _peer(entry: object, local: bool) -> tuple[str, int] | None:
    """One entry of the long form (BEP 3). A host name is refused: we look up nobody for it."""
    if not isinstance(entry, dict):
        return None
    host, port = entry.get(b"ip"), entry.get(b"port")
    if not isinstance(host, bytes) or not isinstance(port, int) or not 0 < port < 65536:
        return None
    address = packed_of(host)
    text = host_of(address, local) if address and port not in REFUSED_PORTS else None
    return (text, port) if text else None


def _external(value: object) -> str | None:
    """BEP 24: our address as the tracker saw it, packed."""
    usable = isinstance(value, bytes) and len(value) in (4, 16)
    return host_of(value, local=True) if usable else None  # type: ignore[arg-type]


def _tracker_id(value: object) -> bytes | None:
    return value if isinstance(value, bytes) and 0 < len(value) <= MAX_TRACKER_ID else None
