"""Our tracker against our client, against libtorrent, and against nonsense. Loopback only."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from swarm.errors import ConfigError, TrackerError
from swarm.net.trackers import TrackerClient
from swarm.proto import bencode
from swarm.proto import tracker_udp as udp
from swarm.proto.tracker import AnnounceRequest, Counts, Event
from swarm.tracker import Tracker

HASH, OTHER = bytes(range(236, 256)), bytes(20)
ME, YOU = b"-SW0100-\xff\x00/?&=+%    ", b"-SW0100-abcdefghijkl"


def ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


LISTEN = [
    "127.0.0.1:0",
    pytest.param("[::1]:0", marks=pytest.mark.skipif(not ipv6(), reason="no IPv6 here")),
]


@pytest.fixture
async def client() -> AsyncIterator[TrackerClient]:
    client = TrackerClient(deadline=5.0)
    yield client
    await client.aclose()


def url_of(tracker: Tracker, scheme: str) -> str:
    return tracker.announce_url if scheme == "http" else tracker.udp_url


async def get(tracker: Tracker, target: str, head: str = "GET {} HTTP/1.1\r\nHost: t\r\n") -> bytes:
    """One raw HTTP exchange: the whole answer, head and all."""
    reader, writer = await asyncio.open_connection("127.0.0.1", tracker.port)
    writer.write((head.format(target) + "Connection: close\r\n\r\n").encode("latin-1"))
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.parametrize("listen", LISTEN)
@pytest.mark.parametrize("scheme", ["http", "udp"])
async def test_a_swarm_from_start_to_stop(client: TrackerClient, listen: str, scheme: str) -> None:
    seen: list[tuple[Event, int, int]] = []
    async with Tracker(
        listen, interval=900, on_announce=lambda r, _: seen.append((r.event, r.port, r.left))
    ) as tracker:
        url = url_of(tracker, scheme)
        host = "::1" if "[" in listen else "127.0.0.1"
        me = AnnounceRequest(HASH, ME, 7001, left=10, event="started", key=5)
        first = await client.announce(url, me)
        assert (first.interval, first.peers, first.seeds, first.leechers) == (900, (), 0, 1)
        you = AnnounceRequest(HASH, YOU, 7002, left=0, event="started")
        second = await client.announce(url, you)
        assert second.peers == ((host, 7001),)
        again = await client.announce(url, AnnounceRequest(HASH, ME, 7001, event="completed"))
        assert again.peers == ()
        assert tracker.counts(HASH) == Counts(2, 1, 0)
        counts = await client.scrape(url, (HASH, OTHER))
        assert counts == {HASH: Counts(2, 1, 0), OTHER: Counts(0, 0, 0)}
        await client.announce(url, AnnounceRequest(HASH, YOU, 7002, event="stopped"))
        assert tracker.counts(HASH) == Counts(1, 1, 0)
        assert tracker.announces == 4
        assert tracker.completed == 1
    expected: list[tuple[Event, int, int]] = [
        ("started", 7001, 10),
        ("started", 7002, 0),
        ("completed", 7001, 0),
        ("stopped", 7002, 0),
    ]
    assert seen == expected


async def test_http_and_udp_see_one_swarm(client: TrackerClient) -> None:
    async with Tracker() as tracker:
        await client.announce(tracker.announce_url, AnnounceRequest(HASH, ME, 7001, left=1))
        reply = await client.announce(tracker.udp_url, AnnounceRequest(HASH, YOU, 7002, left=1))
        assert reply.peers == (("127.0.0.1", 7001),)


async def test_the_long_form() -> None:
    async with Tracker() as tracker:
        query = f"/announce?info_hash={'%00' * 20}&left=1&compact=0&peer_id="
        await get(tracker, f"{query}{'b' * 20}&port=9")
        answer = await get(tracker, f"{query}{'c' * 20}&port=10")
        body = bencode.decode(answer.partition(b"\r\n\r\n")[2])
        assert isinstance(body, dict)
        assert body[b"peers"] == [{b"ip": b"127.0.0.1", b"peer id": b"b" * 20, b"port": 9}]


@pytest.mark.parametrize(
    "target",
    [
        "/announce",
        "/announce?",
        "/announce?info_hash=%",
        "/announce?info_hash=" + "a" * 20 + "&peer_id=" + "b" * 20 + "&port=0&left=0",
        "/announce?" + "&" * 5000,
        "/scrape",
        "/scrape?info_hash=abc",
    ],
)
async def test_malformed_requests_get_a_bencoded_reason(
    target: str, capfd: pytest.CaptureFixture[str]
) -> None:
    async with Tracker() as tracker:
        head, _, body = (await get(tracker, target)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        failure = bencode.decode(body)
        assert isinstance(failure, dict)
        assert list(failure) == [b"failure reason"]
        assert tracker.announces == 0
    assert capfd.readouterr() == ("", "")


async def test_other_requests_get_no_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    async with Tracker() as tracker:
        assert (await get(tracker, "/")).startswith(b"HTTP/1.1 404 ")
        post = "POST {} HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n"
        assert (await get(tracker, "/announce", post)).startswith(b"HTTP/1.1 405 ")
        assert b" 400 " in (await get(tracker, "/announce?" + "a" * 9000))[:20]
        garbage = await get(tracker, "", "\xff\xfe garbage\r\n{}")
        assert b"Traceback" not in garbage
    assert capfd.readouterr() == ("", "")


async def test_tu02_tu10_udp_nonsense_is_dropped(client: TrackerClient) -> None:
    async with Tracker() as tracker:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.connect(("127.0.0.1", tracker.port))
            whole = udp.announce_request(1, 2, AnnounceRequest(HASH, ME, 7001))
            for length in range(16):
                sock.send(whole[:length])
            sock.send(b"\xff" * 9000)
            # A wrong connection id is told so, in fewer bytes than it took to ask.
            sock.send(whole + b"\x02\xff")
            answer = await loop.sock_recv(sock, 9000)
            assert udp.parse_head(answer) == (udp.ERROR, 2)
            assert len(answer) < len(whole)
            sock.send(udp.connect_request(3))
            answer = await loop.sock_recv(sock, 9000)
            connection = udp.parse_connected(answer)
            for options in (b"\x02\xff/a", b"\x02", b"\x01" * 500):
                request = AnnounceRequest(HASH, ME, 7001)
                sock.send(udp.announce_request(connection, 4, request) + options)
                answer = await loop.sock_recv(sock, 9000)
                assert udp.parse_head(answer) == (udp.ANNOUNCE, 4)
        assert tracker.announces == 3


@pytest.mark.parametrize("scheme", ["http", "udp"])
async def test_allow(client: TrackerClient, scheme: str) -> None:
    async with Tracker(allow=["10.0.0.0/8"]) as tracker:
        with pytest.raises(TrackerError, match="not allowed"):
            await client.announce(url_of(tracker, scheme), AnnounceRequest(HASH, ME, 7001))
        assert tracker.announces == 0


async def test_claimed_address_from_loopback(client: TrackerClient) -> None:
    async with Tracker() as tracker:
        claim = AnnounceRequest(HASH, ME, 7001, left=1, ip="9.9.9.9")
        for url in (tracker.announce_url, tracker.udp_url):
            await client.announce(url, claim)
        reply = await client.announce(url, AnnounceRequest(HASH, YOU, 7002, left=1))
        assert reply.peers == (("9.9.9.9", 7001),)


async def test_every_address(client: TrackerClient) -> None:
    async with Tracker(":0") as tracker:
        await client.announce(tracker.announce_url, AnnounceRequest(HASH, ME, 7001, left=1))
        if ipv6():
            six = f"http://[::1]:{tracker.port}/announce"
            reply = await client.announce(six, AnnounceRequest(HASH, YOU, 7002, left=1))
            assert reply.peers == (("127.0.0.1", 7001),)
            reply = await client.announce(
                tracker.announce_url, AnnounceRequest(HASH, ME, 7001, left=1)
            )
            assert reply.peers == (("::1", 7002),)


async def test_a_taken_port_is_an_error_and_a_closed_one_is_free() -> None:
    async with Tracker() as tracker:
        port = tracker.port
        with pytest.raises(OSError, match="in use"):
            async with Tracker(f"127.0.0.1:{port}"):
                pass
    async with Tracker(f"127.0.0.1:{port}") as again:
        assert again.port == port


@pytest.mark.parametrize("listen", ["", "nowhere:1", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000"])
def test_bad_listen_addresses(listen: str) -> None:
    with pytest.raises(ConfigError):
        Tracker(listen)
    with pytest.raises(ConfigError):
        Tracker(allow=["10.0.0.0/99"])


# One loop only: libtorrent keeps connection ids per host, across sessions and trackers.
@pytest.mark.asyncio(loop_factories=["asyncio"])
@pytest.mark.parametrize("scheme", ["http", "udp"])
async def test_libtorrent_gets_peers_from_us(client: TrackerClient, scheme: str) -> None:
    lt = pytest.importorskip("libtorrent")
    announced = asyncio.Event()
    loop = asyncio.get_running_loop()

    def seen(request: AnnounceRequest, host: str) -> None:
        if request.port != 7002 and request.event == "started":
            loop.call_soon(announced.set)

    async with Tracker(on_announce=seen) as tracker:
        await client.announce(tracker.announce_url, AnnounceRequest(HASH, YOU, 7002, left=0))
        session = lt.session(
            {
                "listen_interfaces": "127.0.0.1:0",
                "enable_dht": False,
                "enable_lsd": False,
                "enable_upnp": False,
                "enable_natpmp": False,
                "alert_mask": lt.alert.category_t.tracker_notification,
            }
        )
        woken = asyncio.Event()
        session.set_alert_notify(lambda: loop.call_soon_threadsafe(woken.set))
        params = lt.add_torrent_params()
        params.info_hashes = lt.info_hash_t(lt.sha1_hash(HASH))
        params.trackers = [url_of(tracker, scheme)]
        params.save_path = "/nonexistent"
        session.add_torrent(params)
        peers = None
        async with asyncio.timeout(20):
            while peers is None:
                await woken.wait()
                woken.clear()
                for alert in session.pop_alerts():
                    assert not isinstance(alert, lt.tracker_error_alert), alert.message()
                    if isinstance(alert, lt.tracker_reply_alert):
                        peers = alert.num_peers
            await announced.wait()
        session.set_alert_notify(lambda: None)
        assert peers == 1
        counts = tracker.counts(HASH)
        assert (counts.seeds, counts.leechers) == (1, 1)
