"""`swarm verify`: compares what is on the disk with a torrent."""

from __future__ import annotations

from pathlib import Path

import click

import swarm
from swarm.units import format_size

from . import options
from .command import Command
from .exits import Exit, Quit
from .output import Step, display, escape, record
from .run import run
from .source import home_of, load


@click.command("verify", cls=Command)
@click.argument("torrent")
@click.option(
    "--path",
    type=click.Path(exists=True, path_type=Path),
    default=".",
    help="The folder that the torrent's content is in.",
)
@options.quiet
@options.as_json
def command(torrent: str, path: Path, quiet: bool, as_json: bool) -> None:
    """Check the data in a folder against TORRENT, piece by piece.

    Prints each file that is not as it should be. Ends with 6 when there is one.
    """
    meta = load(torrent)
    home = home_of(meta, path.absolute())
    run(lambda: verify(meta, home, quiet=quiet, as_json=as_json))


async def verify(meta: swarm.Metainfo, home: Path, *, quiet: bool, as_json: bool) -> None:
    """Checks and reports. Raises `Quit` when anything is damaged or missing."""
    with display(quiet=quiet, as_json=as_json) as shown:

        def progress(done: int, total: int) -> None:
            shown.show(Step(name=meta.name, state="checking", progress=done / max(total, 1)))

        report = await swarm.verify(meta, home, progress=progress)
    good = sum(file.good_bytes for file in report.files)
    if as_json:
        for file in report.files:
            path = str(file.path)
            facts = {"path": path, "length": file.length, "good_bytes": file.good_bytes}
            record("file", **facts, state=file.state)
        record(
            "done",
            name=meta.name,
            infohash=str(meta.infohash),
            ok=report.ok,
            length=meta.length,
            good_bytes=good,
            good_pieces=report.good_pieces,
            bad_pieces=list(report.bad_pieces),
        )
    else:
        for file in report.files:
            if file.state != "good":
                print(f"{file.state}\t{escape(str(file.path))}")
    if not report.ok:
        bad = sum(file.state != "good" for file in report.files)
        share = f"{bad} of {len(report.files)} files, {len(report.bad_pieces)} pieces"
        raise Quit(Exit.DAMAGED, f"{meta.name} is not as the torrent says: {share}")
    if not as_json and not quiet:
        print(f"good\t{escape(meta.name)}\t{format_size(meta.length)}")
