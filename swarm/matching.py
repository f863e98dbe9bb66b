"""Which files of a torrent somebody means: by number, by name, or by a rule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from .engine.selection import Priority
from .errors import ConfigError, UnknownFile
from .proto.metainfo_files import File

What = int | range | str | Callable[[File], bool]
"""A file's index, or several; a glob or a path; or a function that says of each file if it is meant.

A glob is held against the path, with and without the torrent's own name in front, and against the
file's own name; `*` also stands for `/`, and a folder means all that is below. Exactly the path, or the
name, is right whatever characters it has.
"""


def matching(files: Sequence[File], what: What) -> list[int]:
    """The indices of the files that `what` means; pad files are never meant.

    Raises `UnknownFile` when there is none, and `ConfigError` for what could mean none.
    """
    if isinstance(what, str):
        found = [file.index for file in files if not file.pad and _named(file, what)]
    elif isinstance(what, int | range):
        indices = what if isinstance(what, range) else range(what, what + 1)
        inside = indices and all(0 <= end < len(files) for end in (indices[0], indices[-1]))
        found = [index for index in indices if not files[index].pad] if inside else []
    elif callable(what):
        found = [file.index for file in files if not file.pad and what(file)]
    else:
        raise ConfigError(f"files are named by index, range, glob or function, not by {what!r}")
    if not found:
        raise UnknownFile(what)
    return found


def _named(file: File, glob: str) -> bool:
    if glob.endswith("/"):
        glob += "*"
    path = "/".join(file.path)
    names = path, path[len(file.path[0]) + 1 :], file.path[-1]
    folder = f"{glob}/"
    if glob in names or any(name.startswith(folder) for name in names):
        return True
    return any(fnmatchcase(name, glob) for name in names)


def only(
    files: Sequence[File], now: Sequence[Priority], select: Iterable[What]
) -> dict[int, Priority]:
    """What makes exactly these files wanted; one that is wanted already keeps its priority."""
    if isinstance(select, str) or not isinstance(select, Iterable):
        raise ConfigError(f"a list of files is needed, as [{select!r}]")
    chosen = {index for what in select for index in matching(files, what)}
    return {
        file.index: (now[file.index] or Priority.NORMAL) if file.index in chosen else Priority.SKIP
        for file in files
    }


def by_index(files: Sequence[File], priorities: Mapping[What, Priority]) -> dict[int, Priority]:
    """The same priorities by index; where two keys mean one file, the later one holds.

    Raises `UnknownFile`, and `ConfigError` for what is no priority.
    """
    found: dict[int, Priority] = {}
    if not isinstance(priorities, Mapping):
        raise ConfigError(f"a priority for each of some files is needed, not {priorities!r}")
    for what, priority in priorities.items():
        try:
            priority = Priority(priority)
        except ValueError as error:
            raise ConfigError(str(error)) from None
        found.update(dict.fromkeys(matching(files, what), priority))
    return found
