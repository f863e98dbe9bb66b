"""Fixtures of all tests. Async tests run on every event loop there is: stock asyncio and uvloop."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from faults import FaultyDisk

# Slow oracles (`reference`), the faulty disk (`faults`) and the stage for whole clients (`lab`) are shared
# between tests. Last in the path: they hide nothing.
sys.path.append(str(Path(__file__).parent))

# No test reaches for the DHT of the world, nor does a process that one starts: a test of ours asks for `dht`.
os.environ["SWARM_NO_DHT"] = "1"

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, LoopFactory]:
    """Each async test once per loop; `pytest.mark.asyncio(loop_factories=["asyncio"])` picks."""
    factories: dict[str, LoopFactory] = {"asyncio": asyncio.new_event_loop}
    if sys.platform != "win32":
        import uvloop

        factories["uvloop"] = uvloop.new_event_loop
    return factories


@pytest.fixture(scope="session")
def require() -> Callable[[str | None], None]:
    """Skips for the given reason, if any; fails instead where SWARM_REQUIRE_CLIENTS is set."""

    def check(missing: str | None) -> None:
        if missing and os.environ.get("SWARM_REQUIRE_CLIENTS", "0") not in ("", "0"):
            pytest.fail(f"SWARM_REQUIRE_CLIENTS is set, but {missing}", pytrace=False)
        if missing:
            pytest.skip(missing)

    return check


@pytest.fixture
def faulty(require: Callable[[str | None], None], tmp_path: Path) -> Iterator[FaultyDisk]:
    """A disk, mounted below `tmp_path`, that fails when it is told to."""
    from faults import FaultyDisk

    require(FaultyDisk.missing())
    with FaultyDisk(tmp_path / "faulty") as disk:
        yield disk


@pytest.fixture
def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody had a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def dht(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions have a DHT, in which nobody is looked for beyond this machine."""
    from swarm.net import dht
    from swarm.proto.tracker import is_local, packed_of

    find = dht.find

    async def find_here(host: str, port: int) -> list[tuple[str, int]]:
        assert packed_of(host.encode()), f"a test looked for {host}"
        assert is_local(host), f"a test looked for {host}"
        return await find(host, port)

    monkeypatch.delenv("SWARM_NO_DHT")
    monkeypatch.setattr(dht, "find", find_here)


@pytest.fixture(scope="session")
def hard_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 MiB that clients are known to get wrong (see `lab.sample`). To be read, not written."""
    from lab.sample import hard_folder

    return hard_folder(tmp_path_factory.mktemp("sample"))
