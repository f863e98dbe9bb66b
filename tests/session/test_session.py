"""The life of a session: what it opens, what it leaves behind, and how long that takes."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
import pickle
import socket
import sys
import threading
import time
from collections import Counter

import pytest

import swarm
from swarm.session import parse_listen

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def descriptors() -> Counter[str]:
    """What this process has open, by what it is: sockets and pipes have a number each."""
    found = Counter()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found[os.readlink(f"/proc/self/fd/{number}")] += 1
    return found


def workers() -> set[int]:
    """Threads of the system that belong to this process."""
    return set(map(int, os.listdir("/proc/self/task")))


@contextlib.contextmanager
def black_holes():
    """A TCP and a UDP port that take everything and answer nothing."""
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
    ):
        udp.bind(("127.0.0.1", 0))
        yield (
            f"http://127.0.0.1:{tcp.getsockname()[1]}/announce",
            f"udp://127.0.0.1:{udp.getsockname()[1]}/announce",
        )


# ---------------------------------------------------------------- opening


async def test_constructing_does_no_io(tmp_path):
    before, tasks = threading.active_count(), asyncio.all_tasks()
    session = swarm.Session(listen="127.0.0.1:0", state_dir=tmp_path / "state")
    assert session.port == 0
    assert not session.torrents
    assert threading.active_count() == before
    assert asyncio.all_tasks() == tasks
    assert not (tmp_path / "state").exists()
    await session.aclose()  # never opened: nothing to do


async def test_entering_binds_the_port(lab):
    session = await lab.open()
    reader, writer = await asyncio.open_connection("127.0.0.1", session.port)
    writer.write(b"GET / HTTP/1.1\r\n\r\n" + bytes(68))
    assert await reader.read() == b""  # not a handshake: closed without a word
    writer.close()


async def test_use_outside_of_async_with(lab, sample):
    session = lab.session()
    with pytest.raises(swarm.SessionClosed):
        await session.add(sample.meta)
    with pytest.raises(swarm.SessionClosed):
        session.events()
    async with session:
        with pytest.raises(swarm.SessionClosed):
            await session.__aenter__()
    with pytest.raises(RuntimeError, match="async with"):
        await session.add(sample.meta)
    with pytest.raises(swarm.SessionClosed):
        await session.__aenter__()


async def test_a_port_in_use_is_a_typed_error_with_the_address(lab, free_port):
    with socket.create_server(("127.0.0.1", free_port)):
        session = lab.session(listen=f"127.0.0.1:{free_port}")
        with pytest.raises(swarm.ListenError, match=f"127.0.0.1:{free_port}") as caught:
            await session.__aenter__()
        assert isinstance(caught.value, OSError)
        assert caught.value.errno == errno.EADDRINUSE
        assert caught.value.address == f"127.0.0.1:{free_port}"
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    async with session:  # the port is free now: nothing was half open
        assert session.port == free_port


@pytest.mark.parametrize(
    ("listen", "meant"),
    [
        (0, ("", 0)),
        (51413, ("", 51413)),
        ("51413", ("", 51413)),
        (":51413", ("", 51413)),
        ("0.0.0.0:1", ("0.0.0.0", 1)),
        ("[::1]:0", ("::1", 0)),
        ("[::]:7", ("::", 7)),
    ],
)
def test_listen_addresses(listen, meant):
    assert parse_listen(listen) == meant


@pytest.mark.parametrize(
    "listen", ["", "127.0.0.1", "localhost:1", "1.2.3:1", "[::1]", -1, 65536, "1.2.3.4:65536", ":x"]
)
def test_nonsense_to_listen_on(listen):
    with pytest.raises(swarm.ConfigError):
        swarm.Session(listen=listen)


async def test_a_transfer_over_ipv6(lab, sample, tmp_path):
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    async with lab.session(listen="[::1]:0") as one, lab.session(listen="[::1]:0") as two:
        seeding = await one.add(sample.meta, dest=sample.write(tmp_path / "one"), verify=False)
        await seeding.wait_done()
        torrent = await two.add(
            sample.meta, dest=tmp_path / "two", peers=[swarm.PeerAddr("::1", one.port)]
        )
        async with asyncio.timeout(5):
            await torrent.wait_done()
    assert sample.on_disk(tmp_path / "two") == sample.data


async def test_the_wildcard_takes_both_families(lab, sample, tmp_path):
    async with lab.session(listen=":0") as one, lab.session(listen=":0") as two:
        seeding = await one.add(sample.meta, dest=sample.write(tmp_path / "one"), verify=False)
        await seeding.wait_done()
        async with one.events(swarm.PeerJoined) as joined:
            torrent = await two.add(sample.meta, dest=tmp_path / "two", peers=[lab.addr(one)])
            async with asyncio.timeout(5):
                await torrent.wait_done()
                assert (await anext(joined)).addr.host == "127.0.0.1"


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_a_torrent_that_nobody_talks_to_keeps_trying(
    lab, sample, tmp_path, monkeypatch: pytest.MonkeyPatch
):
    """Its timer is set again and again, with no peer there that would do it by the way."""
    loop, ahead = asyncio.get_running_loop(), 0.0
    clock = loop.time
    monkeypatch.setattr(loop, "time", lambda: clock() + ahead)
    dialled: asyncio.Queue[None] = asyncio.Queue()

    async def refuse(reader, writer):
        dialled.put_nowait(None)
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        session = await lab.open()
        host, port = server.sockets[0].getsockname()
        await session.add(sample.meta, dest=tmp_path, peers=[(host, port)])
        async with asyncio.timeout(2):
            await dialled.get()
        await lab.until(lambda: not session.greeting and not session.dialling)
        ahead += 6.0
        async with asyncio.timeout(2):
            await dialled.get()


# ---------------------------------------------------------------- leaving


@linux
async def test_leaving_leaves_nothing_behind(lab, sample, tmp_path):
    async def life(number):
        one, two = lab.session(), lab.session()
        async with one, two, one.events() as events:
            dest = sample.write(tmp_path / f"a{number}")
            await (await one.add(sample.meta, dest=dest, verify=False)).wait_done()
            torrent = await two.add(
                sample.meta, dest=tmp_path / f"b{number}", peers=[lab.addr(one)]
            )
            async with asyncio.timeout(5):
                await torrent.wait_done()
                await anext(events)

    await life(0)  # whatever is made once, such as the loop's executor, is made now
    gc.collect()
    tasks, open_now, threads = asyncio.all_tasks(), descriptors(), workers()
    for number in range(1, 3):
        await life(number)
    gc.collect()
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == tasks
    await lab.until(lambda: sum(descriptors().values()) <= sum(open_now.values()))
    # The loop's executor may have grown; nothing of a session's own is left.
    assert len(workers() - threads) <= sum(
        thread.name.startswith("asyncio") for thread in threading.enumerate()
    )
    left = [path for path in (tmp_path / "state").rglob("*") if path.suffix == ".new"]
    assert not left


@pytest.mark.parametrize("which", [0, 1], ids=["http", "udp"])
async def test_a_tracker_that_never_answers_does_not_keep_us(lab, sample, tmp_path, which):
    with black_holes() as urls:
        session = lab.session(stop_timeout=0.5)
        async with session:
            url = urls[which]
            dest = sample.write(tmp_path / "data")
            torrent = await session.add(sample.meta, dest=dest, verify=False, trackers=[url])
            await lab.until(lambda: torrent.trackers and torrent.trackers[0].next is None)
            others = asyncio.all_tasks()
            started = time.monotonic()
        assert time.monotonic() - started < 1.0
        assert asyncio.all_tasks() <= others


async def test_pausing_does_not_wait_for_a_tracker(lab, sample, tmp_path):
    with black_holes() as urls:
        session = await lab.open(stop_timeout=0.3)
        dest = sample.write(tmp_path / "data")
        torrent = await session.add(sample.meta, dest=dest, verify=False, trackers=urls)
        await lab.until(lambda: torrent.trackers and torrent.trackers[0].next is None)
        started = time.monotonic()
        await torrent.pause()
        await torrent.resume()
        await torrent.verify()
        await torrent.remove()
        assert time.monotonic() - started < 0.3


async def test_a_tracker_that_answers_hears_that_we_stop(lab, sample, tmp_path):
    said = []

    def note(request, host):
        said.append(request.event)

    async with swarm.Tracker("127.0.0.1:0", on_announce=note) as tracker:
        for url in (tracker.announce_url, tracker.udp_url):
            async with lab.session() as session:
                dest = sample.write(tmp_path / "data")
                async with session.events(swarm.TrackerAnswered) as answers:
                    await session.add(sample.meta, dest=dest, verify=False, trackers=[url])
                    async with asyncio.timeout(5):
                        await anext(answers)
            assert said == ["started", "stopped"]
            said.clear()


async def test_leaving_in_mid_transfer(lab, sample, tmp_path):
    seeder, seeding = await lab.seed(sample)
    gate = await lab.gate(seeder, 400_000)
    async with lab.session("leecher") as leecher:
        async with leecher.events(swarm.PieceVerified) as pieces:
            torrent = await leecher.add(sample.meta, dest=tmp_path / "to", peers=[gate.addr])
            async with asyncio.timeout(5):
                await anext(pieces)
        assert torrent.stats.state == "downloading"
        started = time.monotonic()
    assert time.monotonic() - started < 1.0
    assert torrent.stats.state == "paused"
    assert seeding.stats.state == "seeding"
    await lab.until(lambda: seeding.stats.peers == 0)


async def test_leaving_while_handshakes_are_under_way(lab, sample, tmp_path):
    """A peer that never says a word, and one that we wait for, are let go as well."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        host, port = mute.getsockname()
        mute.setblocking(False)
        async with lab.session() as session:
            await session.add(sample.meta, dest=tmp_path, peers=[(host, port)])
            theirs, _ = await asyncio.get_running_loop().sock_accept(mute)
            ours, writer = await asyncio.open_connection("127.0.0.1", session.port)
            await lab.until(lambda: len(session.greeting) == 2)
        async with asyncio.timeout(1):
            with contextlib.suppress(ConnectionError):
                assert await ours.read() == b""
            theirs.setblocking(False)
            with contextlib.suppress(ConnectionError):
                while await asyncio.get_running_loop().sock_recv(theirs, 4096):
                    pass
        theirs.close()
        writer.close()


async def test_the_hard_close(lab, sample, tmp_path):
    with black_holes() as urls:
        for timeout in (0, 0.03):
            session = lab.session("hard")
            await session.__aenter__()
            dest = sample.write(tmp_path / "data")
            torrent = await session.add(sample.meta, dest=dest, verify=False, trackers=urls)
            await lab.until(lambda torrent=torrent: torrent.stats.state == "seeding")
            started = time.monotonic()
            await session.aclose(timeout=timeout)
            assert time.monotonic() - started < 0.5
            await session.aclose()
            with pytest.raises(swarm.TorrentRemoved):
                await torrent.wait_done()


async def test_closing_twice_at_once(lab, sample, tmp_path):
    session = lab.session()
    async with session:
        await session.add(sample.meta, dest=sample.write(tmp_path))
        await asyncio.gather(session.aclose(), session.aclose(), session.aclose())
        with pytest.raises(ConnectionError):
            await asyncio.open_connection("127.0.0.1", session.port)


async def test_a_cancel_while_leaving_still_closes_everything(lab, sample, tmp_path):
    with black_holes() as urls:
        dest = sample.write(tmp_path / "data")
        for step in range(1, 12):
            session = lab.session("same", stop_timeout=30)
            await session.__aenter__()
            torrent = await session.add(sample.meta, dest=dest, trackers=urls)
            await lab.until(lambda torrent=torrent: torrent.stats.state == "seeding")
            leaving = asyncio.ensure_future(session.aclose())
            for _ in range(step):
                await asyncio.sleep(0)
            leaving.cancel()
            async with asyncio.timeout(2):
                with contextlib.suppress(asyncio.CancelledError):
                    await leaving
            with pytest.raises(ConnectionError):
                await asyncio.open_connection("127.0.0.1", session.port)
            # The next round finds the files unlocked.


async def test_two_sessions_in_one_process(lab, sample, tmp_path):
    one, two = await lab.open(), await lab.open()
    assert one.port != two.port
    assert one.peer_id != two.peer_id
    seeding = await one.add(sample.meta, dest=sample.write(tmp_path / "one"), verify=False)
    await seeding.wait_done()
    torrent = await two.add(sample.meta, dest=tmp_path / "two", peers=[lab.addr(one)])
    async with asyncio.timeout(5):
        await torrent.wait_done()
    await one.aclose()
    assert torrent.stats.state == "seeding"


async def test_one_torrent_failing_leaves_the_others_alone(lab, sample, tmp_path):
    seeder, _ = await lab.seed(sample)
    other = lab.sample({"x": 100_000}, name="other", seed=2)
    (tmp_path / "file").write_bytes(b"in the way")
    session = await lab.open()
    failing = await session.add(other.meta, dest=tmp_path / "file", verify=True)
    torrent = await session.add(sample.meta, dest=tmp_path / "to", peers=[lab.addr(seeder)])
    async with asyncio.timeout(5):
        await torrent.wait_done()
    assert failing.stats.state in ("failed", "downloading")
