"""Peers from the DHT: sessions that find each other through nodes of this machine, and those that may not."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import swarm
from swarm.engine.dht_table import K
from swarm.finding import FILE
from swarm.proto.bencode import decode, encode
from swarm.proto.krpc import Query, encode_reply, pack_addr, parse
from swarm.store import nodes

ROOT = Path(__file__).parents[2]


def public(sample, **more):
    """The sample as a torrent that has these keys beside its info."""
    said = decode(sample.meta.to_bytes()) | {key.encode(): value for key, value in more.items()}
    return swarm.Metainfo.parse(encode(said))


def private(sample):
    said = decode(sample.meta.to_bytes())
    said[b"info"] |= {b"private": 1}
    return swarm.Metainfo.parse(encode(said))


def at(session: swarm.Session) -> str:
    return f"127.0.0.1:{session.finding.port}"


def known(session: swarm.Session) -> int:
    return sum(len(node.dht.table) for node in session.finding.nodes.values())


class Ear(asyncio.DatagramProtocol):
    """A node that hears, and answers when it has something to say."""

    def __init__(self, peers: tuple[tuple[str, int], ...] = ()) -> None:
        self.peers = peers
        self.heard: list[Query] = []

    def connection_made(self, transport) -> None:
        self.transport = transport

    @property
    def addr(self) -> str:
        return f"127.0.0.1:{self.transport.get_extra_info('sockname')[1]}"

    def datagram_received(self, data: bytes, addr) -> None:
        message = parse(data, local=True)
        if not isinstance(message, Query):
            return
        self.heard.append(message)
        answer = encode_reply(
            message.transaction,
            b"e" * 20,
            asker=pack_addr(addr),
            token=b"token",
            values=map(pack_addr, self.peers) if message.method == "get_peers" else (),
        )
        self.transport.sendto(answer, addr)


@pytest.fixture
async def ear():
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        Ear, local_addr=("127.0.0.1", 0)
    )
    yield protocol
    transport.close()


async def opened(lab, *bootstrap: str, **more) -> swarm.Session:
    return await lab.open(dht=True, dht_bootstrap=bootstrap, **more)


# ------------------------------------------------------------ who must not


async def test_no_session_of_a_test_has_a_dht_unless_it_asks_for_one(lab, sample) -> None:
    assert os.environ["SWARM_NO_DHT"] == "1"
    session, _ = await lab.seed(sample)
    assert session.settings.dht
    assert session.finding.nodes == {}
    assert session.finding.port is None


@pytest.mark.parametrize("folder", ["swarm/bench", "bench", "tests/crash"])
def test_what_is_run_outside_of_the_tests_says_that_it_has_none(folder: str) -> None:
    """A session, also one in another process, or a setting that brings it there."""
    for path in (ROOT / folder).rglob("*.py"):
        text = path.read_text()
        if "Session(" in text and path.name != "drive_swarm.py":  # that one is told by its adapter
            assert "dht=False" in text, f"{path} may reach for the DHT of the world"
    assert '"dht": False' in (ROOT / "swarm/bench/clients/swarm.py").read_text()
    assert "SWARM_NO_DHT = 1" in (ROOT / "Makefile").read_text()


def test_a_session_without_it_imports_nothing_of_it(tmp_path, sample) -> None:
    program = """if True:
        import asyncio, sys, swarm
        async def main():
            settings = swarm.Settings(dht=False)
            async with swarm.Session(listen="127.0.0.1:0", state_dir=sys.argv[1], settings=settings) as s:
                torrent = await s.add(sys.argv[2], dest=sys.argv[1])
                while torrent.stats.state == "checking":
                    await asyncio.sleep(0.001)
        asyncio.run(main())
        print([name for name in sys.modules if "dht" in name or "krpc" in name])
    """
    path = tmp_path / "t.torrent"
    path.write_bytes(sample.meta.to_bytes())
    env = {k: v for k, v in os.environ.items() if k != "SWARM_NO_DHT"}
    command = [sys.executable, "-c", program, str(tmp_path), str(path)]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.usefixtures("dht")
async def test_mi32_nobody_hears_of_a_private_torrent(lab, sample, ear, tmp_path) -> None:
    """One session has a public torrent and a private one; only the first is ever named."""
    secret = lab.sample({"x": 200_000}, seed=9)
    hidden = private(secret)
    seeder = await opened(lab)
    await seeder.add(hidden, dest=secret.write(tmp_path / "seed"), verify=False)
    session = await opened(lab, ear.addr)
    torrent = await session.add(hidden, dest=tmp_path / "a", peers=[lab.addr(seeder)])
    await torrent.wait_done()
    assert (session.finding.nodes, seeder.finding.nodes) == ({}, {})  # not even a socket
    await session.add(sample.meta, dest=tmp_path / "b")
    await lab.until(lambda: any(query.method == "announce_peer" for query in ear.heard))
    assert {q.target for q in ear.heard if q.method == "get_peers"} == {sample.meta.infohash.v1}
    for infohash, named in ((hidden.infohash.v1, False), (sample.meta.infohash.v1, True)):
        reader, writer = await asyncio.open_connection("127.0.0.1", session.port)
        writer.write(
            b"\x13BitTorrent protocol" + bytes(7) + b"\x01" + infohash + b"-XX0000-" + bytes(12)
        )
        theirs = await reader.readexactly(68)
        assert bool(theirs[27] & 1) is named
        writer.close()
        await writer.wait_closed()


# ------------------------------------------------------------ who may


@pytest.mark.usefixtures("dht")
async def test_two_sessions_find_each_other_through_a_third(lab, sample, tmp_path) -> None:
    other = lab.sample({"x": 100}, seed=2)
    third = await opened(lab)
    await third.add(other.meta, dest=tmp_path / "c")
    await lab.until(lambda: third.finding.port)
    seeder, _ = await lab.seed(sample, dht=True, dht_bootstrap=(at(third),))
    leecher = await opened(lab, at(third))
    torrent = await leecher.add(sample.meta, dest=tmp_path / "a")
    await torrent.wait_done()
    assert sample.on_disk(tmp_path / "a") == sample.data
    assert known(seeder) == 2
    await torrent.remove()
    assert all(len(node.dht.schedule) == 0 for node in leecher.finding.nodes.values())


@pytest.mark.usefixtures("dht")
async def test_what_nodes_name_are_candidates_of_their_own_kind(lab, sample, ear, tmp_path) -> None:
    """DH-13: poison costs dials, and half of the book at most."""
    ear.peers = tuple((f"127.6.{n // 250}.{n % 250 + 1}", 1 + n) for n in range(50, 100))
    session = await opened(lab, ear.addr)
    torrent = await session.add(sample.meta, dest=tmp_path / "a")
    runner = torrent._runner
    await lab.until(lambda: runner.engine and runner.engine.candidates._sources.get("dht"))
    assert set(runner.engine.candidates._sources) == {"dht"}
    assert runner.engine.candidates._sources["dht"] <= 50


@pytest.mark.usefixtures("dht")
async def test_a_torrent_may_name_nodes(lab, sample, ear, tmp_path) -> None:
    host, port = ear.addr.split(":")
    named = public(sample, nodes=[[host, int(port)], ["", 1], "nonsense", [host, 0], [host, 1, 2]])
    session = await opened(lab)
    await session.add(named, dest=tmp_path / "a")
    await lab.until(lambda: ear.heard)
    assert {query.target for query in ear.heard if query.method == "get_peers"} <= {
        sample.meta.infohash.v1
    }


@pytest.mark.usefixtures("dht")
async def test_peers_tell_each_other_where_their_nodes_are(lab, sample, tmp_path) -> None:
    seeder, _ = await lab.seed(sample, dht=True, dht_bootstrap=())
    leecher = await opened(lab)
    other = lab.sample({"x": 100}, seed=2)
    await leecher.add(other.meta, dest=tmp_path / "c")  # so that its node is there
    await lab.until(lambda: leecher.finding.port and seeder.finding.port)
    await leecher.add(sample.meta, dest=tmp_path / "a", peers=[lab.addr(seeder)])
    await lab.until(lambda: known(leecher) == known(seeder) == 1)


@pytest.mark.usefixtures("dht")
async def test_dh17_the_nodes_are_there_again_at_the_next_start(lab, sample, ear, tmp_path) -> None:
    async with lab.session("kept", dht=True, dht_bootstrap=(ear.addr,)) as session:
        await session.add(sample.meta, dest=tmp_path / "a")
        await lab.until(lambda: known(session))
    saved = nodes.load(session.state_dir / FILE)
    assert [f"{host}:{port}" for host, port in saved[4].nodes] == [ear.addr]
    ear.heard.clear()
    async with lab.session("kept", dht=True, dht_bootstrap=("127.0.0.1:9",)) as session:
        await session.add(sample.meta, dest=tmp_path / "a")
        await lab.until(lambda: known(session))
        await lab.until(lambda: any(query.method == "get_peers" for query in ear.heard))


@pytest.mark.usefixtures("dht")
async def test_a_port_that_somebody_has_is_no_hindrance(lab, sample, ear, tmp_path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        settings = swarm.Settings(dht_bootstrap=(ear.addr,))
        session = swarm.Session(
            listen=f"127.0.0.1:{port}", state_dir=tmp_path / "s", settings=settings
        )
        async with session:
            await session.add(sample.meta, dest=tmp_path / "a")
            await lab.until(lambda: any(query.method == "announce_peer" for query in ear.heard))
            assert session.finding.port not in (None, port)
    [announce, *_] = [query for query in ear.heard if query.method == "announce_peer"]
    assert announce.port == port  # where peers are taken in, not where the node is


@pytest.mark.usefixtures("dht")
async def test_a_read_only_session_says_so(lab, sample, ear, tmp_path) -> None:
    session = await opened(lab, ear.addr, dht_read_only=True)
    await session.add(sample.meta, dest=tmp_path / "a")
    await lab.until(lambda: ear.heard)
    assert all(query.read_only for query in ear.heard)


@pytest.mark.usefixtures("dht")
async def test_leaving_while_it_opens_leaves_nothing_behind(lab, sample, tmp_path) -> None:
    for _ in range(5):
        async with lab.session(dht=True, dht_bootstrap=()) as session:
            await session.add(sample.meta, dest=tmp_path / "a")
        assert not session.finding._tasks


@pytest.mark.parametrize(
    "content", [b"", b"d", b"i5e", b"d6:nodes4i7ee", os.urandom(500), bytes(10**8)]
)
def test_dh21_a_saved_file_that_makes_no_sense_is_a_fresh_start(tmp_path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    assert nodes.load(tmp_path / FILE) == {4: nodes.Saved(), 6: nodes.Saved()}


def test_dh21_what_was_saved_comes_back(tmp_path) -> None:
    four = nodes.Saved(tuple((f"1.2.3.{n}", 1000 + n) for n in range(1, 250)), "9.9.9.9")
    six = nodes.Saved((("2a00::1", 7),), None)
    path = tmp_path / "new" / FILE
    nodes.save(path, {4: four, 6: six})
    assert nodes.load(path) == {4: replace(four, nodes=four.nodes[: nodes.MOST]), 6: six}
    assert os.listdir(path.parent) == [FILE]
    nodes.save(Path("/proc/nowhere") / FILE, {4: four})  # what cannot be kept is not


def test_bootstrap_hosts_are_hosts_and_ports() -> None:
    swarm.Settings(dht_bootstrap=("router.example:6881", "1.2.3.4:5", "[2a00::1]:6"))
    for wrong in ("router.example", "a:0", "a:65536", "2a00::1:6", ":5", "a:x", "[a]:5"):
        with pytest.raises(swarm.ConfigError):
            swarm.Settings(dht_bootstrap=(wrong,))
    with pytest.raises(swarm.ConfigError):
        swarm.Settings(dht_bootstrap="router.example:6881")
    assert K == 8


@pytest.mark.usefixtures("dht")
async def test_bep32_sessions_find_each_other_over_ipv6_alone(lab, sample, tmp_path) -> None:
    def session(name: str, *bootstrap: str) -> swarm.Session:
        settings = swarm.Settings(dht_bootstrap=bootstrap)
        return swarm.Session(listen="[::1]:0", state_dir=tmp_path / name, settings=settings)

    other = lab.sample({"x": 100}, seed=2)
    async with session("third") as third:
        await third.add(other.meta, dest=tmp_path / "c")
        await lab.until(lambda: third.finding.port)
        node = f"[::1]:{third.finding.port}"
        async with session("seeder", node) as seeder, session("leecher", node) as leecher:
            await seeder.add(sample.meta, dest=sample.write(tmp_path / "b"), verify=False)
            torrent = await leecher.add(sample.meta, dest=tmp_path / "a")
            await torrent.wait_done()
            assert list(leecher.finding.nodes) == [6]


@pytest.mark.usefixtures("dht")
async def test_bep45_who_listens_everywhere_has_a_node_in_each_family(
    lab, sample, tmp_path
) -> None:
    settings = swarm.Settings(dht_bootstrap=())
    async with swarm.Session(state_dir=tmp_path / "s", settings=settings) as session:
        await session.add(sample.meta, dest=tmp_path / "a")
        await lab.until(lambda: len(session.finding.nodes) == 2)
        four, six = (node.dht for node in session.finding.nodes.values())
        assert four.sibling is six
        assert six.sibling is four
        assert four.id != six.id
