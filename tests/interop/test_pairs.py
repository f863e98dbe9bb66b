"""swarm to and from each client that no one here wrote: a folder and a single file at once."""

from __future__ import annotations

import pytest
from lab.sample import Payload
from lab.stage import Stage

from swarm.bench.clients import Client

pytestmark = [pytest.mark.interop, pytest.mark.timeout(90)]


def test_swarm_seeds(
    stage: Stage, ours: type[Client], foreign: type[Client], folder: Payload, file: Payload
) -> None:
    stage.transfer(ours, foreign, [folder, file])


def test_swarm_leeches(
    stage: Stage, ours: type[Client], foreign: type[Client], folder: Payload, file: Payload
) -> None:
    stage.transfer(foreign, ours, [folder, file])
