"""Our client against hostile trackers: raw servers on loopback, each test one row of faults."""

import asyncio
import contextlib
import gzip
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from swarm.errors import TrackerError
from swarm.net import resolve, trackers
from swarm.net.http import MAX_REDIRECTS
from swarm.net.trackers import TrackerClient
from swarm.proto import bencode
from swarm.proto import tracker_udp as udp
from swarm.proto.tracker import MAX_PEERS, MAX_REPLY, AnnounceRequest, TrackerReply

HASH = bytes(range(236, 256))
REQUEST = AnnounceRequest(HASH, b"-SW0100-\xff\x00/?&=+%    ", 6881, left=1)
PASSKEY = "0123456789abcdef"
REPLY = bencode.encode({"interval": 900, "peers": bytes([1, 2, 3, 4, 0x1A, 0xE1])})
OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"

# For localhost, signed by itself, good for a hundred years; made for this test alone.
SELF_SIGNED = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg1rmcbzTWO4b5oQq6
F8oBegxeLo8HRDZI9ZG2a/wXtfGhRANCAAS1mPenepiaOPNrh2UnKpDpXv1OCwzZ
dlheNkwmDUq88SqHMXcrgYFAlqZrqzpYRo1arl88pfRhJu3py+T3KLdo
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBmjCCAUGgAwIBAgIUGCG+ERmz0d5o3KBqoHC8KCYId3QwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMzA0MjEwOVoYDzIxMjYxMDMw
MDQyMTA5WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAS1mPenepiaOPNrh2UnKpDpXv1OCwzZdlheNkwmDUq88SqHMXcrgYFA
lqZrqzpYRo1arl88pfRhJu3py+T3KLdoo28wbTAdBgNVHQ4EFgQUdCbpg4+YhJ7L
ZuMGRgGbyiWyWEYwHwYDVR0jBBgwFoAUdCbpg4+YhJ7LZuMGRgGbyiWyWEYwDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDRwAwRAIgc2z+48VSOKthVG4kydxSLNi560ESsSqqUbi4ehS7J9MCIGGw
vhNfCrYJYAMqWZgL1HcoBwD7SQr0AwDOMztVtQlW
-----END CERTIFICATE-----
"""

Serve = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
async def client() -> AsyncIterator[TrackerClient]:
    client = TrackerClient(deadline=5.0)
    yield client
    await client.aclose()


@contextlib.asynccontextmanager
async def http(serve: Serve) -> AsyncIterator[str]:
    """A raw HTTP server: `serve` gets the request's head and writes whatever it likes."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await serve(await reader.readuntil(b"\r\n\r\n"), writer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/announce"
    finally:
        server.close()


def saying(answer: bytes) -> Serve:
    async def serve(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    return serve


async def refused(client: TrackerClient, url: str) -> TrackerError:
    with pytest.raises(TrackerError) as caught:
        await client.announce(url, REQUEST)
    return caught.value


async def test_the_query_goes_out_verbatim(client: TrackerClient) -> None:
    heads: list[bytes] = []

    async def serve(head: bytes, writer: asyncio.StreamWriter) -> None:
        heads.append(head)
        writer.write(OK + REPLY)

    async with http(serve) as url:
        reply = await client.announce(f"{url}?key=%2f%3A~%7E", REQUEST)
    assert reply == TrackerReply(900, peers=(("1.2.3.4", 6881),))
    line, *fields = heads[0].split(b"\r\n")
    assert line.startswith(b"GET /announce?key=%2f%3A~%7E&info_hash=%EC%ED%EE%EF%F0")
    assert b"&peer_id=-SW0100-%FF%00%2F%3F%26%3D%2B%25%20%20%20%20&" in line
    assert b"User-Agent: swarm/0.1" in fields
    assert not any(field.lower().startswith(b"cookie") for field in fields)


async def test_th01_broken_chunks(client: TrackerClient) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    for chunk in (b"FFFFFFFFFFFFFFFF\r\nx", b"-5\r\nabcde\r\n0\r\n\r\n", b"5abcde", b"zz\r\n"):
        async with http(saying(head + chunk)) as url:
            await refused(client, url)


async def test_th02_gzip(client: TrackerClient) -> None:
    head = OK[:-2] + b"Content-Encoding: gzip\r\n\r\n"
    async with http(saying(head + gzip.compress(REPLY))) as url:
        assert (await client.announce(url, REQUEST)).interval == 900
    bomb = gzip.compress(bytes(100 * MAX_REPLY))
    for body in (bomb, gzip.compress(REPLY)[:-9], b"\x1f\x8b\x08\xff junk", b""):
        async with http(saying(head + body)) as url:
            error = await refused(client, url)
            assert "too large" in str(error) or "gzip" in str(error)
    async with http(saying(OK[:-2] + b"Content-Encoding: br\r\n\r\n" + REPLY)) as url:
        assert "encoding" in str(await refused(client, url))


async def test_th03_a_body_that_never_ends() -> None:
    client = TrackerClient(deadline=0.3)
    gone = asyncio.Event()

    async def trickle(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        with contextlib.suppress(OSError):
            while not writer.is_closing():
                writer.write(b"d")
                await writer.drain()
                await asyncio.sleep(0)
        gone.set()

    async with http(trickle) as url:
        assert "in time" in str(await refused(client, url))
        await asyncio.wait_for(gone.wait(), 5)


async def test_th03_a_body_above_the_cap(client: TrackerClient) -> None:
    async with http(saying(OK + b"d" * (MAX_REPLY + 1))) as url:
        assert "too large" in str(await refused(client, url))


async def test_th03_silence() -> None:
    client = TrackerClient(deadline=0.2)
    done = asyncio.Event()

    async def silent(head: bytes, writer: asyncio.StreamWriter) -> None:
        await done.wait()

    async with http(silent) as url:
        assert "in time" in str(await refused(client, url))
        done.set()


def redirect(to: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nConnection: close\r\nLocation: {to}\r\n\r\n".encode()


async def test_th04_redirects(client: TrackerClient) -> None:
    asked: list[bytes] = []

    async def hop(head: bytes, writer: asyncio.StreamWriter) -> None:
        asked.append(head.split(b" ")[1])
        last = len(asked) == MAX_REDIRECTS + 1
        writer.write(OK + REPLY if last else redirect(f"/hop{len(asked)}?x=%2f"))

    async with http(hop) as url:
        assert (await client.announce(url, REQUEST)).interval == 900
    assert asked[1:] == [b"/hop%d?x=%%2f" % n for n in range(1, MAX_REDIRECTS + 1)]


async def test_th04_redirect_loop(client: TrackerClient) -> None:
    asked = 0

    async def loop(head: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        writer.write(redirect("/announce"))

    async with http(loop) as url:
        assert "too many redirects" in str(await refused(client, url))
    assert asked == MAX_REDIRECTS + 1


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://127.0.0.1/", "javascript:1", "http://[", "http:///x"]
)
async def test_th04_redirect_to_no_tracker(client: TrackerClient, target: str) -> None:
    async with http(saying(redirect(target))) as url:
        await refused(client, url)


def far_away(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """From now on these hosts count as on the internet, although they are on loopback."""

    async def resolved(host: str, port: int, url: str) -> list[resolve.Address]:
        if host in names:
            return [resolve.Address("127.0.0.1", port, socket.AF_INET, False)]
        return await resolve.resolve(host, port, url)

    monkeypatch.setattr(trackers, "resolve", resolved)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "10.0.0.1", "[::1]", "169.254.169.254"])
async def test_th04_a_tracker_of_the_internet_leads_nobody_into_his_own_network(
    client: TrackerClient, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    far_away(monkeypatch, "t.example")
    asked: list[bytes] = []

    async def serve(head: bytes, writer: asyncio.StreamWriter) -> None:
        asked.append(head)
        port = writer.get_extra_info("sockname")[1]
        writer.write(redirect(f"http://{host}:{port}/admin") if len(asked) == 1 else OK + REPLY)

    async with http(serve) as url:
        error = await refused(client, url.replace("127.0.0.1", "t.example"))
    assert "private address" in str(error)
    assert len(asked) == 1


async def test_th09_loopback_peers_only_from_trackers_nearby(
    client: TrackerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    far_away(monkeypatch, "t.example")
    body = bencode.encode({"peers": bytes([127, 0, 0, 1, 26, 225, 5, 6, 7, 8, 26, 225])})
    async with http(saying(OK + body)) as url:
        near = await client.announce(url, REQUEST)
        far = await client.announce(url.replace("127.0.0.1", "t.example"), REQUEST)
    assert near.peers == (("127.0.0.1", 6881), ("5.6.7.8", 6881))
    assert far.peers == (("5.6.7.8", 6881),)


async def test_th04_https_never_leads_to_http() -> None:
    fetch = trackers._Fetch("https://127.0.0.1/announce")
    assert await fetch.locate(urlsplit("https://127.0.0.1/announce?x=%2f"))
    assert await fetch.locate(urlsplit("https://127.0.0.1/b?y=%2f"))
    with pytest.raises(TrackerError, match="https to http"):
        await fetch.locate(urlsplit("http://127.0.0.1/announce"))


async def test_th05_a_certificate_nobody_vouches_for(client: TrackerClient, tmp_path: Path) -> None:
    (tmp_path / "self.pem").write_text(SELF_SIGNED)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "self.pem")
    asked = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        writer.write(OK + REPLY)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    try:
        error = await refused(client, f"https://localhost:{port}/announce")
    finally:
        server.close()
    assert "certificate" in str(error)
    assert asked == 0


async def test_th08_a_million_peers(client: TrackerClient) -> None:
    peers = b"".join(bytes([1, 2, n >> 8, n & 255, 26, 225]) for n in range(50_000))
    async with http(saying(OK + bencode.encode({"peers": peers}))) as url:
        assert len((await client.announce(url, REQUEST)).peers) == MAX_PEERS


@pytest.mark.parametrize("interval", [b"i0e", b"i-1e", b"i2147483648e", b"4:soon"])
async def test_th10_odd_intervals_are_no_error(client: TrackerClient, interval: bytes) -> None:
    async with http(saying(OK + b"d8:interval" + interval + b"e")) as url:
        assert 0 <= (await client.announce(url, REQUEST)).interval < 2**31


@pytest.mark.parametrize("status", [b"200 OK", b"403 Forbidden"])
async def test_th11_failure_reason(client: TrackerClient, status: bytes) -> None:
    reason = b"<b>no</b>\x1b[2J\xff" + b"x" * 900_000
    body = bencode.encode({"failure reason": reason, "retry in": 5})
    async with http(saying(b"HTTP/1.1 " + status + OK[15:] + body)) as url:
        error = await refused(client, url)
    assert str(error).startswith("<b>no</b>")
    assert len(str(error)) <= 200
    assert "\x1b" not in str(error)
    assert error.retry_in == 300.0


async def test_th12_wrong_types(client: TrackerClient) -> None:
    body = bencode.encode({"tracker id": 1, "warning message": {}, "peers": [1], "peers6": 1})
    async with http(saying(OK + body)) as url:
        assert await client.announce(url, REQUEST) == TrackerReply()


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"<html><form action=login></form></html>",
        OK,
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 500 d\r\nContent-Length: 2\r\n\r\nno",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000 + b"\r\n\r\n" + REPLY,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000 + b"\r\n" + REPLY,
    ],
)
async def test_th13_th20_not_a_tracker(client: TrackerClient, answer: bytes) -> None:
    async with http(saying(answer)) as url:
        await refused(client, url)


async def test_retry_after_is_passed_on(client: TrackerClient) -> None:
    busy = b"HTTP/1.1 503 Busy\r\nRetry-After: 120\r\nContent-Length: 0\r\n\r\n"
    async with http(saying(busy)) as url:
        assert (await refused(client, url)).retry_in == 120.0


async def test_th14_no_error_holds_the_passkey(
    client: TrackerClient, caplog: pytest.LogCaptureFixture, free_port: int
) -> None:
    quoting = OK + bencode.encode({"failure reason": f"unknown passkey {PASSKEY}"})
    answers = (quoting, OK, redirect(f"ftp://x/{PASSKEY}"), redirect(f"/{PASSKEY}"), b"?", b"")
    errors = []
    for answer in answers:
        async with http(saying(answer)) as url:
            errors.append(await refused(client, url.replace("announce", f"{PASSKEY}/announce")))
    for url in (
        f"http://127.0.0.1:{free_port}/announce?passkey={PASSKEY}",
        f"http://127.0.0.1:99999/{PASSKEY}/announce",
        f"http://[oops/{PASSKEY}/announce",
        f"gopher://127.0.0.1/{PASSKEY}",
        f"udp://127.0.0.1/{PASSKEY}",
        f"udp://127.0.0.1:{free_port}/{PASSKEY}",
        f"http://1234567890/{PASSKEY}",
    ):
        errors.append(await refused(client, url))
    for error in errors:
        assert PASSKEY not in f"{error} {error!r} {error.url} {error.args}"
        assert error.__cause__ is None
        assert error.__suppress_context__ or error.__context__ is None
    assert PASSKEY not in caplog.text


async def test_th21_scrape(client: TrackerClient) -> None:
    files = {HASH: {"complete": -1, "incomplete": "x", "downloaded": 3}, bytes(20): {}}
    heads: list[bytes] = []

    async def serve(head: bytes, writer: asyncio.StreamWriter) -> None:
        heads.append(head)
        writer.write(OK + bencode.encode({"files": files}))

    async with http(serve) as url:
        counts = await client.scrape(url, (HASH, b"\1" * 20))
        with pytest.raises(TrackerError, match="no scrape"):
            await client.scrape(url.replace("announce", "a"), (HASH,))
    assert counts == {HASH: (0, 3, 0)}
    assert heads[0].startswith(b"GET /scrape?info_hash=%EC")


# UDP.

Answer = Callable[[bytes], list[bytes]]


class UdpTracker(asyncio.DatagramProtocol):
    """A UDP tracker that answers each packet with those that `answer` makes of it."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.packets: list[bytes] = []
        self.asked = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.packets.append(data)
        self.client = addr
        self.asked.set()
        for packet in self.answer(data):
            self.transport.sendto(packet, addr)  # type: ignore[attr-defined]

    @property
    def actions(self) -> list[int]:
        return [int.from_bytes(packet[8:12], "big") for packet in self.packets]


@contextlib.asynccontextmanager
async def datagrams(answer: Answer) -> AsyncIterator[tuple[str, UdpTracker]]:
    loop = asyncio.get_running_loop()
    transport, tracker = await loop.create_datagram_endpoint(
        lambda: UdpTracker(answer), local_addr=("127.0.0.1", 0)
    )
    try:
        yield f"udp://127.0.0.1:{transport.get_extra_info('sockname')[1]}", tracker
    finally:
        transport.close()


def announced(transaction: int, tail: bytes = bytes([1, 2, 3, 4, 0x1A, 0xE1])) -> bytes:
    head = b"".join(n.to_bytes(4, "big") for n in (udp.ANNOUNCE, transaction, 900, 4, 3))
    return head + tail


def proper(packet: bytes) -> list[bytes]:
    """What a good tracker answers."""
    request = udp.parse_request(packet)
    if request.action == udp.CONNECT:
        return [udp.connected(request.transaction, 77)]
    return [announced(request.transaction)]


GOOD = TrackerReply(900, peers=(("1.2.3.4", 6881),), seeds=3, leechers=4)


async def test_udp_connects_once_a_minute(client: TrackerClient) -> None:
    async with datagrams(proper) as (url, tracker):
        for _ in range(3):
            assert await client.announce(f"{url}/announce?k=v", REQUEST) == GOOD
    assert tracker.actions == [udp.CONNECT, udp.ANNOUNCE, udp.ANNOUNCE, udp.ANNOUNCE]
    assert tracker.packets[1].endswith(b"\x02\x0d/announce?k=v")
    transactions = {packet[12:16] for packet in tracker.packets}
    assert len(transactions) == 4


async def test_udp_announces_together_share_one_connect(client: TrackerClient) -> None:
    async with datagrams(proper) as (url, tracker):
        assert (
            await asyncio.gather(*(client.announce(url, REQUEST) for _ in range(20))) == [GOOD] * 20
        )
    assert sorted(tracker.actions) == [udp.CONNECT] + [udp.ANNOUNCE] * 20


async def test_tu01_tu02_malformed_datagrams_are_dropped(client: TrackerClient) -> None:
    def answer(packet: bytes) -> list[bytes]:
        (good,) = proper(packet)
        wrong_action = (9).to_bytes(4, "big") + good[4:]
        crossed = (udp.CONNECT if good[3] == udp.ANNOUNCE else udp.ANNOUNCE).to_bytes(4, "big")
        return [b"", *(good[:n] for n in range(16)), wrong_action, crossed + good[4:12], good]

    async with datagrams(answer) as (url, _):
        assert await client.announce(url, REQUEST) == GOOD


async def test_tu03_only_the_asked_tracker_and_the_right_transaction_count(
    client: TrackerClient,
) -> None:
    forged = announced(0, bytes([6, 6, 6, 6, 0x1A, 0xE1]))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.1", 0))

        class Spoofed(UdpTracker):
            def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
                (good,) = self.answer(data)
                stranger.sendto(good[:4] + data[12:16] + forged[8:], addr)
                wrong = bytes([data[12] ^ 1]) + data[13:16]
                self.transport.sendto(good[:4] + wrong + forged[8:], addr)  # type: ignore[attr-defined]
                super().datagram_received(data, addr)

        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: Spoofed(proper), local_addr=("127.0.0.1", 0)
        )
        port = transport.get_extra_info("sockname")[1]
        assert await client.announce(f"udp://127.0.0.1:{port}", REQUEST) == GOOD
        transport.close()


async def test_tu04_a_lost_connection_id_is_replaced_once(client: TrackerClient) -> None:
    valid = 1

    def answer(packet: bytes) -> list[bytes]:
        request = udp.parse_request(packet)
        if request.action == udp.CONNECT:
            return [udp.connected(request.transaction, valid)]
        if request.connection != valid:
            return [udp.failed(request.transaction, "bad connection id")]
        return [announced(request.transaction)]

    async with datagrams(answer) as (url, tracker):
        await client.announce(url, REQUEST)
        valid = 2
        replies = await asyncio.gather(*(client.announce(url, REQUEST) for _ in range(5)))
        assert replies == [GOOD] * 5
        assert tracker.actions.count(udp.CONNECT) == 2
        valid = -1  # nothing it hands out is good any more
        tracker.answer = lambda p: answer(p) if p[8:12] != bytes(4) else [udp.connected(
            int.from_bytes(p[12:16], "big"), 5)]  # fmt: skip
        before = len(tracker.packets)
        assert "bad connection id" in str(await refused(client, url))
        assert tracker.actions[before:] == [udp.ANNOUNCE, udp.CONNECT, udp.ANNOUNCE]


async def test_tu05_ragged_peer_list(client: TrackerClient) -> None:
    def answer(packet: bytes) -> list[bytes]:
        (good,) = proper(packet)
        return [good + b"\x09\x09\x09"]

    async with datagrams(answer) as (url, _):
        assert await client.announce(url, REQUEST) == GOOD


async def test_tu06_error_of_60_kb(client: TrackerClient) -> None:
    def answer(packet: bytes) -> list[bytes]:
        return [udp.failed(udp.parse_request(packet).transaction, "")[:8] + b"no\x1b" * 20_000]

    async with datagrams(answer) as (url, _):
        error = await refused(client, url)
    assert str(error).startswith("no")
    assert len(str(error)) <= 200
    assert "\x1b" not in str(error)


async def test_tu07_all_packets_lost() -> None:
    client = TrackerClient(time_scale=0.002, udp_tries=3)
    loop = asyncio.get_running_loop()
    times: list[float] = []

    def lost(packet: bytes) -> list[bytes]:
        times.append(loop.time())
        return []

    async with datagrams(lost) as (url, tracker):
        began = loop.time()
        assert "in time" in str(await refused(client, url))
        assert loop.time() - began >= (15 + 30 + 60) * 0.002
    assert tracker.actions == [udp.CONNECT] * 3
    assert times[1] - times[0] >= 0.025
    assert times[2] - times[1] >= 0.055
    await client.aclose()


async def test_tu07_one_packet_lost() -> None:
    client = TrackerClient(time_scale=0.002)
    dropped: set[int] = set()

    def answer(packet: bytes) -> list[bytes]:
        if packet[11] not in dropped:
            dropped.add(packet[11])
            return []
        return proper(packet)

    async with datagrams(answer) as (url, _):
        assert await client.announce(url, REQUEST) == GOOD
    await client.aclose()


async def test_tu08_icmp_fails_only_that_tracker(client: TrackerClient) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        dead = f"udp://127.0.0.1:{sock.getsockname()[1]}"
    async with datagrams(lambda packet: []) as (url, tracker):
        waiting = asyncio.create_task(client.announce(url, REQUEST))
        await tracker.asked.wait()
        # Waits are 15 s and more here, so a quick end means that the refusal itself was heard.
        async with asyncio.timeout(5):
            for _ in range(2):
                assert "refused" in str(await refused(client, dead)).lower()
            assert not waiting.done()
            tracker.answer = proper
            tracker.datagram_received(tracker.packets[0], tracker.client)
            assert await waiting == GOOD


async def test_tu09_an_answer_after_nobody_waits(client: TrackerClient) -> None:
    async with datagrams(proper) as (url, tracker):
        await client.announce(url, REQUEST)
        tracker.asked.clear()
        tracker.answer = lambda packet: []
        task = asyncio.create_task(client.announce(url, REQUEST))
        await tracker.asked.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        stale = tracker.packets[-1]
        tracker.answer = lambda packet: proper(stale) + proper(packet)
        async with asyncio.timeout(5):
            assert await client.announce(url, REQUEST) == GOOD


async def test_tu10_overlong_url_data(client: TrackerClient) -> None:
    async with datagrams(proper) as (url, tracker):
        await client.announce(f"{url}/{'a' * 600}", REQUEST)
        assert len(tracker.packets[1]) == 98 + 601 + 3 * 2
        assert "too long" in str(await refused(client, f"{url}/{'a' * 1100}"))


async def test_closing_ends_what_is_under_way(client: TrackerClient) -> None:
    async with datagrams(lambda packet: []) as (url, tracker):
        task = asyncio.create_task(client.announce(url, REQUEST))
        await tracker.asked.wait()
        await client.aclose()
        with pytest.raises(TrackerError):
            await asyncio.wait_for(task, 5)


@pytest.mark.parametrize("url", ["udp://127.0.0.1", "udp://:80", "", "http://", "udp://x y:1"])
async def test_malformed_urls(client: TrackerClient, url: str) -> None:
    await refused(client, url)


def test_numeric_hosts_are_not_looked_up() -> None:
    async def both() -> None:
        for host in ("8.8.8.8", "127.0.0.1", "::1"):
            (address,) = await resolve.resolve(host, 80, "http://x")
            assert ip_address(address.host) == ip_address(host)
            assert address.local is (host != "8.8.8.8")

    asyncio.run(both())
