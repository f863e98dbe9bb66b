"""Whom a lookup asks, when it ends, and what liars can do to it."""

from __future__ import annotations

import random
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from swarm.engine.dht_id import bound_id, key_of
from swarm.engine.dht_lookup import (
    ALPHA,
    ANY_ID,
    MOST_ASKED,
    MOST_CONTACTS,
    MOST_DEAD,
    MOST_LOOSE,
    MOST_TOLD,
    Lookup,
    Step,
)
from swarm.engine.dht_table import K
from swarm.proto.krpc import Contact

TARGET = bytes([0x55]) * 20


def world(size: int, seed: int) -> list[Contact]:
    """Nodes with ids bound to their addresses, the closest to the target first."""
    rng = random.Random(seed)
    hosts = [f"{rng.randrange(11, 90)}.{n // 250}.{n % 250}.1" for n in range(size)]
    contacts = [Contact(bound_id(host, rng), (host, 6881)) for host in hosts]
    return sorted(contacts, key=lambda one: key_of(one.id) ^ key_of(TARGET))


def beside(number: int, host: str | None = None) -> Contact:
    """A made-up node, closer to the target than any honest one."""
    node_id = (key_of(TARGET) ^ (number + 1)).to_bytes(20, "big")
    return Contact(node_id, (host or f"66.{number // 250}.{number % 250}.1", 6881))


def finish(lookup: Lookup, answer: Callable[[Step], list[Contact] | None]) -> None:
    """Runs it to its end; who answers None does not."""
    while not lookup.done:
        steps = lookup.next()
        assert steps
        for step in steps:
            told = answer(step)
            if told is None:
                lookup.slow(step)
                lookup.lost(step)
            else:
                lookup.answered(step, step.id or key_to_id(step), told, b"token")


def key_to_id(step: Step) -> bytes:
    return random.Random(repr(step.addr)).randbytes(20)


@given(st.integers(20, 400), st.integers(0, 2**32))
def test_it_finds_the_closest_where_everybody_tells_the_truth(size: int, seed: int) -> None:
    contacts = world(size, seed)
    rng = random.Random(seed)
    lookup = Lookup(TARGET)
    lookup.add(rng.sample(contacts, 3))
    place = {one.addr: at for at, one in enumerate(contacts)}

    def answer(step: Step) -> list[Contact]:
        # Whom a node knows: its neighbours, and somebody on the way.
        at = place[step.addr]
        return contacts[max(0, at - 3) : at + 3] + contacts[at // 3 : at // 3 + 2]

    finish(lookup, answer)
    assert [step.addr for step in lookup.closest] == [one.addr for one in contacts[:K]]
    assert all(step.token == b"token" for step in lookup.closest)


def test_it_asks_a_few_at_a_time_and_goes_on_past_the_slow() -> None:
    lookup = Lookup(TARGET)
    lookup.add(world(40, 1))
    first = lookup.next()
    assert len(first) == ALPHA
    assert lookup.next() == []
    lookup.slow(first[0])
    assert len(lookup.next()) == 1
    assert not lookup.done
    lookup.answered(first[0], first[0].id, [])
    assert first[0] in lookup.closest


def test_nobody_is_known_by_another_name_than_was_said() -> None:
    lookup = Lookup(TARGET)
    [one, *_] = world(40, 1)
    lookup.add([one])
    [step] = lookup.next()
    assert not lookup.answered(step, bytes(20), world(40, 2), b"token")
    assert lookup.closest == []
    assert lookup.done


def test_an_address_to_begin_with_may_have_any_id() -> None:
    lookup = Lookup(TARGET)
    lookup.add([Contact(ANY_ID, ("9.9.9.9", 1))])
    [step] = lookup.next()
    contacts = world(3, 1)
    assert lookup.answered(step, bytes(20), contacts)
    assert {step.addr for step in lookup.next()} == {one.addr for one in contacts}


def test_dh11_of_one_subnet_only_one_is_asked() -> None:
    lookup = Lookup(TARGET)
    lookup.add([beside(n, f"66.6.6.{n + 1}") for n in range(200)] + world(20, 1))
    asked = []
    finish(lookup, lambda step: asked.append(step) or [])
    assert sum(step.addr[0].startswith("66.6.6.") for step in asked) == 1


def test_dh11_ids_without_their_address_are_half_of_the_closest_at_most() -> None:
    contacts = world(40, 1)
    lookup = Lookup(TARGET)
    lookup.add(contacts + [beside(n) for n in range(60)])
    finish(lookup, lambda step: [])
    loose = [step for step in lookup.closest if not step.bound]
    assert len(loose) == MOST_LOOSE
    honest = [step.addr for step in lookup.closest if step.bound]
    assert honest == [one.addr for one in contacts[: K - MOST_LOOSE]]


def test_who_names_only_the_dead_is_not_believed() -> None:
    contacts = world(40, 1)
    liar, honest = contacts[20], contacts[:20]
    lookup = Lookup(TARGET)
    lookup.add([liar])
    [step] = lookup.next()
    ghosts = world(4000, 7)[:MOST_TOLD]
    assert key_of(ghosts[-1].id) ^ key_of(TARGET) < key_of(honest[K].id) ^ key_of(TARGET)
    lookup.answered(step, step.id, ghosts)
    lookup.add(honest)
    dead = {one.addr for one in ghosts}
    asked: list[Step] = []

    def answer(step: Step) -> list[Contact] | None:
        asked.append(step)
        return None if step.addr in dead else []

    finish(lookup, answer)
    assert MOST_DEAD <= sum(step.addr in dead for step in asked) <= MOST_DEAD + ALPHA
    assert [step.addr for step in lookup.closest] == [one.addr for one in honest[:K]]


def test_a_lookup_that_is_led_on_for_ever_ends() -> None:
    lookup = Lookup(TARGET)
    lookup.add(world(8, 1))
    deeper = iter(beside(n) for n in range(60_000, 0, -1))
    finish(lookup, lambda step: [next(deeper) for _ in range(20)])
    assert K < lookup.asked <= MOST_ASKED
    assert len(lookup._steps) <= MOST_CONTACTS
