"""`swarm bench wire`: frames and requests in memory."""

from __future__ import annotations

from typing import Any

import click

from .asked import Asked, Measuring, asking, count, size


@click.command("wire", cls=Measuring)
@size("--size", default="512MiB", text="Of all blocks.")
@size("--piece", default="1MiB", text="Length of a piece.")
@size("--read", default="512KiB", text="Length of a read.")
@count("--depth", most=2000, default=256, text="Requests that are ahead.")
@asking
def command(size: int, piece: int, read: int, depth: int, **options: Any) -> None:
    """Walk frames in memory, on one core: blocks into their slots, and requests from end to end."""
    from swarm.bench.wire import Wiring

    from .conduct import begin, conduct, repeated

    asked, wiring = Asked(**options), Wiring(size, piece, read, depth)
    work = {"size": size, "piece": piece, "read": read, "depth": depth}
    report = begin(asked, "wire", work)

    job = repeated(asked.rounds, wiring.round)
    conduct(asked, report, job, asked.rounds * len(wiring.names))
