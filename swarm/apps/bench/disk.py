"""`swarm bench disk`: pieces on their way to a folder's disk, and blocks on their way back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .asked import Asked, Measuring, asking, count, folder, size


@click.command("disk", cls=Measuring)
@size("--size", default="1GiB", text="Written in a round.")
@size(
    "--piece",
    "pieces",
    multiple=True,
    default=["256KiB", "1MiB", "16MiB"],
    text="Length of a piece (repeatable).",
)
@click.option(
    "--direct",
    "ways",
    type=click.Choice(["auto", "always", "never"]),
    multiple=True,
    default=["never", "auto"],
    show_default=True,
    help="When to write past the page cache (repeatable).",
)
@count("--files", text="Over how many files.")
@size(
    "--skew",
    default="0",
    text="By how many bytes files start off a page.",
)
@count("--threads", most=64, default=2, text="Threads that hash, read and write.")
@click.option("--no-reads", is_flag=True, help="Write and sync only.")
@folder
@asking
def command(
    size: int,
    pieces: tuple[int, ...],
    ways: tuple[str, ...],
    files: int,
    skew: int,
    threads: int,
    no_reads: bool,
    folder: Path,
    **options: Any,
) -> None:
    """Write and read a folder's disk as a torrent does.

    Pieces are hashed and written in random order, synced, and read back as blocks, once from the disk
    if it was written past the page cache, and once from memory. What is written is deleted again.
    """
    from swarm.bench.disk import STEPS, Disking
    from swarm.units import format_size

    from .conduct import begin, conduct, repeated

    asked = Asked(**options)
    disking = Disking(
        folder=folder.absolute(),
        size=size,
        pieces=pieces,
        ways=ways,
        files=files,
        skew=skew,
        threads=threads,
        reads=not no_reads,
    )
    work = {
        "size": size,
        "pieces": "/".join(format_size(piece).replace(".0 ", " ") for piece in pieces),
        "direct": "/".join(ways),
        "files": files,
        "skew": skew,
        "threads": threads,
    }
    report = begin(asked, "disk", work, folder=folder)

    steps = 2 if no_reads else len(STEPS)
    job = repeated(asked.rounds, disking.round)
    conduct(asked, report, job, asked.rounds * len(pieces) * len(ways) * steps)
