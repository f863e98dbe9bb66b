"""The choker, in virtual time: who gets a slot, for how long, and that everybody's turn comes."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.engine.choker import HURRY, LONGEST_STAY, ROUND, TURN, Choker, ChokeView

PEER = ChokeView(
    key=0, interested=True, unchoked=False, down_rate=0, up_rate=0, snubbed=False, joined=0
)


def crowd(n: int, **facts: object) -> dict[int, ChokeView]:
    return {key: replace(PEER, key=key, **facts) for key in range(n)}


def step(choker: Choker, peers: dict[int, ChokeView], now: float, *, seeding: bool) -> set[int]:
    chosen = choker.run(now, list(peers.values()), seeding=seeding)
    assert len(chosen) <= choker.slots
    assert all(peers[key].interested for key in chosen)
    for key, peer in peers.items():
        peer.unchoked = key in chosen
    return chosen


def test_those_who_give_most_are_rewarded_and_one_is_tried() -> None:
    choker, peers = Choker(4, random.Random(1)), crowd(20)
    for key in (3, 7, 11, 15):
        peers[key].down_rate = 1000.0 * key
    tried = set()
    for i in range(3 * 40):
        chosen = step(choker, peers, i * ROUND, seeding=False)
        assert {7, 11, 15} <= chosen
        tried |= chosen - {7, 11, 15}
    assert tried == set(peers) - {7, 11, 15}


def test_an_optimistic_unchoke_lasts_its_turn_though_others_arrive() -> None:
    choker, peers = Choker(1, random.Random(5)), crowd(4)
    held = []
    for i in range(60):
        peers[100 + i] = replace(PEER, key=100 + i, joined=i * ROUND)
        held.append(*step(choker, peers, i * ROUND, seeding=False))
    per_turn = [set(held[i : i + 3]) for i in range(0, 60, 3)]
    assert all(len(turn) == 1 for turn in per_turn)
    assert len(set.union(*per_turn)) == 20


def test_a_new_peer_is_three_times_as_likely_to_be_next() -> None:
    next_up: Counter[int] = Counter()
    for seed in range(3000):
        choker, peers = Choker(1, random.Random(seed)), crowd(5)
        step(choker, peers, 0.0, seeding=False)
        peers[9] = replace(PEER, key=9)
        for i in range(1, 4):
            chosen = step(choker, peers, i * ROUND, seeding=False)
        next_up.update(chosen)
    # In front of the one that has the slot now (3 of 8), or right behind it (1 of 8).
    assert 0.45 < next_up[9] / 3000 < 0.55


def test_a_snubbing_peer_earns_nothing() -> None:
    choker, peers = Choker(2, random.Random(0)), crowd(10)
    peers[1].down_rate, peers[1].snubbed = 9e9, True
    peers[2].down_rate = 1.0
    seen = [step(choker, peers, i * ROUND, seeding=False) for i in range(30)]
    assert all(2 in chosen for chosen in seen)
    assert sum(1 in chosen for chosen in seen) <= 6


def test_a_slot_that_falls_free_is_filled_at_once_and_nothing_else_moves() -> None:
    for seeding in (False, True):
        choker, peers = Choker(4, random.Random(3)), crowd(12)
        before = step(choker, peers, 0.0, seeding=seeding)
        assert choker.deadline() == ROUND
        gone = min(before)
        del peers[gone]
        choker.hurry(2.0)
        assert choker.deadline() == 2.0
        peers[max(before)].down_rate = 0.0
        after = step(choker, peers, 2.0, seeding=seeding)
        assert len(after) == 4
        assert before - {gone} <= after
        assert choker.deadline() == ROUND


def test_the_first_to_be_interested_does_not_wait_for_its_unchoke() -> None:
    choker, peers = Choker(4, random.Random(0)), crowd(1, interested=False)
    step(choker, peers, 0.0, seeding=True)
    peers[0].interested = True
    choker.hurry(0.001)
    assert choker.deadline() == 0.001
    assert step(choker, peers, 0.001, seeding=True) == {0}


@pytest.mark.parametrize("others", [0, 2])
def test_pw31_flapping_interest_costs_few_runs(others: int) -> None:
    choker, peers = Choker(2, random.Random(0)), crowd(1 + others)
    runs, now = 0, 0.0
    for _ in range(10_000):
        now += 0.001
        peers[0].interested = not peers[0].interested
        choker.hurry(now)
        if choker.deadline() <= now:
            step(choker, peers, now, seeding=False)
            runs += 1
    assert runs <= 2 * 10 / HURRY + 1


def test_a_seed_keeps_fast_takers_longer_but_not_for_ever() -> None:
    choker, peers = Choker(4, random.Random(2)), crowd(16)
    peers[0].up_rate = 1e6
    served: Counter[int] = Counter()
    stay = longest = 0
    for i in range(3 * 200):
        chosen = step(choker, peers, i * ROUND, seeding=True)
        served.update(chosen)
        stay = stay + 1 if 0 in chosen else 0
        longest = max(longest, stay)
    others = [served[key] for key in range(1, 16)]
    assert served[0] > 1.3 * max(others)
    assert max(others) < 1.5 * min(others)
    assert (longest - 1) * ROUND <= LONGEST_STAY


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 6), st.integers(1, 30), st.booleans(), st.integers(0, 2**32))
def test_nobody_starves(slots: int, n: int, seeding: bool, seed: int) -> None:
    rng = random.Random(seed)
    choker, peers = Choker(slots, random.Random(seed)), crowd(n)
    last = dict.fromkeys(peers, 0.0)
    turns = -(-n // max(slots // 2, 1)) if seeding else 2 * n
    bound = (turns + 1) * (TURN + ROUND)  # runs are up to a round late here
    now = 0.0
    while now < 2 * bound:
        for peer in peers.values():
            peer.up_rate = rng.random() if peer.unchoked else 0
            peer.down_rate = rng.choice([0, 0, rng.random()])
        if not seeding:  # those who give nothing have the optimistic slot to wait for
            for peer in peers.values():
                peer.down_rate = peer.down_rate if peer.key < slots else 0
        for key in step(choker, peers, now, seeding=seeding):
            last[key] = now
        assert all(now - at <= bound for at in last.values())
        now += rng.choice([ROUND, ROUND, 3.0])


@settings(deadline=None)
@given(st.integers(1, 5), st.integers(0, 2**32), st.booleans())
def test_slots_hold_and_are_used_whatever_happens(slots: int, seed: int, seeding: bool) -> None:
    rng = random.Random(seed)
    choker, peers, now = Choker(slots, rng), {}, 0.0
    for key in range(60):
        now += rng.choice([0.0, 0.5, 10.0, 30.0])
        peers[key] = replace(PEER, key=key, joined=now)
        for peer in peers.values():
            peer.interested = rng.random() < 0.7
            peer.snubbed = rng.random() < 0.2
            peer.down_rate, peer.up_rate = rng.random(), rng.random()
        if len(peers) > 10:
            del peers[rng.choice(list(peers))]
        chosen = step(choker, peers, now, seeding=seeding)
        assert len(chosen) == min(slots, sum(peer.interested for peer in peers.values()))
