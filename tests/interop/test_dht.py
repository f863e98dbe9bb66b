"""The DHT with libtorrent, without a tracker: nodes, seeders and leechers of both, in networks of their own."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lab.sample import KIB, Payload, digests, single_file

import swarm
from swarm.bench import network
from swarm.bench.clients import Client, Libtorrent, Swarm
from swarm.bench.clients.libtorrent import TUNED
from swarm.bench.network import Network

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]


class Ours(Swarm):
    """swarm, which begins with the nodes at `bootstrap`."""

    name = "swarm-dht"
    bootstrap: tuple[str, ...] = ()

    def command(self, role: str, torrent: Path) -> list[str]:
        self.settings = {"dht": True, "dht_bootstrap": self.bootstrap}
        return super().command(role, torrent)


class Theirs(Libtorrent):
    """libtorrent, likewise; it takes private addresses for nodes, of which several are in one subnet."""

    name = "libtorrent-dht"
    bootstrap: tuple[str, ...] = ()

    def command(self, role: str, torrent: Path) -> list[str]:
        nodes = {
            "enable_dht": True,
            "dht_bootstrap_nodes": ",".join(self.bootstrap),
            "dht_restrict_routing_ips": False,
            "dht_restrict_search_ips": False,
            "dht_ignore_dark_internet": False,
        }
        command = super().command(role, torrent)
        command[command.index(json.dumps(TUNED))] = json.dumps(TUNED | nodes)
        return command


@pytest.fixture
def hosts(require: Callable[[str | None], None]) -> Iterator[list[network.Namespace]]:
    require(network.missing())
    require(Libtorrent.missing())
    with Network(3) as made:
        yield made.hosts


def payload(folder: Path, size: int) -> Payload:
    """A torrent without trackers."""
    folder.mkdir()
    root = single_file(folder, size=size)
    made = asyncio.run(swarm.Metainfo.create(root, piece_length=64 * KIB))
    path = folder / "one.torrent"
    path.write_bytes(made.to_bytes())
    return Payload(root, path, digests(root))


@pytest.mark.parametrize(
    ("node", "seeder", "leecher"),
    [
        pytest.param(Ours, Ours, Theirs, id="libtorrent finds ours by our node"),
        pytest.param(Theirs, Theirs, Ours, id="we find theirs by their node"),
        pytest.param(Theirs, Ours, Theirs, id="libtorrent finds ours by its node"),
        pytest.param(Ours, Theirs, Ours, id="we find theirs by our node"),
    ],
)
def test_found_in_the_dht_alone(
    hosts: list[network.Namespace],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    node: type[Client],
    seeder: type[Client],
    leecher: type[Client],
) -> None:
    monkeypatch.delenv("SWARM_NO_DHT")  # these networks lead nowhere else
    other, wanted = payload(tmp_path / "other", 1000), payload(tmp_path / "wanted", 1_000_003)
    cast: list[Client] = []
    try:
        for kind, host in zip((node, seeder, leecher), hosts, strict=True):
            client = kind(host, tmp_path / f"{len(cast)}")
            if cast:
                first = cast[0]
                client.bootstrap = (f"{first.host.address}:{first.port}",)  # type: ignore[attr-defined]
            cast.append(client)
        for client, what in ((cast[0], other), (cast[1], wanted)):
            (client.data / what.root.name).write_bytes(what.root.read_bytes())
            client.seed(what.torrent)
        cast[2].leech(wanted.torrent)
        deadline = time.monotonic() + 60
        while digests(cast[2].data / wanted.root.name) != wanted.digests:
            late = time.monotonic() > deadline
            assert not late, "\n".join(client.running.tail() for client in cast)
            time.sleep(0.05)
    finally:
        for client in cast:
            client.kill()
