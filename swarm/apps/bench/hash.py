"""`swarm bench hash`: the hash kernels beside hashlib."""

from __future__ import annotations

from typing import Any

import click

from .asked import Asked, Measuring, asking, size


@click.command("hash", cls=Measuring)
@size(
    "--size",
    "message",
    default="64KiB",
    text="Of each message; every lane has one of its own.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, 60),
    default=0.3,
    show_default=True,
    help="CPU time of each figure.",
)
@asking
def command(message: int, seconds: float, **options: Any) -> None:
    """Hash in memory, on one core: each kernel, with several messages at once, beside hashlib."""
    from swarm.bench.hash import Hashing

    from .conduct import begin, conduct, repeated

    asked, hashing = Asked(**options), Hashing(message, seconds)
    work = {"message": message, "seconds": seconds}
    report = begin(asked, "hash", work, rivals=hashing.rivals)

    job = repeated(asked.rounds, hashing.round)
    conduct(asked, report, job, asked.rounds * len(hashing.names))
