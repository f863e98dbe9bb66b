"""How a session writes: the ways there are, and a disk on which it does not fit."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import swarm


@pytest.fixture
def small(tmp_path):
    """A file system of 2 MiB."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting needs root and Linux")
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this system does not let us mount a tmpfs")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_what_does_not_fit_is_not_begun(lab, sample, small):
    """Nothing is fetched, the error says how much is missing, and `resume` looks again."""
    length = sample.meta.length
    seeding, _ = await lab.seed(sample)
    leeching = await lab.open()
    other = small / "other"
    other.write_bytes(bytes((2 << 20) - length // 2))
    torrent = await leeching.add(sample.meta, dest=small, peers=[lab.addr(seeding)])
    with pytest.raises(swarm.TorrentFailed) as caught:
        await torrent.wait_done()
    error = caught.value.__cause__
    assert isinstance(error, swarm.DiskFull)
    assert error.needed == length
    assert 0 < error.free < length
    assert torrent.stats.downloaded == 0
    assert [path for path in small.rglob("*") if path.is_file() and path.stat().st_size] == [other]
    other.unlink()
    await torrent.resume()
    await torrent.wait_done()
    assert sample.on_disk(small) == sample.data
    await leeching.aclose()


@pytest.mark.parametrize("turned", [{"allocation": "none"}, {"direct": "always"}])
async def test_every_way_to_write_brings_the_same_bytes(lab, sample, tmp_path, turned):
    seeding, _ = await lab.seed(sample)
    leeching = await lab.open(**turned)
    torrent = await leeching.add(sample.meta, dest=tmp_path / "to", peers=[lab.addr(seeding)])
    await torrent.wait_done()
    assert sample.on_disk(tmp_path / "to") == sample.data


@pytest.mark.parametrize("turned", [{"allocation": "some"}, {"direct": True}, {"direct": ""}])
def test_ways_to_write_that_there_are_not(turned):
    with pytest.raises(swarm.ConfigError, match="must be one of"):
        swarm.Settings(**turned)
