"""What version 2 of torrents adds (BEP 52): the file tree, piece layers, and how both halves of a
hybrid must agree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise, zip_longest
from typing import Any

from swarm.errors import MetainfoError

from . import merkle
from .metainfo_fields import Budget, text, typed
from .metainfo_files import Listing, read_attr, read_link


def check_piece_length(piece_length: int) -> None:
    if piece_length < merkle.BLOCK or piece_length & (piece_length - 1):
        raise MetainfoError("a v2 piece length is a power of two from 16 KiB up", "piece length")


def read_tree(info: dict[bytes, Any], budget: Budget) -> Listing:
    """The files of `file tree`, in its order, which is that of the pieces."""
    listing = Listing()
    trail: list[str] = []
    folders = [_children(typed(info, b"file tree", dict))]
    while folders:
        key, node = next(folders[-1], (b"", None))
        if node is None:
            folders.pop()
            del trail[len(folders) - 1 :]
            continue
        budget.check("path_depth", len(folders), "file tree")
        if b"" not in node:
            trail.append(text(key))
            folders.append(_children(node))
            continue
        if len(node) > 1:
            raise MetainfoError("a node of `file tree` is both a file and a folder", "file tree")
        _add(listing, (*trail, text(key)), typed(node, b"", dict), budget)
    if not listing.paths:
        raise MetainfoError("there are no files", "file tree")
    return listing


def _children(folder: dict[bytes, Any]) -> Iterator[tuple[bytes, dict[bytes, Any]]]:
    if b"" in folder:
        raise MetainfoError("a name in `file tree` is empty", "file tree")
    for key, following in pairwise(folder):
        if key > following:  # then the files have no order that all agree on
            raise MetainfoError("the names in `file tree` are out of order", "file tree")
    if any(type(node) is not dict for node in folder.values()):
        raise MetainfoError("a node of `file tree` is not a dictionary", "file tree")
    return iter(folder.items())


def _add(listing: Listing, path: tuple[str, ...], leaf: dict[bytes, Any], budget: Budget) -> None:
    index = len(listing.paths)
    budget.check("files", index + 1, "file tree")
    attr = read_attr(leaf)
    if "p" in attr:
        raise MetainfoError("a pad file in `file tree`", "attr")
    if attr:
        listing.attrs[index] = attr
    if "l" in attr:
        length = 0
        listing.links[index] = read_link(leaf, budget)
    else:
        length = typed(leaf, b"length", int)
    if length < 0:
        raise MetainfoError(f"file {index} has no valid length", "length")
    if length:
        root = typed(leaf, b"pieces root", bytes)
        if len(root) != merkle.HASH or not any(root):
            raise MetainfoError("a `pieces root` is not 32 bytes, or zero", "pieces root")
        listing.roots[index] = root
    listing.lengths.append(length)
    listing.paths.append(path)


def padded(listing: Listing, piece_length: int) -> Listing:
    """The same with a pad file before each file that would not start with a piece.

    So a v2 torrent has the pieces that BEP 52 counts, in one stream like any other.
    """
    made = Listing()
    pads, places = [], []
    gap = 0
    for path, length in zip(listing.paths, listing.lengths, strict=True):
        if length and gap:
            pads.append(len(made.paths))
            made.paths.append((".pad", str(gap)))
            made.lengths.append(gap)
        if length:
            gap = -length % piece_length
        places.append(len(made.paths))
        made.paths.append(path)
        made.lengths.append(length)
    made.attrs = {places[index]: attr for index, attr in listing.attrs.items()}
    made.attrs.update(dict.fromkeys(pads, "p"))
    made.links = {places[index]: link for index, link in listing.links.items()}
    made.roots = {places[index]: root for index, root in listing.roots.items()}
    return made


def agreed(v1: Listing, v2: Listing, piece_length: int) -> Listing:
    """The files of a hybrid, if both of its halves tell of the same ones, in the same places."""
    for ours, theirs in zip_longest(_facts(v1), _facts(v2)):
        if ours != theirs:
            path = "/".join((ours or theirs)[0])
            raise MetainfoError(
                f"the v1 and v2 parts tell of different files, first at {path[:99]!r}", "file tree"
            )
    pads = v1.pads
    at = end = 0
    for index, length in enumerate(v1.lengths):
        if length and index not in pads:
            end += -end % piece_length
            if at != end:
                raise MetainfoError("a file does not start with a piece in v1", "files")
            end += length
        at += length
    if not end <= at <= end + -end % piece_length:
        raise MetainfoError("there are more pad files than pieces to fill", "files")
    real = [index for index in range(len(v1.paths)) if index not in pads]
    return replace(v1, roots={real[index]: root for index, root in v2.roots.items()})


def _facts(listing: Listing) -> Iterator[Any]:
    """What both halves must say of each file that is no pad: not whether it is hidden or executable,
    which some write into one half only."""
    pads = listing.pads
    for index, (path, length) in enumerate(zip(listing.paths, listing.lengths, strict=True)):
        if index not in pads:
            yield path, length, listing.links.get(index)


def read_layers(root: dict[bytes, Any], listing: Listing, piece_length: int) -> dict[bytes, bytes]:
    """The piece layers by their roots, each checked against it; all that are needed, and no more."""
    layers: dict[bytes, bytes] = typed(root, b"piece layers", dict, {})
    needed: dict[bytes, int] = {}
    for index, of in listing.roots.items():
        length = listing.lengths[index]
        if length > piece_length and needed.setdefault(of, length) != length:
            raise MetainfoError("two lengths of files with one `pieces root`", "pieces root")
    if not layers.keys() <= needed.keys():
        raise MetainfoError("a piece layer belongs to no file", "piece layers")
    for of, length in needed.items():
        layer = layers.get(of)
        count = -(-length // piece_length)
        if layer is None:
            raise MetainfoError(
                f"the piece layer of the root {of.hex()} is missing", "piece layers"
            )
        if type(layer) is not bytes or len(layer) != count * merkle.HASH:
            raise MetainfoError(f"a piece layer is not {count:,} hashes", "piece layers")
        if merkle.root_of_layer(layer, piece_length) != of:
            raise MetainfoError(f"a piece layer has not the root {of.hex()}", "piece layers")
    return layers


def piece_hashes(listing: Listing, layers: dict[bytes, bytes], piece_length: int) -> bytes:
    """What each piece's tree must have as its root: a file's layer, or its root if it is one piece."""
    return b"".join(
        layers[root] if listing.lengths[index] > piece_length else root
        for index, root in sorted(listing.roots.items())
    )
