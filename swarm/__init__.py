"""swarm: a BitTorrent engine and client for Python people.

    async with swarm.Session() as session:
        torrent = await session.add("debian.torrent", dest="~/Downloads")
        async for stats in torrent.watch():
            print(f"{stats.progress:.1%}")

Layers, each importing only what is below it (docs/design.md; a test holds it up):

    apps                                 programs; only the names below
    session runner torrent ...           wiring and the public API
    engine | net | store                 decisions | sockets | disk: they never import each other
    proto                                bytes and values
    errors units settings events         leaves

Names load when they are first used, so that importing swarm costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .blocking import download as download
    from .checking import verify as verify
    from .engine.selection import Priority as Priority
    from .errors import BencodeError as BencodeError
    from .errors import ConfigError as ConfigError
    from .errors import DiskFull as DiskFull
    from .errors import DuplicateTorrent as DuplicateTorrent
    from .errors import ListenError as ListenError
    from .errors import MagnetError as MagnetError
    from .errors import MetainfoError as MetainfoError
    from .errors import ProtocolError as ProtocolError
    from .errors import SessionClosed as SessionClosed
    from .errors import SourceError as SourceError
    from .errors import StorageError as StorageError
    from .errors import SwarmError as SwarmError
    from .errors import TorrentFailed as TorrentFailed
    from .errors import TorrentRemoved as TorrentRemoved
    from .errors import TrackerError as TrackerError
    from .errors import UnknownFile as UnknownFile
    from .errors import UnsafePath as UnsafePath
    from .events import Event as Event
    from .events import EventStream as EventStream
    from .events import MoveFailed as MoveFailed
    from .events import Overrun as Overrun
    from .events import PeerAddr as PeerAddr
    from .events import PeerJoined as PeerJoined
    from .events import PeerLeft as PeerLeft
    from .events import PieceFailed as PieceFailed
    from .events import PieceVerified as PieceVerified
    from .events import ResumeDoubted as ResumeDoubted
    from .events import ResumeNotSaved as ResumeNotSaved
    from .events import TorrentDone as TorrentDone
    from .events import TorrentMoved as TorrentMoved
    from .events import TorrentStopped as TorrentStopped
    from .events import TrackerAnswered as TrackerAnswered
    from .events import TrackerFailed as TrackerFailed
    from .metainfo import Metainfo as Metainfo
    from .proto.metainfo import InfoHash as InfoHash
    from .proto.metainfo_files import File as File
    from .report import FileReport as FileReport
    from .report import Report as Report
    from .session import Session as Session
    from .settings import Settings as Settings
    from .torrent import Stats as Stats
    from .torrent import Torrent as Torrent
    from .tracker import Tracker as Tracker

__version__ = "0.1.0"

_HOME = {
    "blocking": "download",
    "checking": "verify",
    "engine.selection": "Priority",
    "errors": """BencodeError ConfigError DiskFull DuplicateTorrent ListenError MagnetError MetainfoError
        ProtocolError SessionClosed SourceError StorageError SwarmError TorrentFailed TorrentRemoved
        TrackerError UnknownFile UnsafePath""",
    "events": """Event EventStream MoveFailed Overrun PeerAddr PeerJoined PeerLeft PieceFailed
        PieceVerified ResumeDoubted ResumeNotSaved TorrentDone TorrentMoved TorrentStopped
        TrackerAnswered TrackerFailed""",
    "metainfo": "Metainfo",
    "proto.metainfo": "InfoHash",
    "proto.metainfo_files": "File",
    "report": "FileReport Report",
    "session": "Session",
    "settings": "Settings",
    "torrent": "Stats Torrent",
    "tracker": "Tracker",
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names.split()}

__all__ = ["__version__", *sorted(_MODULE_OF)]


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'swarm' has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{module}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
