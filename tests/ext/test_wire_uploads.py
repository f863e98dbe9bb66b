"""Uploading: the peer's requests in, and out to whoever reads the disk."""

from __future__ import annotations

import importlib.util
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm import _wire
from swarm._fill import BLOCK_SIZE
from swarm._wire import CHOKED_REQUEST_LIMIT, REQUESTS, Wire
from swarm.errors import ProtocolError

_spec = importlib.util.spec_from_file_location(
    "reference_wire", Path(__file__).parents[1] / "reference" / "wire.py"
)
assert _spec is not None
assert _spec.loader is not None
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)

Connect = Callable[..., Wire]
Request = tuple[int, int, int]


def packed(*wanted: Request) -> bytes:
    return b"".join(struct.pack("<3I", *one) for one in wanted)


def ask(*wanted: Request) -> bytes:
    return b"".join(reference.request(*one) for one in wanted)


def rejects(wire: Wire) -> list[Request]:
    """What it rejects in this write."""
    frames = reference.split(wire.take_output())
    numbers = [p for kind, p in frames if kind == reference.REJECT]
    return [struct.unpack(">3I", p) for p in numbers]


@pytest.fixture(params=[False, True], ids=["plain", "fast"])
def fast(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def server(connect: Connect, fast: bool) -> Wire:
    """A wire that has pieces 0 and 3 and lets its peer have them."""
    wire = connect(own={0, 3}, last=20000, fast=fast)
    wire.choke(False)
    wire.take_output()
    return wire


def test_requests_come_out_in_order(server: Wire) -> None:
    wanted = [(0, 0, BLOCK_SIZE), (3, 16384, 3616), (0, 1, 32767), (3, 19999, 1)]
    assert server.receive(ask(*wanted)) == REQUESTS
    assert server.wants == 4
    assert server.take_requests(1) == packed(wanted[0])
    assert server.take_requests(2) == packed(
        wanted[1]
    )  # the next would make it more than two blocks
    assert server.wants == 2
    assert server.take_requests(2) == packed(*wanted[2:])
    assert server.take_requests(100) == b""
    assert server.noise == 0
    assert server.take_output() == b""


@given(st.lists(st.integers(-50, 60), max_size=60))
def test_the_queue_is_a_queue(connect: Connect, moves: list[int]) -> None:
    wire = connect(own={0}, request_queue=100)
    wire.choke(False)
    queue: list[Request] = []
    sent = 0
    for move in moves:
        if move > 0:
            more = [(0, sent + i, 1) for i in range(min(move, 100 - len(queue)))]
            sent += len(more)
            wire.receive(ask(*more))
            queue += more
        elif move % 3 and queue:
            at = queue.pop(-move % len(queue))
            wire.receive(reference.cancel(*at))
        else:
            # One byte each: a block's worth is more than there are, and at least one always comes.
            taken = min(1, len(queue)) if move % 2 else len(queue)
            assert wire.take_requests(0 if move % 2 else 1) == packed(*queue[:taken])
            del queue[:taken]
        assert wire.wants == len(queue)
    assert wire.take_requests(1000) == packed(*queue)


def test_a_cancel_takes_one_request_back(server: Wire, fast: bool) -> None:
    wanted = [(0, 0, 9), (0, 9, 9), (0, 9, 9), (0, 18, 9)]
    server.receive(ask(*wanted) + reference.cancel(0, 9, 9))
    assert server.take_requests(9) == packed(wanted[0], wanted[1], wanted[3])
    assert rejects(server) == ([(0, 9, 9)] if fast else [])
    server.receive(reference.cancel(0, 9, 9))  # gone by now
    assert server.noise == 1
    assert rejects(server) == []


def test_a_cancel_must_match(server: Wire) -> None:
    server.receive(ask((0, 0, 9)))
    for other in [(3, 0, 9), (0, 1, 9), (0, 0, 8), (99, 2**32 - 1, 2**32 - 1)]:
        server.receive(reference.cancel(*other))
    assert server.wants == 1
    assert server.noise == 4


def test_a_choke_empties_the_queue(server: Wire, fast: bool) -> None:
    wanted = [(0, 0, 9), (3, 9, 9)]
    server.receive(ask(*wanted))
    server.choke(True)
    output = server.take_output()
    assert output.startswith(reference.message(reference.CHOKE))
    assert output[5:] == (b"".join(reference.reject(*one) for one in wanted) if fast else b"")
    assert server.wants == 0
    server.choke(False)
    assert server.take_requests(9) == b""


def test_a_piece_that_is_not_here(server: Wire, fast: bool) -> None:
    assert server.receive(ask((1, 0, 9))) == 0
    assert server.wants == 0
    assert server.noise == 1
    assert rejects(server) == ([(1, 0, 9)] if fast else [])


def test_refused_requests(server: Wire, fast: bool) -> None:
    wanted = [(0, 0, 9), (3, 2**14, 99)]
    server.refuse(packed(*wanted))
    assert rejects(server) == (wanted if fast else [])
    server.refuse(b"")
    assert server.take_output() == b""


def test_pw17_the_queue_has_a_limit(connect: Connect, fast: bool) -> None:
    wire = connect(own={0}, fast=fast, request_queue=10)
    wire.choke(False)
    wire.take_output()
    wanted = [(0, i, 1) for i in range(11)]
    wire.receive(ask(*wanted[:10]))
    if fast:
        wire.receive(ask(wanted[10]))
        assert wire.wants == 10
        assert rejects(wire) == [wanted[10]]
        assert wire.noise == 1
    else:
        with pytest.raises(ProtocolError, match="10 requests"):
            wire.receive(ask(wanted[10]))
    assert wire.take_requests(99) == packed(*wanted[:10])


def test_pw18_requests_while_choked(connect: Connect, fast: bool) -> None:
    wire = connect(own={0}, fast=fast)
    one = (0, 0, 9)
    for _ in range(2 * CHOKED_REQUEST_LIMIT):  # they crossed with our choke
        wire.receive(ask(one))
    assert wire.wants == 0
    assert rejects(wire) == ([one] * (2 * CHOKED_REQUEST_LIMIT) if fast else [])
    wire.choke_settled = True
    wire.receive(ask(*[one] * CHOKED_REQUEST_LIMIT))
    with pytest.raises(ProtocolError, match="choked"):
        wire.receive(ask(one))


def test_pw18_an_unchoke_starts_anew(connect: Connect) -> None:
    wire = connect(own={0})
    one = (0, 0, 9)
    wire.choke_settled = True
    wire.receive(ask(*[one] * CHOKED_REQUEST_LIMIT))
    wire.choke(False)
    wire.choke(True)
    assert not wire.choke_settled
    wire.choke_settled = True
    wire.receive(ask(*[one] * CHOKED_REQUEST_LIMIT))
    with pytest.raises(ProtocolError):
        wire.receive(ask(one))


def test_pw19_an_allowed_fast_piece_is_served_three_times(connect: Connect) -> None:
    wire = connect(own={0, 3}, fast=True)
    wire.send_allowed_fast([0, 1])
    assert wire.take_output() == reference.allowed_fast(0) + reference.allowed_fast(1)
    one = (0, 0, BLOCK_SIZE)
    assert wire.receive(ask(*[one] * 6)) == REQUESTS  # two blocks, three times
    assert wire.take_requests(99) == packed(*[one] * 6)
    assert wire.take_output() == b""
    assert wire.receive(ask(one)) == 0
    assert rejects(wire) == [one]
    wire.receive(ask((3, 0, 9)))  # never was allowed
    assert rejects(wire) == [(3, 0, 9)]
    wire.choke_settled = True
    with pytest.raises(ProtocolError, match="choked"):
        wire.receive(ask(*[one] * (CHOKED_REQUEST_LIMIT + 1)))


def test_pw19_unchoked_requests_cost_nothing_of_it(connect: Connect) -> None:
    wire = connect(own={0}, fast=True)
    wire.send_allowed_fast([0])
    one = (0, 0, 9)
    wire.choke(False)
    wire.receive(ask(*[one] * 50))
    assert wire.wants == 50
    wire.choke(True)
    wire.receive(ask(*[one] * 7))
    assert wire.wants == 6


def test_allowed_fast_needs_the_extension_and_a_piece(connect: Connect) -> None:
    plain = connect()
    plain.send_allowed_fast([0])
    assert plain.take_output() == b""
    with pytest.raises(IndexError):
        connect(fast=True).send_allowed_fast([4])


@pytest.mark.parametrize("length", [1, _wire.REQUEST_LIMIT])
def test_lengths_that_are_served(connect: Connect, length: int) -> None:
    wire = connect(own={0}, piece_length=1 << 18)
    wire.choke(False)
    assert wire.receive(ask((0, (1 << 18) - length, length))) == REQUESTS
