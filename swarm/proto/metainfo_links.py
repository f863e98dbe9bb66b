"""Where the symlinks of a torrent may point (BEP 47): to what the torrent itself has, and no further.

A link is kept if the path that it names is a file or folder of the same torrent, word for word. So
there is nothing to resolve, and what a link on the disk points to is made of safe paths alone.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence

from .paths import safe_part

Path = tuple[str, ...]
CHAIN = 40
"""So many links may lead to each other: what operating systems follow, too."""


def targets(
    raw_paths: Sequence[Path], links: Mapping[int, Path], paths: Sequence[Path], pads: set[int]
) -> dict[int, Path]:
    """The safe target of each link that has one: not those of loops, nor of links to nothing.

    `raw_paths` are as the torrent says them, `paths` the same made safe, `links` the raw targets.
    """
    known = sorted((path, index) for index, path in enumerate(raw_paths) if index not in pads)
    found = {}
    for index, target in links.items():
        at = _find(known, target)
        if at is None:
            continue
        path = paths[at]
        if raw_paths[at] != target:  # a folder: as much of a path in it
            folder = tuple(filter(None, map(safe_part, target)))
            if path[: len(folder)] != folder:
                continue
            path = folder
        elif not _ends(at, raw_paths, links, known):
            continue
        if paths[index][: len(path)] != path:  # else it is its own folder, or itself
            found[index] = path
    return found


def _find(known: list[tuple[Path, int]], target: Path) -> int | None:
    """The file with this path, or the first one in the folder with this path."""
    at = bisect_left(known, (target, -1))
    if target and at < len(known) and known[at][0][: len(target)] == target:
        return known[at][1]
    return None


def _ends(
    at: int, raw_paths: Sequence[Path], links: Mapping[int, Path], known: list[tuple[Path, int]]
) -> bool:
    """Whether following links from this file on leads to something that is none."""
    for _ in range(CHAIN):
        if at not in links:
            return True
        following = _find(known, links[at])
        if following is None:
            return False
        if raw_paths[following] != links[at]:
            return True  # a folder
        at = following
    return False
