"""libtorrent, by its Python bindings."""

from __future__ import annotations

import sys
from pathlib import Path

from .client import PORT, Client

DRIVER = Path(__file__).parents[1] / "drivers" / "drive_libtorrent.py"


class Libtorrent(Client):
    """libtorrent 2 by its wheel, tuned for speed over TCP."""

    name = "libtorrent"

    @classmethod
    def missing(cls) -> str | None:
        try:
            import libtorrent  # noqa: F401
        except ImportError as error:
            return f"libtorrent cannot be imported ({error}): pip install libtorrent"
        return None

    def command(self, role: str, torrent: Path) -> list[str]:
        at = [self.host.address, str(PORT)]
        return [sys.executable, "-P", str(DRIVER), role, str(torrent), str(self.data), *at]
