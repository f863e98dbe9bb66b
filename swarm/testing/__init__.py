"""Whole swarms in virtual time: a clock, links and a store without threads, for tests of any program.

    from swarm.testing import Swarm

    swarm = Swarm(seed=7, length=4 << 20, piece_length=64 << 10)
    swarm.add("seed", complete=True, up=1 << 20)
    late = swarm.add("late", start=30.0, down=256 << 10)
    swarm.run()                     # until every leecher that is alive is complete
    assert late.store.data() == swarm.content.data
    print(swarm.clock.now, swarm.digest())

Each node is a real engine with real wires, so what is measured is what runs; only sockets, disks and
the clock are imitations. There is no wall clock, no thread and no socket, and all chance comes from
the one seed: the same program gives the same trace, event by event.
"""

from .clock import Clock, Timer
from .link import Link, Pipe
from .node import Node
from .store import Content, Store
from .swarm import Swarm
from .trace import Event, trace_digest

__all__ = [
    "Clock",
    "Content",
    "Event",
    "Link",
    "Node",
    "Pipe",
    "Store",
    "Swarm",
    "Timer",
    "trace_digest",
]
