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
    transfer(stage, ours, foreign, [folder, file])


def test_swarm_leeches(
    stage: Stage, ours: type[Client], foreign: type[Client], folder: Payload, file: Payload
) -> None:
    transfer(stage, foreign, ours, [folder, file])


def transfer(
    stage: Stage, seeder: type[Client], leecher: type[Client], payloads: list[Payload]
) -> None:
    for payload in payloads:
        stage.seed(seeder, payload)
    for client in [stage.leech(leecher, payload) for payload in payloads]:
        stage.finish(client)
