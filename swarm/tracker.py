"""A tracker in three lines, for a lab, a cluster, or a test."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import ip_address, ip_network
from random import Random
from typing import TYPE_CHECKING

from .engine.registry import Registry
from .errors import ConfigError
from .proto.tracker import DEFAULT_INTERVAL, AnnounceRequest, Counts

if TYPE_CHECKING:
    from types import TracebackType

    from .net.tracker_server import TrackerServer


class Tracker:
    """A BitTorrent tracker: HTTP and UDP on one port (BEP 3, 7, 15, 23, 48).

        async with swarm.Tracker("127.0.0.1:6969") as tracker:
            print(tracker.announce_url)

    `listen` is a numeric address and a port; without an address (":6969") it is every address of
    the machine, and port 0 is any free one. `interval` and `min_interval` are the seconds that
    clients are told. `allow` lists the networks (CIDR) that may announce; empty means all.
    `on_announce(request, host)` sees every announce that is accepted.
    Raises `ConfigError` for a bad argument, and `OSError` on entering where the port is taken.
    """

    def __init__(
        self,
        listen: str = "127.0.0.1:0",
        *,
        interval: int = DEFAULT_INTERVAL,
        min_interval: int | None = None,
        allow: Iterable[str] = (),
        on_announce: Callable[[AnnounceRequest, str], object] | None = None,
    ) -> None:
        host, _, port = listen.rpartition(":")
        host = host.strip("[]")
        try:
            if host:
                ip_address(host)
            self._port = int(port)
            self.allow = tuple(ip_network(network) for network in allow)
        except ValueError as error:
            raise ConfigError(f"Tracker: {error}") from None
        if not 0 <= self._port <= 65535:
            raise ConfigError("Tracker: no such port")
        self._host = host
        self._registry = Registry(
            Random(),
            interval=interval,
            min_interval=min_interval,
            allow=self.allow,
            on_announce=on_announce,
        )
        self._server: TrackerServer | None = None

    async def __aenter__(self) -> Tracker:
        from .net.tracker_server import TrackerServer  # imports aiohttp

        server = TrackerServer(self._registry)
        await server.start((self._host,) if self._host else ("0.0.0.0", "::"), self._port)
        self._server = server
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is not None:
            await self._server.aclose()
            self._server = None

    @property
    def port(self) -> int:
        """Where it listens; 0 as long as a free port has yet to be found."""
        return self._server.port if self._server is not None else self._port

    @property
    def announce_url(self) -> str:
        """What to put into a torrent. A tracker on every address names the loopback one."""
        return f"http://{self._netloc}/announce"

    @property
    def udp_url(self) -> str:
        """The same tracker by UDP."""
        return f"udp://{self._netloc}/announce"

    @property
    def announces(self) -> int:
        """Announces accepted so far."""
        return self._registry.announces

    @property
    def completed(self) -> int:
        """Downloads reported as finished so far."""
        return self._registry.completed

    def counts(self, infohash: bytes) -> Counts:
        """Seeds, finished downloads and leechers of one torrent, as of the last announce."""
        return self._registry.counts(infohash)

    @property
    def _netloc(self) -> str:
        host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host)
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
