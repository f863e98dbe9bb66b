"""Every error that swarm raises, as one tree.

    SwarmError
    ├── ConfigError            ValueError       a setting or argument outside its range
    ├── BencodeError           ValueError       bytes that are not bencode; has `offset`
    ├── MetainfoError          ValueError       bencode that is not a torrent; has `key`
    ├── MagnetError            ValueError       a malformed magnet link
    ├── SourceError            OSError          a torrent that could not be read or fetched; has `source`
    ├── ProtocolError          ConnectionError  a peer that broke the protocol; has `reason`
    ├── TrackerError           OSError          a tracker that refused or did not answer; has `url`, `retry_in`
    ├── ListenError            OSError          a port that cannot be bound; has `address`
    ├── StorageError           OSError          the disk said no; has `path`, `offset`, `operation`
    │   ├── DiskFull                            ENOSPC, EDQUOT
    │   └── UnsafePath                          a path that would leave the torrent's folder
    ├── UnknownFile            LookupError      a torrent has no such file; has `what`
    ├── DuplicateTorrent                        the session has it already; has `torrent`
    ├── TorrentFailed                           a torrent stopped on an error; has `torrent`, `__cause__`
    ├── TorrentRemoved                          the torrent was removed while somebody waited for it
    └── SessionClosed          RuntimeError     used outside of `async with`

Each leaf also inherits the builtin that a caller would catch anyway, and carries its facts as attributes.
"""

from __future__ import annotations

import errno as _errno
from typing import Any


class SwarmError(Exception):
    """Root of everything that swarm raises."""


class ConfigError(SwarmError, ValueError):
    """A setting or an argument outside its range."""


class BencodeError(SwarmError, ValueError):
    """Bytes that are not bencode, or that exceed a budget. `offset` is where, in bytes."""

    def __init__(self, message: str, offset: int = 0) -> None:
        super().__init__(f"{message} at byte {offset}")
        self.message = message
        self.offset = offset

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message, self.offset)


class MetainfoError(SwarmError, ValueError):
    """Bencode that is not a valid torrent. `key` names the part that is wrong, if one does."""

    def __init__(self, message: str, key: str | None = None) -> None:
        super().__init__(message)
        self.key = key


class MagnetError(SwarmError, ValueError):
    """A malformed magnet link."""


class SourceError(SwarmError, OSError):
    """A torrent file or URL that could not be read. `source` is what was asked for."""

    def __init__(self, message: str, source: str) -> None:
        super().__init__(message)
        self.source = source

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.args[0], self.source)


class ProtocolError(SwarmError, ConnectionError):
    """A peer that broke the protocol or a budget; it costs the peer its connection. `reason` says how."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class TrackerError(SwarmError, OSError):
    """A tracker that refused, did not answer, or made no sense. `retry_in` is in seconds."""

    def __init__(self, message: str, url: str, retry_in: float | None = None) -> None:
        super().__init__(message)
        self.url = url
        self.retry_in = retry_in

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.args[0], self.url, self.retry_in)


class ListenError(SwarmError, OSError):
    """A port that cannot be bound: taken, or no address of this machine. `address` and `errno` say."""

    def __init__(self, address: str, cause: OSError) -> None:
        super().__init__(f"cannot listen on {address}: {cause.strerror or cause}")
        self.address = address
        self.errno = cause.errno
        self._cause = cause

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.address, self._cause)


class StorageError(SwarmError, OSError):
    """The disk said no. `errno`, `path`, `offset` (bytes into that file) and `operation` say what and where."""

    def __init__(
        self,
        message: str,
        *,
        errno: int | None = None,
        path: str | None = None,
        offset: int | None = None,
        operation: str | None = None,
    ) -> None:
        super().__init__(message)
        self.errno = errno
        self.path = path
        self.offset = offset
        self.operation = operation

    @classmethod
    def of(cls, errno: int, path: str, offset: int, operation: str) -> StorageError:
        """The error for one failed operation: `DiskFull` where it was about space, `UnsafePath` where a
        symlink was on the way."""
        import os

        kind = StorageError
        text = f"{operation} failed: {os.strerror(errno)}: {path} at byte {offset}"
        if errno in (_errno.ENOSPC, _errno.EDQUOT):
            kind = DiskFull
        elif errno == _errno.ELOOP:
            kind, text = UnsafePath, f"refused: a symlink on the way to {path}"
        elif errno == _errno.EFBIG:
            text = f"{operation} failed: larger than its file system can hold: {path}"
        elif errno == _errno.ENODATA:
            text = f"{operation} failed: too short: {path} at byte {offset}"
        return kind(text, errno=errno, path=path, offset=offset, operation=operation)


class DiskFull(StorageError):
    """No space, or no quota, left where the data goes.

    Before anything is fetched, `needed` and `free` say how many bytes are to be written and how many
    there are room for; None where it was a write that failed.
    """

    def __init__(
        self, message: str, *, needed: int | None = None, free: int | None = None, **facts: Any
    ) -> None:
        super().__init__(message, **facts)
        self.needed = needed
        self.free = free


class UnsafePath(StorageError):
    """A path that would leave the torrent's folder (for instance through a symlink on the disk)."""


class UnknownFile(SwarmError, LookupError):
    """No file of the torrent is meant by this. `what` is the index, range, glob or function given."""

    def __init__(self, what: Any) -> None:
        if isinstance(what, range):
            told = f"there are no files {what.start} to {what.stop - 1}"
        else:
            told = f"there is no file {what!r}"
        super().__init__(f"{told}; `swarm info --files` lists them")
        self.what = what

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.what,)


class DuplicateTorrent(SwarmError):
    """The session has this torrent already. `torrent` is its handle."""

    def __init__(self, torrent: Any) -> None:
        super().__init__(f"already in this session: {torrent.name}")
        self.torrent = torrent


class TorrentFailed(SwarmError):
    """A torrent stopped on an error, which is the `__cause__`. `resume()` tries again."""

    def __init__(self, torrent: Any, reason: str) -> None:
        super().__init__(f"{torrent.name}: {reason}")
        self.torrent = torrent


class TorrentRemoved(SwarmError):
    """The torrent was removed, or its session closed, while somebody waited for it."""


class SessionClosed(SwarmError, RuntimeError):
    """The session is not open (use it inside `async with`)."""
