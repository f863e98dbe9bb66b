"""Work that makes no sense, or cannot be done here, is refused before anything is begun."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import swarm
from swarm.bench import network, work
from swarm.bench.work import Work


@pytest.mark.parametrize(
    "options",
    [
        {"size": 0}, {"files": 0}, {"size": 3, "files": 4}, {"seeders": 0}, {"leechers": 0},
        {"delay": -0.1}, {"loss": 1.0}, {"rate": 0}, {"delay": float("nan")},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("where", ["loopback", "namespaces"])
def test_nonsense(options: dict[str, object], where: str) -> None:
    with pytest.raises(swarm.ConfigError):
        Work(**{"where": where} | options)


@pytest.mark.parametrize("line", [{"delay": 0.1}, {"loss": 0.1}, {"rate": 1e6}], ids=str)
def test_loopback_is_no_line(line: dict[str, float]) -> None:
    with pytest.raises(swarm.ConfigError, match="namespaces"):
        Work(where="loopback", **line)


def test_namespaces_only_where_there_are_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network.os, "geteuid", lambda: 1000)
    assert work.where() == "loopback"
    with pytest.raises(swarm.ConfigError, match="need root"):
        Work(where="namespaces")


@pytest.mark.parametrize(("pooled", "hosts"), [(False, 5), (True, 2)])
def test_hosts(pooled: bool, hosts: int, require: Callable[[str | None], None]) -> None:
    asked = Work(where="loopback", size=10, seeders=2, leechers=3, pooled=pooled)
    assert asked.total == 30
    with asked.place() as place:
        assert len(place.hosts) == hosts
        assert {host.address for host in place.hosts} == {"127.0.0.1"}
    require(network.missing())
    with Work(where="namespaces", seeders=2, leechers=3, pooled=pooled).place() as place:
        assert len({host.address for host in place.hosts}) == hosts
