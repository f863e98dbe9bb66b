"""WebTorrent, in JavaScript: version 1, because later ones load a native module at every start."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path

from .client import DRIVERS, Client

DRIVER = DRIVERS / "drive_webtorrent.js"
INSTALL = "npm install -g webtorrent@1 --ignore-scripts"


class Webtorrent(Client):
    """WebTorrent over TCP. Node finds it in NODE_PATH, or where `npm install -g` puts things."""

    name = "webtorrent"

    @classmethod
    def missing(cls) -> str | None:
        if not shutil.which("node"):
            return "node is missing: apt install nodejs npm"
        version = _version()
        if not version:
            return f"webtorrent is missing, or not in NODE_PATH: {INSTALL}"
        return None if version.startswith("1.") else f"webtorrent is {version}, not 1: {INSTALL}"

    @classmethod
    def version(cls) -> str:
        return _version()

    def command(self, role: str, torrent: Path) -> list[str]:
        return ["node", str(DRIVER), role, str(torrent), str(self.data), str(self.port)]

    def environment(self) -> dict[str, str]:
        return _environment()


@functools.cache
def _environment() -> dict[str, str]:
    paths = [os.environ["NODE_PATH"]] if os.environ.get("NODE_PATH") else []
    if shutil.which("npm"):
        found = subprocess.run(["npm", "root", "-g"], capture_output=True, text=True, check=False)
        paths.append(found.stdout.strip())
    return {"NODE_PATH": os.pathsep.join(paths)}


@functools.cache
def _version() -> str:
    ask = "console.log(require('webtorrent/package.json').version)"
    environment = {**os.environ, **_environment()}
    found = subprocess.run(
        ["node", "-e", ask], env=environment, capture_output=True, text=True, check=False
    )
    return found.stdout.strip()
