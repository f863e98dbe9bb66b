"""What the tracker knows, and whom it names to whom; the clock is a number."""

from ipaddress import ip_address, ip_network
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.engine import registry as module
from swarm.engine.registry import DEFAULT_NUMWANT, MAX_NUMWANT, Registry
from swarm.errors import ConfigError, ProtocolError
from swarm.proto.tracker import AnnounceRequest, Counts, Event

HASH = bytes(range(20))


def request(
    port: int = 6881, left: int = 1, event: Event = "", numwant: int = -1, **more: object
) -> AnnounceRequest:
    peer_id = port.to_bytes(20, "big")
    return AnnounceRequest(HASH, peer_id, port, left=left, event=event, numwant=numwant, **more)  # type: ignore[arg-type]


def ports(registry: Registry, asked: AnnounceRequest, now: float = 0.0) -> set[int]:
    return {peer.port for peer in registry.announce(asked, "1.2.3.4", now).peers}


def test_peers_learn_of_each_other_but_not_of_themselves() -> None:
    registry = Registry(Random(0))
    assert ports(registry, request(1)) == set()
    assert ports(registry, request(2)) == {1}
    assert ports(registry, request(1)) == {2}


def test_seeds_are_not_named_to_seeds() -> None:
    registry = Registry(Random(0))
    registry.announce(request(1, left=0), "1.2.3.4", 0.0)
    registry.announce(request(2), "1.2.3.4", 0.0)
    assert ports(registry, request(3, left=0)) == {2}
    assert ports(registry, request(2)) == {1, 3}


def test_events_keep_the_counts() -> None:
    registry = Registry(Random(0))
    registry.announce(request(1, event="started"), "1.2.3.4", 0.0)
    registry.announce(request(2, left=0, event="started"), "1.2.3.4", 0.0)
    assert registry.counts(HASH) == Counts(1, 0, 1)
    registry.announce(request(1, left=0, event="completed"), "1.2.3.4", 1.0)
    registry.announce(request(1, left=0, event="completed"), "1.2.3.4", 2.0)
    assert registry.counts(HASH) == Counts(2, 1, 0)
    assert registry.announce(request(2, event="stopped"), "1.2.3.4", 3.0).peers == ()
    assert registry.counts(HASH) == Counts(1, 1, 0)
    assert (registry.announces, registry.completed) == (5, 1)


def test_peers_expire_after_two_intervals() -> None:
    registry = Registry(Random(0), interval=100)
    registry.announce(request(1), "1.2.3.4", 0.0)
    registry.announce(request(2), "1.2.3.4", 150.0)
    assert ports(registry, request(3), 200.0) == {1, 2}
    assert ports(registry, request(3), 201.0) == {2}
    assert registry.scrape(HASH, 360.0) == Counts(0, 0, 1)
    assert registry.scrape(HASH, 402.0) == Counts(0, 0, 0)


def test_numwant_is_capped() -> None:
    registry = Registry(Random(0))
    for port in range(1000, 1000 + MAX_NUMWANT + 50):
        registry.announce(request(port, numwant=0), "1.2.3.4", 0.0)
    assert len(ports(registry, request(1, numwant=10_000))) == MAX_NUMWANT
    assert len(ports(registry, request(1))) == DEFAULT_NUMWANT
    assert len(ports(registry, request(1, numwant=3))) == 3
    assert ports(registry, request(1, numwant=0)) == set()


def test_budgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SWARMS", 2)
    monkeypatch.setattr(module, "MAX_SWARM_PEERS", 3)
    monkeypatch.setattr(module, "MAX_PEERS", 4)
    registry = Registry(Random(0), interval=100)
    for port in range(1, 9):
        registry.announce(request(port), "1.2.3.4", 0.0)
    assert registry.counts(HASH) == Counts(0, 0, 3)
    other = AnnounceRequest(bytes(20), bytes(20), 1, left=1)
    registry.announce(other, "1.2.3.4", 0.0)
    registry.announce(other, "1.2.3.5", 0.0)
    assert registry.counts(bytes(20)) == Counts(0, 0, 1)
    third = AnnounceRequest(bytes([1]) * 20, bytes(20), 1, left=1)
    with pytest.raises(ProtocolError, match="full"):
        registry.announce(third, "1.2.3.4", 0.0)
    registry.announce(third, "1.2.3.4", 201.0)
    assert registry.counts(HASH) == registry.counts(bytes(20)) == Counts(0, 0, 0)


@pytest.mark.parametrize(
    ("host", "entered"), [("1.2.3.4", "1.2.3.4"), ("127.0.0.1", "9.9.9.9"), ("10.0.0.7", "9.9.9.9")]
)
def test_claimed_addresses_count_only_from_neighbours(host: str, entered: str) -> None:
    registry = Registry(Random(0))
    registry.announce(request(1, ip="9.9.9.9"), host, 0.0)
    (peer,) = registry.announce(request(2), "1.2.3.4", 0.0).peers
    assert peer.address == ip_address(entered).packed


def test_allow() -> None:
    registry = Registry(Random(0), allow=[ip_network("10.0.0.0/8"), ip_network("fd00::/8")])
    registry.announce(request(1), "10.1.2.3", 0.0)
    registry.announce(request(1), "fd00::1", 0.0)
    for host in ("1.2.3.4", "2001:db8::1"):
        with pytest.raises(ProtocolError, match="not allowed"):
            registry.announce(request(1), host, 0.0)
    assert registry.announces == 2


def test_on_announce_sees_events_and_where_they_came_from() -> None:
    seen: list[tuple[str, str]] = []
    registry = Registry(Random(0), on_announce=lambda r, host: seen.append((r.event, host)))
    registry.announce(request(1, event="started"), "1.2.3.4", 0.0)
    registry.announce(request(1, event="stopped"), "1.2.3.4", 0.0)
    assert seen == [("started", "1.2.3.4"), ("stopped", "1.2.3.4")]


def test_intervals_are_checked() -> None:
    assert Registry(Random(0), interval=100).min_interval == 50
    for interval, least in ((0, None), (10, 11), (10, -1)):
        with pytest.raises(ConfigError):
            Registry(Random(0), interval=interval, min_interval=least)


ANNOUNCES = st.lists(
    st.tuples(
        st.integers(0, 80),
        st.integers(1, 6),
        st.integers(0, 1),
        st.sampled_from(["", "started", "completed", "stopped"]),
    ),
    max_size=60,
)


@given(ANNOUNCES)
def test_counts_agree_with_a_list_of_everything(
    announces: list[tuple[int, int, int, Event]],
) -> None:
    registry = Registry(Random(0), interval=50)
    known: dict[int, tuple[int, float]] = {}
    now = 0.0
    for step, port, left, event in announces:
        now += step
        answer = registry.announce(request(port, left=left, event=event), "1.2.3.4", now)
        known = {p: (rest, at) for p, (rest, at) in known.items() if at >= now - 100}
        known.pop(port, None)
        others = {p for p, (rest, _) in known.items() if left or rest}
        assert {p.port for p in answer.peers} == (set() if event == "stopped" else others)
        if event != "stopped":
            known[port] = left, now
        counts = registry.scrape(HASH, now)
        seeds = sum(not rest for rest, _ in known.values())
        assert (counts.seeds, counts.leechers) == (seeds, len(known) - seeds)
