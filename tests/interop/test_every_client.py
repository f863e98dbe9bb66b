"""swarm to and from the clients that are not in every run of the tests, where they are installed."""

from __future__ import annotations

import pytest
from lab.sample import Payload
from lab.stage import Stage

from swarm.bench.clients import FOREIGN, Client, Swarm, every

OTHERS = [kind for kind in every().values() if kind not in FOREIGN and not issubclass(kind, Swarm)]
pytestmark = [pytest.mark.every_client, pytest.mark.timeout(120)]


@pytest.fixture(params=OTHERS, ids=lambda kind: kind.name)
def other(request: pytest.FixtureRequest) -> type[Client]:
    kind: type[Client] = request.param
    if problem := kind.missing():
        pytest.skip(problem)
    return kind


def test_swarm_seeds(stage: Stage, other: type[Client], folder: Payload, file: Payload) -> None:
    stage.transfer(Swarm, other, [folder, file])


def test_swarm_leeches(stage: Stage, other: type[Client], folder: Payload, file: Payload) -> None:
    stage.transfer(other, Swarm, [folder, file])
