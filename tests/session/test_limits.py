"""Rate limits of real sessions: what they let through, and that they come and go while it runs."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

import swarm

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"])

KIB, MIB = 1 << 10, 1 << 20
BURST = 256 * KIB
"""More than any limit here saves up, and what is counted a moment later."""


async def leech(
    lab: Any, session: swarm.Session, sample: Any, *seeds: swarm.Session, **how: Any
) -> swarm.Torrent:
    dest = lab.folder / f"leech{lab.opened}-{len(session.torrents)}"
    peers = [lab.addr(seed) for seed in seeds]
    torrent: swarm.Torrent = await session.add(sample.meta, dest=dest, peers=peers, **how)
    return torrent


class Watched:
    """What moved from now on, and that it was never more than a limit lets through."""

    def __init__(self, torrent: swarm.Torrent, counter: str) -> None:
        self._torrent, self._counter = torrent, counter
        self._since, self._before = time.monotonic(), self.count

    @property
    def count(self) -> int:
        count: int = getattr(self._torrent.stats, self._counter)
        return count

    @property
    def moved(self) -> int:
        return self.count - self._before

    def at_most(self, rate: int) -> bool:
        """Time that passes after the look only helps."""
        moved = self.moved
        return moved <= rate * (time.monotonic() - self._since) + BURST

    async def move(self, nbytes: int, rate: int) -> None:
        """Until so much has moved, within the limit all the time."""
        async with asyncio.timeout(30):
            while self.moved < nbytes:
                assert self.at_most(rate)
                await asyncio.sleep(0.005)


@pytest.mark.parametrize("of", ["session", "torrent"])
async def test_a_download_limit(lab: Any, of: str) -> None:
    sample = lab.sample({"a": 8 * MIB}, piece_length=MIB // 4)
    rate = 4 * MIB
    seed, _ = await lab.seed(sample)
    session = await lab.open(**({"download_limit": rate} if of == "session" else {}))
    own = {"download_limit": rate} if of == "torrent" else {}
    torrent = await leech(lab, session, sample, seed, **own)
    assert torrent.stats.download_limit == rate
    assert torrent.stats.upload_limit is None
    await Watched(torrent, "downloaded").move(7 * MIB, rate)
    await torrent.wait_done()
    assert sample.on_disk(torrent.path.parent) == sample.data
    assert torrent.stats.wasted == 0


@pytest.mark.parametrize("of", ["session", "torrent"])
async def test_an_upload_limit_and_two_who_take(lab: Any, of: str) -> None:
    sample = lab.sample({"a": 4 * MIB}, piece_length=MIB // 4)
    rate = 4 * MIB
    seed, seeding = await lab.seed(sample)
    if of == "session":
        seed.upload_limit = rate
    else:
        seeding.upload_limit = rate
    assert seeding.stats.upload_limit == rate
    watched = Watched(seeding, "uploaded")
    leechers = [await leech(lab, await lab.open(upload_limit=1), sample, seed) for _ in range(2)]
    await watched.move(7 * MIB, rate)
    for leecher in leechers:
        await leecher.wait_done()
        assert sample.on_disk(leecher.path.parent) == sample.data


async def test_limits_change_while_it_runs(lab: Any) -> None:
    sample = lab.sample({"a": 24 * MIB}, piece_length=MIB // 4)
    seed, _ = await lab.seed(sample)
    session = await lab.open(download_limit=MIB)
    torrent = await leech(lab, session, sample, seed)
    await Watched(torrent, "downloaded").move(MIB // 2, MIB)
    session.download_limit = 4 * MIB
    assert session.download_limit == 4 * MIB
    await Watched(torrent, "downloaded").move(2 * MIB, 4 * MIB)
    torrent.download_limit = 2 * MIB
    session.download_limit = None
    await Watched(torrent, "downloaded").move(MIB, 2 * MIB)
    torrent.download_limit = None
    assert torrent.stats.download_limit is None
    await asyncio.wait_for(torrent.wait_done(), 20)
    assert sample.on_disk(torrent.path.parent) == sample.data


async def test_an_upload_limit_comes_and_goes(lab: Any) -> None:
    sample = lab.sample({"a": 16 * MIB}, piece_length=MIB // 4)
    seed, seeding = await lab.seed(sample, upload_limit=MIB)
    torrent = await leech(lab, await lab.open(), sample, seed)
    await Watched(seeding, "uploaded").move(MIB // 2, MIB)
    seed.upload_limit = None
    await asyncio.wait_for(torrent.wait_done(), 20)
    assert sample.on_disk(torrent.path.parent) == sample.data


async def test_the_lower_one_of_two_limits_holds(lab: Any) -> None:
    sample = lab.sample({"a": 4 * MIB}, piece_length=MIB // 4)
    seed, _ = await lab.seed(sample)
    session = await lab.open(download_limit=2 * MIB)
    torrent = await leech(lab, session, sample, seed, download_limit=8 * MIB)
    assert (torrent.download_limit, torrent.stats.download_limit) == (8 * MIB, 2 * MIB)
    await Watched(torrent, "downloaded").move(3 * MIB, 2 * MIB)


async def test_less_than_a_block_a_second_drops_nobody(lab: Any) -> None:
    """No time-out runs while our own limit holds things up, were they as short as can be."""
    sample = lab.sample({"a": 96 * KIB}, piece_length=32 * KIB)
    short = {"stall_timeout": 0.2, "snub_timeout": 0.2}
    seed, _ = await lab.seed(sample, upload_limit=60 * KIB, **short)
    session = await lab.open(download_limit=40 * KIB, **short)
    async with session.events(swarm.PeerLeft) as left:
        torrent = await leech(lab, session, sample, seed)
        await asyncio.wait_for(torrent.wait_done(), 20)
        await session.aclose()
        assert {event.reason async for event in left} <= {"nothing to trade", "stopped"}
    assert torrent.stats.wasted == 0


@pytest.mark.parametrize("bad", [0, -1, 0.5, True, "5MiB"])
async def test_what_is_no_limit(lab: Any, bad: Any) -> None:
    session = await lab.open()
    with pytest.raises(swarm.ConfigError, match="bytes/s above zero"):
        swarm.Settings(download_limit=bad)
    with pytest.raises(swarm.ConfigError):
        session.upload_limit = bad
    with pytest.raises(swarm.ConfigError):
        await session.add(lab.sample({"a": 5}).meta, dest=lab.folder, download_limit=bad)
    assert not session.torrents
