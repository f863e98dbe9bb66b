"""rqbit, in Rust."""

from __future__ import annotations

import shutil
from pathlib import Path

from .client import Client, first_line


class Rqbit(Client):
    """rqbit. It checks what it has before it seeds, and never announces that it is done: it exits."""

    name = "rqbit"
    done = "exit"

    @classmethod
    def missing(cls) -> str | None:
        return None if shutil.which("rqbit") else "rqbit is missing: cargo install rqbit --locked"

    @classmethod
    def version(cls) -> str:
        return first_line("rqbit", "--version").removeprefix("rqbit ")

    def command(self, role: str, torrent: Path) -> list[str]:
        api = f"{self.host.address}:{self.spare_port()}"
        return [
            "rqbit", "--disable-dht", "--disable-lsd", "--disable-upnp-port-forward",
            f"--http-api-listen-addr={api}", f"--listen-ip={self.host.address}",
            f"--listen-port={self.port}", f"--announce-port={self.port}",
            "download", "-o", str(self.data), "--overwrite", *([] if role == "seed" else ["-e"]), str(torrent),
        ]  # fmt: skip
