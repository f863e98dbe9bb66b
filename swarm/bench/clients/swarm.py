"""swarm itself, through its public API."""

from __future__ import annotations

import json
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

from .client import DRIVERS, Client


class Swarm(Client):
    """This project, through `swarm.Session`."""

    name = "swarm"
    pools = True
    loop: ClassVar[str] = "asyncio" if sys.platform == "win32" else "uvloop"
    settings: ClassVar[dict[str, Any]] = {}
    """What of `swarm.Settings` is not as it comes."""

    @classmethod
    def missing(cls) -> str | None:
        return None

    @classmethod
    def version(cls) -> str:
        return metadata.version("swarm-engine")

    def command(self, role: str, torrent: Path) -> list[str]:
        driver = [sys.executable, "-P", str(DRIVERS / "drive_swarm.py")]
        state, settings = str(self.folder / "state"), json.dumps({"dht": False} | self.settings)
        where = [f"{self.host.address}:{port}={data}" for port, data in self.places]
        return [*driver, role, str(torrent), state, self.loop, settings, *where]


class SwarmOnAsyncio(Swarm):
    """The same, on the event loop of the standard library."""

    name = "swarm-asyncio"
    variant = True
    loop = "asyncio"


class SwarmBuffered(Swarm):
    """The same, writing through the page cache."""

    name = "swarm-buffered"
    variant = True
    settings: ClassVar[dict[str, Any]] = {"direct": "never"}


class SwarmDirect(Swarm):
    """The same, writing past the page cache wherever that works at all."""

    name = "swarm-direct"
    variant = True
    settings: ClassVar[dict[str, Any]] = {"direct": "always"}
