"""`swarm seed`: serves what is on the disk already."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

import swarm

from . import options
from .command import Command
from .exits import Exit, Quit
from .follow import INTERVAL, until_seeded, warning
from .output import note, record, result, step_of
from .run import run
from .source import home_of, load

_PARTLY = "; `swarm download --seed` shares what is there and fetches the rest"


@click.command("seed", cls=Command)
@click.argument("torrent")
@click.option(
    "--path",
    type=click.Path(exists=True, path_type=Path),
    default=".",
    show_default=True,
    help="The folder that the torrent's content is in.",
)
@click.option(
    "--verify/--no-verify",
    default=None,
    help="Check all data first, or trust it (default: check what is not known to be good).",
)
@options.swarming
def command(torrent: str, path: Path, verify: bool | None, **given: Any) -> None:
    """Seed TORRENT from the data in a folder, until Ctrl-C or a limit.

    Prints the address that peers can reach once it does.
    """
    meta = load(torrent)
    how = options.Swarming(**given)
    run(lambda: seed(meta, home_of(meta, path.absolute()), verify, how))


async def seed(
    meta: swarm.Metainfo, dest: Path, verify: bool | None, how: options.Swarming
) -> None:
    """Seeds what is in `dest`; it has to be all there."""
    require(meta, dest)
    try:
        async with how.session() as session, warning(session):
            torrent = await session.add(meta, dest=dest, verify=verify, select=["*"], **how.extra())
            with how.display() as shown:
                async for stats in torrent.watch(INTERVAL):
                    shown.show(step_of(torrent.name, stats))
                    if stats.state == "downloading" and stats.progress < 1:
                        good = f"only {stats.progress:.1%} of {meta.name} in {dest} is good"
                        hint = "`swarm verify` tells which files, `swarm download` repairs them"
                        raise Quit(Exit.DAMAGED, f"{good}; {hint}")
            host = how.listen.host if how.listen else "0.0.0.0"
            if how.as_json:
                facts = {"name": meta.name, "infohash": str(meta.infohash)}
                record("seeding", **facts, host=host, port=session.port)
            else:
                if how.chatty:
                    note(f"seeding {meta.name}; Ctrl-C ends it")
                result(str(options.Address(host, session.port)))
            await until_seeded(torrent, how.display(), ratio=how.ratio, seconds=how.seed_for)
    except asyncio.CancelledError:
        if how.chatty:
            note("stopped")
        raise


def require(meta: swarm.Metainfo, dest: Path) -> None:
    """Raises `Quit` unless each file is there at its full length. A look, not a check."""
    for file in meta.files:
        if file.pad or file.symlink is not None:
            continue
        path = dest.joinpath(*file.path)
        size = path.stat().st_size if path.is_file() else None
        if size is None:
            raise Quit(Exit.DAMAGED, f"nothing to seed: {path} is missing{_PARTLY}")
        if size < file.length:
            raise Quit(Exit.DAMAGED, f"{path} has {size} of {file.length} bytes{_PARTLY}")
