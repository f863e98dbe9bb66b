"""libtorrent, by its Python bindings."""

from __future__ import annotations

import json
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

from .client import DRIVERS, Client

MIB = 2**20
TUNED = {
    "enable_incoming_utp": False,
    "enable_outgoing_utp": False,
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "max_out_request_queue": 2000,
    "send_buffer_watermark": 3 * MIB,
    "send_buffer_watermark_factor": 150,
    "aio_threads": 2,
    "hashing_threads": 2,
    "mixed_mode_algorithm": 0,
    "allow_multiple_connections_per_ip": True,
    "min_announce_interval": 5,
    "ssrf_mitigation": False,
}
"""What makes it fastest on two cores: TCP only, deep queues, two threads per kind of work."""


class Libtorrent(Client):
    """libtorrent 2 by its wheel, tuned for speed over TCP."""

    name = "libtorrent"
    pools = True
    tuned: ClassVar[dict[str, Any]] = TUNED

    @classmethod
    def missing(cls) -> str | None:
        try:
            import libtorrent  # noqa: F401
        except ImportError as error:
            return f"libtorrent cannot be imported ({error}): pip install libtorrent"
        return None

    @classmethod
    def version(cls) -> str:
        return metadata.version("libtorrent")

    def command(self, role: str, torrent: Path) -> list[str]:
        driver = [sys.executable, "-P", str(DRIVERS / "drive_libtorrent.py")]
        preset = "high_performance_seed" if role == "seed" else "default_settings"
        where = [f"{self.host.address}:{port}={data}" for port, data in self.places]
        return [*driver, role, str(torrent), preset, json.dumps(self.tuned), *where]
