"""The files of a folder that is to become a torrent: what there is, and what of it can be shared."""

from __future__ import annotations

import errno
import fnmatch
import os
import re
import stat
import sys
from collections.abc import Callable, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Literal, NamedTuple, NoReturn

from .errors import SourceError
from .proto.metainfo_fields import DEFAULT_BUDGET
from .proto.paths import WINDOWS

Symlinks = Literal["refuse", "keep", "follow", "follow-outside"]
"""What becomes of a symlink: an error; a link in the torrent (BEP 47), to what the torrent has; or what
it points to, inside of the folder that is shared or anywhere."""

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
}

_BROKEN = {
    errno.ENOENT: "a symbolic link to what is not there",
    errno.ELOOP: "a symbolic link that leads back to itself",
}


class Leaf(NamedTuple):
    """A file to be shared, or a link that is kept."""

    path: tuple[str, ...]
    """Below the root."""
    where: str
    """On this disk."""
    length: int
    attr: str
    """Attributes (BEP 47): x (its owner may run it), h (hidden; Windows has that), l (a symlink)."""
    target: tuple[str, ...] | None
    """What a link points to, below the root."""
    mtime_ns: int
    """When it was changed last; with the length, what tells later whether it is as it was. (An inode
    number says little: file systems in user space make them up anew.)"""


class Tree:
    """What lies at `root`, a file or a folder, in the order of a torrent: by path.

    `exclude` are patterns as a shell has them. One without a slash is held against the name of every
    file and folder, one with a slash against their path below the root. Raises `SourceError` naming
    what cannot be shared: links unless `symlinks` says otherwise, special files, what may not be read,
    names that are not UTF-8.
    """

    def __init__(
        self, root: Path, symlinks: Symlinks = "refuse", exclude: Sequence[str] = ()
    ) -> None:
        self.root = root
        self.leaves: list[Leaf] = []
        self.name = root.name if root.name not in ("", "..") else root.resolve().name
        self._symlinks = symlinks
        self._names = _any_of([pattern for pattern in exclude if "/" not in pattern])
        self._paths = _any_of([pattern.strip("/") for pattern in exclude if "/" in pattern])
        self._above: list[str] = []
        self._folders = 0
        try:
            self._home = os.path.realpath(root)
            found = os.stat(root)
        except (OSError, ValueError) as error:
            _refuse(root, getattr(error, "strerror", None), error)
        _check_name(self.name, root)
        self.single_file = not stat.S_ISDIR(found.st_mode)
        if self.single_file:
            self._add((self.name,), os.fspath(root), found)
        else:
            self._enter((), os.fspath(root), self._home)
        self._check_links()

    @property
    def length(self) -> int:
        """Bytes of all files together."""
        return sum(leaf.length for leaf in self.leaves)

    def check_unchanged(self) -> None:
        """Raises `SourceError` naming the first file that is not what it was during the walk."""
        for leaf in self.leaves:
            if leaf.target is None:
                try:
                    now = os.stat(leaf.where)
                except OSError as error:
                    _refuse(leaf.where, f"changed while it was read: {error.strerror}", error)
                if (now.st_size, now.st_mtime_ns) != (leaf.length, leaf.mtime_ns):
                    _refuse(leaf.where, "changed while it was read")

    def _enter(self, path: tuple[str, ...], where: str, real: str) -> None:
        """Takes in a folder, which is `real` without links on the way."""
        if len(path) >= DEFAULT_BUDGET.path_depth:
            _refuse(where, f"more than {DEFAULT_BUDGET.path_depth} folders deep")
        self._folders += 1
        if self._folders > DEFAULT_BUDGET.files:  # links to links can make a few folders countless
            _refuse(self.root, f"more than {DEFAULT_BUDGET.files:,} folders")
        if real in self._above:
            _refuse(where, "a symbolic link to a folder that it is in itself")
        self._above.append(real)
        try:
            with os.scandir(where) as listing:
                entries = sorted(listing, key=attrgetter("name"))
        except OSError as error:
            _refuse(where, error.strerror, error)
        for entry in entries:
            self._take((*path, entry.name), entry)
        self._above.pop()

    def _take(self, path: tuple[str, ...], entry: os.DirEntry[str]) -> None:
        name = entry.name
        if (self._names and self._names(name)) or (self._paths and self._paths("/".join(path))):
            return
        if not name.isascii():
            _check_name(name, entry.path)
        try:
            where = entry.path
            if not entry.is_symlink():
                # What Windows lists may be old.
                found = os.lstat(where) if WINDOWS else entry.stat(follow_symlinks=False)
            elif self._symlinks in ("refuse", "keep"):
                self._keep(path, where)
                return
            else:
                where = self._follow(where)
                found = os.stat(where)
        except SourceError:
            raise
        except OSError as error:
            broken = entry.is_symlink() and _BROKEN.get(error.errno or 0)
            _refuse(entry.path, broken or error.strerror, error)
        if stat.S_ISDIR(found.st_mode):
            followed = where != entry.path
            real = where if followed else os.path.join(self._above[-1], name)
            self._enter(path, entry.path, real)
        else:
            self._add(path, where, found)

    def _add(self, path: tuple[str, ...], where: str, found: os.stat_result) -> None:
        mode = found.st_mode
        if not stat.S_ISREG(mode):
            kind = _KINDS.get(stat.S_IFMT(mode), "not a regular file")
            _refuse(where, f"{kind}; only files and folders can be shared")
        # What everybody may read needs no system call of its own.
        if mode & 0o444 != 0o444 and not os.access(where, os.R_OK):
            _refuse(where, "may not be read")
        self._count()
        self.leaves.append(Leaf(path, where, found.st_size, _attr(found), None, found.st_mtime_ns))

    def _count(self) -> None:
        if len(self.leaves) == DEFAULT_BUDGET.files:
            _refuse(self.root, f"more than {DEFAULT_BUDGET.files:,} files")

    # ------------------------------------------------------------ symlinks

    def _keep(self, path: tuple[str, ...], where: str) -> None:
        if self._symlinks == "refuse":
            _refuse(
                where, "a symbolic link; --symlinks (in Python: symlinks=) keeps or follows them"
            )
        end = os.path.realpath(where, strict=True)
        # One step, if it can be told as a path of the torrent; or else where all the steps lead.
        folder = os.path.join(self._home, *path[:-1])
        step = os.path.normpath(os.path.join(folder, os.readlink(where)))
        plain = os.path.realpath(os.path.dirname(step)) == os.path.dirname(step)
        target = self._below(step) if plain and os.path.realpath(step) == end else None
        target = target or self._below(end)
        if target is None:
            _refuse(where, "a symbolic link that leads out of the folder")
        if not target:
            _refuse(where, "a symbolic link to the very folder that is shared")
        self._count()
        self.leaves.append(Leaf(path, where, 0, "l", target, 0))

    def _follow(self, where: str) -> str:
        end = os.path.realpath(where, strict=True)
        if self._symlinks != "follow-outside" and self._below(end) is None:
            _refuse(where, "a symbolic link that leads out of the folder")
        return end

    def _below(self, where: str) -> tuple[str, ...] | None:
        """A real path as one below the root; None if it is not."""
        if where == self._home:
            return ()
        home = os.path.join(self._home, "")
        return tuple(where[len(home) :].split(os.sep)) if where.startswith(home) else None

    def _check_links(self) -> None:
        """A link may only point to what the torrent has."""
        links = [leaf for leaf in self.leaves if leaf.target is not None]
        if not links:
            return
        known = {
            leaf.path[:depth] for leaf in self.leaves for depth in range(1, len(leaf.path) + 1)
        }
        for link in links:
            if link.target not in known:
                _refuse(link.where, "a symbolic link to what is not in the torrent")


def _any_of(patterns: Sequence[str]) -> Callable[[str], object] | None:
    """Whether a text matches one of these patterns; None if there are none."""
    if not patterns:
        return None
    return re.compile("|".join(map(fnmatch.translate, patterns))).match


def _refuse(where: str | Path, why: str | None, cause: BaseException | None = None) -> NoReturn:
    shown = os.fsencode(where).decode(errors="backslashreplace")
    raise SourceError(f"{shown}: {why or cause}", os.fspath(where)) from cause


def _check_name(name: str, where: str | Path) -> None:
    if not name:
        _refuse(where, "has no name that a torrent could have")
    try:
        name.encode()
    except UnicodeEncodeError:
        _refuse(where, "its name is not UTF-8")


def _attr(found: os.stat_result) -> str:
    """As libtorrent has it: hidden on Windows, executable for the owner elsewhere."""
    if sys.platform == "win32":  # not WINDOWS, which mypy does not know
        return "h" if found.st_file_attributes & stat.FILE_ATTRIBUTE_HIDDEN else ""
    return "x" if found.st_mode & stat.S_IXUSR else ""
