"""Torrents that swarm did not make: libtorrent hashes, so that nobody marks their own work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def make(root: Path, tracker: str, piece_length: int, order: Sequence[str] | None = None) -> bytes:
    """A v1 torrent of the file or folder `root`; `order` lists a folder's files as they follow."""
    import libtorrent as lt  # not at the top: only who makes one needs the wheel

    if root.is_file():
        names = [root.name]
    else:
        found = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
        names = [f"{root.name}/{path}" for path in order or sorted(str(path) for path in found)]
    entries = [lt.create_file_entry(name, (root.parent / name).stat().st_size) for name in names]
    torrent = lt.create_torrent(entries, piece_length, lt.create_torrent.v1_only)
    torrent.add_tracker(tracker)
    lt.set_piece_hashes(torrent, str(root.parent))
    return bytes(lt.bencode(torrent.generate()))
