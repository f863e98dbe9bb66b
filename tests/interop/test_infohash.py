"""What swarm creates is what libtorrent creates and reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from lab import torrent
from lab.sample import KIB, single_file

import swarm
from swarm.bench.clients import Libtorrent

pytestmark = pytest.mark.interop
URL = "http://127.0.0.1:6969/announce"


@pytest.mark.parametrize("shape", ["folder", "file"])
async def test_same_infohash_as_libtorrent(
    shape: str, hard_folder: Path, tmp_path: Path, require: Callable[[str | None], None]
) -> None:
    require(Libtorrent.missing())
    import libtorrent as lt

    root = hard_folder if shape == "folder" else single_file(tmp_path)
    ours = await swarm.Metainfo.create(root, trackers=[URL], piece_length=64 * KIB)
    order = ["/".join(file.path[1:]) for file in ours.files]
    theirs = lt.torrent_info(lt.bdecode(torrent.make(root, URL, 64 * KIB, order)))
    read = lt.torrent_info(lt.bdecode(ours.to_bytes()))
    assert (
        ours.infohash.v1 == theirs.info_hashes().v1.to_bytes() == read.info_hashes().v1.to_bytes()
    )
    assert read.total_size() == ours.length
