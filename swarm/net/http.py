"""HTTP GETs, each on a connection of its own (RFC 9112): h11 knows the protocol, callers the addresses.

A client library that does more takes 0.13 CPU-seconds and 12 MiB to import, a good part of what a seeder spends
on the first GiB it serves.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from base64 import b64encode
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

import h11

from swarm.errors import ProtocolError

from .resolve import Address

USER_AGENT = "swarm/0.1"
MAX_REDIRECTS = 5
CONNECT_TIMEOUT = 10.0
"""Seconds for each address of a host, the TLS handshake included."""
MAX_HEAD = 16 << 10
"""Bytes of a response's status line and headers."""
CHUNK = 64 << 10
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_ASCII = "".join(map(chr, range(0x21, 0x7F)))


class Response(NamedTuple):
    """What a server answered. Header names are in lower case; of equal ones the last counts."""

    status: int
    headers: dict[str, str]
    body: bytes


Locate = Callable[[SplitResult], Awaitable[Sequence[Address]]]
"""Where a URL may be reached, best first. It raises for one that may not be asked."""


async def get(url: str, locate: Locate, *, limit: int, encoding: str = "identity") -> Response:
    """The response to a GET, redirects followed; every hop connects to the addresses of `locate`.

    The URL goes out as it is, but for the percent-encoding of what is not ASCII. Raises
    `ProtocolError` for what is not HTTP, for a body above `limit` bytes and for too many redirects,
    `OSError` when nothing answers, `ValueError` for a URL that cannot be sent. It has no time limit.
    """
    for _ in range(MAX_REDIRECTS + 1):
        hop = urlsplit(url)
        response = await _get(hop, await locate(hop), limit, encoding)
        if response.status not in _REDIRECTS:
            return response
        url = urljoin(url, response.headers.get("location", ""))
    raise ProtocolError("too many redirects")


async def _get(
    hop: SplitResult, addresses: Sequence[Address], limit: int, encoding: str
) -> Response:
    request = _request(hop, encoding)
    reader, writer = await _connect(hop, addresses)
    try:
        connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        writer.write(
            (connection.send(request) or b"") + (connection.send(h11.EndOfMessage()) or b"")
        )
        return await _response(connection, reader, limit)
    except h11.RemoteProtocolError as error:
        raise ProtocolError("malformed HTTP") from error
    finally:
        writer.transport.abort()  # everything was read, or none of it is wanted


def _request(hop: SplitResult, encoding: str) -> h11.Request:
    host = _host(hop)
    if ":" in host:
        host = f"[{host}]"
    headers = [
        ("Host", f"{host}:{hop.port}" if hop.port else host),
        ("User-Agent", USER_AGENT),
        ("Accept", "*/*"),
        ("Accept-Encoding", encoding),
        ("Connection", "close"),
    ]
    if hop.username is not None:
        secret = f"{unquote(hop.username)}:{unquote(hop.password or '')}"
        headers.append(("Authorization", f"Basic {b64encode(secret.encode()).decode()}"))
    target = (hop.path or "/") + (f"?{hop.query}" if hop.query else "")
    try:
        return h11.Request(method="GET", target=quote(target, safe=_ASCII), headers=headers)
    except h11.LocalProtocolError as error:
        raise ValueError("malformed URL") from error


def _host(hop: SplitResult) -> str:
    host = hop.hostname or ""
    return host if host.isascii() else host.encode("idna").decode()


async def _connect(
    hop: SplitResult, addresses: Sequence[Address]
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Tries one address after the other, and raises the last `OSError`."""
    secure = hop.scheme == "https"
    port = hop.port or (443 if secure else 80)
    failed = OSError("no address")
    for address in addresses:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                return await asyncio.open_connection(
                    address.host,
                    port,
                    ssl=_tls() if secure else None,
                    server_hostname=_host(hop) if secure else None,
                )
        except OSError as error:  # a time-out as well
            failed = error
    raise failed


@functools.cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


async def _response(
    connection: h11.Connection, reader: asyncio.StreamReader, limit: int
) -> Response:
    status, headers, body = 0, dict[str, str](), bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            # Before the head is over, no more than what it may have, or h11 takes a longer one.
            connection.receive_data(await reader.read(CHUNK if status else MAX_HEAD))
        elif isinstance(event, h11.Response):
            status = event.status_code
            headers = {name.decode(): value.decode("latin-1") for name, value in event.headers}
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > limit:
                raise ProtocolError("reply too large")
        elif isinstance(event, h11.EndOfMessage):
            return Response(status, headers, bytes(body))
        elif not isinstance(event, h11.InformationalResponse):
            raise ProtocolError("malformed HTTP")
