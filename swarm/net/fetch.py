"""Fetching a torrent file over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from urllib.parse import SplitResult

from swarm.errors import ProtocolError, SourceError

from .http import get
from .resolve import Address, resolve

TIMEOUT = 30.0
"""Seconds for all of it, redirects and all."""


async def fetch(url: str, limit: int) -> bytes:
    """The body behind an http(s) URL, at most `limit` bytes. Raises `SourceError`."""

    async def locate(hop: SplitResult) -> Sequence[Address]:
        if hop.scheme not in ("http", "https") or not hop.hostname:
            raise ValueError("not an http(s) URL")
        return await resolve(hop.hostname, hop.port or 0, url)

    try:
        async with asyncio.timeout(TIMEOUT):
            response = await get(url, locate, limit=limit)
    except TimeoutError as error:
        raise SourceError(f"{url}: no answer in time", url) from error
    except ProtocolError as error:
        raise SourceError(f"{url}: {error.reason}", url) from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise SourceError(f"{url}: {why}", url) from error
    if response.status != 200:
        raise SourceError(f"{url}: the server answered {response.status}", url)
    return response.body
