"""What the nodes of the DHT say to each other: KRPC (BEP 5), also over IPv6 (BEP 32).

One datagram is one bencoded dictionary: a query, the reply to one, or a failure. `parse` holds every field
against its budget, so that nothing which a stranger says is longer in memory than a datagram.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal, NamedTuple, TypeAlias

from swarm.errors import BencodeError, ProtocolError

from .bencode import Value, decode, encode
from .tracker import REFUSED_PORTS, host_of, printable

Addr: TypeAlias = tuple[str, int]
Method: TypeAlias = Literal["ping", "find_node", "get_peers", "announce_peer", ""]
"""What a query wants; the empty one is any that we do not know."""

ID = 20
"""Bytes of a node id, and of an info-hash."""
MAX_DATAGRAM = 4096
"""Bytes of a message that we read; honest ones stay below 1,500."""
MAX_TOKENS = 1500
"""Bencoded values in one message."""
MAX_DEPTH = 8
MAX_TRANSACTION = 32
"""Bytes of a foreign transaction id, which goes back as it is."""
MAX_TOKEN = 64
"""Bytes of a foreign write token, which goes back as it is."""
MAX_NODES = 20
"""Contacts taken from one reply, of each address family; BEP 5 has eight in it."""
MAX_VALUES = 100
"""Peers taken from one reply."""
GENERIC, SERVER, PROTOCOL, UNKNOWN_METHOD = 201, 202, 203, 204
"""The codes of failures."""
VERSION = b"SW\x00\x01"

_METHODS: dict[bytes, Method] = {
    b"ping": "ping",
    b"find_node": "find_node",
    b"get_peers": "get_peers",
    b"announce_peer": "announce_peer",
}
_V4, _V6 = 4, 16
_V4_MAPPED = bytes(10) + b"\xff\xff"


class Contact(NamedTuple):
    """A node: its id of 20 bytes, and where it is."""

    id: bytes
    addr: Addr


@dataclass(frozen=True, slots=True)
class Query:
    """A question. `target` is what `find_node` looks for, or the info-hash of the other two."""

    transaction: bytes
    method: Method
    id: bytes
    target: bytes = b""
    token: bytes = b""
    port: int = 0
    """Where the announced peer listens; 0 is the port that the query came from (`implied_port`)."""
    seed: bool = False
    want: tuple[int, ...] = ()
    """Whose contacts are wanted: 4, 6 or both; none said means the family of the query (BEP 32)."""
    read_only: bool = False
    """The asker answers nobody, and is not to be remembered (BEP 43)."""

    def encode(self) -> bytes:
        """The datagram."""
        said: dict[bytes, object] = {b"id": self.id}
        if self.want:
            said[b"want"] = [b"n%d" % version for version in self.want]
        if self.method == "find_node":
            said[b"target"] = self.target
        elif self.method in ("get_peers", "announce_peer"):
            said[b"info_hash"] = self.target
        if self.method == "announce_peer":
            said |= {b"token": self.token, b"port": self.port, b"implied_port": int(not self.port)}
            if self.seed:
                said[b"seed"] = 1
        message: dict[bytes, object] = {b"a": said, b"q": self.method, b"t": self.transaction}
        if self.read_only:
            message[b"ro"] = 1
        return encode(message | {b"v": VERSION, b"y": b"q"})


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a query; what was not asked for is empty."""

    transaction: bytes
    id: bytes
    nodes: tuple[Contact, ...] = ()
    nodes6: tuple[Contact, ...] = ()
    values: tuple[Addr, ...] = ()
    token: bytes = b""
    your_ip: str | None = None
    """Where the query came from, as the other side saw it (BEP 42)."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A refusal: one of the codes of BEP 5, and a text for people."""

    transaction: bytes
    code: int
    reason: str = ""

    def encode(self) -> bytes:
        """The datagram."""
        said = [self.code, self.reason]
        return encode({b"e": said, b"t": self.transaction, b"y": b"e", b"v": VERSION})


Message: TypeAlias = Query | Reply | Failure


def encode_reply(
    transaction: bytes,
    our_id: bytes,
    *,
    asker: bytes,
    nodes: bytes = b"",
    nodes6: bytes = b"",
    values: Iterable[bytes] = (),
    token: bytes = b"",
) -> bytes:
    """The datagram of a reply, made of compact parts: these are kept packed, since they go out often.

    `asker` is the compact address that the query came from (BEP 42).
    """
    said: dict[bytes, object] = {b"id": our_id}
    if nodes:
        said[b"nodes"] = nodes
    if nodes6:
        said[b"nodes6"] = nodes6
    if token:
        said[b"token"] = token
    if found := list(values):
        said[b"values"] = found
    return encode({b"ip": asker, b"r": said, b"t": transaction, b"v": VERSION, b"y": b"r"})


def pack_addr(addr: Addr) -> bytes:
    """6 or 18 bytes: an address and a port. Raises `ValueError` where it is no IP address."""
    host, port = addr
    if ":" not in host:
        return bytes(map(int, host.split("."))) + port.to_bytes(2, "big")
    return ip_address(host).packed + port.to_bytes(2, "big")


def unpack_addr(packed: bytes, local: bool) -> Addr | None:
    """The address in 6 or 18 bytes; None where nobody can be. `local` as in `tracker.host_of`."""
    if len(packed) not in (_V4 + 2, _V6 + 2) or packed.startswith(_V4_MAPPED):
        return None
    port = int.from_bytes(packed[-2:], "big")
    host = host_of(packed[:-2], local)
    return None if host is None or port in REFUSED_PORTS else (host, port)


def parse(data: bytes, *, local: bool = False) -> Message:
    """Reads a datagram. `ProtocolError` where it is no message; then it is dropped, not answered.

    Contacts and peers on loopback count only if `local`: whoever names them is on such a network.
    """
    if len(data) > MAX_DATAGRAM:
        raise ProtocolError("a datagram too long")
    try:
        said = decode(data, depth=MAX_DEPTH, tokens=MAX_TOKENS)
    except BencodeError as error:
        raise ProtocolError(str(error)) from None
    if not isinstance(said, dict):
        raise ProtocolError("not a dictionary")
    transaction = _bytes(said, b"t", 1, MAX_TRANSACTION)
    kind = said.get(b"y")
    if kind == b"q":
        return _query(said, transaction)
    if kind == b"r":
        return _reply(said, transaction, local)
    if kind == b"e":
        return _failure(said, transaction)
    raise ProtocolError("neither a query nor an answer")


def _query(said: dict[bytes, Value], transaction: bytes) -> Query:
    method = said.get(b"q")
    if not isinstance(method, bytes):
        raise ProtocolError("a query without a method")
    arguments = _dict(said, b"a")
    known = _METHODS.get(method, "")
    target = token = b""
    port = 0
    if known == "find_node":
        target = _bytes(arguments, b"target", ID, ID)
    elif known in ("get_peers", "announce_peer"):
        target = _bytes(arguments, b"info_hash", ID, ID)
    if known == "announce_peer":
        token = _bytes(arguments, b"token", 1, MAX_TOKEN)
        if not _flag(arguments, b"implied_port"):
            number = arguments.get(b"port")
            if not isinstance(number, int) or not 0 < number < 65536 or number in REFUSED_PORTS:
                raise ProtocolError("an announce without a port")
            port = number
    want = arguments.get(b"want")
    return Query(
        transaction,
        known,
        _bytes(arguments, b"id", ID, ID),
        target,
        token,
        port,
        seed=_flag(arguments, b"seed"),
        want=tuple(v for v in (4, 6) if b"n%d" % v in want) if isinstance(want, list) else (),
        read_only=_flag(said, b"ro"),
    )


def _reply(said: dict[bytes, Value], transaction: bytes, local: bool) -> Reply:
    returned = _dict(said, b"r")
    values = returned.get(b"values")
    found: list[Addr] = []
    if isinstance(values, list):
        for value in values[:MAX_VALUES]:
            addr = unpack_addr(value, local) if isinstance(value, bytes) else None
            if addr is not None:
                found.append(addr)
    seen = said.get(b"ip")
    your_ip = None
    if isinstance(seen, bytes) and len(seen) in (_V4, _V4 + 2, _V6, _V6 + 2):
        your_ip = host_of(seen[: _V4 if len(seen) < _V6 else _V6], True)
    token = returned.get(b"token")
    usable = isinstance(token, bytes) and len(token) <= MAX_TOKEN
    return Reply(
        transaction,
        _bytes(returned, b"id", ID, ID),
        _contacts(returned.get(b"nodes"), _V4, local),
        _contacts(returned.get(b"nodes6"), _V6, local),
        tuple(found),
        token if usable and isinstance(token, bytes) else b"",
        your_ip,
    )


def _failure(said: dict[bytes, Value], transaction: bytes) -> Failure:
    match said.get(b"e"):
        case [int(code), bytes(reason), *_]:
            return Failure(transaction, code, printable(reason))
    return Failure(transaction, GENERIC)


def _contacts(packed: Value | None, size: int, local: bool) -> tuple[Contact, ...]:
    """Compact contacts; a ragged end is ignored, and so is one where nobody can be."""
    if not isinstance(packed, bytes):
        return ()
    step = ID + size + 2
    found = []
    for at in range(0, min(len(packed) // step, MAX_NODES) * step, step):
        addr = unpack_addr(packed[at + ID : at + step], local)
        if addr is not None:
            found.append(Contact(packed[at : at + ID], addr))
    return tuple(found)


def _dict(said: dict[bytes, Value], key: bytes) -> dict[bytes, Value]:
    value = said.get(key)
    if not isinstance(value, dict):
        raise ProtocolError(f"no dictionary {key.decode()!r}")
    return value


def _bytes(said: dict[bytes, Value], key: bytes, least: int, most: int) -> bytes:
    value = said.get(key)
    if not isinstance(value, bytes) or not least <= len(value) <= most:
        raise ProtocolError(f"{key.decode()!r} is missing, or not as long as it must be")
    return value


def _flag(said: dict[bytes, Value], key: bytes) -> bool:
    value = said.get(key)
    return isinstance(value, int) and value != 0
