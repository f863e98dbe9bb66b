"""rTorrent, as a daemon."""

from __future__ import annotations

import shutil
from pathlib import Path

from .client import Client, first_line

SETTINGS = """\
system.daemon.set = true
network.bind_address.set = {address}
network.port_range.set = {port}-{port}
network.port_random.set = no
session.path.set = "{session}"
directory.default.set = "{data}"
protocol.pex.set = no
dht.mode.set = disable
trackers.use_udp.set = no
pieces.hash.on_completion.set = no
load.start = "{torrent}"
"""


class Rtorrent(Client):
    """rTorrent. It checks what it has before it seeds, and maps its files."""

    name = "rtorrent"

    @classmethod
    def missing(cls) -> str | None:
        return None if shutil.which("rtorrent") else "rtorrent is missing: apt install rtorrent"

    @classmethod
    def version(cls) -> str:
        return first_line("rtorrent", "-h").rpartition("version ")[2].removesuffix(".")

    def command(self, role: str, torrent: Path) -> list[str]:
        session = self.folder / "session"
        session.mkdir(exist_ok=True)
        settings = SETTINGS.format(
            address=self.host.address,
            port=self.port,
            session=session,
            data=self.data,
            torrent=torrent,
        )
        return ["rtorrent", "-n", "-o", f"import={self.write('rtorrent.rc', settings)}"]

    def environment(self) -> dict[str, str]:
        return {"TERM": "xterm"}
