"""One module per client: how it is started, headless, to seed or to fetch one torrent.

Each runs on a host of its own (see `swarm.bench.network`), keeps its files in a scratch folder of its own, and
stays until it is stopped. To add one: a module with a subclass of `Client`, and its name here.
"""

from __future__ import annotations

from .aria2 import Aria2
from .client import PORT, Client
from .libtorrent import Libtorrent
from .swarm import Swarm, SwarmBuffered, SwarmOnAsyncio
from .transmission import Transmission

__all__ = [
    "FOREIGN", "OURS", "PORT", "Aria2", "Client", "Libtorrent", "Swarm", "SwarmBuffered", "SwarmOnAsyncio",
    "Transmission",
]  # fmt: skip

OURS: tuple[type[Client], ...] = (Swarm, SwarmOnAsyncio)
FOREIGN: tuple[type[Client], ...] = (Libtorrent, Aria2, Transmission)
