"""Events: which there are, what they say, and what a slow listener misses."""

from __future__ import annotations

import asyncio
import socket

import pytest

import swarm
from swarm.events import EventBus


async def test_pc_kinds_and_counts(lab, sample, tmp_path):
    seeder, seeding = await lab.seed(sample)
    session = await lab.open()
    async with session.events() as everything, seeder.events(swarm.PeerJoined) as joined:
        torrent = await session.add(sample.meta, dest=tmp_path / "to", peers=[lab.addr(seeder)])
        async with asyncio.timeout(5):
            await torrent.wait_done()
            theirs = await anext(joined)
            seen = []
            async for event in everything:
                seen.append(event)
                if isinstance(event, swarm.PeerLeft):
                    break
    assert all(event.torrent is torrent for event in seen)
    pieces = [e.piece for e in seen if isinstance(e, swarm.PieceVerified)]
    assert sorted(pieces) == list(range(sample.meta.piece_count))
    kinds = [type(event) for event in seen if not isinstance(event, swarm.PieceVerified)]
    assert kinds == [swarm.PeerJoined, swarm.TorrentDone, swarm.PeerLeft]
    came, left = seen[0], seen[-1]
    assert came.outgoing
    assert not theirs.outgoing
    assert came.addr == left.addr == lab.addr(seeder)
    assert theirs.addr.host == "127.0.0.1"
    assert left.reason
    assert not left.banned
    assert theirs.torrent is seeding


async def test_kinds_are_filtered(lab, sample, tmp_path):
    seeder, _ = await lab.seed(sample)
    session = await lab.open()
    async with session.events(swarm.TorrentDone, swarm.PeerJoined) as events:
        await session.add(sample.meta, dest=tmp_path / "to", peers=[lab.addr(seeder)])
        async with asyncio.timeout(5):
            assert isinstance(await anext(events), swarm.PeerJoined)
            assert isinstance(await anext(events), swarm.TorrentDone)


@pytest.mark.parametrize("scheme", ["http", "udp"])
async def test_a_tracker_that_fails_is_told_without_its_secrets(lab, sample, tmp_path, scheme):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken, socket.socket() as also:
        taken.bind(("127.0.0.1", 0))
        also.bind(taken.getsockname())  # bound, but nobody listens
        port = taken.getsockname()[1]
        taken.close()
        url = f"{scheme}://127.0.0.1:{port}/0123456789abcdef0123/announce?passkey=sesame0123"
        session = await lab.open()
        async with session.events(swarm.TrackerFailed) as events:
            torrent = await session.add(sample.meta, dest=tmp_path / "to", trackers=[url])
            async with asyncio.timeout(5):
                event = await anext(events)
    assert event.torrent is torrent
    assert event.url == f"{scheme}://127.0.0.1:{port}/…"
    assert isinstance(event.error, swarm.TrackerError)
    for text in (repr(event), str(event.error), repr(event.error), event.error.url):
        assert "0123456789abcdef" not in text
        assert "sesame" not in text
    assert torrent.stats.state == "downloading"


def bus_with(overflow, maxsize=3):
    bus = EventBus()
    return bus, swarm.EventStream(bus, (), overflow, maxsize)


async def test_the_oldest_are_dropped_and_counted():
    bus, stream = bus_with("drop_oldest")
    async with stream:
        for piece in range(10):
            bus.publish(swarm.PieceVerified(None, piece))
        assert stream.dropped == 7
        assert [(await anext(stream)).piece for _ in range(3)] == [7, 8, 9]
        assert stream.dropped == 7
        bus.publish(swarm.PieceVerified(None, 10))
        assert (await anext(stream)).piece == 10


async def test_overflow_is_raised_where_that_is_asked_for():
    bus, stream = bus_with("raise")
    async with stream:
        for piece in range(5):
            bus.publish(swarm.PieceVerified(None, piece))
        with pytest.raises(swarm.Overrun) as caught:
            await anext(stream)
        assert caught.value.dropped == 2
        assert [(await anext(stream)).piece for _ in range(3)] == [2, 3, 4]


async def test_a_slow_listener_does_not_slow_the_transfer(lab, sample, tmp_path):
    seeder, _ = await lab.seed(sample)
    session = await lab.open()
    async with session.events(swarm.PieceVerified, maxsize=5) as slow:
        torrent = await session.add(sample.meta, dest=tmp_path / "to", peers=[lab.addr(seeder)])
        async with asyncio.timeout(5):
            await torrent.wait_done()
        assert slow.dropped == sample.meta.piece_count - 5


async def test_closing_while_somebody_waits(lab):
    session = await lab.open()

    async def listen(*kinds):
        async with session.events(*kinds) as events:
            return [event async for event in events]

    waits = [asyncio.ensure_future(listen(*kinds)) for kinds in ((), (swarm.TorrentDone,))]
    stream = session.events()
    async with stream:
        third = asyncio.ensure_future(anext(stream, None))
        await asyncio.sleep(0)
        stream.close()
        async with asyncio.timeout(2):
            assert await third is None
    late = session.events()
    await session.aclose()
    async with asyncio.timeout(2):
        assert await asyncio.gather(*waits) == [[], []]
        async with late:
            assert [event async for event in late] == []


async def test_what_was_queued_is_read_after_the_end(lab, sample, tmp_path):
    seeder, _ = await lab.seed(sample)
    session = await lab.open()
    async with session.events(swarm.TorrentDone) as events:
        torrent = await session.add(sample.meta, dest=tmp_path / "to", peers=[lab.addr(seeder)])
        async with asyncio.timeout(5):
            await torrent.wait_done()
        await session.aclose()
        assert [event.torrent async for event in events] == [torrent]


@pytest.mark.parametrize(
    ("kinds", "turned"),
    [
        ((), {"maxsize": 0}),
        ((), {"maxsize": -1}),
        ((), {"overflow": "explode"}),
        ((int,), {}),
        (("TorrentDone",), {}),
    ],
)
async def test_streams_that_cannot_be(lab, kinds, turned):
    session = await lab.open()
    with pytest.raises(swarm.ConfigError):
        session.events(*kinds, **turned)


def test_events_are_frozen():
    event = swarm.PieceVerified(None, 3)
    with pytest.raises(AttributeError):
        event.piece = 4
    match event:
        case swarm.PieceVerified(piece=piece):
            assert piece == 3


def test_addresses_read_well():
    assert str(swarm.PeerAddr("1.2.3.4", 5)) == "1.2.3.4:5"
    assert str(swarm.PeerAddr("::1", 5)) == "[::1]:5"
