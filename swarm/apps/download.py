"""`swarm download`: fetches a torrent, and goes on where it was stopped."""

from __future__ import annotations

import asyncio
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

import swarm
from swarm.units import format_duration, format_rate, format_size

from . import options
from .command import Command
from .exits import Exit, Quit
from .follow import until_done, until_seeded, warning
from .output import note, record, result
from .run import run
from .source import load_or_url


@click.command("download", cls=Command)
@click.argument("src")
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=".",
    show_default=True,
    help="The folder to download into.",
)
@click.option("--seed", is_flag=True, help="Seed afterwards, until Ctrl-C or a limit.")
@click.option(
    "--timeout",
    type=options.DURATION,
    metavar="TIME",
    help="Give up when not complete after this.",
)
@click.option("--no-part", is_flag=True, help="Give files their final names from the start.")
@click.option(
    "--allocation",
    type=click.Choice(["none", "sparse", "full"]),
    default="sparse",
    show_default=True,
    help="What files get of the disk at once: nothing, their length, or all they need.",
)
@click.option(
    "--direct",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    show_default=True,
    help="Write past the page cache: where it pays, wherever possible, or not at all.",
)
@options.choosing
@options.swarming
def command(
    src: str,
    output: Path,
    seed: bool,
    timeout: float | None,
    no_part: bool,
    allocation: str,
    direct: str,
    **given: Any,
) -> None:
    """Download the torrent SRC: a file, an http(s) URL of one, or - for stdin.

    Prints the path of what was downloaded. Ctrl-C saves and leaves; the same command resumes, with
    the same files. `swarm info --files` shows their numbers.
    """
    source = load_or_url(src)
    names = [field.name for field in fields(options.Choosing)]
    what = options.Choosing(**{name: given.pop(name) for name in names})
    how = options.Swarming(**given)
    turned = {"part_names": not no_part, "allocation": allocation, "direct": direct}
    run(lambda: download(source, output, seed, timeout, what, how, **turned))


async def download(
    source: swarm.Metainfo | str,
    dest: Path,
    seed: bool,
    timeout: float | None,
    what: options.Choosing,
    how: options.Swarming,
    **turned: Any,
) -> None:
    """Downloads into `dest`, reports, and seeds if that was asked for. `timeout` in seconds.

    `turned` are settings of the session.
    """
    done = False
    begun = time.monotonic()
    try:
        async with how.session(**turned) as session, warning(session):
            try:
                async with asyncio.timeout(timeout) as limit:
                    torrent = await session.add(source, dest=dest, **what.extra(), **how.extra())
                    if not any(torrent.priorities):
                        raise Quit(Exit.USAGE, "no file is selected; see --select")
                    await until_done(torrent, how.display())
            except TimeoutError:
                if not limit.expired():
                    raise
                waited = format_duration(timeout or 0)
                message = f"not complete after {waited}; saved, re-run to resume"
                raise Quit(Exit.TIMEOUT, message) from None
            done = True
            report(torrent, time.monotonic() - begun, how)
            if seed or how.ratio is not None or how.seed_for is not None:
                await until_seeded(torrent, how.display(), ratio=how.ratio, seconds=how.seed_for)
    except asyncio.CancelledError:
        if not how.quiet:
            note("stopped" if done else "saved; re-run to resume")
        raise


def report(torrent: swarm.Torrent, seconds: float, how: options.Swarming) -> None:
    """Says that all that was wanted is here: the path on stdout, or a `done` record."""
    stats = torrent.stats
    real = [index for index, file in enumerate(torrent.files) if not file.pad]
    wanted = sum(bool(torrent.priorities[index]) for index in real)
    if how.as_json:
        record(
            "done",
            name=torrent.name,
            path=str(torrent.path),
            infohash=str(torrent.infohash),
            length=stats.length,
            total_length=stats.total_length,
            files=wanted,
            total_files=len(real),
            downloaded=stats.downloaded,
            uploaded=stats.uploaded,
            seconds=round(seconds, 3),
        )
        return
    if how.chatty and stats.downloaded:
        rate = format_rate(stats.downloaded / max(seconds, 1e-3))
        size, duration = format_size(stats.downloaded), format_duration(seconds)
        note(f"{torrent.name}: {size} in {duration} ({rate})")
    elif how.chatty:
        note(f"{torrent.name}: already {'complete' if wanted == len(real) else 'here'}")
    if how.chatty and wanted < len(real):
        chosen = f"{wanted} of {len(real)} files were chosen"
        note(f"{torrent.name}: {chosen}; --select '*' gets all, here or in a later run")
    result(str(torrent.path))
