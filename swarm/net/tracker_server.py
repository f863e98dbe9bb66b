"""A tracker's sockets: HTTP and UDP on one port. Who is in which swarm, others know."""

from __future__ import annotations

import asyncio
import errno
import logging
import secrets
import socket
from ipaddress import ip_address
from typing import Protocol, cast

from aiohttp import web

from swarm.errors import ProtocolError
from swarm.proto import tracker_udp as udp
from swarm.proto.tracker import AnnounceRequest, Counts, TrackerAnswer
from swarm.proto.tracker_http_server import (
    encode_answer,
    encode_failure,
    encode_scrape,
    parse_announce,
    parse_scrape_query,
)

KEEPALIVE = 10.0
"""Seconds that an idle HTTP client may stay; the next announce is half an hour away."""
STOP_TIMEOUT = 1.0
BIND_TRIES = 20

_NO_FAMILY = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
_silent = logging.Logger("swarm.tracker", logging.CRITICAL + 1)


class Registry(Protocol):
    """Who decides what a tracker answers; raises `ProtocolError` to refuse."""

    def announce(self, request: AnnounceRequest, host: str, now: float) -> TrackerAnswer: ...
    def scrape(self, infohash: bytes, now: float) -> Counts: ...


class TrackerServer:
    """Serves one registry. `start` binds; `port` is known after it."""

    def __init__(self, registry: Registry) -> None:
        self.port = 0
        self._registry = registry
        self._runner: web.ServerRunner | None = None
        self._datagrams: list[asyncio.DatagramTransport] = []

    async def start(self, hosts: tuple[str, ...], port: int) -> None:
        """Listen on these numeric addresses. `OSError` if the port is taken, by TCP or UDP."""
        loop = asyncio.get_running_loop()
        streams, datagrams = _bind(hosts, port)
        self.port = streams[0].getsockname()[1]
        server = web.Server(
            self._serve,
            access_log=None,
            logger=_silent,
            keepalive_timeout=KEEPALIVE,
            lingering_time=0.0,
        )
        self._runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=STOP_TIMEOUT)
        await self._runner.setup()
        for stream in streams:
            await web.SockSite(self._runner, stream).start()
        secret = secrets.token_bytes(32)
        for datagram in datagrams:
            transport, _ = await loop.create_datagram_endpoint(
                lambda: _Datagrams(self._registry, secret), sock=datagram
            )
            self._datagrams.append(transport)

    async def aclose(self) -> None:
        """Close all sockets; what is being answered gets `STOP_TIMEOUT` seconds."""
        for transport in self._datagrams:
            transport.close()
        self._datagrams.clear()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _serve(self, request: web.BaseRequest) -> web.Response:
        path, _, query = request.raw_path.partition("?")
        if request.method != "GET":
            return web.Response(status=405)
        raw = query.encode("utf-8", "surrogateescape")
        now = asyncio.get_running_loop().time()
        try:
            if path == "/announce":
                body = self._announce(raw, _host(request.remote or ""), now)
            elif path == "/scrape":
                hashes = parse_scrape_query(raw)
                body = encode_scrape({h: self._registry.scrape(h, now) for h in hashes})
            else:
                return web.Response(status=404)
        except ProtocolError as error:
            body = encode_failure(error.reason)
        return web.Response(body=body, content_type="text/plain")

    def _announce(self, query: bytes, host: str, now: float) -> bytes:
        announce = parse_announce(query)
        answer = self._registry.announce(announce.request, host, now)
        return encode_answer(answer, compact=announce.compact, no_peer_id=announce.no_peer_id)


class _Datagrams(asyncio.DatagramProtocol):
    """The UDP side. Keeps no state: a client's connection id is a keyed hash of its address."""

    def __init__(self, registry: Registry, secret: bytes) -> None:
        self._registry = registry
        self._secret = secret
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer one packet; drop it where it is no request."""
        try:
            request = udp.parse_request(data)
        except ProtocolError:
            return
        assert self._transport is not None
        self._transport.sendto(self._answer(request, _host(addr[0])), addr)

    def error_received(self, exc: Exception) -> None:
        """A client that went away before its answer; nothing to do."""

    def _answer(self, request: udp.UdpRequest, host: str) -> bytes:
        now = asyncio.get_running_loop().time()
        address = ip_address(host).packed
        if request.action == udp.CONNECT:
            return udp.connected(request.transaction, udp.cookie(self._secret, address, now))
        if not udp.cookie_holds(self._secret, address, now, request.connection):
            return udp.failed(request.transaction, "bad connection id")
        try:
            if request.announce is None:
                counts = [self._registry.scrape(h, now) for h in request.infohashes]
                return udp.scraped(request.transaction, counts)
            answer = self._registry.announce(request.announce, host, now)
            return udp.announced(request.transaction, answer, v6=len(address) == 16)
        except ProtocolError as error:
            return udp.failed(request.transaction, error.reason)


def _host(address: str) -> str:
    """An address without the scope that a link-local one has."""
    return address.partition("%")[0]


def _bind(hosts: tuple[str, ...], port: int) -> tuple[list[socket.socket], list[socket.socket]]:
    """A TCP and a UDP socket per host, all on one port; port 0 is one that is free for all."""
    for attempt in range(BIND_TRIES if port == 0 else 1):
        streams: list[socket.socket] = []
        datagrams: list[socket.socket] = []
        chosen = port
        try:
            for host in hosts:
                try:
                    stream = _socket(host, chosen, socket.SOCK_STREAM)
                except OSError as error:
                    if streams and error.errno in _NO_FAMILY:
                        continue  # "every address" of a machine without IPv6
                    raise
                streams.append(stream)
                chosen = stream.getsockname()[1]
                datagrams.append(_socket(host, chosen, socket.SOCK_DGRAM))
            return streams, datagrams
        except OSError:
            for sock in streams + datagrams:
                sock.close()
            if port or attempt == BIND_TRIES - 1:
                raise
    raise AssertionError("unreachable")


def _socket(host: str, port: int, kind: socket.SocketKind) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, kind)
    try:
        sock.setblocking(False)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock
