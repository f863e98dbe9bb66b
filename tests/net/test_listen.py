"""Taking connections in: all of them, a few in each turn of the loop, until it is closed."""

from __future__ import annotations

import asyncio
import socket

import pytest

from swarm.net.listen import AT_ONCE, listen


async def test_many_at_once_are_taken_in_over_several_turns() -> None:
    loop = asyncio.get_running_loop()
    made: list[int] = []
    turn = 0

    class Peer(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            made.append(turn)
            transport.close()

    listener = await listen(Peer, "127.0.0.1", 0)
    callers = [socket.create_connection(("127.0.0.1", listener.port)) for _ in range(50)]
    try:
        async with asyncio.timeout(10):
            while len(made) < len(callers):
                await asyncio.sleep(0)
                turn += 1
        assert max(made.count(each) for each in made) <= AT_ONCE
        for caller in callers:
            caller.setblocking(False)
            async with asyncio.timeout(10):
                assert await loop.sock_recv(caller, 1) == b""
    finally:
        listener.close()
        for caller in callers:
            caller.close()


async def test_after_the_end_nobody_comes_in() -> None:
    listener = await listen(asyncio.Protocol, "127.0.0.1", 0)
    await asyncio.sleep(0)
    listener.close()
    async with asyncio.timeout(10):
        while True:
            await asyncio.sleep(0)
            try:
                socket.create_connection(("127.0.0.1", listener.port)).close()
            except ConnectionRefusedError:
                break


async def test_a_port_that_is_taken_is_an_error() -> None:
    listener = await listen(asyncio.Protocol, "127.0.0.1", 0)
    try:
        with pytest.raises(OSError, match=r".*"):
            await listen(asyncio.Protocol, "127.0.0.1", listener.port)
    finally:
        listener.close()
