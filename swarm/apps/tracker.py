"""`swarm tracker`: tells peers of each other, for a LAN or a try-out."""

from __future__ import annotations

import asyncio

import click

import swarm

from . import options
from .command import Command
from .options import Address
from .output import record, result
from .run import run


@click.command("tracker", cls=Command)
@click.option(
    "--bind",
    type=options.listen_address,
    metavar=options.ADDRESS,
    default="127.0.0.1:6969",
    show_default=True,
    help="Where to listen, for HTTP and UDP alike.",
)
@options.as_json
def command(bind: Address, as_json: bool) -> None:
    """Run a tracker until Ctrl-C, and print its two announce URLs."""
    run(lambda: serve(bind, as_json=as_json))


async def serve(bind: Address, *, as_json: bool) -> None:
    """Serves until it is cancelled."""
    async with swarm.Tracker(str(bind)) as tracker:
        urls = {"announce_url": tracker.announce_url, "udp_url": tracker.udp_url}
        if as_json:
            record("tracker", **urls, port=tracker.port)
        else:
            for url in urls.values():
                result(url)
        await asyncio.Event().wait()
