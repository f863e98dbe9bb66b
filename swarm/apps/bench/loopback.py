"""`swarm bench loopback`: swarm with itself, on this machine."""

from __future__ import annotations

from typing import Any

import click

from .asked import Measuring, asking
from .transfers import shape_of, shaping, transfer


@click.command("loopback", cls=Measuring)
@shaping
@asking
def command(**options: Any) -> None:
    """Move a payload from seeders to leechers on this machine, all of them swarm.

    As root each client is on a host of its own, in a network namespace; else all are on 127.0.0.1. What
    arrives is compared byte for byte. CPU and memory are those of whole processes, start-up included.
    """
    from swarm.bench.clients import Swarm
    from swarm.bench.clients.pair import Pair

    asked, shape = shape_of(options)
    transfer(asked, "loopback", shape, [Pair.of(Swarm)], [])
