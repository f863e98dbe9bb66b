"""Which error ends a command with which code, and what it says."""

from __future__ import annotations

import errno
from types import SimpleNamespace

import pytest

import swarm
from swarm.apps.exits import Exit, Quit, code_of, line_of

TORRENT = SimpleNamespace(name="sample")


def failed(cause: BaseException | None) -> swarm.TorrentFailed:
    error = swarm.TorrentFailed(TORRENT, "why")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Quit(Exit.DAMAGED, "m"), 6),
        (swarm.ConfigError("m"), 2),
        (swarm.SourceError("m", "s"), 3),
        (swarm.BencodeError("m", 7), 3),
        (swarm.MetainfoError("m", "pieces"), 3),
        (swarm.MagnetError("m"), 3),
        (FileNotFoundError(errno.ENOENT, "no folder to write to", "f"), 1),
        (TimeoutError(), 4),
        (swarm.TrackerError("m", "u"), 5),
        (ConnectionRefusedError(), 5),
        (OSError(errno.EADDRINUSE, "in use"), 5),
        (swarm.TorrentRemoved("m"), 7),
        (swarm.StorageError.of(errno.ENOSPC, "p", 0, "write"), 8),
        (swarm.StorageError.of(errno.EIO, "p", 0, "write"), 8),
        (OSError(errno.ENOSPC, "full"), 8),
        (OSError(errno.EROFS, "read-only"), 8),
        (failed(swarm.StorageError.of(errno.EDQUOT, "p", 0, "write")), 8),
        (failed(None), 1),
        (PermissionError(errno.EACCES, "no", "f"), 1),
        (swarm.SwarmError("m"), 1),
    ],
)
def test_code(error: BaseException, code: int) -> None:
    assert code_of(error) == code


def test_a_line_names_the_file_and_says_why() -> None:
    assert line_of(PermissionError(errno.EACCES, "Permission denied", "a/b")) == (
        "a/b: Permission denied"
    )
    assert line_of(OSError(errno.EADDRINUSE, "Address in use")) == "Address in use"
    assert line_of(swarm.BencodeError("bad length", 7)) == "bad length at byte 7"
    assert line_of(TimeoutError()) == "TimeoutError"
