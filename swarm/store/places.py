"""The names of a torrent's files on the disk, and what lies under them now.

A file that is not complete is called NAME.part. Where a torrent has names of that kind itself, the
suffix is another one, which none of its names ends in. `_native` moves the files; this names them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from swarm.errors import StorageError
from swarm.proto.metainfo_files import File

from .files import FileNow, Looks, described, look
from .names import Where, part_name, part_suffix

Home = tuple[Path, tuple[str, ...], str | None]
"""A folder, the final path of a file below it, and its part name."""

_UNKNOWN, _FINAL, _PART, _ASIDE = b" fpa"


class Survey(NamedTuple):
    """What lies on the disk of a torrent's files, nothing read."""

    files: tuple[FileNow | None, ...]
    """Each file as it is, in order; None where there is no regular file (or a pad file)."""
    parts: tuple[int, ...]
    """The files that lie under their part names."""
    aside: frozenset[int]
    """The files whose bytes are kept aside; `files` has their full length, and the times of that."""
    behind: tuple[int, ...]
    """The files that are still where the torrent moves away from."""
    left: tuple[tuple[int, bool], ...]
    """What lies there of files that have moved; under its part name, or not."""


class Places:
    """Where the files of one torrent are: `where`, and during a move in another place as well."""

    def __init__(
        self,
        files: Sequence[File],
        where: Where | Path,
        keep: Callable[[Where], Path] | None = None,
    ) -> None:
        self.files = files
        self.where = where if isinstance(where, Where) else Where(str(where))
        self.going: Where | None = None
        """Where a move goes to, of which no file has been moved."""
        self.before: Where | None = None
        """Where a move comes from, of which some files have been moved."""
        self.unwanted: frozenset[int] = frozenset()
        """Files that are not to be made: what must be fetched of them is kept aside."""
        self._keep = keep
        self._suffix = part_suffix(file.path for file in files)
        self._named: tuple[Where, list[Home]] | None = None

    def recall(self, where: Where, to: Where | None) -> bool:
        """Takes over where another run has put the torrent, and where that was moving it. Not if the
        names are not for files of this torrent."""
        try:
            for names in (where, to or where):
                names.check(self.files)
        except StorageError:
            return False
        self.where, self.before = (where, None) if to is None else (to, where)
        return True

    def begin_move(self, to: Where) -> Where:
        """From here on files may be in either place. Says where they come from."""
        if self.before is None:
            self.before, self.where, self.going = self.where, to, None
        return self.before

    # ------------------------------------------------------------ names

    @property
    def dest(self) -> Path:
        """The folder that the torrent was put into."""
        return Path(self.where.dest)

    @property
    def homes(self) -> list[Home]:
        """The names of each file."""
        if self._named is None or self._named[0] is not self.where:
            self._named = self.where, self._homes(self.where)
        return self._named[1]

    def _homes(self, where: Where) -> list[Home]:
        root = Path(where.dest)
        named = zip(where.paths(self.files), self.files, strict=True)
        return [
            (root, path, part_name(path[-1], self._suffix) if path and file.length else None)
            for path, file in named
        ]

    def aside(self, where: Where | None = None) -> Path | None:
        """The file for what is kept aside of a torrent that is there, if it may keep anything."""
        return None if self._keep is None else self._keep(where or self.where)

    @property
    def links(self) -> dict[int, tuple[str, ...]]:
        """What each symlink (BEP 47) leads to: a path below `dest`, of a file or of a folder."""
        links = {file.index: file.symlink for file in self.files if file.symlink is not None}
        if links and (self.where.name or self.where.renamed):
            names = {file.path: self.homes[file.index][1] for file in self.files if not file.pad}
            root = self.where.root(self.files).name
            links = {file: names.get(to, (root, *to[1:])) for file, to in links.items()}
        return links

    def path(self, file: int) -> Path:
        """The file under its final name. (Behind the last one: what is kept aside.)"""
        if file == len(self.files):
            return self.aside() or self.dest
        return final(self.homes[file])

    def now(self, file: int) -> Path:
        """The file under the name it has now; the final one where there is none."""
        names = [final(self.homes[file]), part(self.homes[file])]
        return next((name for name in names if name and os.path.lexists(name)), self.path(file))

    def native(self, found: Survey | None = None) -> dict[str, Any]:
        """What `_native.Disk.open` has to know, if this is what was found."""
        elsewhere: dict[int, Home] = {}
        aside = self.aside()
        if self.before is not None and found is not None:
            before = self._homes(self.before)
            elsewhere = {file: before[file] for file in found.behind}
            old = self.aside(self.before)
            if aside is not None and old is not None and not aside.exists() and old.exists():
                aside = old
        return {
            "part_names": [home[2] for home in self.homes],
            "aside": (aside.parent, (aside.name,)) if aside else None,
            "unwanted": sorted(self.unwanted),
            "elsewhere": elsewhere,
        }

    def leaves(self, found: Survey) -> Iterator[tuple[int, Home, bool]]:
        """What a move that was cut short has left behind: the file, its old home, and whether it has
        its part name there."""
        if self.before is not None:
            before = self._homes(self.before)
            for file, is_part in found.left:
                yield file, before[file], is_part

    def changes(self, to: Where) -> dict[int, Home]:
        """The new homes of those files that are not at home in `to` yet."""
        old = self._homes(self.before or self.where)
        homes = {
            file: new
            for file, (new, now) in enumerate(zip(self._homes(to), old, strict=True))
            if new != now and new[1]
        }
        new, now = self.aside(to), self.aside(self.before or self.where)
        if new is not None and new != now:
            homes[len(self.files)] = (new.parent, (new.name,), None)
        return homes

    # ------------------------------------------------------------ what is there

    def survey(self, spots: bytes = b"") -> Survey:
        """One or two `lstat` a file whose folder is there: for torrents of many files, call it on a thread.

        `spots` is where a storage that is open has them (see `_native`).
        """
        files: list[FileNow | None] = []
        parts, aside, behind, left = [], set(), [], []
        apart = self._look_aside()
        before = self._homes(self.before) if self.before else None
        looks = Looks()
        for file, home in enumerate(self.homes):
            spot = spots[file] if spots else _UNKNOWN
            now, is_part = _find(looks, home, spot)
            if before is not None and before[file] != home:
                old, was_part = _find(looks, before[file], spot)
                if now is None and old is not None:
                    now, is_part = old, was_part
                    behind.append(file)
                elif old is not None:
                    left.append((file, was_part))
            if now is None and apart is not None and file in self.unwanted and home[1]:
                now = apart.with_size(self.files[file].length)
                aside.add(file)
            if is_part:
                parts.append(file)
            files.append(now)
        return Survey(tuple(files), tuple(parts), frozenset(aside), tuple(behind), tuple(left))

    def is_any_aside(self) -> bool:
        """Is anything kept aside?"""
        return any(path.exists() for path in self._asides())

    def forget(self) -> None:
        """Keeps nothing aside any more. Raises `StorageError`."""
        for path in self._asides():
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise StorageError.of(error.errno or 0, str(path), 0, "delete") from error

    def _asides(self) -> list[Path]:
        found = (self.aside(where) for where in (self.where, self.before, self.going) if where)
        return [path for path in found if path is not None]

    def _look_aside(self) -> FileNow | None:
        found = map(look, self._asides()) if self.unwanted else ()
        return next(filter(None, found), None)

    def contested(self, file: int) -> bool:
        """Does the file lie under both of its names, as two different files?"""
        name = part(self.homes[file])
        try:
            return name is not None and not os.path.samestat(
                os.lstat(self.path(file)), os.lstat(name)
            )
        except OSError:
            return False


def final(home: Home) -> Path:
    """The file under its final name."""
    root, path, _ = home
    return root.joinpath(*path)


def part(home: Home) -> Path | None:
    """The file under its part name, if it has one."""
    root, path, name = home
    return root.joinpath(*path[:-1], name) if name else None


def _find(looks: Looks, home: Home, spot: int) -> tuple[FileNow | None, bool]:
    """The file as it is, and whether that is under its part name."""
    root, path, part = home
    if not path or spot == _ASIDE:
        return None, False
    if spot != _PART and (now := looks.at(root, path[:-1], path[-1])):
        return described(now), False
    if spot != _FINAL and part and (now := looks.at(root, path[:-1], part)):
        return described(now), True
    return None, False
