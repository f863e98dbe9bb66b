"""Fetching a torrent file over HTTP."""

from __future__ import annotations

from swarm.errors import SourceError

TIMEOUT = 30.0
MAX_REDIRECTS = 5
CHUNK = 64 << 10


async def fetch(url: str, limit: int) -> bytes:
    """The body behind an http(s) URL, at most `limit` bytes. Raises `SourceError`."""
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=TIMEOUT)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.get(url, max_redirects=MAX_REDIRECTS) as response,
        ):
            if response.status != 200:
                raise SourceError(f"{url}: the server answered {response.status}", url)
            body = bytearray()
            async for chunk in response.content.iter_chunked(CHUNK):
                body += chunk
                if len(body) > limit:
                    raise SourceError(f"{url}: longer than {limit} bytes", url)
            return bytes(body)
    except (TimeoutError, aiohttp.ClientError, ValueError) as error:
        raise SourceError(f"{url}: {str(error) or 'no answer in time'}", url) from error
