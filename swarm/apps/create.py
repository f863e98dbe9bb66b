"""`swarm create`: makes a torrent of a file or a folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

import swarm
from swarm import units

from . import options
from .command import Command
from .output import Step, display, note, record, result
from .run import run


def piece_length(text: str) -> int | None:
    """Reads a size, or `auto` (None: chosen by the torrent's length)."""
    return None if text == "auto" else options.quantity(units.parse_size)(text)


@click.command("create", cls=Command)
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--output", help="The torrent file to write, or - (default: NAME.torrent).")
@click.option("--tracker", "trackers", multiple=True, metavar="URL", help="Repeatable.")
@click.option("--web-seed", "web_seeds", multiple=True, metavar="URL", help="Repeatable.")
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
@click.option("--comment")
@click.option("--source", help="Makes the infohash differ from the same content elsewhere.")
@click.option("--v1", is_flag=True, help="A version 1 torrent, the only kind there is yet.")
@options.quiet
@options.as_json
def command(
    path: Path, output: str | None, quiet: bool, as_json: bool, v1: bool, **given: Any
) -> None:
    """Make a torrent of the file or folder PATH, and print where it was written."""
    root = path.absolute() if path.name and path.name != ".." else path.resolve()
    target = output if output is not None else f"{root.name}.torrent"
    run(lambda: create(root, target, quiet=quiet, as_json=as_json, **given))


async def create(
    root: Path,
    target: str,
    *,
    quiet: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Hashes `root`, writes the torrent, and reports."""
    with display(quiet=quiet or (as_json and target == "-"), as_json=as_json) as shown:

        def progress(done: int, total: int) -> None:
            shown.show(Step(name=root.name, state="hashing", progress=done / max(total, 1)))

        meta = await swarm.Metainfo.create(root, progress=progress, **given)
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
            infohash=str(meta.infohash),
            length=meta.length,
            files=len(meta.files),
            pieces=meta.piece_count,
            piece_length=meta.piece_length,
            magnet=meta.magnet,
        )
        return
    if not quiet:
        pieces = f"{meta.piece_count} pieces of {units.format_size(meta.piece_length)}"
        note(f"{meta.name}: {units.format_size(meta.length)}, {pieces}, infohash {meta.infohash}")
    result(target)


def write(data: bytes, target: str) -> None:
    """Writes a file all at once or not at all."""
    fresh = Path(f"{target}.{os.getpid()}~")
    try:
        fresh.write_bytes(data)
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)
