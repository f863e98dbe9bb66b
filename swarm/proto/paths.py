"""File names out of a torrent, made safe: pure text, no disk.

What comes out never leaves the torrent's folder under POSIX and Windows rules, and no two files
share a path, even where the disk folds case or Unicode forms. Within that a name changes as little
as it can, because a name that other clients keep is where the data already lies on somebody's disk:
what is legal on this system stays, decomposed letters and bidirectional marks too.

Changed everywhere: separators and NUL (removed); control characters, lone surrogates, a drive
prefix, names of dots and spaces only, names of Windows devices, elements over 255 bytes, paths that
are too long or already taken. On Windows as well: `< > : " | ? *`, and dots and spaces at the end.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from hashlib import sha1
from itertools import chain

PART_BYTES = 255
"""UTF-8 bytes of one element: what ext4, APFS and NTFS all can hold."""
PATH_BYTES = 2048
"""UTF-8 bytes of a whole path; leaves half of Linux's PATH_MAX to the folder it goes into."""
EXTENSION_BYTES = 32
"""A longer "extension" is cut like the rest of the name."""
WINDOWS = sys.platform == "win32"

# Five characters before the dot, the last no space: no device, and no other rule applies.
_plain = re.compile(
    r"[A-Za-z0-9_][A-Za-z0-9_\-+,()\[\] ]{3,99}[A-Za-z0-9_\-+,()\[\]](?:\.[A-Za-z0-9]{1,20})?"
).fullmatch
_SHORT = PATH_BYTES // (PART_BYTES + 1)  # that many elements always fit
_removed = re.compile(r"[/\\\0]+")
_control = re.compile(r"[\x01-\x1f\x7f-\x9f\ud800-\udfff]")
_drive = re.compile(r"^(.):", re.S)
_dots = re.compile(r"[. ]*").fullmatch
_forbidden = re.compile(r'[<>:"|?*]')
_device = re.compile(
    r"(?:con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(?: *[.:].*| *)", re.I | re.S
).fullmatch


def safe_part(text: str, *, windows: bool = WINDOWS) -> str:
    """One element of a path, safe to join to a folder; empty only if `text` has nothing in it."""
    if _plain(text):
        return text
    text = _control.sub("_", _removed.sub("", text))
    if not text:
        return ""
    text = _drive.sub(r"\1_", text)
    if windows:
        text = _forbidden.sub("_", text).rstrip(". ")
    if _dots(text):
        return "_"
    if _device(text):
        text = "_" + text
    return fit(text)


def safe_paths(paths: Iterable[Sequence[str]], *, windows: bool = WINDOWS) -> list[tuple[str, ...]]:
    """Safe and distinct paths, in the order given; for equal input always the same.

    Of several files with one path the first keeps it and the others become `name.1.ext` and so on;
    so does a file whose path is another's folder. A path with no element left becomes `("_",)`.
    """
    safe = [tuple(path) for path in paths]
    # Looked at once per distinct element: folders repeat, and most need no change.
    seen = {text for text in chain.from_iterable(safe) if not _plain(text)}
    parts_of = {text: safe_part(text, windows=windows) for text in seen}
    changes = {text: part for text, part in parts_of.items() if part != text or not part}
    if changes or () in safe:
        for index, path in enumerate(safe):
            if not path or not changes.keys().isdisjoint(path):
                parts = (changes.get(text, text) for text in path)
                safe[index] = tuple(filter(None, parts)) or ("_",)
    return _distinct([_fit_path(path) if len(path) > _SHORT else path for path in safe])


def fit(part: str, suffix: str = "", limit: int = PART_BYTES) -> str:
    """`part` with `suffix` before its extension, in at most `limit` UTF-8 bytes.

    What has to be cut is cut from the stem, between characters, and replaced by a digest of the
    whole name: so names that differ only in what was cut stay different.
    """
    dot = part.rfind(".")
    if dot <= 0 or len(part[dot:].encode()) > EXTENSION_BYTES:
        dot = len(part)
    stem, extension = part[:dot], part[dot:]
    if len((stem + suffix + extension).encode()) > limit:
        suffix = f"~{sha1(part.encode()).hexdigest()[:8]}{suffix}"
        room = limit - len((suffix + extension).encode())
        stem = stem.encode()[:room].decode(errors="ignore")
    return stem + suffix + extension


def folded(path: Sequence[str]) -> str:
    """The key under which a file system that ignores case and Unicode forms may find this path."""
    return _fold("/".join(path))


def _fold(text: str) -> str:
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFD", text)
    return unicodedata.normalize("NFD", decomposed.casefold())


def _fit_path(path: tuple[str, ...]) -> tuple[str, ...]:
    """The path within PATH_BYTES: folders that are too many become one, named by a digest."""
    if _size(path) <= PATH_BYTES:
        return path
    folders, leaf = list(path[:-1]), path[-1]
    digest = "~" + sha1("/".join(folders).encode()).hexdigest()[:16]
    while _size((*folders, digest, leaf)) > PATH_BYTES:
        folders.pop()
    return (*folders, digest, leaf)


def _size(path: tuple[str, ...]) -> int:
    return len("/".join(path).encode())


def _distinct(paths: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The same paths, with a new last element where it would be another's file or folder."""
    # All of them at once: a safe name has no line feed, and none changes what stands beside it.
    keys = _fold("\n".join(map("/".join, paths))).split("\n")
    folders: set[str] = set()
    for folder in {path[:-1] for path in paths}:
        for depth in range(len(folder), 0, -1):
            key = folded(folder[:depth])
            if key in folders:  # and so are those above it
                break
            folders.add(key)
    if len(set(keys)) == len(keys) and folders.isdisjoint(keys):
        return paths
    # A made-up name may be no one's own name either: those who have a name keep it.
    own = {*keys, *folders}
    taken = set(folders)
    serials: dict[str, int] = {}
    for index, key in enumerate(keys):
        if key in taken:
            folder, leaf = paths[index][:-1], paths[index][-1]
            fresh = key
            while fresh in own or fresh in taken:
                serials[key] = serials.get(key, 0) + 1
                paths[index] = (*folder, fit(leaf, f".{serials[key]}"))
                fresh = folded(paths[index])
            key = fresh
        taken.add(key)
    return paths
