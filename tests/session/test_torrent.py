"""One torrent in a session: waiting, pausing, verifying, removing, and disks that fail."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import swarm

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX names")


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A small tmpfs at `folder`."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting needs root and Linux")
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this system does not let us mount a tmpfs")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def damage(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"damage")


async def half_done(lab, sample, session, dest):
    """(torrent, seeder, seeding, gate): a download that got some pieces and waits for the gate."""
    seeder, seeding = await lab.seed(sample)
    gate = await lab.gate(seeder, 500_000)
    async with session.events(swarm.PieceVerified) as pieces:
        torrent = await session.add(sample.meta, dest=dest, peers=[gate.addr])
        async with asyncio.timeout(5):
            for _ in range(4):
                await anext(pieces)
    return torrent, seeder, seeding, gate


# ---------------------------------------------------------------- adding


async def test_every_kind_of_source(lab, sample, tmp_path):
    path = tmp_path / "t.torrent"
    path.write_bytes(sample.meta.to_bytes())
    for src in (path, str(path), path.read_bytes(), sample.meta):
        session = await lab.open()
        torrent = await session.add(src, dest=tmp_path / "to")
        assert torrent.infohash == sample.meta.infohash
        assert torrent.name == "t"
        assert torrent.path == tmp_path / "to/t"
        assert torrent.meta == sample.meta
        assert torrent.magnet == sample.meta.magnet
        assert len(torrent.files) == 5
        assert session.torrents[sample.meta.infohash] is torrent
        with pytest.raises(TypeError):
            session.torrents[sample.meta.infohash] = torrent
        await session.aclose()


async def test_dest_may_start_with_a_tilde(lab, sample, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    session = await lab.open()
    torrent = await session.add(sample.meta, dest="~/to", paused=True)
    assert torrent.path == tmp_path / "to/t"


async def test_duplicates(lab, sample, tmp_path):
    session = await lab.open()
    torrent = await session.add(sample.meta, dest=tmp_path, paused=True)
    with pytest.raises(swarm.DuplicateTorrent) as caught:
        await session.add(sample.meta.to_bytes(), dest=tmp_path / "elsewhere")
    assert caught.value.torrent is torrent
    await torrent.remove()
    await session.add(sample.meta, dest=tmp_path, paused=True)


async def test_what_is_no_torrent(lab, tmp_path):
    session = await lab.open()
    (tmp_path / "junk.torrent").write_bytes(b"junk")
    (tmp_path / "empty.torrent").write_bytes(b"")
    cases = {
        b"d4:infodee": swarm.MetainfoError,
        b"": swarm.BencodeError,
        tmp_path / "junk.torrent": swarm.BencodeError,
        tmp_path / "empty.torrent": swarm.BencodeError,
        tmp_path / "none.torrent": swarm.SourceError,
        tmp_path: swarm.SourceError,
        "nul\0.torrent": swarm.SourceError,
        "magnet:?xt=urn:btih:" + "0" * 40: swarm.MagnetError,
        "MAGNET:?xt=urn:btih:" + "0" * 40: swarm.MagnetError,
    }
    for src, kind in cases.items():
        with pytest.raises(kind):
            await session.add(src)
    assert not session.torrents


async def test_a_torrent_is_fetched_by_url(lab, sample, tmp_path):
    from aiohttp import web

    async def answer(request: web.Request) -> web.StreamResponse:
        match request.path:
            case "/good" | "/gone-to-good" if request.path == "/good":
                return web.Response(body=sample.meta.to_bytes())
            case "/gone-to-good":
                raise web.HTTPFound("/good")
            case "/loop":
                raise web.HTTPFound("/loop")
            case "/page":
                return web.Response(text="<html>")
            case "/long":
                response = web.StreamResponse()
                await response.prepare(request)
                with contextlib.suppress(ConnectionError):
                    while True:
                        await response.write(bytes(1 << 22))
                return response
            case "/drop":
                assert request.transport is not None
                request.transport.abort()
        raise web.HTTPNotFound

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    base = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[union-attr]
    session = await lab.open()
    try:
        for path in ("good", "gone-to-good"):
            torrent = await session.add(f"{base}/{path}", dest=tmp_path, paused=True)
            assert torrent.infohash == sample.meta.infohash
            await torrent.remove()
        for path, why in (("none", "404"), ("loop", None), ("drop", None)):
            with pytest.raises(swarm.SourceError, match=why) as caught:
                await session.add(f"{base}/{path}")
            assert caught.value.source == f"{base}/{path}"
        with pytest.raises(swarm.BencodeError):
            await session.add(f"{base}/page")
    finally:
        await runner.cleanup()
    with pytest.raises(swarm.SourceError):
        await session.add(f"{base}/good")  # nobody listens any more


async def test_paused_then_resumed(lab, sample, tmp_path):
    seeder, seeding = await lab.seed(sample)
    session = await lab.open()
    torrent = await session.add(
        sample.meta, dest=tmp_path / "to", paused=True, peers=[lab.addr(seeder)]
    )
    assert torrent.stats.state == "paused"
    assert not (tmp_path / "to").exists()
    await torrent.resume()
    async with asyncio.timeout(5):
        await torrent.wait_done()
    assert sample.on_disk(tmp_path / "to") == sample.data
    assert torrent.stats.downloaded == seeding.stats.uploaded == len(sample.data)


@pytest.mark.parametrize("scheme", ["http", "udp"])
async def test_found_through_a_tracker_only(lab, sample, tmp_path, scheme):
    async with swarm.Tracker("127.0.0.1:0") as tracker:
        url = tracker.announce_url if scheme == "http" else tracker.udp_url
        one, two = await lab.open(), await lab.open()
        async with one.events(swarm.TrackerAnswered) as answers:
            data = sample.write(tmp_path / "one")
            await one.add(sample.meta, dest=data, verify=False, trackers=[url])
            async with asyncio.timeout(5):
                answer = await anext(answers)
        assert answer.url == url
        torrent = await two.add(sample.meta, dest=tmp_path / "two", trackers=[url])
        async with asyncio.timeout(5):
            await torrent.wait_done()
            await lab.until(lambda: tracker.completed == 1)
        assert torrent.trackers[0].url == url
        assert tracker.counts(sample.meta.infohash.v1).seeds == 2


# ---------------------------------------------------------------- waiting is not owning


async def test_cancelling_a_wait_never_stops_the_torrent(lab, sample, tmp_path):
    seeder, _ = await lab.seed(sample)
    gate = await lab.gate(seeder, 0)
    session = await lab.open()
    torrent = await session.add(sample.meta, dest=tmp_path / "to", peers=[gate.addr])

    async def watch():
        async for _ in torrent.watch(0.001):
            pass

    for waiter in (torrent.wait_done, watch, lambda: torrent.wait_ratio(1.0)):
        for step in range(8):
            waiting = asyncio.ensure_future(waiter())
            for _ in range(step):
                await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.005):
                    await waiter()
    gate.let(float("inf"))
    async with asyncio.timeout(5):
        await torrent.wait_done()
    assert sample.on_disk(tmp_path / "to") == sample.data


@pytest.mark.parametrize("what", ["pause", "verify", "remove"])
async def test_a_cancelled_change_is_whole_or_not_at_all(lab, sample, tmp_path, what):
    session = await lab.open()
    dest = sample.write(tmp_path / "data")
    for step in range(1, 10):
        torrent = session.torrents.get(sample.meta.infohash)
        if torrent is None:
            torrent = await session.add(sample.meta, dest=dest)
        await torrent.resume()
        await lab.until(lambda torrent=torrent: torrent.stats.state == "seeding")
        changing = asyncio.ensure_future(getattr(torrent, what)())
        for _ in range(step):
            await asyncio.sleep(0)
        changing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await changing
        if what == "remove":  # which goes on
            await lab.until(lambda: not session.torrents)
        else:
            await torrent.resume()  # its files are its own again, whatever was under way
            async with asyncio.timeout(2):
                await torrent.wait_done()
            await torrent.pause()
            assert torrent.stats.state == "paused"


async def test_several_watchers_and_a_sleepy_one(lab, sample, tmp_path):
    seeder, _ = await lab.seed(sample)
    session = await lab.open()
    torrent = await session.add(sample.meta, dest=tmp_path / "to", peers=[lab.addr(seeder)])
    woken = asyncio.Event()

    async def sleepy():
        seen = []
        async for stats in torrent.watch(0.001):
            seen.append(stats)
            await woken.wait()
        return seen

    async def watch(interval):
        return [stats async for stats in torrent.watch(interval)]

    slow = asyncio.ensure_future(sleepy())
    async with asyncio.timeout(5):
        often, seldom = await asyncio.gather(watch(0.01), watch(60))
        await torrent.wait_done()  # the sleepy one still sleeps
        woken.set()
        late = await slow
    for seen in (often, seldom, late):
        assert seen[-1].progress == 1.0
        assert seen[-1].state == "seeding"
        assert seen[-1].done == seen[-1].length == len(sample.data)
    assert len(late) == 2  # the newest only
    assert [s.done for s in often] == sorted(s.done for s in often)
    async with torrent.watch() as watching:
        assert [stats.progress async for stats in watching] == [1.0]


async def test_snapshots_are_values(lab, sample, tmp_path):
    session = await lab.open()
    torrent = await session.add(sample.meta, dest=sample.write(tmp_path), verify=False)
    stats = torrent.stats
    assert pickle.loads(pickle.dumps(stats)) == stats
    assert hash(stats) == hash(torrent.stats)
    with pytest.raises(AttributeError):
        stats.done = 1


async def test_whoever_waits_is_told_of_a_removal(lab, sample, tmp_path):
    async def watch(torrent):
        async for _ in torrent.watch():
            pass

    session = await lab.open()
    for end in ("remove", "close"):
        torrent = await session.add(sample.meta, dest=tmp_path / "to")
        waits = [
            asyncio.ensure_future(w)
            for w in (torrent.wait_done(), torrent.wait_ratio(1.0), watch(torrent))
        ]
        await lab.until(lambda torrent=torrent: torrent.stats.state == "downloading")
        await (torrent.remove() if end == "remove" else session.aclose())
        async with asyncio.timeout(2):
            for error in await asyncio.gather(*waits, return_exceptions=True):
                assert isinstance(error, swarm.TorrentRemoved)
        for change in (torrent.resume, torrent.verify):
            with pytest.raises(swarm.TorrentRemoved):
                await change()
        await torrent.pause()
        assert torrent.stats.state == "paused"


async def test_wait_ratio(lab, sample, tmp_path):
    seeder, seeding = await lab.seed(sample)
    session = await lab.open()
    torrent = await session.add(sample.meta, dest=tmp_path / "to", peers=[lab.addr(seeder)])
    async with asyncio.timeout(5):
        await asyncio.gather(torrent.wait_done(), seeding.wait_ratio(1.0))
    assert seeding.stats.ratio == 1.0


# ---------------------------------------------------------------- pause, resume, verify, remove


async def test_pause_and_resume_fetch_nothing_twice(lab, sample, tmp_path):
    session = await lab.open()
    torrent, _, seeding, gate = await half_done(lab, sample, session, tmp_path / "to")
    await torrent.pause()
    stats = torrent.stats
    assert (stats.state, stats.peers) == ("paused", 0)
    here = stats.done
    assert 4 * 32_768 <= here < len(sample.data)
    gate.let(float("inf"))
    await torrent.resume()
    async with asyncio.timeout(5):
        await torrent.wait_done()
    assert sample.on_disk(tmp_path / "to") == sample.data
    stats = torrent.stats
    # Payload that came, less what was verified, is what was in flight: that alone is fetched again.
    in_flight = 500_000 - here
    assert stats.downloaded <= len(sample.data) + in_flight
    assert seeding.stats.uploaded >= len(sample.data)


async def test_pausing_and_resuming_at_once(lab, sample, tmp_path):
    session = await lab.open()
    torrent = await session.add(sample.meta, dest=sample.write(tmp_path))
    for _ in range(5):
        await torrent.resume()
        pausing = asyncio.ensure_future(torrent.pause())
        await asyncio.sleep(0)
        await torrent.resume()
        await torrent.resume()
        await asyncio.gather(pausing, torrent.pause(), torrent.pause())
        assert torrent.stats.state == "paused"
    await torrent.resume()
    async with asyncio.timeout(2):
        await torrent.wait_done()
    assert torrent.stats.state == "seeding"


async def test_verify_finds_damage_and_only_that_is_fetched_again(lab, sample, tmp_path):
    seeder, _ = await lab.seed(sample)
    session = await lab.open()
    torrent = await session.add(sample.meta, dest=tmp_path / "to", peers=[lab.addr(seeder)])
    async with asyncio.timeout(5):
        await torrent.wait_done()
    first = torrent.stats.downloaded
    damage(tmp_path / "to/t/dir/sub/c", at=500_000)
    report = await torrent.verify()
    assert not report.ok
    assert report.bad_pieces == ((50_010 + 500_000) // 32_768,)
    assert {f.path: f.state for f in report.files} == {
        "t/a": "good",
        "t/dir/b": "good",
        "t/dir/empty": "good",
        "t/dir/sub/c": "damaged",
        "t/d": "good",
    }
    async with asyncio.timeout(5):
        await torrent.wait_done()
    assert sample.on_disk(tmp_path / "to") == sample.data
    assert torrent.stats.downloaded - first == 32_768
    assert (await torrent.verify()).ok


async def test_verifying_a_paused_torrent_leaves_it_paused(lab, sample, tmp_path):
    session = await lab.open("same")
    torrent = await session.add(sample.meta, dest=sample.write(tmp_path / "data"), paused=True)
    async with session.events() as events:
        one, two = await asyncio.gather(torrent.verify(), torrent.verify())
    assert one.ok
    assert one is two
    assert torrent.stats.state == "paused"
    assert torrent.stats.progress == 1.0
    await torrent.wait_done()
    assert [e async for e in events] == []


async def test_pausing_in_a_check(lab, tmp_path):
    big = lab.sample({"x": 24 << 20})
    session = await lab.open()
    torrent = await session.add(big.meta, dest=big.write(tmp_path), verify=True)
    verifying = asyncio.ensure_future(torrent.verify())
    await asyncio.sleep(0)
    await lab.until(lambda: torrent.stats.state == "checking")
    await torrent.pause()
    with pytest.raises(swarm.SwarmError):
        await verifying
    await torrent.resume()
    async with asyncio.timeout(5):
        await torrent.wait_done()


# ---------------------------------------------------------------- disks that fail


async def test_fs01_a_full_disk_stops_the_torrent_until_there_is_space(lab, tmp_path):
    big = lab.sample({"x": 2 << 20})
    other = lab.sample({"y": 300_000}, name="other", seed=2)
    seeder, _ = await lab.seed(big)
    running = await seeder.add(other.meta, dest=other.write(tmp_path / "other"), verify=False)
    await running.wait_done()
    with mounted(tmp_path / "small", "size=3m") as dest:
        ballast = dest / "ballast"
        gate = await lab.gate(seeder, 500_000)
        async with lab.session() as session:
            async with session.events(swarm.TorrentStopped) as stops:
                torrent = await session.add(big.meta, dest=dest, peers=[gate.addr])
                await lab.until(lambda: torrent.stats.downloaded > 400_000)
                with pytest.raises(OSError, match="No space"):
                    ballast.write_bytes(bytes(3 << 20))
                gate.let(1 << 30)
                async with asyncio.timeout(5):
                    with pytest.raises(swarm.TorrentFailed) as caught:
                        async for _ in torrent.watch(0.05):
                            pass
                    event = await anext(stops)
            assert event.torrent is torrent
            assert isinstance(event.error, swarm.DiskFull)
            assert caught.value.__cause__ is event.error
            assert event.error.path == str(dest / "t/x")
            assert torrent.stats.state == "failed"
            with pytest.raises(swarm.TorrentFailed):
                await torrent.wait_done()
            second = await session.add(other.meta, dest=tmp_path / "to", peers=[lab.addr(seeder)])
            async with asyncio.timeout(5):
                await second.wait_done()  # others run on
            ballast.unlink()
            await torrent.resume()
            async with asyncio.timeout(5):
                await torrent.wait_done()
            assert big.on_disk(dest) == big.data


async def test_no_folder_can_be_made(lab, sample, tmp_path):
    (tmp_path / "file").write_bytes(b"in the way")
    seeder, _ = await lab.seed(sample)
    session = await lab.open()
    torrent = await session.add(sample.meta, dest=tmp_path / "file", peers=[lab.addr(seeder)])
    async with asyncio.timeout(5):
        with pytest.raises(swarm.TorrentFailed) as caught:
            await torrent.wait_done()
    assert isinstance(caught.value.__cause__, swarm.StorageError)
    (tmp_path / "file").unlink()
    await torrent.resume()
    async with asyncio.timeout(5):
        await torrent.wait_done()


async def test_a_late_error_of_a_run_that_failed_does_not_fail_the_next(lab, sample, tmp_path):
    (tmp_path / "file").write_bytes(b"in the way")
    seeder, _ = await lab.seed(sample)
    session = await lab.open()
    torrent = await session.add(sample.meta, dest=tmp_path / "file", peers=[lab.addr(seeder)])
    async with asyncio.timeout(5):
        with pytest.raises(swarm.TorrentFailed) as caught:
            await torrent.wait_done()
    late = caught.value.__cause__
    assert isinstance(late, swarm.StorageError)
    (tmp_path / "file").unlink()
    await torrent.resume()
    torrent._runner.fail(late)  # as another write of the same run does, when it ends after this
    async with asyncio.timeout(5):
        await torrent.wait_done()


@pytest.mark.parametrize("harm", ["truncated", "vanished"])
async def test_a_file_that_goes_under_a_seeder(lab, sample, tmp_path, harm):
    seeder, seeding = await lab.seed(sample)
    other = lab.sample({"y": 300_000}, name="other", seed=2)
    running = await seeder.add(other.meta, dest=other.write(tmp_path / "other"), verify=False)
    await running.wait_done()
    victim = seeding.path / "dir/sub/c"
    if harm == "truncated":
        os.truncate(victim, 100_000)
    else:
        victim.unlink()
    leecher = await lab.open()
    async with seeder.events(swarm.TorrentStopped) as stops:
        torrent = await leecher.add(sample.meta, dest=tmp_path / "to", peers=[lab.addr(seeder)])
        second = await leecher.add(other.meta, dest=tmp_path / "to", peers=[lab.addr(seeder)])
        async with asyncio.timeout(5):
            event = await anext(stops)
            await second.wait_done()
    assert event.torrent is seeding
    assert event.error.path == str(victim)
    assert event.error.operation in ("open", "read")
    assert seeding.stats.state == "failed"
    assert running.stats.state == "seeding"
    assert torrent.stats.wasted == 0  # nothing wrong was sent
    # The data comes back, and both go on.
    sample.write(seeding.path.parent)
    await seeding.resume()
    async with asyncio.timeout(5):
        await seeding.wait_done()
        leecher_addr = lab.addr(leecher)
        seeding.add_peer(leecher_addr)
        await torrent.wait_done()
    assert sample.on_disk(tmp_path / "to") == sample.data


async def test_damage_under_a_seeder_never_reaches_the_disk_of_others(lab, sample, tmp_path):
    seeder, seeding = await lab.seed(sample)
    damage(seeding.path / "dir/sub/c", at=500_000)
    leecher = await lab.open()
    async with leecher.events(swarm.PieceFailed) as bad:
        torrent = await leecher.add(sample.meta, dest=tmp_path / "to", peers=[lab.addr(seeder)])
        async with asyncio.timeout(5):
            event = await anext(bad)
    assert event.piece == 550_010 // 32_768
    assert [peer.host for peer in event.peers] == ["127.0.0.1"]
    assert torrent.stats.progress < 1.0
    report = await seeding.verify()
    assert report.bad_pieces == (event.piece,)
    assert seeding.stats.state == "downloading"


async def test_a_second_owner_of_the_same_data(lab, sample, tmp_path):
    one = await lab.open("same")
    first = await one.add(sample.meta, dest=sample.write(tmp_path / "data"))
    async with asyncio.timeout(2):
        await first.wait_done()
    two = await lab.open("same")
    torrent = await two.add(sample.meta, dest=tmp_path / "data")
    async with asyncio.timeout(2):
        with pytest.raises(swarm.TorrentFailed, match="another") as caught:
            await torrent.wait_done()
    assert isinstance(caught.value.__cause__, swarm.StorageError)
    await first.pause()
    await torrent.resume()
    async with asyncio.timeout(2):
        await torrent.wait_done()


async def test_pr08_an_exception_of_the_user_is_the_users(lab, sample, tmp_path):
    seeder, _ = await lab.seed(sample)
    session = await lab.open()
    torrent = await session.add(sample.meta, dest=tmp_path / "to", peers=[lab.addr(seeder)])

    async def watch():
        async for _ in torrent.watch(0.01):
            raise ZeroDivisionError

    async def listen():
        async with asyncio.timeout(5), session.events() as events:
            async for _ in events:
                raise ZeroDivisionError

    for careless in (watch, listen):
        with pytest.raises(ZeroDivisionError):
            await careless()
    async with asyncio.timeout(5):
        await torrent.wait_done()
    assert not session.bus.streams
