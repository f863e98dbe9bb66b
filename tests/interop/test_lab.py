"""The laboratory by itself: where this fails, the other interop tests say nothing about swarm."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from lab.sample import Payload
from lab.stage import Stage

from swarm.bench.clients import FOREIGN, Libtorrent

pytestmark = [pytest.mark.interop, pytest.mark.timeout(90)]


def test_foreign_clients_serve_each_other(
    stage: Stage, folder: Payload, require: Callable[[str | None], None]
) -> None:
    for kind in FOREIGN:
        require(kind.missing())
    stage.seed(Libtorrent, folder)
    for leecher in [stage.leech(kind, folder) for kind in FOREIGN]:
        stage.finish(leecher)


def test_other_bytes_are_noticed(
    stage: Stage, file: Payload, require: Callable[[str | None], None]
) -> None:
    require(Libtorrent.missing())
    other = Payload(file.root, file.torrent, dict.fromkeys(file.digests, "another digest"))
    stage.seed(Libtorrent, file)
    with pytest.raises(AssertionError, match="other bytes"):
        stage.finish(stage.leech(Libtorrent, other))
