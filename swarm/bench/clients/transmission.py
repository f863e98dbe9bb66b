"""transmission, by its daemon."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from .client import Client, first_line


class Transmission(Client):
    """transmission's daemon. It checks existing data before it seeds, and caps one fast peer."""

    name = "transmission"
    on_loopback = False
    makes_empty_files = False  # version 3 does not, version 4 does

    @classmethod
    def missing(cls) -> str | None:
        if shutil.which("transmission-daemon"):
            return None
        return "transmission-daemon is missing: apt install transmission-daemon"

    @classmethod
    def version(cls) -> str:
        return first_line("transmission-daemon", "--version").removeprefix("transmission-daemon ")

    def command(self, role: str, torrent: Path) -> list[str]:
        watched = self.folder / "watched"
        watched.mkdir(exist_ok=True)
        settings = {
            "bind-address-ipv4": self.host.address,
            "peer-port": self.port,
            "download-dir": str(self.data),
            "watch-dir": str(watched),
            "watch-dir-enabled": True,
            "watch-dir-force-generic": True,
            "start-added-torrents": True,
            "preallocation": 0,
            "rename-partial-files": False,
            "utp-enabled": False,
            "dht-enabled": False,
            "lpd-enabled": False,
            "pex-enabled": False,
            "port-forwarding-enabled": False,
            "rpc-enabled": False,
            "encryption": 0,
        }
        config = self.write("config/settings.json", json.dumps(settings)).parent
        shutil.copy(torrent, watched)
        return ["transmission-daemon", "-f", "-g", str(config)]
