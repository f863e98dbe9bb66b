"""What the two hosts of `swarm bench net` make of each other, over real sockets."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import swarm
from swarm.apps.bench.net import address
from swarm.bench.control import MAX_LINE, VERSION, Begin, Control, Hello, Ready
from swarm.bench.net import Listener, Netting

KIB = 1024


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    told: list[str] = []
    made = Listener("127.0.0.1", 0, folder=tmp_path, most=64 * KIB, tell=told.append)
    made.told = told  # type: ignore[attr-defined]
    yield made
    made.close()


@pytest.fixture
def served(listener: Listener) -> Iterator[Callable[[], bool]]:
    """Serves one host; the call says whether that went well."""
    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(listener.serve()))
    thread.start()

    def result() -> bool:
        thread.join(30)
        return results[0]

    yield result
    result()


@pytest.fixture
def pair() -> Iterator[tuple[Control, socket.socket]]:
    """A control, and the bare socket at its other end."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
    with Control(ours) as control, theirs:
        yield control, theirs


def test_a_message_comes_in_whatever_parts(pair: tuple[Control, socket.socket]) -> None:
    control, other = pair
    lines = b'{"type":"Begin","role":"seed"}\n{"type":"Begin","role":"leech"}\n'
    other.sendall(lines[:10])
    other.sendall(lines[10:40])
    assert control.receive(Begin, 10) == Begin("seed")
    other.sendall(lines[40:])
    assert control.receive(Begin, 10) == Begin("leech")
    control.send(Begin("seed"))
    assert json.loads(other.recv(1000)) == {"type": "Begin", "role": "seed"}


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\n",
        b"\xff\xfe\n",
        b"[" * 5000 + b"\n",
        b'{"type":"Begin","role":"rob"}\n',
        b'{"type":"Nothing"}\n',
        b'{"type":"Started","port":1}\n',
        b"x" * (MAX_LINE + 1),
    ],
)
def test_anything_else_is_an_error(pair: tuple[Control, socket.socket], said: bytes) -> None:
    control, other = pair
    other.sendall(said)
    with pytest.raises(swarm.ProtocolError):
        control.receive(Begin, 10)


def test_silence_and_departure(pair: tuple[Control, socket.socket]) -> None:
    control, other = pair
    with pytest.raises(TimeoutError):
        control.receive(Begin, 0.01)
    other.close()
    with pytest.raises(ConnectionError, match="has gone"):
        control.receive(Begin, 10)


@pytest.mark.parametrize(
    "hello",
    [
        Hello(VERSION + 1, KIB, 16 * KIB, 1, 0),
        Hello(VERSION, 65 * KIB, 16 * KIB, 1, 0),
        Hello(VERSION, 0, 16 * KIB, 1, 0),
        Hello(VERSION, -5, 16 * KIB, 1, 0),
        Hello(VERSION, 10, 16 * KIB, 11, 0),
        Hello(VERSION, 10, 16 * KIB, 0, 0),
    ],
)
def test_a_listener_refuses_what_it_cannot_do(
    listener: Listener, served: Callable[[], bool], hello: Hello, tmp_path: Path
) -> None:
    with Control.connect("127.0.0.1", listener.port, 10) as control:
        control.send(hello)
        with pytest.raises(swarm.ConfigError, match="refuses"):
            control.receive(Ready, 10)
        assert not served()
    assert not list(tmp_path.iterdir())


def test_a_piece_length_that_no_torrent_has(
    listener: Listener, served: Callable[[], bool], tmp_path: Path
) -> None:
    with Control.connect("127.0.0.1", listener.port, 10) as control:
        control.send(Hello(VERSION, KIB, 12345, 1, 0))
        with pytest.raises((swarm.ConfigError, ConnectionError)):
            control.receive(Ready, 10)
        assert not served()
    assert not list(tmp_path.iterdir())


def test_who_made_something_else_is_not_measured(tmp_path: Path) -> None:
    """As a host would of another version, whose payloads have other bytes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def pretend() -> None:
            sock, _ = server.accept()
            with Control(sock) as control:
                control.receive(Hello, 10)
                from swarm.bench.machine import Machine

                control.send(Ready("00" * 20, Machine.here()))

        thread = threading.Thread(target=pretend)
        thread.start()
        netting = Netting("127.0.0.1", server.getsockname()[1], 1000, 16 * KIB, 1, tmp_path)
        with pytest.raises(swarm.ProtocolError, match="another payload"):
            next(netting.measure(1, both=False, on_event=lambda *_: None))
        thread.join(30)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("nas", "nas", 6880),
        ("nas.lan:7000", "nas.lan", 7000),
        ("10.0.0.1:0", "10.0.0.1", 0),
        ("[::1]:7000", "::1", 7000),
        ("[::1]", "::1", 6880),
        ("fe80::1", "fe80::1", 6880),
    ],
)
def test_addresses(text: str, host: str, port: int) -> None:
    assert address(text) == (host, port)
