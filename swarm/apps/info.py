"""`swarm info`: what is in a torrent file."""

from __future__ import annotations

import time
from collections.abc import Iterator

import click

import swarm
from swarm.units import format_size

from . import options
from .command import Command
from .output import escape, record
from .source import load


@click.command("info", cls=Command)
@click.argument("torrent")
@click.option("--files", is_flag=True, help="Only the files: their length in bytes and their path.")
@click.option("--magnet", is_flag=True, help="Only the magnet link.")
@options.as_json
def command(torrent: str, files: bool, magnet: bool, as_json: bool) -> None:
    """Show what the file TORRENT (or - for stdin) describes. Asks nobody."""
    if files + magnet + as_json > 1:
        raise click.UsageError("--files, --magnet and --json exclude each other")
    meta = load(torrent)
    if as_json:
        record("info", **facts(meta))
    elif magnet:
        print(escape(meta.magnet))
    elif files:
        for file in meta.files:
            print(f"{file.length}\t{escape('/'.join(file.path))}")
    else:
        for label, text in summary(meta):
            print(f"{label + ':' if label else '':<13} {escape(text)}")


def facts(meta: swarm.Metainfo) -> dict[str, object]:
    """All of it, for a program."""
    return {
        "name": meta.name,
        "infohash": str(meta.infohash),
        "length": meta.length,
        "piece_length": meta.piece_length,
        "pieces": meta.piece_count,
        "private": meta.private,
        "single_file": meta.single_file,
        "files": [{"path": "/".join(f.path), "length": f.length} for f in meta.files],
        "trackers": [list(tier) for tier in meta.trackers],
        "web_seeds": list(meta.web_seeds),
        "comment": meta.comment,
        "created_by": meta.created_by,
        "creation_date": meta.creation_date,
        "source": meta.source,
        "magnet": meta.magnet,
        "warnings": list(meta.warnings),
    }


def summary(meta: swarm.Metainfo) -> Iterator[tuple[str, str]]:
    """The lines for people: a label and its text. What the torrent does not say is left out."""
    yield "name", meta.name
    yield "infohash", str(meta.infohash)
    yield "size", f"{format_size(meta.length)} ({meta.length} bytes)"
    yield "pieces", f"{meta.piece_count} of {format_size(meta.piece_length)}"
    yield "files", str(len(meta.files))
    if meta.private:
        yield "private", "yes"
    for number, tier in enumerate(meta.trackers):
        yield "" if number else "trackers", " ".join(tier)
    for number, url in enumerate(meta.web_seeds):
        yield "" if number else "web seeds", url
    for label, text in (
        ("comment", meta.comment),
        ("source", meta.source),
        ("created by", meta.created_by),
        ("created on", date(meta.creation_date)),
    ):
        if text:
            yield label, text
    for number, warning in enumerate(meta.warnings):
        yield "" if number else "warnings", warning


def date(seconds: int | None) -> str | None:
    """A Unix time in UTC; the bare number when it is no date at all."""
    if seconds is None:
        return None
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):
        return str(seconds)
