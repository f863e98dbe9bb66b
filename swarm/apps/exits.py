"""Exit codes: what a script can tell from how a command ended."""

from __future__ import annotations

import errno
from enum import IntEnum

import swarm


class Exit(IntEnum):
    """How a command ended. A signal ends it by that signal, which a shell shows as 130 or 143."""

    OK = 0
    ERROR = 1
    USAGE = 2
    SOURCE = 3
    """The torrent was not found, or is not a torrent."""
    TIMEOUT = 4
    NETWORK = 5
    """A tracker or an address refused."""
    DAMAGED = 6
    """Data that is not what the torrent says."""
    UNFINISHED = 7
    """Not complete, but a re-run goes on from there."""
    DISK = 8
    """The disk is full, or failed."""
    WORSE = 10
    """A benchmark is worse than its baseline by more than was allowed."""
    PIPE = 141
    """Whoever read our output has gone."""


class Quit(Exception):
    """A command ends here: one line for the user, and its exit code."""

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.code = code


_KINDS: tuple[tuple[type[BaseException], Exit], ...] = (
    (swarm.ConfigError, Exit.USAGE),
    (swarm.UnknownFile, Exit.USAGE),
    (swarm.SourceError, Exit.SOURCE),
    (swarm.BencodeError, Exit.SOURCE),
    (swarm.MetainfoError, Exit.SOURCE),
    (swarm.MagnetError, Exit.SOURCE),
    (swarm.StorageError, Exit.DISK),
    (swarm.TrackerError, Exit.NETWORK),
    (swarm.ProtocolError, Exit.NETWORK),
    (swarm.TorrentRemoved, Exit.UNFINISHED),
    (TimeoutError, Exit.TIMEOUT),
    (ConnectionError, Exit.NETWORK),
)
_ERRNOS = {
    errno.ENOSPC: Exit.DISK,
    errno.EDQUOT: Exit.DISK,
    errno.EIO: Exit.DISK,
    errno.EROFS: Exit.DISK,
    errno.EADDRINUSE: Exit.NETWORK,
    errno.EADDRNOTAVAIL: Exit.NETWORK,
}


def code_of(error: BaseException) -> Exit:
    """The exit code for an error. A failed torrent has the code of what failed it."""
    if isinstance(error, Quit):
        return error.code
    if isinstance(error, swarm.TorrentFailed) and error.__cause__ is not None:
        return code_of(error.__cause__)
    for kind, code in _KINDS:
        if isinstance(error, kind):
            return code
    if isinstance(error, OSError) and error.errno is not None:
        return _ERRNOS.get(error.errno, Exit.ERROR)
    return Exit.ERROR


def line_of(error: BaseException) -> str:
    """One line that says what went wrong (not yet escaped for a terminal)."""
    if isinstance(error, OSError) and error.strerror and not isinstance(error, swarm.SwarmError):
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__
