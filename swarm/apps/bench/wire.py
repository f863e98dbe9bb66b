"""`swarm bench wire`: frames and requests in memory."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import click

from .asked import Asked, Measuring, asking, size


@click.command("wire", cls=Measuring)
@size("--size", default="512MiB", text="Of all blocks.")
@size("--piece", default="1MiB", text="Length of a piece.")
@size("--read", default="512KiB", text="Length of a read.")
@click.option(
    "--depth",
    type=click.IntRange(1, 2000),
    default=256,
    show_default=True,
    help="Requests that are ahead.",
)
@asking
def command(size: int, piece: int, read: int, depth: int, **options: Any) -> None:
    """Walk frames in memory, on one core: blocks into their slots, and requests from end to end."""
    from swarm.bench.report import Sample
    from swarm.bench.wire import Wiring

    from .conduct import begin, conduct

    asked, wiring = Asked(**options), Wiring(size, piece, read, depth)
    work = {"size": size, "piece": piece, "read": read, "depth": depth}
    report = begin(asked, "wire", work)

    def job(show: object) -> Generator[Sample]:
        for _ in range(asked.rounds):
            yield from wiring.round()

    conduct(asked, report, job, asked.rounds * len(wiring.names))
