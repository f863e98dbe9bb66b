"""A network for the whole session, and a stage on it for each test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lab.sample import KIB, Payload, digests, single_file
from lab.stage import TRACKER_PORT, Stage

import swarm
from swarm.bench import network
from swarm.bench.clients import FOREIGN, OURS, Client
from swarm.bench.network import Host, Network

Require = Callable[[str | None], None]


@pytest.fixture(scope="session")
def hosts(require: Require) -> Iterator[list[Host]]:
    """One host for the tracker and five for clients."""
    require(network.missing())
    with Network(6) as made:
        yield made.hosts


@pytest.fixture(params=OURS, ids=lambda kind: kind.name)
def ours(request: pytest.FixtureRequest) -> type[Client]:
    """swarm, on each event loop."""
    kind: type[Client] = request.param
    return kind


@pytest.fixture(params=FOREIGN, ids=lambda kind: kind.name)
def foreign(request: pytest.FixtureRequest, require: Require) -> type[Client]:
    """Each client that no one here wrote."""
    kind: type[Client] = request.param
    require(kind.missing())
    return kind


@pytest.fixture(scope="session")
def folder(
    hosts: list[Host], hard_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Payload:
    """The hard folder as a torrent that swarm made."""
    return _payload(hosts, hard_folder, 256 * KIB, tmp_path_factory)


@pytest.fixture(scope="session")
def file(hosts: list[Host], tmp_path_factory: pytest.TempPathFactory) -> Payload:
    """A single file as a torrent; its last piece is one byte long."""
    return _payload(
        hosts, single_file(tmp_path_factory.mktemp("file")), 512 * KIB, tmp_path_factory
    )


@pytest.fixture
def stage(hosts: list[Host], tmp_path: Path) -> Iterator[Stage]:
    """Where this test's clients meet."""
    with Stage(hosts, tmp_path) as stage:
        yield stage


def _payload(
    hosts: list[Host], root: Path, piece_length: int, factory: pytest.TempPathFactory
) -> Payload:
    url = f"http://{hosts[0].address}:{TRACKER_PORT}/announce"
    path = factory.mktemp("torrent") / f"{root.name}.torrent"
    made = asyncio.run(swarm.Metainfo.create(root, trackers=[url], piece_length=piece_length))
    path.write_bytes(made.to_bytes())
    return Payload(root, path, digests(root))
