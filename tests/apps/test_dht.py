"""Peers from the DHT on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from swarm.apps.exits import Exit


def test_a_download_finds_its_seeder_without_a_tracker(
    programs, torrent_file: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWARM_NO_DHT", "0")  # each program is given a node of this machine

    def seed(name: str, data: bytes, node: str) -> tuple[Path, str]:
        torrent = torrent_file(name, data).rename(tmp_path / f"{name}.torrent")
        (tmp_path / name).write_bytes(data)
        where = ("--listen", "127.0.0.1:0", "--state-dir", tmp_path / f"state of {name}")
        process = programs.start("seed", torrent, *where, "--dht-bootstrap", node, "--json")
        for line in process.stdout:
            said = json.loads(line)
            if said["type"] == "seeding":
                return torrent, f"{said['host']}:{said['port']}"
        raise AssertionError(process.stderr.read())

    _, node = seed("other", b"o" * 1000, "127.0.0.1:9")
    wanted, _ = seed("wanted", b"w" * 100_000, node)
    where = ("--listen", "127.0.0.1:0", "--dht-bootstrap", node, "--output", tmp_path / "here")
    done = programs.run("download", wanted, *where)
    assert done.returncode == Exit.OK, done.stderr
    assert (tmp_path / "here" / "wanted").read_bytes() == b"w" * 100_000


def test_a_node_to_begin_with_is_a_host_and_a_port(programs, torrent_file) -> None:
    torrent = torrent_file()
    for wrong in ("router.example", "127.0.0.1:0", "::1:5"):
        done = programs.run("download", torrent, "--dht-bootstrap", wrong)
        assert done.returncode == Exit.USAGE
        assert b"not HOST:PORT" in done.stderr
