"""GETs of our own against raw servers on loopback."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from urllib.parse import SplitResult

import pytest

from swarm.errors import ProtocolError
from swarm.net import http
from swarm.net.http import get
from swarm.net.resolve import Address

from .test_trackers import SELF_SIGNED

LIMIT = 100_000


class Server:
    """Answers every request with the next of `answers`, piece by piece, and keeps what was asked."""

    def __init__(self, answers: Sequence[Sequence[bytes]], secure: ssl.SSLContext | None) -> None:
        self.heads: list[bytes] = []
        self.port = 0
        self._answers = iter(answers)
        self._secure = secure

    async def __aenter__(self) -> "Server":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._secure)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            for piece in next(self._answers):
                writer.write(piece)
                await writer.drain()
        writer.close()

    async def locate(self, hop: SplitResult) -> list[Address]:
        return [Address("127.0.0.1", self.port, socket.AF_INET, True)]


@contextlib.asynccontextmanager
async def serving(
    *answers: Sequence[bytes], secure: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    async with Server(answers, secure) as server:
        yield server


async def test_a_get_byte_by_byte() -> None:
    answer = (
        b"HTTP/1.1 100 Continue\r\n\r\n"
        b"HTTP/1.1 203 Whatever\r\nTransfer-Encoding: chunked\r\nX-Two: a\r\nX-TWO: b\r\n\r\n"
        b"3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\nTrailer: x\r\n\r\n"
    )
    async with serving([bytes([byte]) for byte in answer]) as server:
        url = f"http://user:p%40ss@host.example:{server.port}/päth?q=%2f&=ü#fragment"
        response = await get(url, server.locate, limit=LIMIT)
    assert (response.status, response.body) == (203, b"abcde")
    assert response.headers["x-two"] == "b"
    line, *fields = server.heads[0].split(b"\r\n")
    assert line == b"GET /p%C3%A4th?q=%2f&=%C3%BC HTTP/1.1"
    assert b"Host: host.example:%d" % server.port in fields
    assert b"Authorization: Basic dXNlcjpwQHNz" in fields


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: keep-alive\r\n\r\n",
    ],
)
async def test_bodies_end_with_the_connection_or_by_length(head: bytes) -> None:
    async with serving([head + b"body"]) as server:
        response = await get(f"http://127.0.0.1:{server.port}", server.locate, limit=4)
    assert response.body == b"body"
    assert server.heads[0].startswith(b"GET / HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/9 what\r\n\r\n",
        b"220 mail.example ESMTP\r\n",
        b"",
    ],
)
async def test_what_is_not_whole_is_an_error(answer: bytes) -> None:
    async with serving([answer]) as server:
        with pytest.raises(ProtocolError, match="malformed HTTP"):
            await get(f"http://127.0.0.1:{server.port}/", server.locate, limit=LIMIT)


async def test_the_next_address_is_tried() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.2", 0))  # bound and not listening: refused

        async with serving([b"HTTP/1.1 200 OK\r\n\r\nok"]) as server:

            async def locate(hop: SplitResult) -> list[Address]:
                return [
                    Address("127.0.0.2", server.port, socket.AF_INET, True),
                    Address("127.0.0.1", server.port, socket.AF_INET, True),
                ]

            url = f"http://name.example:{server.port}/"
            assert (await get(url, locate, limit=LIMIT)).body == b"ok"

            async def nowhere(hop: SplitResult) -> list[Address]:
                return [Address("127.0.0.2", nobody.getsockname()[1], socket.AF_INET, True)]

            url = f"http://name.example:{nobody.getsockname()[1]}/"
            with pytest.raises(ConnectionRefusedError):
                await get(url, nowhere, limit=LIMIT)


async def test_hops_are_located_one_by_one() -> None:
    moved = b"HTTP/1.1 307 Moved\r\nContent-Length: 0\r\nLocation: %s\r\n\r\n"
    answers = [[moved % b"../b?x"], [moved % b"//other.example/c"], [b"HTTP/1.1 200 OK\r\n\r\nend"]]
    asked: list[str] = []
    async with serving(*answers) as server:

        async def locate(hop: SplitResult) -> list[Address]:
            asked.append(hop.geturl().replace(f":{server.port}", ""))
            if "other" in hop.netloc:
                raise PermissionError("not there")
            return await server.locate(hop)

        with pytest.raises(PermissionError):
            await get(f"http://one.example:{server.port}/a/a", locate, limit=LIMIT)
    assert asked == ["http://one.example/a/a", "http://one.example/b?x", "http://other.example/c"]


async def test_a_certificate_must_be_for_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = tmp_path / "self.pem"
    pem.write_text(SELF_SIGNED)
    secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    secure.load_cert_chain(pem)
    trusting = ssl.create_default_context(cafile=str(pem))
    monkeypatch.setattr(http, "_tls", lambda: trusting)
    answer = [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]
    async with serving(answer, answer, secure=secure) as server:
        good = await get(f"https://localhost:{server.port}/", server.locate, limit=LIMIT)
        assert good.body == b"ok"
        with pytest.raises(ssl.SSLCertVerificationError):
            await get(f"https://else.example:{server.port}/", server.locate, limit=LIMIT)
