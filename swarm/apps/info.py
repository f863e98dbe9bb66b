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

VERSIONS = {"v1": "1", "v2": "2", "hybrid": "1 and 2 (hybrid)"}


@click.command("info", cls=Command)
@click.argument("torrent")
@click.option(
    "--files",
    is_flag=True,
    help="Only the files: number, length in bytes, path, attributes. With --json a record each.",
)
@click.option("--magnet", is_flag=True, help="Only the magnet link.")
@options.as_json
def command(torrent: str, files: bool, magnet: bool, as_json: bool) -> None:
    """Show what the file TORRENT (or - for stdin) describes. Asks nobody."""
    if magnet and (files or as_json):
        raise click.UsageError("--magnet excludes --files and --json")
    meta = load(torrent)
    if as_json and files:
        for file in listed(meta):
            record("file", **about(file))
    elif as_json:
        record("info", **facts(meta))
    elif magnet:
        print(escape(meta.magnet))
    elif files:
        for file in listed(meta):
            print(line(file))
    else:
        for label, text in summary(meta):
            print(f"{label + ':' if label else '':<13} {escape(text)}")


def listed(meta: swarm.Metainfo) -> list[swarm.File]:
    """Its files; pad files are none to those who share them."""
    return [file for file in meta.files if not file.pad]


def line(file: swarm.File) -> str:
    """A file for people, and for `cut`: what has no attributes has three columns."""
    columns = [str(file.index), str(file.length), escape("/".join(file.path))]
    if file.symlink is not None:
        columns[2] += f" -> {escape('/'.join(file.symlink))}"
    return "\t".join([*columns, file.attr] if file.attr else columns)


def about(file: swarm.File) -> dict[str, object]:
    """A file for a program: what it does not have is left out."""
    facts = {
        "index": file.index,
        "path": "/".join(file.path),
        "length": file.length,
        "attr": file.attr or None,
        "symlink": "/".join(file.symlink) if file.symlink is not None else None,
        "root": file.root.hex() if file.root is not None else None,
    }
    return {key: value for key, value in facts.items() if value is not None}


def facts(meta: swarm.Metainfo) -> dict[str, object]:
    """All of it, for a program."""
    return {
        "name": meta.name,
        "version": meta.version,
        "infohash": str(meta.infohash),
        "infohash_v1": meta.infohash.v1.hex() if meta.infohash.v1 else None,
        "infohash_v2": meta.infohash.v2.hex() if meta.infohash.v2 else None,
        "length": meta.size,
        "piece_length": meta.piece_length,
        "pieces": meta.piece_count,
        "private": meta.private,
        "single_file": meta.single_file,
        "files": [about(file) for file in listed(meta)],
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
    yield "version", VERSIONS[meta.version]
    yield "infohash", str(meta.infohash)
    if meta.version == "hybrid":
        yield "", meta.infohash.v2.hex() if meta.infohash.v2 else ""
    yield "size", f"{format_size(meta.size)} ({meta.size} bytes)"
    if meta.length > meta.size and meta.version != "v2":
        yield "padding", format_size(meta.length - meta.size)
    yield "pieces", f"{meta.piece_count} of {format_size(meta.piece_length)}"
    yield "files", str(len(listed(meta)))
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
