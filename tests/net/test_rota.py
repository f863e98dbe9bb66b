"""Whose turn it is to send, and how much goes in one turn of the loop."""

from __future__ import annotations

import asyncio

from swarm.net.rota import BLOCKS_PER_TURN, Rota


class Sender:
    """Sends `todo` blocks in batches of `batch`, as a connection does."""

    def __init__(self, rota: Rota, log: list[Sender], todo: int, batch: int) -> None:
        self.rota, self.log, self.todo, self.batch = rota, log, todo, batch

    def serve(self) -> None:
        while self.todo and self.rota.admits(self):
            blocks = min(self.batch, self.todo)
            self.todo -= blocks
            self.log.append(self)
            self.rota.sent(blocks)


async def turns(senders: list[Sender], log: list[Sender]) -> list[list[Sender]]:
    """Who sent in each turn of the loop, until all is sent."""
    for sender in senders:
        sender.serve()
    found = []
    while log:
        found.append(list(log))
        log.clear()
        await asyncio.sleep(0)
    return found


async def test_one_alone_sends_all_that_a_turn_may_be() -> None:
    log: list[Sender] = []
    sender = Sender(Rota(), log, 3 * BLOCKS_PER_TURN, 16)
    found = await turns([sender], log)
    assert [len(turn) * 16 for turn in found] == [BLOCKS_PER_TURN] * 3
    assert sender.todo == 0


async def test_many_share_each_turn_and_are_served_alike() -> None:
    log: list[Sender] = []
    rota = Rota()
    senders = [Sender(rota, log, 640, 64) for _ in range(20)]
    sent = dict.fromkeys(senders, 0)
    for turn in await turns(senders, log):
        assert len(turn) * 64 <= BLOCKS_PER_TURN
        for sender in turn:
            sent[sender] += 64
        assert max(sent.values()) - min(sent.values()) <= BLOCKS_PER_TURN + 64
    assert set(sent.values()) == {640}


async def test_who_has_nothing_more_to_send_holds_up_nobody() -> None:
    log: list[Sender] = []
    rota = Rota()
    senders = [Sender(rota, log, 64, 64) for _ in range(5)]
    for sender in senders:
        sender.serve()
    senders[3].todo = 0  # it was closed
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [sender.todo for sender in senders] == [0] * 5
