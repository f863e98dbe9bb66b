"""The URLs of a torrent: trackers in tiers (BEP 12) and web seeds (BEP 19).

A URL that cannot be used costs only itself, never the torrent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from swarm.errors import ConfigError

from .metainfo_fields import DEFAULT_BUDGET, Budget, text

# A scheme that we speak, a host without credentials, and no control characters anywhere.
_HOST = r"://[^\s/?#@\\\x00-\x20\x7f]+(?:[/?#][^\x00-\x1f\x7f-\x9f]*)?"
_TRACKER = re.compile(r"(?:https?|udp)" + _HOST, re.I)
_WEB_SEED = re.compile(r"https?" + _HOST, re.I)


def require_usable(trackers: Iterable[str], web_seeds: Iterable[str]) -> None:
    """Raises `ConfigError` for the first URL that no torrent could have."""
    for one in (trackers, web_seeds):
        if isinstance(one, str):  # whose letters would each be taken for a URL
            raise ConfigError(f"a list of URLs is needed, as [{one!r}]")
    for url in trackers:
        if len(url) > DEFAULT_BUDGET.url_length or not _TRACKER.fullmatch(url):
            raise ConfigError(f"not the URL of a tracker (http, https or udp): {url!r}")
    for url in web_seeds:
        if len(url) > DEFAULT_BUDGET.url_length or not _WEB_SEED.fullmatch(url):
            raise ConfigError(f"not the URL of a web seed (http or https): {url!r}")


class _Sieve:
    """Keeps usable URLs, each once, up to a limit, and tells what it kept out."""

    def __init__(self, usable: re.Pattern[str], limit: int, length: int) -> None:
        self.usable = usable
        self.limit = limit
        self.length = length
        self.kept: set[str] = set()
        self.refused: list[str] = []
        self.surplus = False

    def take(self, raw: Any) -> tuple[str, ...]:
        """What is usable and new in a string or a list of strings."""
        fresh = []
        for item in raw if type(raw) is list else [raw]:
            url = text(item).strip(" ") if type(item) is bytes else str(type(item))
            if not url or url in self.kept:
                continue
            if len(url) > self.length or not self.usable.fullmatch(url):
                self.refused.append(url[:60])
            elif len(self.kept) >= self.limit:
                self.surplus = True
            else:
                self.kept.add(url)
                fresh.append(url)
        return tuple(fresh)

    def warnings(self, what: str, name: str) -> list[str]:
        said = []
        if self.refused:
            said.append(f"{len(self.refused)} {what} URL cannot be used: {self.refused[0]!r}")
        if self.surplus:
            said.append(f"only the first {self.limit} {what} URLs are kept (budget {name})")
        return said


def read_trackers(
    root: dict[bytes, Any], budget: Budget, warnings: list[str]
) -> tuple[tuple[str, ...], ...]:
    """Tiers of announce URLs; `announce` counts only where there is no usable list (BEP 12)."""
    sieve = _Sieve(_TRACKER, budget.trackers, budget.url_length)
    listed = root.get(b"announce-list", [])
    tiers = [sieve.take(tier) for tier in (listed if type(listed) is list else [listed])]
    if not any(tiers) and b"announce" in root:
        tiers = [sieve.take(root[b"announce"])]
    warnings += sieve.warnings("tracker", "trackers")
    return tuple(filter(None, tiers))


def read_web_seeds(root: dict[bytes, Any], budget: Budget, warnings: list[str]) -> tuple[str, ...]:
    """The URLs of `url-list`, which is a string or a list of strings (BEP 19)."""
    sieve = _Sieve(_WEB_SEED, budget.web_seeds, budget.url_length)
    urls = sieve.take(root.get(b"url-list", []))
    warnings += sieve.warnings("web seed", "web_seeds")
    return urls
