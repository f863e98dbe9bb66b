"""One driver per client: how it is started, headless, to seed or to fetch one torrent.

Each runs on a host of its own (see `network`), keeps its files in a scratch folder of its own, and
stays until it is stopped.
"""

from __future__ import annotations

import json
import shutil
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from .network import Host
from .process import Process, Usage

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PORT = 6881


class Client(ABC):
    """A client on `host`. Its data is in `folder/data`, or in `data` if that is given."""

    name: ClassVar[str]
    makes_empty_files: ClassVar[bool] = True

    def __init__(self, host: Host, folder: Path, *, data: Path | None = None) -> None:
        self.host = host
        self.folder = folder
        self.data = data or folder / "data"
        self.data.mkdir(parents=True, exist_ok=True)
        self.process: Process | None = None

    @classmethod
    @abstractmethod
    def missing(cls) -> str | None:
        """What to install, in one sentence, if this client is not here."""

    @abstractmethod
    def command(self, role: str, torrent: Path) -> list[str]:
        """The command that seeds (`role` "seed", the data is complete) or fetches ("leech")."""

    def seed(self, torrent: Path) -> Self:
        """Starts to upload what `data` holds."""
        return self._start("seed", torrent)

    def leech(self, torrent: Path) -> Self:
        """Starts to download into `data`, and stays when it is done."""
        return self._start("leech", torrent)

    def _start(self, role: str, torrent: Path) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        command = self.host.command(*self.command(role, torrent))
        env = {"PYTHONPATH": str(ROOT), "HOME": str(self.folder), "PYTHONUNBUFFERED": "1"}
        self.process = Process(command, self.folder / "log", cwd=self.folder, env=env)
        return self

    @property
    def running(self) -> Process:
        """Its process, once started."""
        assert self.process is not None, f"{self.name} was not started"
        return self.process

    def usage(self) -> Usage:
        """CPU and memory of all its processes until now."""
        return self.running.usage()

    def stop(self) -> int:
        """Lets it leave in order, so that everything it holds is in its files."""
        return self.running.stop()

    def kill(self) -> None:
        """Ends it on the spot, if it was started at all."""
        if self.process:
            self.process.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.kill()


class Swarm(Client):
    """This project, through `swarm.Session`."""

    name = "swarm"
    loop = "uvloop"
    direct: ClassVar[str] = "auto"

    @classmethod
    def missing(cls) -> str | None:
        return None

    def command(self, role: str, torrent: Path) -> list[str]:
        driver, state = str(HERE / "drive_swarm.py"), str(self.folder / "state")
        at = [self.host.address, str(PORT)]
        how = [state, self.direct, self.loop]
        return [sys.executable, driver, role, str(torrent), str(self.data), *at, *how]


class SwarmOnAsyncio(Swarm):
    """The same, on the event loop of the standard library."""

    name = "swarm-asyncio"
    loop = "asyncio"


class SwarmBuffered(Swarm):
    """The same, writing through the page cache."""

    name = "swarm-buffered"
    direct = "never"


class Libtorrent(Client):
    """libtorrent 2 by its wheel, tuned for speed over TCP."""

    name = "libtorrent"

    @classmethod
    def missing(cls) -> str | None:
        try:
            import libtorrent  # noqa: F401
        except ImportError as error:
            return f"libtorrent cannot be imported ({error}): pip install libtorrent"
        return None

    def command(self, role: str, torrent: Path) -> list[str]:
        driver = str(HERE / "drive_libtorrent.py")
        at = [self.host.address, str(PORT)]
        return [sys.executable, driver, role, str(torrent), str(self.data), *at]


class Aria2(Client):
    """aria2. It ignores peers on 127.0.0.1, hence hosts with real addresses."""

    name = "aria2"

    @classmethod
    def missing(cls) -> str | None:
        return None if shutil.which("aria2c") else "aria2c is missing: apt install aria2"

    def command(self, role: str, torrent: Path) -> list[str]:
        role_options = {
            "seed": ["--bt-seed-unverified=true", "--check-integrity=false"],
            "leech": [],
        }[role]
        return [
            "aria2c", "--no-conf", f"--dir={self.data}", f"--interface={self.host.address}",
            f"--listen-port={PORT}", "--disable-ipv6=true", "--enable-dht=false",
            "--bt-enable-lpd=false", "--enable-peer-exchange=false", "--file-allocation=none",
            "--seed-ratio=0.0", "--bt-tracker-interval=5", "--summary-interval=0",
            "--allow-overwrite=true", "--console-log-level=notice", "--show-console-readout=false",
            *role_options, str(torrent),
        ]  # fmt: skip


class Transmission(Client):
    """transmission's daemon. It checks existing data before it seeds, and caps one fast peer."""

    name = "transmission"
    makes_empty_files = False  # version 3 does not, version 4 does

    @classmethod
    def missing(cls) -> str | None:
        if shutil.which("transmission-daemon"):
            return None
        return "transmission-daemon is missing: apt install transmission-daemon"

    def command(self, role: str, torrent: Path) -> list[str]:
        config, watched = self.folder / "config", self.folder / "watched"
        for folder in (config, watched):
            folder.mkdir(parents=True, exist_ok=True)
        settings = {
            "bind-address-ipv4": self.host.address,
            "peer-port": PORT,
            "download-dir": str(self.data),
            "watch-dir": str(watched),
            "watch-dir-enabled": True,
            "watch-dir-force-generic": True,
            "start-added-torrents": True,
            "preallocation": 0,
            "rename-partial-files": False,
            "utp-enabled": False,
            "dht-enabled": False,
            "lpd-enabled": False,
            "pex-enabled": False,
            "port-forwarding-enabled": False,
            "rpc-enabled": False,
            "encryption": 0,
        }
        (config / "settings.json").write_text(json.dumps(settings))
        shutil.copy(torrent, watched)
        return ["transmission-daemon", "-f", "-g", str(config)]


OURS: tuple[type[Client], ...] = (Swarm, SwarmOnAsyncio)
FOREIGN: tuple[type[Client], ...] = (Libtorrent, Aria2, Transmission)
