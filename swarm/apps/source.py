"""Where a torrent comes from: a file, a URL, or `-` for stdin."""

from __future__ import annotations

import sys
from pathlib import Path

import swarm

from .exits import Exit, Quit

MAX_TORRENT = 64 * 1024 * 1024
"""The largest torrent file that is read from stdin, in bytes. Real ones reach 30 MB."""


def load(source: str) -> swarm.Metainfo:
    """The torrent in a file, or on stdin. Raises `SourceError`, `BencodeError`, `MetainfoError`."""
    if source.startswith(("http://", "https://")):
        raise swarm.SourceError(f"{source}: only `swarm download` reads URLs", source)
    if source.startswith("magnet:"):
        raise swarm.MagnetError("magnet links are not supported yet; use a torrent file")
    if source != "-":
        return swarm.Metainfo.load(Path(source))
    data = sys.stdin.buffer.read(MAX_TORRENT + 1)
    if not data:
        raise swarm.SourceError("nothing came on stdin", source)
    if len(data) > MAX_TORRENT:
        raise swarm.SourceError(f"more than {MAX_TORRENT} bytes came on stdin", source)
    return swarm.Metainfo.load(data)


def load_or_url(source: str) -> swarm.Metainfo | str:
    """As `load`, but an http(s) URL is left for the session to fetch."""
    return source if source.startswith(("http://", "https://")) else load(source)


def home_of(meta: swarm.Metainfo, path: Path) -> Path:
    """The folder that the torrent's own paths start from.

    People name either that folder, or the content inside of it; both are right, and so is a link to
    it of the same name. Raises `Quit` for a file that is not the torrent's.
    """
    if path.name == meta.name and path.exists() and not (path / meta.name).exists():
        real = path.resolve()
        return real.parent if real.name == meta.name else path.parent
    if not path.is_dir():
        raise Quit(Exit.USAGE, f"{path} is neither {meta.name} nor a folder that it could be in")
    return path
