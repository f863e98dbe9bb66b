"""Claims of one torrent in one folder: one owner at a time, and nothing left of what is forgotten."""

from __future__ import annotations

import subprocess
import sys

import pytest

import swarm
from swarm.claims import Claims
from swarm.engine.selection import Selection
from swarm.store.places import Places

posix = pytest.mark.skipif(sys.platform == "win32", reason="locks of POSIX")


def claims_of(meta, folder, dest):
    return Claims(folder / "state", meta, Places(meta.files, dest), Selection(meta))


@posix
def test_one_owner_at_a_time(sample, tmp_path):
    one, two = (claims_of(sample.meta, tmp_path, tmp_path) for _ in range(2))
    one.acquire()
    with pytest.raises(swarm.StorageError, match="another") as caught:
        two.acquire()
    assert caught.value.operation == "lock"
    one.release()
    two.acquire()
    two.release()
    two.release()


@posix
def test_a_process_that_died_owns_nothing(sample, tmp_path):
    path = tmp_path / "t.torrent"
    path.write_bytes(sample.meta.to_bytes())
    code = """if True:
        import os, signal, sys
        from pathlib import Path
        import swarm
        from swarm.claims import Claims
        from swarm.engine.selection import Selection
        from swarm.store.places import Places
        meta, here = swarm.Metainfo.load(sys.argv[1]), Path(sys.argv[2])
        Claims(here / "state", meta, Places(meta.files, here), Selection(meta)).acquire()
        os.kill(os.getpid(), signal.SIGKILL)
    """
    subprocess.run([sys.executable, "-c", code, str(path), str(tmp_path)], check=False)
    claims = claims_of(sample.meta, tmp_path, tmp_path)
    claims.acquire()
    claims.release()


def test_folders_do_not_share_claims(sample, tmp_path):
    for place in ("one", "two"):
        sample.write(tmp_path / place)
    full = b"\xff" * 4
    assert sample.meta.piece_count == 32
    one, two = (claims_of(sample.meta, tmp_path, tmp_path / p) for p in ("one", "two"))
    one.save(full, Places(sample.meta.files, tmp_path / "one").survey(), clean=True)
    assert one.load()[:2] == (full, bytes(4))
    assert two.load()[:2] == (bytes(4), full)  # nothing to believe, all to be hashed
    one.forget()
    assert one.load()[:2] == (bytes(4), full)
    one.forget()


def test_claims_that_cannot_be_saved(sample, tmp_path):
    (tmp_path / "state").write_bytes(b"a file, not a folder")
    claims = claims_of(sample.meta, tmp_path, tmp_path)
    now = Places(sample.meta.files, tmp_path).survey()
    for act in (claims.acquire, lambda: claims.save(bytes(4), now, clean=True)):
        with pytest.raises(swarm.StorageError):
            act()
