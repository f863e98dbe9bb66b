"""Reports as the tests of this folder need them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from swarm.bench.machine import Machine
from swarm.bench.report import Report, Sample
from swarm.bench.round import Failure, Told

MACHINE = Machine(
    cpu="A CPU",
    cores=2,
    architecture="x86_64",
    features=("sha_ni",),
    hypervisor=True,
    memory=8 << 30,
    system="Linux 6.1",
    file_system="ext4",
    python="CPython 3.11.7",
    swarm="0.1.0",
    loop="uvloop 0.23.0",
    kernels=("sha-ni", "crate"),
    load=0.5,
)


@pytest.fixture(scope="session")
def report_of() -> Callable[..., Report]:
    """Makes a report of rounds: for each name the values of each of its rounds."""

    def make(
        rounds: Mapping[str, Sequence[Mapping[str, float]]] | None = None, **fields: Any
    ) -> Report:
        given = {
            "bench": "compare",
            "work": {"size": 1 << 30, "files": 1},
            "machine": MACHINE,
            "at": "2026-01-02T03:04:05+00:00",
            "samples": [
                Sample(name, dict(values))
                for name, each in (rounds or {}).items()
                for values in each
            ],
            "failures": [],
            "told": {},
            "versions": {},
            "rivals": [],
            "rounds": 3,
        }
        return Report(**(given | fields))

    return make


@pytest.fixture(scope="session")
def failure() -> Callable[[str, str], Failure]:
    """Makes the failure of a client, for a reason."""
    return lambda client, reason: Failure(client, 1, reason, Told())
