"""Asks trackers: HTTP and HTTPS by aiohttp, UDP by `trackers_udp`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from swarm.errors import ProtocolError, TrackerError
from swarm.proto.tracker import (
    MAX_REPLY,
    AnnounceRequest,
    Counts,
    TrackerReply,
    redact,
    split_url,
)
from swarm.proto.tracker_http import announce_url, inflate, parse_reply, parse_scrape, scrape_url

from .resolve import Address, resolve
from .trackers_udp import UdpTrackers

if TYPE_CHECKING:
    import aiohttp
    import yarl

HTTP_DEADLINE = 30.0
"""Seconds for one announce, redirects and all, however slowly it trickles in."""
MAX_REDIRECTS = 5
MAX_AT_ONCE = 50
"""HTTP announces under way; thousands of torrents may start together."""
USER_AGENT = "swarm/0.1"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class TrackerClient:
    """All trackers of a session. Nothing is connected, nor aiohttp imported, before it is asked.

    `deadline` is in seconds for a whole HTTP exchange; `time_scale` stretches the waits of UDP, of
    which there are `udp_tries`.
    """

    def __init__(
        self, *, deadline: float = HTTP_DEADLINE, time_scale: float = 1.0, udp_tries: int = 3
    ) -> None:
        self._deadline = deadline
        self._turn = asyncio.Semaphore(MAX_AT_ONCE)
        self._udp = UdpTrackers(time_scale=time_scale, tries=udp_tries)

    async def announce(self, url: str, request: AnnounceRequest) -> TrackerReply:
        """Make one announce. `TrackerError` if it failed; no secret of the URL is in it."""
        if split_url(url, ("http", "https", "udp")).scheme == "udp":
            return await self._udp.announce(url, request)
        body, local = await self._fetch(url, announce_url(url, request))
        return parse_reply(body, url, local=local)

    async def scrape(self, url: str, infohashes: tuple[bytes, ...]) -> dict[bytes, Counts]:
        """The counts of up to `MAX_SCRAPE` torrents, by the tracker's announce URL (BEP 48)."""
        if split_url(url, ("http", "https", "udp")).scheme == "udp":
            return await self._udp.scrape(url, infohashes)
        target = scrape_url(url, infohashes)
        if target is None:
            raise TrackerError("this tracker has no scrape", redact(url))
        body, _ = await self._fetch(url, target)
        return parse_scrape(body, url, infohashes)

    async def aclose(self) -> None:
        """Close the UDP sockets, which fails what they wait for. HTTP ends with whoever awaits it."""
        self._udp.close()

    async def _fetch(self, url: str, target: str) -> tuple[bytes, bool]:
        """The body behind `target`, and whether the tracker is on a local network."""
        import aiohttp

        try:
            async with self._turn, asyncio.timeout(self._deadline):
                return await _Fetch(url).run(target)
        except TimeoutError:
            raise TrackerError("no answer in time", redact(url)) from None
        except ProtocolError as error:
            raise TrackerError(error.reason, redact(url)) from None
        except aiohttp.ClientError as error:
            # Its text may quote the URL, so only its kind is told.
            why = getattr(error, "strerror", None) or type(error).__name__
            raise TrackerError(f"HTTP failed: {why}", redact(url)) from None
        except (OSError, ValueError) as error:
            if isinstance(error, TrackerError):
                raise
            why = getattr(error, "strerror", None) or "malformed URL"
            raise TrackerError(f"HTTP failed: {why}", redact(url)) from None


class _Fetch:
    """One GET with its redirects. Every hop connects to the addresses that were checked."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._local: bool | None = None

    async def run(self, target: str) -> tuple[bytes, bool]:
        import aiohttp
        import yarl

        from .pinned import Pinned

        hop = yarl.URL(target, encoded=True)  # goes out as it is, not "normalised"
        pinned = Pinned()
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=pinned, use_dns_cache=False, force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "gzip"},
            auto_decompress=False,
        ) as session:
            for _ in range(MAX_REDIRECTS + 1):
                pinned.addresses = await self._check(hop)
                async with session.get(hop, allow_redirects=False) as response:
                    if response.status not in _REDIRECTS:
                        return await self._body(response), bool(self._local)
                    hop = self._next(hop, response.headers.get("Location", ""))
        raise TrackerError("too many redirects", redact(self._url))

    async def _check(self, hop: yarl.URL) -> list[Address]:
        """Where `hop` may be reached. A tracker of the internet leads to nobody's own network."""
        addresses = await resolve(hop.raw_host or "", hop.port or 0, self._url)
        if self._local is None:
            self._local = all(address.local for address in addresses)
        elif not self._local:
            addresses = [address for address in addresses if not address.local]
            if not addresses:
                raise TrackerError("redirect to a private address", redact(self._url))
        return addresses

    def _next(self, hop: yarl.URL, location: str) -> yarl.URL:
        import yarl

        target = hop.join(yarl.URL(location, encoded=True))
        split_url(str(target), ("http", "https"))
        if hop.scheme == "https" and target.scheme != "https":
            raise TrackerError("redirect from https to http", redact(self._url))
        return target

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > MAX_REPLY:
                raise ProtocolError("reply too large")
        encoding = response.headers.get("Content-Encoding", "identity").lower()
        if encoding in ("gzip", "x-gzip"):
            body = bytearray(inflate(bytes(body)))
        elif encoding != "identity":
            raise ProtocolError("unknown content encoding")
        if response.status != 200 and not body.startswith(b"d"):
            after = response.headers.get("Retry-After", "")
            retry_in = float(after) if after.isdecimal() and len(after) < 7 else None
            raise TrackerError(f"HTTP status {response.status}", redact(self._url), retry_in)
        return bytes(body)
