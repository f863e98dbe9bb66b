"""`swarm create`: makes a torrent of a file or a folder."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import stat
import sys
from pathlib import Path
from typing import Any

import click

import swarm
from swarm import units

from . import options
from .command import Command
from .output import Step, display, note, record, result
from .pace import Pace
from .run import run

LITTER = (".DS_Store", "Thumbs.db", "desktop.ini")
"""What file browsers leave in folders, and nobody wants to share."""


def piece_length(text: str) -> int | None:
    """Reads a size, or `auto` (None: chosen by the torrent's length)."""
    return None if text == "auto" else options.quantity(units.parse_size)(text)


@click.command("create", cls=Command)
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--output", help="The torrent file to write, or - (default: NAME.torrent).")
@click.option(
    "--tracker", "trackers", multiple=True, metavar="URL", help="Its trackers (repeatable)."
)
@click.option(
    "--web-seed",
    "web_seeds",
    multiple=True,
    metavar="URL",
    help="Where the same files are to be had over HTTP (BEP 19; repeatable).",
)
@click.option(
    "--piece-size",
    "piece_length",
    type=piece_length,
    metavar="SIZE|auto",
    default="auto",
    show_default=True,
    help="How much is hashed together: a power of two, as 1MiB.",
)
@click.option("--private", is_flag=True, help="Peers from its trackers only (BEP 27).")
@click.option("--comment", help="Said to all who open the torrent.")
@click.option("--source", help="Makes the infohash differ from the same content elsewhere.")
@click.option("--v1", "version", flag_value="v1", default="v1", help="For every client (default).")
@click.option("--v2", "version", flag_value="v2", help="Version 2 only (BEP 52): few clients yet.")
@click.option("--hybrid", "version", flag_value="hybrid", help="Both versions in one torrent.")
@click.option(
    "--symlinks",
    type=click.Choice(["refuse", "keep", "follow", "follow-outside"]),
    default="refuse",
    show_default=True,
    help="Keep symbolic links as links (BEP 47), or share copies of what they point to, in PATH or "
    "anywhere. Such copies have to be made before they can be seeded (cp -rL).",
)
@click.option(
    "--exclude",
    multiple=True,
    metavar="GLOB",
    help="Leave out files and folders of this name, or, with a slash, of this path in PATH "
    "(repeatable).",
)
@click.option("--all", "everything", is_flag=True, help=f"Share {', '.join(LITTER)} as well.")
@options.quiet
@options.as_json
def command(
    path: Path,
    output: str | None,
    exclude: tuple[str, ...],
    everything: bool,
    quiet: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Make a torrent of the file or folder PATH, and print where it was written."""
    root = path.absolute() if path.name and path.name != ".." else path.resolve()
    target = output if output is not None else f"{root.name}.torrent"
    if os.path.exists(target) and os.path.samefile(target, root):
        raise click.UsageError(f"the torrent cannot be written over what it is made of: {target}")
    left_out = (*exclude, *(() if everything else LITTER), *within(root, target))
    run(lambda: create(root, target, quiet=quiet, as_json=as_json, exclude=left_out, **given))


async def create(root: Path, target: str, *, quiet: bool, as_json: bool, **given: Any) -> None:
    """Hashes `root`, writes the torrent, and reports."""
    if target != "-":
        write(None, target)  # before an hour of hashing, not after it
    with display(quiet=quiet or (as_json and target == "-"), as_json=as_json) as shown:
        shown.show(Step(name=root.name, state="hashing", progress=0.0))  # first, it looks around
        pace = Pace(shown, root.name, "hashing")
        meta = await swarm.Metainfo.create(root, progress=pace, **given)
    data = meta.to_bytes()
    if target == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    write(data, target)
    if as_json:
        record(
            "done",
            name=meta.name,
            path=target,
            version=meta.version,
            infohash=str(meta.infohash),
            infohash_v1=meta.infohash.v1.hex() if meta.infohash.v1 else None,
            infohash_v2=meta.infohash.v2.hex() if meta.infohash.v2 else None,
            length=meta.size,
            files=sum(not file.pad for file in meta.files),
            pieces=meta.piece_count,
            piece_length=meta.piece_length,
            magnet=meta.magnet,
            warnings=meta.warnings,
        )
        return
    if not quiet:
        for warning in meta.warnings:
            note(f"on download {warning}; name it so here, too, before it is seeded")
        count = "1 piece" if meta.piece_count == 1 else f"{meta.piece_count} pieces"
        pieces = f"{count} of {units.format_size(meta.piece_length)}"
        note(f"{meta.name}: {units.format_size(meta.size)}, {pieces}, infohash {meta.infohash}")
    result(target)


def within(root: Path, target: str) -> tuple[str, ...]:
    """A pattern for the torrent file, where it goes into the very folder that is shared."""
    try:
        path = Path(target).resolve().relative_to(root.resolve())
    except (OSError, ValueError):
        return ()
    return (f"/{glob.escape(path.as_posix())}",)


def write(data: bytes | None, target: str) -> None:
    """Writes a file all at once or not at all. Without data, sees whether that could be done.

    Raises an `OSError` that names the target.
    """
    fresh = os.path.join(os.path.dirname(target), f".swarm-{os.getpid()}~")
    try:
        kind = kind_of(target)
        if kind == stat.S_IFDIR or not os.path.basename(target):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if kind not in (None, stat.S_IFREG):  # a pipe, a terminal: nothing to put in its place
            if data is not None:
                Path(target).write_bytes(data)
            return
        try:
            with open(fresh, "xb") as file:
                file.write(data or b"")
                file.flush()
                os.fsync(file.fileno())
            if data is not None:
                os.replace(fresh, target)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(fresh)
    except OSError as error:
        raise OSError(error.errno, error.strerror, target) from error


def kind_of(path: str) -> int | None:
    """What lies there, as `stat.S_IFMT` has it; None if nothing does."""
    try:
        return stat.S_IFMT(os.stat(path).st_mode)
    except FileNotFoundError:
        return None
