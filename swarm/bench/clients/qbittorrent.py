"""qBittorrent, without its window."""

from __future__ import annotations

import shutil
from pathlib import Path

from .client import Client, first_line

SETTINGS = """\
[LegalNotice]
Accepted=true

[BitTorrent]
Session\\InterfaceAddress={address}
Session\\Port={port}
Session\\BTProtocol=TCP
Session\\DHTEnabled=false
Session\\LSDEnabled=false
Session\\PeXEnabled=false
Session\\QueueingSystemEnabled=false
Session\\MultiConnectionsPerIp=true
Session\\SSRFMitigation=false
Session\\AsyncIOThreadsCount=2
Session\\HashingThreadsCount=2
Session\\RequestQueueSize=2000
Session\\SendBufferWatermark=3072
Session\\SendBufferWatermarkFactor=150

[Network]
PortForwardingEnabled=false
"""


class Qbittorrent(Client):
    """qBittorrent by its daemon, tuned like libtorrent, which is in it. Version 4.5 maps its files."""

    name = "qbittorrent"

    @classmethod
    def missing(cls) -> str | None:
        if shutil.which("qbittorrent-nox"):
            return None
        return "qbittorrent-nox is missing: apt install qbittorrent-nox"

    @classmethod
    def version(cls) -> str:
        return first_line("qbittorrent-nox", "--version").removeprefix("qBittorrent v")

    def command(self, role: str, torrent: Path) -> list[str]:
        settings = SETTINGS.format(address=self.host.address, port=self.port)
        self.write("qBittorrent/config/qBittorrent.conf", settings)
        return [
            "qbittorrent-nox", f"--profile={self.folder}", f"--webui-port={self.spare_port()}",
            f"--save-path={self.data}", "--add-paused=false",
            *(["--skip-hash-check"] if role == "seed" else []), str(torrent),
        ]  # fmt: skip
