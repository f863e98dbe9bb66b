"""`swarm verify`: compares what is on the disk with a torrent."""

from __future__ import annotations

from pathlib import Path

import click

import swarm
from swarm.units import format_size

from . import options
from .command import Command
from .exits import Exit, Quit
from .output import display, escape, record
from .pace import Pace
from .run import run
from .source import home_of, load

SHOWN_RANGES = 3
"""Bad ranges of a file that people are told, of those that there are."""


@click.command("verify", cls=Command)
@click.argument("torrent")
@click.option(
    "--path",
    type=click.Path(exists=True, path_type=Path),
    default=".",
    show_default=True,
    help="The folder that the torrent's content is in.",
)
@options.quiet
@options.as_json
def command(torrent: str, path: Path, quiet: bool, as_json: bool) -> None:
    """Check the data in a folder against TORRENT, piece by piece.

    Prints each file that is not as it should be, and the ranges in it that are bad, in bytes.
    Changes nothing. Ends with 6 when there is such a file.
    """
    meta = load(torrent)
    home = home_of(meta, path.absolute())
    run(lambda: verify(meta, home, quiet=quiet, as_json=as_json))


async def verify(meta: swarm.Metainfo, home: Path, *, quiet: bool, as_json: bool) -> None:
    """Checks and reports. Raises `Quit` when anything is damaged or missing."""
    with display(quiet=quiet, as_json=as_json) as shown:
        pace = Pace(shown, meta.name, "checking", meta.size)
        report = await swarm.verify(meta, home, progress=pace)
    if as_json:
        tell_scripts(meta, report)
    else:
        for file in report.files:
            if file.state != "good":
                print("\t".join((file.state, escape(file.path), *wrong(file))))
    if not report.ok:
        bad = sum(file.state != "good" for file in report.files)
        share = f"{bad} of {len(report.files)} files, {len(report.bad_pieces)} pieces"
        raise Quit(Exit.DAMAGED, f"{meta.name} in {home} is not as the torrent says: {share}")
    if not as_json and not quiet:
        print(f"good\t{escape(meta.name)}\t{format_size(meta.size)}")


def wrong(file: swarm.FileReport) -> list[str]:
    """What people are told of a file that is not as it should be: columns of text."""
    columns = []
    if file.state == "short":
        columns.append(f"{file.size} of {file.length} bytes")
    elif file.state == "long" and file.size is not None:
        surplus = file.size - file.length
        columns.append(f"{surplus} byte{'s' * (surplus > 1)} too many")
    if file.bad and file.size is not None:
        ranges = ", ".join(f"{start}-{end}" for start, end in file.bad[:SHOWN_RANGES])
        more = len(file.bad) - SHOWN_RANGES
        rest = f" and {more} more" if more > 0 else ""
        columns.append(f"{format_size(file.length - file.good_bytes)} bad: {ranges}{rest}")
    return [*columns, escape(file.error)] if file.error else columns


def tell_scripts(meta: swarm.Metainfo, report: swarm.Report) -> None:
    """A record for each file, and one for the whole."""
    for file in report.files:
        record(
            "file",
            path=file.path,
            state=file.state,
            length=file.length,
            size=file.size,
            good_bytes=file.good_bytes,
            bad=file.bad,
            error=file.error,
        )
    record(
        "done",
        name=meta.name,
        infohash=str(meta.infohash),
        ok=report.ok,
        length=meta.size,
        good_bytes=sum(file.good_bytes for file in report.files),
        good_pieces=report.good_pieces,
        bad_pieces=report.bad_pieces,
    )
