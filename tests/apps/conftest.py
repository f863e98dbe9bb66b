"""What the tests of the command line share: real processes, a sample and its torrent."""

from __future__ import annotations

import ctypes
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from swarm.proto.bencode import encode

ROOT = Path(__file__).parents[2]
PIECE = 16 * 1024


def _sigint_as_in_a_terminal() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # `&` in a script has children ignore it


def bound_by_modes() -> None:
    """Before a program starts: root, too, may only read what the modes of files say (Linux)."""
    if sys.platform == "linux":
        drop_from_bounding_set, dac_override, dac_read_search = 24, 1, 2
        for capability in (dac_override, dac_read_search):
            ctypes.CDLL(None).prctl(drop_from_bounding_set, capability, 0, 0, 0)


@dataclass
class Programs:
    """Starts `swarm` programs in one folder, with their state in it too; ends what is left."""

    folder: Path
    started: list[subprocess.Popen[str]]

    def environ(self, **extra: str) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if k not in ("CI", "NO_COLOR", "SWARM_DEBUG")}
        path = {"PYTHONPATH": str(ROOT), "SWARM_STATE_DIR": str(self.folder / "state")}
        return {**kept, **path, **extra}

    def start(self, *args: object, **extra: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "swarm", *map(str, args)],
            cwd=self.folder,
            env=self.environ(**extra),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_sigint_as_in_a_terminal,
        )
        self.started.append(process)
        return process

    def run(
        self,
        *args: object,
        stdin: bytes = b"",
        before: Callable[[], None] | None = None,
        timeout: float = 20,
        **extra: str,
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-m", "swarm", *map(str, args)],
            cwd=self.folder,
            env=self.environ(**extra),
            input=stdin,
            capture_output=True,
            preexec_fn=before,
            timeout=timeout,
            check=False,
        )

    def close(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.communicate()


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    made = Programs(tmp_path, [])
    yield made
    made.close()


@pytest.fixture
def torrent_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes a torrent of one file, with whatever else is given in `info` or at the top."""

    def make(name: str = "sample.bin", data: bytes = b"x" * 20_000, **top: Any) -> Path:
        hashes = [hashlib.sha1(data[i : i + PIECE]).digest() for i in range(0, len(data), PIECE)]
        info = {
            b"name": name.encode("utf-8", "surrogateescape"),
            b"length": len(data),
            b"piece length": PIECE,
            b"pieces": b"".join(hashes),
            **top.pop("info", {}),
        }
        path = tmp_path / "made.torrent"
        path.write_bytes(encode({b"info": info, **{k.encode(): v for k, v in top.items()}}))
        return path

    return make
