"""Where the symlinks of a torrent may point (BEP 47): to what the torrent itself has, and no further.

A link is kept if the path that it names is a file or folder of the same torrent, word for word, or
is one when other links on the way are followed, as in the frameworks of macOS. So what is written
to a disk is made of the safe paths of the torrent alone.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

from .paths import safe_part

Path = tuple[str, ...]
CHAIN = 40
"""So many links may lead to each other: what operating systems follow, too."""
LONGEST = 100
"""Elements of a path on which links are followed."""
LOOKUPS = 250_000
"""For all links of a torrent together; what is not found by then leads nowhere."""


def targets(
    raw_paths: Sequence[Path], links: Mapping[int, Path], paths: Sequence[Path], pads: set[int]
) -> dict[int, Path]:
    """The safe target of each link that has one: not those of loops, nor of links to nothing.

    `raw_paths` are as the torrent says them, `paths` the same made safe, `links` the raw targets.
    """
    known = _Known(raw_paths, links, pads)
    found = {}
    for index, said in known.links.items():
        target, at = known.find(said)
        if at is None or not known.ends(target, at):
            continue
        path = paths[at]
        if raw_paths[at] != target:  # a folder: as much of a path in it
            folder = tuple(filter(None, map(safe_part, target)))
            if path[: len(folder)] != folder:
                continue
            path = folder
        if paths[index][: len(path)] != path:  # else it is its own folder, or itself
            found[index] = path
    return found


class _Known:
    """The paths of a torrent, all of them raw."""

    def __init__(
        self, raw_paths: Sequence[Path], links: Mapping[int, Path], pads: set[int]
    ) -> None:
        self._sorted = sorted((path, at) for at, path in enumerate(raw_paths) if at not in pads)
        self._raw_paths = raw_paths
        self.links = {at: self._from_the_top(raw_paths[at], said) for at, said in links.items()}
        self._link_at = {raw_paths[at]: target for at, target in self.links.items()}
        self._lookups: Iterator[int] = iter(range(LOOKUPS))

    def _from_the_top(self, link: Path, said: Path) -> Path:
        """What a link says is from the torrent's folder; some say it from the folder of the link."""
        beside = link[:-1] + said
        return beside if self._look(said) is None and self._look(beside) is not None else said

    def _look(self, path: Path) -> int | None:
        at = bisect_left(self._sorted, (path, -1))
        if path and at < len(self._sorted) and self._sorted[at][0][: len(path)] == path:
            return self._sorted[at][1]
        return None

    def find(self, path: Path) -> tuple[Path, int | None]:
        """The file with this path, or the first one in the folder with this path.

        If there is neither, other links on the way to it are followed, which gives another path.
        """
        for _ in range(CHAIN):
            if (at := self._look(path)) is not None:
                return path, at
            further = self._through(path)
            if further is None:
                break
            path = further
        return path, None

    def _through(self, path: Path) -> Path | None:
        """The path with the first link on the way, but not its last element, replaced by its target."""
        if len(path) > LONGEST:
            return None
        for depth, _ in zip(range(1, len(path)), self._lookups, strict=False):
            target = self._link_at.get(path[:depth])
            if target is not None:
                return target + path[depth:]
        return None

    def ends(self, path: Path, at: int | None) -> bool:
        """Whether what was found there leads to something that is no link, if it is one."""
        for _, _ in zip(range(CHAIN), self._lookups, strict=False):
            if at is None:
                return False
            if self._raw_paths[at] != path or at not in self.links:
                return True  # a folder, or a file
            path, at = self.find(self.links[at])
        return False
