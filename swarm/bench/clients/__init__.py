"""One module per client: how it is started, headless, to seed or to fetch one torrent. See README.md.

Every module here is found by itself: whatever is a `Client` in it, and has a name, is one that can be measured.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil

from .aria2 import Aria2
from .client import PORT, Client
from .libtorrent import Libtorrent
from .pair import Pair
from .swarm import Swarm, SwarmBuffered, SwarmOnAsyncio
from .transmission import Transmission

__all__ = [
    "FOREIGN", "OURS", "PORT", "Aria2", "Client", "Libtorrent", "Pair", "Swarm", "SwarmBuffered",
    "SwarmOnAsyncio", "Transmission", "every", "installed",
]  # fmt: skip

OURS: tuple[type[Client], ...] = (Swarm, SwarmOnAsyncio)
FOREIGN: tuple[type[Client], ...] = (Libtorrent, Aria2, Transmission)


@functools.cache
def every() -> dict[str, type[Client]]:
    """All clients that there is a module for, by name: swarm, then libtorrent, then by the alphabet."""
    found: dict[str, type[Client]] = {"swarm": Swarm, "libtorrent": Libtorrent}
    for module in pkgutil.iter_modules(__path__):
        for thing in vars(importlib.import_module(f"{__name__}.{module.name}")).values():
            if isinstance(thing, type) and issubclass(thing, Client) and "name" in vars(thing):
                found[thing.name] = thing
    return found


def installed() -> list[type[Client]]:
    """The clients that are here, each in one variant."""
    return [kind for kind in every().values() if not kind.variant and not kind.missing()]
