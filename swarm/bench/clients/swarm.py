"""swarm itself, through its public API."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import ClassVar

from .client import PORT, Client

DRIVER = Path(__file__).parents[1] / "drivers" / "drive_swarm.py"


class Swarm(Client):
    """This project, through `swarm.Session`."""

    name = "swarm"
    loop = "uvloop"
    direct: ClassVar[str] = "auto"

    @classmethod
    def missing(cls) -> str | None:
        return None

    def command(self, role: str, torrent: Path) -> list[str]:
        state = str(self.folder / "state")
        at = [self.host.address, str(PORT)]
        how = [state, self.direct, self.loop]
        return [sys.executable, "-P", str(DRIVER), role, str(torrent), str(self.data), *at, *how]


class SwarmOnAsyncio(Swarm):
    """The same, on the event loop of the standard library."""

    name = "swarm-asyncio"
    loop = "asyncio"


class SwarmBuffered(Swarm):
    """The same, writing through the page cache."""

    name = "swarm-buffered"
    direct = "never"
