"""aria2, the command line downloader."""

from __future__ import annotations

import shutil
from pathlib import Path

from .client import Client, first_line


class Aria2(Client):
    """aria2, seeding without a check. It takes two or three seconds until it asks for anything."""

    name = "aria2"

    @classmethod
    def missing(cls) -> str | None:
        return None if shutil.which("aria2c") else "aria2c is missing: apt install aria2"

    @classmethod
    def version(cls) -> str:
        return first_line("aria2c", "--version").removeprefix("aria2 version ")

    def command(self, role: str, torrent: Path) -> list[str]:
        role_options = {
            "seed": ["--bt-seed-unverified=true", "--check-integrity=false"],
            "leech": [],
        }[role]
        return [
            "aria2c", "--no-conf", f"--dir={self.data}", f"--interface={self.host.address}",
            f"--listen-port={self.port}", "--disable-ipv6=true", "--enable-dht=false",
            "--bt-enable-lpd=false", "--enable-peer-exchange=false", "--file-allocation=none",
            "--seed-ratio=0.0", "--bt-tracker-interval=5", "--summary-interval=0",
            "--allow-overwrite=true", "--console-log-level=notice", "--show-console-readout=false",
            *role_options, str(torrent),
        ]  # fmt: skip
