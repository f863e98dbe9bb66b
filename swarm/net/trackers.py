"""Asks trackers: HTTP and HTTPS by `http`, UDP by `trackers_udp`."""

from __future__ import annotations

import asyncio
from urllib.parse import SplitResult

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

from .http import Response, get
from .resolve import Address, resolve
from .trackers_udp import UdpTrackers

HTTP_DEADLINE = 30.0
"""Seconds for one announce, redirects and all, however slowly it trickles in."""
MAX_AT_ONCE = 50
"""HTTP announces under way; thousands of torrents may start together."""


class TrackerClient:
    """All trackers of a session. Nothing is connected before one is asked.

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
        try:
            async with self._turn, asyncio.timeout(self._deadline):
                return await _Fetch(url).run(target)
        except TimeoutError:
            raise TrackerError("no answer in time", redact(url)) from None
        except ProtocolError as error:
            raise TrackerError(error.reason, redact(url)) from None
        except TrackerError:
            raise
        except OSError as error:
            # Its text may quote the URL, so only its kind is told.
            why = error.strerror or type(error).__name__
            raise TrackerError(f"HTTP failed: {why}", redact(url)) from None
        except ValueError:
            raise TrackerError("HTTP failed: malformed URL", redact(url)) from None


class _Fetch:
    """One GET with its redirects, held to what a tracker may do."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._secure = False
        self._local: bool | None = None

    async def run(self, target: str) -> tuple[bytes, bool]:
        response = await get(target, self.locate, limit=MAX_REPLY, encoding="gzip")
        return self._body(response), bool(self._local)

    async def locate(self, hop: SplitResult) -> list[Address]:
        """Where `hop` may be reached. A tracker of the internet leads to nobody's own network."""
        split_url(hop.geturl(), ("http", "https"))
        if self._secure and hop.scheme != "https":
            raise TrackerError("redirect from https to http", redact(self._url))
        self._secure = hop.scheme == "https"
        addresses = await resolve(hop.hostname or "", hop.port or 0, self._url)
        if self._local is None:
            self._local = all(address.local for address in addresses)
        elif not self._local:
            addresses = [address for address in addresses if not address.local]
            if not addresses:
                raise TrackerError("redirect to a private address", redact(self._url))
        return addresses

    def _body(self, response: Response) -> bytes:
        body = response.body
        encoding = response.headers.get("content-encoding", "identity").lower()
        if encoding in ("gzip", "x-gzip"):
            body = inflate(body)
        elif encoding != "identity":
            raise ProtocolError("unknown content encoding")
        if response.status != 200 and not body.startswith(b"d"):
            after = response.headers.get("retry-after", "")
            retry_in = float(after) if after.isdecimal() and len(after) < 7 else None
            raise TrackerError(f"HTTP status {response.status}", redact(self._url), retry_in)
        return body
